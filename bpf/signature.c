// SPDX-License-Identifier: Apache-2.0
#include "signature.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signing_key.h"
#include "text.h"

#define FILE_MAX (64 << 20)
#define CHUNK (256 << 10)
#define MAGIC_SIZE 8
#define VERSION_SIZE 4
#define DIGEST_SIZE 32
#define SIGNATURE_AT (MAGIC_SIZE + VERSION_SIZE)
#define ED25519_SIZE 64

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_digest(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

#define AUTO_KEY __attribute__((cleanup(free_key))) EVP_PKEY *
#define AUTO_DIGEST __attribute__((cleanup(free_digest))) EVP_MD_CTX *

// ---- keys ----

void ct_trust_init(struct ct_trust *ret)
{
    static const unsigned char key[] = CT_SIGNING_KEY;
    _Static_assert(sizeof(key) == CT_KEY_SIZE, "an Ed25519 key");
    *ret = (struct ct_trust){.n = 1};
    memcpy(ret->keys[0].key, key, sizeof(key));
    memcpy(ret->keys[0].name, CT_SIGNING_KEY_NAME, sizeof(CT_SIGNING_KEY_NAME));
}

int ct_trust_add(struct ct_trust *trust, const char *path, struct ct_err *err)
{
    struct ct_trust_key *next = &trust->keys[trust->n];
    size_t size = CT_KEY_SIZE;
    if (trust->n == CT_TRUST_MAX) {
        return ct_err_set(err, CT_ETOOBIG, "more than %d keys are trusted", CT_TRUST_MAX);
    }
    CT_AUTO_FILE file = fopen(path, "re");
    if (file == NULL) {
        return ct_err_errno(err, "cannot read the key %s", path);
    }
    AUTO_KEY key = PEM_read_PUBKEY(file, NULL, NULL, NULL);
    if (key == NULL || EVP_PKEY_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, next->key, &size) != 1 || size != CT_KEY_SIZE) {
        return ct_err_set(err, CT_EINVAL, "%s is no public Ed25519 key in PEM", path);
    }
    (void)snprintf(next->name, sizeof(next->name), "%s", path);
    trust->n++;
    return 0;
}

// ---- files ----

static int read_all(int fd, unsigned char *data, size_t len, off_t at, struct ct_err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, data + done, len - done, at + (off_t)done);
        if (n < 0) {
            return ct_err_errno(err, "cannot read its program");
        }
        if (n == 0) {
            return ct_err_set(err, CT_EDENIED, "its program became shorter while it was read");
        }
        done += (size_t)n;
    }
    return 0;
}

static int hash(int fd, size_t len, unsigned char ret[DIGEST_SIZE], struct ct_err *err)
{
    AUTO_DIGEST digest = EVP_MD_CTX_new();
    CT_AUTO_STR chunk = malloc(CHUNK);
    if (digest == NULL || chunk == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for a program's SHA-256");
    }
    for (size_t at = 0; at < len;) {
        size_t n = len - at < CHUNK ? len - at : CHUNK;
        int rc = read_all(fd, (unsigned char *)chunk, n, (off_t)at, err);
        if (rc < 0) {
            return rc;
        }
        if (EVP_DigestUpdate(digest, chunk, n) != 1) {
            return ct_err_set(err, CT_ENOMEM, "out of memory for a program's SHA-256");
        }
        at += n;
    }
    unsigned size = DIGEST_SIZE;
    return EVP_DigestFinal_ex(digest, ret, &size) == 1
               ? 0
               : ct_err_set(err, CT_ENOMEM, "out of memory for a program's SHA-256");
}

static bool has_signed(const struct ct_trust_key *key, const unsigned char *message, size_t len,
                       const unsigned char *signature)
{
    AUTO_KEY public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->key, CT_KEY_SIZE);
    AUTO_DIGEST context = EVP_MD_CTX_new();
    return public != NULL && context != NULL &&
           EVP_DigestVerifyInit(context, NULL, NULL, NULL, public) == 1 &&
           EVP_DigestVerify(context, signature, ED25519_SIZE, message, len) == 1;
}

static void show(const unsigned char digest[DIGEST_SIZE], char ret[2 * DIGEST_SIZE + 1])
{
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    }
}

int ct_signature_check(int fd, const struct ct_trust *trust, struct ct_signature *ret,
                       struct ct_err *err)
{
    struct stat status;
    unsigned char end[CT_SIGNATURE_SIZE];
    unsigned char message[SIGNATURE_AT + DIGEST_SIZE];
    *ret = (struct ct_signature){0};
    if (fstat(fd, &status) != 0) {
        return ct_err_errno(err, "cannot look at its program");
    }
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_MAX) {
        return ct_err_set(err, CT_ETOOBIG, "its program is no file of at most 64 MiB");
    }
    size_t len = (size_t)status.st_size;
    if (len < sizeof(end)) {
        return ct_err_set(err, CT_EDENIED, "its program is not signed");
    }
    len -= sizeof(end);
    int rc = read_all(fd, end, sizeof(end), (off_t)len, err);
    if (rc == 0 && memcmp(end, CT_SIGNATURE_MAGIC, MAGIC_SIZE) != 0) {
        return ct_err_set(err, CT_EDENIED, "its program is not signed");
    }
    memcpy(message, end, SIGNATURE_AT);
    rc = rc == 0 ? hash(fd, len, message + SIGNATURE_AT, err) : rc;
    for (size_t i = 0; rc == 0 && i < trust->n; i++) {
        if (has_signed(&trust->keys[i], message, sizeof(message), end + SIGNATURE_AT)) {
            ret->key = trust->keys[i].name;
            ret->version =
                end[8] | (unsigned)end[9] << 8 | (unsigned)end[10] << 16 | (unsigned)end[11] << 24;
            show(message + SIGNATURE_AT, ret->sha256);
            return 0;
        }
    }
    return rc < 0 ? rc
                  : ct_err_set(err, CT_EDENIED,
                               "its program's signature is by none of the trusted keys, or the "
                               "program was changed");
}

// ---- versions ----

int ct_version_parse(const char *text, unsigned *ret, struct ct_err *err)
{
    static const unsigned long max[] = {0xffff, 0xff, 0xff};
    unsigned version = 0;
    const char *at = text;
    for (size_t i = 0; i < CT_ARRAY_LEN(max); i++) {
        size_t len = strcspn(at, ".");
        unsigned long part;
        bool last = i == CT_ARRAY_LEN(max) - 1;
        if (!ct_text_number(at, len, max[i], &part) || (at[len] == '\0') != last) {
            return ct_err_set(err, CT_EINVAL, "\"%s\" is no version like 1.2.3", text);
        }
        version = version << 8 | (unsigned)part;
        at += len + (last ? 0 : 1);
    }
    *ret = version;
    return 0;
}

const char *ct_version_show(struct ct_version_text *ret, unsigned version)
{
    (void)snprintf(ret->text, sizeof(ret->text), "%u.%u.%u", version >> 16, version >> 8 & 0xff,
                   version & 0xff);
    return ret->text;
}
