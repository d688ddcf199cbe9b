// SPDX-License-Identifier: Apache-2.0
//
// What a shell will do, as far as its command line and the text of its script tell: does it become
// another program, start but one, or start several as its children? The text is read, not run: where
// it leaves a doubt the answer is the last.
#ifndef CT_SCRIPT_H
#define CT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#define CT_SCRIPT_MAX ((size_t)256 << 10) // bytes of a script that are looked at

enum ct_script_kind {
    CT_SCRIPT_ONE,      // starts a single program, whether in its own place or as its child
    CT_SCRIPT_EXEC,     // becomes a program by `exec`; what else it starts are helpers
    CT_SCRIPT_CHILDREN, // starts programs as its children
};

// Why a shell is not followed, for a sentence.
#define CT_SCRIPT_WHY_CHILDREN                                                                     \
    " (its script starts programs as its children: write exec before the last)"
#define CT_SCRIPT_WHY_USES " (its script uses a secret's variable itself)"
#define CT_SCRIPT_WHY_UNREAD " (its script cannot be read)"

// A text in the language of sh(1). Thread-safe, as all of this header.
enum ct_script_kind ct_script_judge(const char *text, size_t len);

// Does the text expand this variable ($NAME, ${NAME…})? Text in quotes and comments counts too.
bool ct_script_uses(const char *text, size_t len, const char *name);

// Where a shell takes its script from.
struct ct_shell_line {
    const char *text; // of -c, or NULL; both point into argv
    const char *file; // the script, or NULL; both NULL: standard input
    bool startup; // a login shell or an interactive one: start-up files may start programs first
};

// The variable that names a file which this shell (of the launchers' table) runs before all else, or NULL.
const char *ct_shell_startup_variable(const char *shell);

// The command line of a shell; argv[0] is the shell's name.
void ct_shell_parse(const char *const *argv, size_t argc, struct ct_shell_line *ret);

#endif
