// SPDX-License-Identifier: Apache-2.0
//
// How the cluster is reached, and what its Secret holds: the first byte chooses a kubeconfig, or what somebody made of
// one of the webhook's four PEM texts.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kube_config.h"
#include "make.h"

#define NOW ((time_t)1800000000)
#define N_TEXTS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"webhook.example.com", "10.1.2.3"};
static const struct ct_certs_plan plan = {.names = names, .n_names = 2, .life_s = 30 * 86400};

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void as_kubeconfig(const char *data, size_t len)
{
    CT_AUTO_KUBE_CONFIG config = {0};
    struct ct_err err = {0};
    char path[64];
    int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
    must(fd >= 0 && (len == 0 || write(fd, data, len) == (ssize_t)len));
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = ct_kube_config_load(path, &config, &err);
    (void)close(fd);
    must(rc == -err.code);
    if (rc < 0) {
        must(err.msg[0] != '\0' && config.server == NULL && config.token == NULL);
        return;
    }
    must(strncmp(config.server, "http", 4) == 0);
    must(config.ca_pem == NULL || config.ca_file == NULL);
    must((config.cert_pem != NULL || config.cert_file != NULL) ==
         (config.key_pem != NULL || config.key_file != NULL));
}

// Members of a set in the order of their keys in the Secret.
static char **member(struct ct_certs_set *set, size_t i)
{
    char **const all[N_TEXTS] = {&set->ca, &set->ca_key, &set->cert, &set->key};
    return all[i % N_TEXTS];
}

static void copy(struct ct_certs_set *from, struct ct_certs_set *to)
{
    for (size_t i = 0; i < N_TEXTS; i++) {
        *member(to, i) = strdup(*member(from, i));
        must(*member(to, i) != NULL);
    }
}

// Three bytes each: where, in two of them, and what is put there.
static void edit(char *text, const unsigned char *edits, size_t len)
{
    for (; len >= 3 && *text != '\0'; edits += 3, len -= 3) {
        size_t at = (size_t)(edits[0] << 8 | edits[1]) % strlen(text);
        text[at] = (char)edits[2];
    }
}

// What can be used is used, and whatever is due is made in it; all else is said to be of no use.
static void check_set(struct ct_certs_set *set)
{
    struct ct_err err = {0};
    (void)ct_certs_end(set->cert);
    int rc = ct_certs_check(set, NOW, &err);
    must(rc == -err.code && (rc == 0 || err.msg[0] != '\0'));
    if (rc < 0) {
        return;
    }
    rc = ct_certs_renew(&plan, NOW, set, &err);
    must(rc >= 0 && ct_certs_check(set, NOW, &err) == 0);
    must(ct_certs_end(set->cert) > NOW && ct_certs_renew(&plan, NOW, set, &err) >= 0);
}

static void as_secret(const char *data, size_t len)
{
    static struct ct_certs_set good;
    CT_AUTO_CERTS_SET set = {0};
    struct ct_err err = {0};
    if (len < 2) {
        return;
    }
    if (good.ca == NULL) {
        must(ct_certs_make(&plan, NOW - 100, &good, &err) == 0);
    }
    copy(&good, &set);
    char **text = member(&set, (unsigned char)data[0]);
    if (data[1] == '@') {
        edit(*text, (const unsigned char *)data + 2, len - 2);
    } else {
        free(*text);
        *text = strndup(data + 1, len - 1);
        must(*text != NULL);
    }
    // What others had told is kept behind the good ones, as far as it is any.
    CT_AUTO_CERTS_SET keeping = {0};
    copy(&good, &keeping);
    must(ct_certs_keep(&keeping, *text, NOW, &err) == 0 &&
         ct_certs_check(&keeping, NOW, &err) == 0);
    check_set(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    (data[0] % 2 == 0 ? as_kubeconfig : as_secret)((const char *)data + 1, size - 1);
    return 0;
}
