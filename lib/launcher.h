// SPDX-License-Identifier: Apache-2.0
//
// Programs that hand their environment on: a shell, a script's interpreter line, tini, gosu, env …
// When such a program starts another one the kernel copies the strings of its environment into the
// new program's ordinary stack, in the clear, which undoes what secret memory gave. Those that can be
// followed to the program they are there for are given placeholders instead (wrapper/follow.h).
#ifndef CT_LAUNCHER_H
#define CT_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>

// How a launcher starts other programs.
enum ct_launcher_kind {
    CT_LAUNCHER_ONE,   // becomes one program, or starts it as its child: gosu, env, tini
    CT_LAUNCHER_SHELL, // as its script says, in the language of sh(1)
    CT_LAUNCHER_MANY,  // several, or in a way that cannot be followed: supervisors, debuggers
};

struct ct_launcher {
    const char *name; // static; NULL: it is none
    enum ct_launcher_kind kind;
    size_t skip; // index in argv of the launcher's own name: 1 for "busybox sh", else mostly 0
};

// Is this program (by the base name of its executable and its arguments; argv[0..argc)) a launcher?
// A multi-call binary (busybox, toybox, coreutils) is judged by the applet that argv names.
struct ct_launcher ct_launcher_find(const char *exe_path, const char *const *argv, size_t argc);

// What a pod wants to be done about launchers: its setting "launcher".
enum ct_launcher_mode {
    CT_LAUNCHER_AUTO,    // follow those that start one program; others are given the secrets
    CT_LAUNCHER_FOLLOW,  // follow all
    CT_LAUNCHER_DELIVER, // give the secrets to every launcher, in the clear
    CT_LAUNCHER_MODES,
};

#define CT_LAUNCHER_MODE_NAMES "auto, follow, deliver"

extern const char *const ct_launcher_mode_names[CT_LAUNCHER_MODES + 1]; // NULL-terminated

// One of these; static.
const char *ct_launcher_mode_name(enum ct_launcher_mode mode);
// -1 when there is none of that name.
int ct_launcher_mode_from_name(const char *name);

// Its name alone, or NULL.
const char *ct_launcher_name(const char *exe_path, const char *const *argv, size_t argc);

#endif
