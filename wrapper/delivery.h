// SPDX-License-Identifier: Apache-2.0
//
// Secrets into a program that is stopped at its exec: its own secret pages hold "NAME=value" strings
// and its envp slots point at them, so that getenv() finds them, while /proc/PID/environ and the
// stack show placeholders.
#ifndef CT_DELIVERY_H
#define CT_DELIVERY_H

#include "err.h"
#include "image.h"
#include "inject.h"
#include "secmem.h"
#include "secrets.h"

// What the new program's stack says about itself.
struct ct_stack {
    uintptr_t argc;
    uintptr_t argv; // addresses of its arrays
    uintptr_t envp;
    uintptr_t env_count;
    uintptr_t vdso; // AT_SYSINFO_EHDR, 0 when the kernel gave none
};

struct ct_delivery {
    struct ct_secmem_area area; // this process's view of the app's pages; `fd` open until delivered
    uintptr_t app_base;         // where the app has them
    bool pass;                  // the app did not inherit the memfd: it is handed over (pass.h)
    bool shared;                // another process uses these pages: they must not be wiped
    bool fd_seen;       // the app's descriptor showed in its /proc/PID/fd before it was closed
    int lock_errno;     // of mlock2 and MADV_DONTDUMP in the app, 0 when they worked; they
    int dontdump_errno; // are only tried without memfd_secret
};

// Maps the pages and writes the strings, in the order of `secrets`.
CT_CHECKED int ct_delivery_make(const struct ct_secrets *secrets, struct ct_delivery *ret,
                                struct ct_err *err);
void ct_delivery_done(struct ct_delivery *d);

// The string for secret number `i`, as an offset in the pages.
size_t ct_delivery_offset(const struct ct_secrets *secrets, size_t i);

// Reads the stack at `sp` of a process that this one may read.
CT_CHECKED int ct_stack_read(pid_t pid, uintptr_t sp, struct ct_stack *ret, struct ct_err *err);

// Up to `max` strings of the program's argv, each cut to the room of an entry. Returns how many.
#define CT_STACK_STRING_MAX 256
size_t ct_stack_argv(pid_t pid, const struct ct_stack *stack, char out[][CT_STACK_STRING_MAX],
                     size_t max);

// The whole of one string of its argv, terminated; its length, or -1 when it cannot be read or is not
// shorter than `size`.
ssize_t ct_stack_string(pid_t pid, const struct ct_stack *stack, size_t i, char *out, size_t size);

// Is a variable of this name in the program's environment?
bool ct_stack_has_variable(pid_t pid, const struct ct_stack *stack, const char *name);

// Which secrets did the program's launcher hand on: is there a variable of the name whose value is
// the placeholder still? Sets given[0..secrets->n); returns how many.
size_t ct_delivery_given(pid_t pid, const struct ct_stack *stack, const struct ct_secrets *secrets,
                         const char *placeholder, bool *given);

// Makes the pages the app's and points its envp at them; the memfd is closed on both sides.
// CT_EDENIED when the program was given another environment than `image` holds.
CT_CHECKED int ct_delivery_run(struct ct_delivery *d, struct ct_inject *in,
                               const struct ct_stack *stack, const struct ct_image *image,
                               const struct ct_secrets *secrets, struct ct_err *err);

// Likewise where a launcher made the environment: the variables of secrets are those that hold the
// placeholder.
CT_CHECKED int ct_delivery_run_given(struct ct_delivery *d, struct ct_inject *in,
                                     const struct ct_stack *stack, const struct ct_secrets *secrets,
                                     const char *placeholder, struct ct_err *err);

#endif
