// SPDX-License-Identifier: Apache-2.0
//
// Copies one program into a volume so that nobody ever sees half of it, or another one.
#ifndef CT_COPY_H
#define CT_COPY_H

#include "err.h"

#define CT_COPY_SHA256_SIZE 32
#define CT_COPY_PERMISSIONS 0555

// What the copy must be, as it was known when this program was built.
struct ct_copy_spec {
    const char *source;
    const char *target; // replaced atomically; its folder must exist
    unsigned long long length;
    unsigned char sha256[CT_COPY_SHA256_SIZE];
};

// Copies source to target with permissions 0555. Length and SHA-256 are verified twice, of what was
// read from the source and of what reads back from the copy, before the copy gets its name by
// rename(2): a program that runs under the old name goes on running, and one that starts under the
// new name finds no writer (no ETXTBSY). After an error nothing of the copy is left.
// CT_ENOTFOUND: no source. CT_EINVAL: source or copy is not what the spec says. CT_EDENIED: the
// folder cannot be written to. CT_ETOOBIG: the volume is full. CT_ESYSTEM: anything else.
// Not thread-safe for the same target.
CT_CHECKED int ct_copy_verified(const struct ct_copy_spec *spec, struct ct_err *err);

// Reads 64 hexadecimal digits into sha256. CT_EINVAL for anything else.
CT_CHECKED int ct_copy_parse_sha256(const char *hex, unsigned char sha256[CT_COPY_SHA256_SIZE],
                                    struct ct_err *err);

#endif
