// SPDX-License-Identifier: Apache-2.0
//
// What the agent reads of processes that may be anybody's: the first byte chooses what the rest is. The claims of a
// pod's token, a registrant's program with its signature, /proc/PID/cgroup, an attacker's names.
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "container.h"
#include "event.h"
#include "json.h"
#include "pod_event.h"
#include "pod_identity.h"
#include "signature.h"
#include "text.h"

#define MAGIC_AND_VERSION 12
#define DIGEST_SIZE 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

// A file of memory that holds this; the same one each time.
static int file_of(const void *data, size_t len)
{
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    }
    must(fd >= 0 && ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0 &&
         (len == 0 || write(fd, data, len) == (ssize_t)len));
    return fd;
}

// ---- tokens ----

static void check_identity(const char *jwt, size_t len)
{
    struct ct_pod_identity id;
    struct ct_err err = {0};
    int rc = ct_pod_identity_parse(jwt, len, &id, &err);
    must(rc == -err.code && (rc == 0) == (id.pod[0] != '\0'));
    must(rc < 0 || (ct_text_is_subdomain(id.pod, strlen(id.pod)) &&
                    ct_text_is_label(id.space, strlen(id.space))));
    must(ct_text_consists(id.uid, strlen(id.uid), "-"));
}

// As a JWT, and as the claims of one.
static void as_token(const char *data, size_t len)
{
    CT_AUTO_BUF claims = {.max = 1 << 20};
    CT_AUTO_BUF jwt = {.max = 1 << 20};
    check_identity(data, len);
    ct_buf_add_base64(&claims, data, len);
    for (size_t i = 0; i < claims.len; i++) {
        char *c = &claims.data[i];
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    }
    while (claims.len > 0 && claims.data[claims.len - 1] == '=') {
        claims.len--;
    }
    ct_buf_add_str(&jwt, "header.");
    ct_buf_add(&jwt, claims.data, claims.len);
    ct_buf_add_str(&jwt, ".signature");
    must(!jwt.failed);
    check_identity(jwt.data, jwt.len);
}

// ---- programs ----

static EVP_PKEY *key_of(struct ct_trust *trust)
{
    static const unsigned char secret[CT_KEY_SIZE] = "a key that signs what is made up";
    static EVP_PKEY *key;
    size_t size = CT_KEY_SIZE;
    if (key == NULL) {
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof(secret));
    }
    ct_trust_init(trust);
    must(EVP_PKEY_get_raw_public_key(key, trust->keys[0].key, &size) == 1);
    return key;
}

static void sign(EVP_PKEY *key, char *file, size_t len)
{
    unsigned char *end = (unsigned char *)file + len;
    unsigned char message[MAGIC_AND_VERSION + DIGEST_SIZE];
    unsigned size = DIGEST_SIZE;
    size_t signature_size = CT_SIGNATURE_SIZE - MAGIC_AND_VERSION;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    memcpy(end, CT_SIGNATURE_MAGIC "\x03\x02\x01\x00", MAGIC_AND_VERSION);
    memcpy(message, end, MAGIC_AND_VERSION);
    must(EVP_Digest(file, len, message + MAGIC_AND_VERSION, &size, EVP_sha256(), NULL) == 1);
    must(EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
         EVP_DigestSign(context, end + MAGIC_AND_VERSION, &signature_size, message,
                        sizeof(message)) == 1);
    EVP_MD_CTX_free(context);
}

// As it is nobody has signed it. Signed it is believed, and no longer with one byte that is another one.
static void as_program(const char *data, size_t len)
{
    struct ct_trust trust;
    struct ct_signature found;
    struct ct_err err = {0};
    EVP_PKEY *key = key_of(&trust);
    must(ct_signature_check(file_of(data, len), &trust, &found, &err) == -CT_EDENIED &&
         err.msg[0] != '\0' && found.key == NULL);
    size_t whole = len + CT_SIGNATURE_SIZE;
    char *file = malloc(whole);
    must(file != NULL);
    memcpy(file, data, len);
    sign(key, file, len);
    must(ct_signature_check(file_of(file, whole), &trust, &found, &err) == 0 &&
         found.version == 0x010203 && found.key == trust.keys[0].name);
    size_t at = (len > 1 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : 0) % whole;
    file[at] ^= 1;
    must(ct_signature_check(file_of(file, whole), &trust, &found, &err) == -CT_EDENIED);
    free(file);
}

// ---- cgroups ----

static void check_container(const char *path)
{
    struct ct_container container;
    if (!ct_container_parse(path, &container)) {
        return;
    }
    size_t len = strlen(container.pod_uid);
    must(strlen(container.id) == 64 && strstr(path, container.id) != NULL);
    must((len == 32 || len == 36) && strspn(container.pod_uid, "0123456789abcdef-") == len);
    must(strstr(path, "kubepods") != NULL);
}

static void as_cgroup(const char *data, size_t len)
{
    struct ct_cgroup_place place;
    CT_AUTO_STR text = strndup(data, len);
    must(text != NULL);
    check_container(text);
    for (int unified = 0; unified < 2; unified++) {
        struct ct_err err = {0};
        int rc = ct_cgroup_parse(text, "/cg", unified != 0, &place, &err);
        must(rc == -err.code && (rc == 0 || err.msg[0] != '\0'));
        if (rc < 0) {
            continue;
        }
        // Its folder is one below the root, by no way around.
        CT_AUTO_STR components = NULL;
        must(place.path[0] == '/' && strstr(text, place.path) != NULL);
        must(strncmp(place.folder, "/cg/", 4) == 0 &&
             asprintf(&components, "%s/", place.folder) > 0 && strstr(components, "/../") == NULL);
        check_container(place.path);
    }
}

// ---- attackers ----

static json_t *parse_whole(const char *text, size_t len)
{
    json_t *value = json_loadb(text, len, 0, NULL);
    must(json_is_object(value));
    return value;
}

// Whatever an attacker calls itself, a line stays one line of JSON and says what the kernel says.
static void as_event(const char *data, size_t len)
{
    static char line[1 << 16];
    struct ct_event event = {.vector = CT_V_PTRACE, .tier = CT_TIER_LSM, .tgid = 4711};
    struct ct_event_about about = {.node = "node", .program = line};
    memcpy(event.comm, data, len < sizeof(event.comm) ? len : sizeof(event.comm));
    memcpy(event.exe, data, len < sizeof(event.exe) ? len : sizeof(event.exe));
    (void)snprintf(line, sizeof(line), "%.*s", (int)len, data);
    (void)snprintf(about.attacker.path, sizeof(about.attacker.path), "%.511s", line);
    (void)snprintf(about.attacker.pod, sizeof(about.attacker.pod), "uid");
    about.victim = about.attacker;
    int fd = file_of("", 0);
    struct ct_lines lines = {.fd = fd};
    if (ct_event_write(&event, &about, &lines)) {
        ssize_t n = pread(fd, line, sizeof(line), 0);
        must(n > 0 && memchr(line, '\n', (size_t)n) == line + n - 1);
        CT_AUTO_JSON told = parse_whole(line, (size_t)n);
        must(json_integer_value(ct_json_at(told, "attacker", "pid", NULL)) == 4711);
    }
    CT_AUTO_BUF out = {.max = 8192};
    const struct ct_pod_event gathered = {
        .pod = {.namespace = "apps", .name = "pod", .uid = "uid"}, .last = event, .count = 1};
    ct_pod_event_write(&gathered, "node", 1, &out);
    must(!out.failed);
    CT_AUTO_JSON told = parse_whole(out.data, out.len);
    must(json_string_length(json_object_get(told, "message")) <= 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const takers[])(const char *, size_t) = {as_token, as_program, as_cgroup,
                                                           as_event};
    if (size == 0) {
        return 0;
    }
    takers[data[0] % 4]((const char *)data + 1, size - 1);
    return 0;
}
