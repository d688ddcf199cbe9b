// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "signature.h"

#define CONTENT "what is signed"
#define CONTENT_SIZE (sizeof(CONTENT) - 1)
#define VERSION_1_2_3 0x00010203U
// openssl genpkey -algorithm ed25519 | openssl pkey -pubout, and one of another kind
#define PUBLIC                                                                                     \
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAl7xPcoiROwDOyS7RQNXhpxMQJe/B1e63aLqeexpK8CA=\n"   \
    "-----END PUBLIC KEY-----\n"
#define EXCHANGE                                                                                   \
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAl7xPcoiROwDOyS7RQNXhpxMQJe/B1e63aLqeexpK8CA=\n"   \
    "-----END PUBLIC KEY-----\n"

// A file of memory that holds the content and its signature by a key made here, which is trusted alone.
static int make(struct ct_trust *trust)
{
    unsigned char file[CONTENT_SIZE + CT_SIGNATURE_SIZE] = CONTENT;
    unsigned char *end = file + CONTENT_SIZE;
    unsigned char message[12 + 32];
    unsigned size = 32;
    size_t len = 64;
    size_t key_len = CT_KEY_SIZE;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    memcpy(end, CT_SIGNATURE_MAGIC "\x03\x02\x01\x00", 12);
    memcpy(message, end, 12);
    assert_int_equal(EVP_Digest(file, CONTENT_SIZE, message + 12, &size, EVP_sha256(), NULL), 1);
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, end + 12, &len, message, sizeof(message)), 1);
    ct_trust_init(trust);
    assert_int_equal(trust->n, 1);
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, trust->keys[0].key, &key_len), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    int fd = memfd_create("signed", MFD_CLOEXEC);
    assert_int_equal(write(fd, file, sizeof(file)), sizeof(file));
    return fd;
}

static void believes_a_signature(void **state)
{
    (void)state;
    struct ct_trust trust;
    struct ct_signature signature;
    struct ct_err err = {0};
    int fd = make(&trust);
    expect_ok(ct_signature_check(fd, &trust, &signature, &err), &err);
    assert_int_equal(signature.version, VERSION_1_2_3);
    assert_ptr_equal(signature.key, trust.keys[0].name);
    // printf %s 'what is signed' | sha256sum
    assert_string_equal(signature.sha256,
                        "819893434c4fe98186a93ce2782c7a73023a46b588b089bb559f98fc4b895c3c");
    (void)close(fd);
}

// Every byte counts: content, magic, version, signature.
static void believes_no_other(void **state)
{
    (void)state;
    struct ct_trust trust;
    struct ct_signature signature;
    struct ct_err err = {0};
    int fd = make(&trust);
    for (off_t at = 0; at < (off_t)(CONTENT_SIZE + CT_SIGNATURE_SIZE); at++) {
        unsigned char byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        const unsigned char other = byte ^ 1;
        assert_int_equal(pwrite(fd, &other, 1, at), 1);
        expect_error(ct_signature_check(fd, &trust, &signature, &err), &err, CT_EDENIED,
                     at >= (off_t)CONTENT_SIZE && at < (off_t)CONTENT_SIZE + 8
                         ? "its program is not signed"
                         : "by none of the trusted keys, or the program was changed");
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    expect_ok(ct_signature_check(fd, &trust, &signature, &err), &err);
    trust.keys[0].key[0] ^= 1;
    expect_error(ct_signature_check(fd, &trust, &signature, &err), &err, CT_EDENIED,
                 "by none of the trusted keys");
    assert_int_equal(ftruncate(fd, CT_SIGNATURE_SIZE - 1), 0);
    expect_error(ct_signature_check(fd, &trust, &signature, &err), &err, CT_EDENIED,
                 "its program is not signed");
    assert_int_equal(ftruncate(fd, (64 << 20) + 1), 0);
    expect_error(ct_signature_check(fd, &trust, &signature, &err), &err, CT_ETOOBIG,
                 "its program is no file of at most 64 MiB");
    (void)close(fd);
}

static void trusts_keys_of_files(void **state)
{
    (void)state;
    struct ct_trust trust;
    struct ct_err err = {0};
    char path[] = "/tmp/ct-signature-XXXXXX";
    int fd = mkstemp(path);
    ct_trust_init(&trust);
    assert_int_equal(write(fd, PUBLIC, sizeof(PUBLIC) - 1), sizeof(PUBLIC) - 1);
    expect_ok(ct_trust_add(&trust, path, &err), &err);
    assert_int_equal(trust.n, 2);
    assert_string_equal(trust.keys[1].name, path);
    assert_int_equal(trust.keys[1].key[0], 0x97);
    while (trust.n < CT_TRUST_MAX) {
        expect_ok(ct_trust_add(&trust, path, &err), &err);
    }
    expect_error(ct_trust_add(&trust, path, &err), &err, CT_ETOOBIG, "more than 16 keys");
    trust.n = 1;
    assert_int_equal(pwrite(fd, EXCHANGE, sizeof(EXCHANGE) - 1, 0), sizeof(EXCHANGE) - 1);
    expect_error(ct_trust_add(&trust, path, &err), &err, CT_EINVAL, "is no public Ed25519 key");
    assert_int_equal(unlink(path), 0);
    (void)close(fd);
    expect_error(ct_trust_add(&trust, path, &err), &err, CT_ESYSTEM, "cannot read the key");
}

static void reads_versions(void **state)
{
    (void)state;
    unsigned version;
    struct ct_version_text text;
    struct ct_err err = {0};
    expect_ok(ct_version_parse("1.2.3", &version, &err), &err);
    assert_int_equal(version, VERSION_1_2_3);
    expect_ok(ct_version_parse("65535.255.255", &version, &err), &err);
    assert_int_equal(version, 0xffffffffU);
    assert_string_equal(ct_version_show(&text, version), "65535.255.255");
    const char *const bad[] = {"",     "1",       "1.2",       "1.2.3.4", "1.2.",
                               "1..3", "1.256.0", "65536.0.0", "1.2.x",   "-1.2.3"};
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        expect_error(ct_version_parse(bad[i], &version, &err), &err, CT_EINVAL, "is no version");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(believes_a_signature),
        cmocka_unit_test(believes_no_other),
        cmocka_unit_test(trusts_keys_of_files),
        cmocka_unit_test(reads_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
