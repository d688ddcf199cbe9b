// SPDX-License-Identifier: Apache-2.0
//
// The command line and environment that the app is started with, in ordinary pages of their own: a
// forked child has no arena to take them from. Nothing in them is secret.
#ifndef CT_IMAGE_H
#define CT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "secrets.h"

#define CT_IMAGE_RANDOM 12 // bytes

struct ct_image {
    char placeholder[48];
    void *pages;
    size_t size;
    char **argv; // NULL-terminated
    char **envp; // NULL-terminated; a secret's entry is NAME=placeholder
    size_t env_count;
    uint32_t *secret; // for each entry of envp: 1 + index of its secret, 0 for none
};

// Copies argv and environment. CLOUDTASER_CONFIG is left out; every variable named by a secret gets
// the placeholder (CT_LAUNCH_PLACEHOLDER), and is appended when the environment lacks it. CT_ENOMEM, CT_ESYSTEM.
CT_CHECKED int ct_image_make(char *const *argv, char *const *environment,
                             const struct ct_secrets *secrets, struct ct_image *ret,
                             struct ct_err *err);
void ct_image_done(struct ct_image *image);

// The value of a variable, or NULL.
const char *ct_image_variable(const struct ct_image *image, const char *name);

#endif
