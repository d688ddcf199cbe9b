// SPDX-License-Identifier: Apache-2.0
//
// Whose program a wrapper is: the signature that tools/sign puts behind it, and the keys that are trusted.
#ifndef CT_SIGNATURE_H
#define CT_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"
#include "err.h"

// A signed file ends with: CT_SIGNATURE_MAGIC, the version in 32 bits little endian (major << 16 | minor << 8 |
// patch), and the 64 bytes of an Ed25519 signature (RFC 8032) over magic, version, and the SHA-256 of all before.
#define CT_SIGNATURE_MAGIC "CTSIGN01"
#define CT_SIGNATURE_SIZE 76

// Keys, at most this many.
#define CT_TRUST_MAX 16
#define CT_KEY_SIZE 32

struct ct_trust_key {
    unsigned char key[CT_KEY_SIZE];
    char name[128]; // "development key", "built-in key", or the file's path
};

struct ct_trust {
    struct ct_trust_key keys[CT_TRUST_MAX];
    size_t n;
};

// What is known of a file whose signature is good.
struct ct_signature {
    unsigned version; // as in the file
    char sha256[65];  // of all before the signature, hexadecimal
    const char *key;  // the name of the key; lives as long as the trust
};

// The key that this program was built with, alone.
void ct_trust_init(struct ct_trust *ret);

// Adds a public key of a file (PEM). Errors: CT_EINVAL when it is no Ed25519 key, CT_ETOOBIG beyond
// CT_TRUST_MAX, CT_ESYSTEM.
CT_CHECKED int ct_trust_add(struct ct_trust *trust, const char *path, struct ct_err *err);

// Reads the file once, from its beginning to its end, and tells whether one of the keys has signed it. Errors:
// CT_EDENIED when it is not signed, or by nobody who is trusted; CT_ETOOBIG; CT_ESYSTEM. Thread-safe.
CT_CHECKED int ct_signature_check(int fd, const struct ct_trust *trust, struct ct_signature *ret,
                                  struct ct_err *err);

// "1.2.3" as in the file, each part below 256 (the first below 65536). CT_EINVAL.
CT_CHECKED int ct_version_parse(const char *text, unsigned *ret, struct ct_err *err);

struct ct_version_text {
    char text[16];
};
const char *ct_version_show(struct ct_version_text *ret, unsigned version);

#endif
