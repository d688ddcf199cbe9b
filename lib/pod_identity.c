// SPDX-License-Identifier: Apache-2.0
#include "pod_identity.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "json.h"
#include "text.h"

#define JWT_MAX 16384

static int value_of(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *found = c != '\0' ? strchr(alphabet, c) : NULL;
    return found != NULL ? (int)(found - alphabet) : -1;
}

// base64url without padding (RFC 7515). False when it is none, or too long for `out`.
static bool decode(const char *text, size_t len, struct ct_buf *out)
{
    uint32_t bits = 0;
    unsigned n = 0;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        n += 6;
        if (n >= 8) {
            n -= 8;
            const char byte = (char)(bits >> n & 0xff);
            ct_buf_add(out, &byte, 1);
        }
    }
    return !out->failed;
}

int ct_pod_identity_parse(const char *jwt, size_t len, struct ct_pod_identity *ret,
                          struct ct_err *err)
{
    CT_AUTO_SECRET_BUF claims = {.max = JWT_MAX, .secret = true};
    CT_AUTO_JSON doc = NULL;
    const char *begin = len > 0 ? memchr(jwt, '.', len) : NULL;
    const char *end =
        begin != NULL ? memchr(begin + 1, '.', len - (size_t)(begin + 1 - jwt)) : NULL;
    *ret = (struct ct_pod_identity){0};
    if (end == NULL || !decode(begin + 1, (size_t)(end - begin - 1), &claims) || claims.len == 0 ||
        ct_json_parse(claims.data, claims.len, "the token's claims", &doc, NULL) < 0) {
        return ct_err_set(err, CT_EPROTO, "this is no JWT");
    }
    const json_t *kubernetes = json_object_get(doc, "kubernetes.io");
    const char *space = ct_json_str(kubernetes, "namespace");
    const char *pod = ct_json_str(json_object_get(kubernetes, "pod"), "name");
    const char *uid = ct_json_str(json_object_get(kubernetes, "pod"), "uid");
    if (space == NULL || pod == NULL || !ct_text_is_label(space, strlen(space)) ||
        !ct_text_is_subdomain(pod, strlen(pod))) {
        return ct_err_set(err, CT_EPROTO, "this JWT names no pod");
    }
    (void)snprintf(ret->space, sizeof(ret->space), "%s", space);
    (void)snprintf(ret->pod, sizeof(ret->pod), "%s", pod);
    if (uid != NULL && strlen(uid) < sizeof(ret->uid) && ct_text_consists(uid, strlen(uid), "-")) {
        (void)snprintf(ret->uid, sizeof(ret->uid), "%s", uid);
    }
    return 0;
}

void ct_pod_identity_find(const char *path, struct ct_pod_identity *ret)
{
    CT_AUTO_SECRET_BUF file = {.max = JWT_MAX, .secret = true};
    *ret = (struct ct_pod_identity){0};
    if (path[0] != '\0' && ct_file_read(path, &file, NULL) == 0 && file.len > 0 &&
        ct_pod_identity_parse(file.data, file.len, ret, NULL) == 0) {
        return;
    }
    char host[sizeof(ret->pod)] = "";
    if (gethostname(host, sizeof(host) - 1) == 0 && ct_text_is_subdomain(host, strlen(host))) {
        memcpy(ret->pod, host, sizeof(ret->pod));
    }
}
