// SPDX-License-Identifier: Apache-2.0
#include "review.h"

#include <stdarg.h>
#include <string.h>

#include "json.h"

#define CONTINUED "…" // where a sentence is cut, and where it goes on

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static bool text_is(const json_t *object, const char *key, const char *text)
{
    return strcmp(or_empty(ct_json_str(object, key)), text) == 0;
}

int ct_review_read(const json_t *document, struct ct_review *ret, struct ct_err *err)
{
    memset(ret, 0, sizeof(*ret));
    ret->uid = ret->operation = ret->subresource = ret->namespace = ret->user = "";
    if (!text_is(document, "apiVersion", "admission.k8s.io/v1") ||
        !text_is(document, "kind", "AdmissionReview")) {
        return ct_err_set(
            err, CT_EINVAL,
            "the body is no admission.k8s.io/v1 AdmissionReview (apiVersion \"%.80s\", "
            "kind \"%.80s\")",
            or_empty(ct_json_str(document, "apiVersion")), or_empty(ct_json_str(document, "kind")));
    }
    const json_t *request = json_object_get(document, "request");
    if (!json_is_object(request)) {
        return ct_err_set(err, CT_EINVAL, "the AdmissionReview has no request");
    }
    ret->uid = or_empty(ct_json_str(request, "uid"));
    if (*ret->uid == '\0') {
        return ct_err_set(err, CT_EINVAL, "the AdmissionReview's request has no uid");
    }
    const json_t *kind = json_object_get(request, "kind");
    const json_t *resource = json_object_get(request, "resource");
    const json_t *object = json_object_get(request, "object");
    const json_t *old_object = json_object_get(request, "oldObject");
    ret->operation = or_empty(ct_json_str(request, "operation"));
    ret->user = or_empty(ct_json_str(json_object_get(request, "userInfo"), "username"));
    ret->subresource = or_empty(ct_json_str(request, "subResource"));
    ret->namespace = or_empty(ct_json_str(request, "namespace"));
    ret->pod = text_is(kind, "group", "") && text_is(kind, "version", "v1") &&
               text_is(kind, "kind", "Pod") && text_is(resource, "resource", "pods");
    ret->dry_run = json_is_true(json_object_get(request, "dryRun"));
    ret->object = json_is_object(object) ? object : NULL;
    ret->old_object = json_is_object(old_object) ? old_object : NULL;
    return 0;
}

// Length of the UTF-8 sequence at p, 0 when it is none. Sentences are cut by bytes where they are
// made, and quote what others wrote.
static size_t utf8_length(const unsigned char *p)
{
    size_t len = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : 4;
    if (len == 1) {
        return 1;
    }
    if (*p < 0xc2 || *p > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90);
    bool outside = (*p == 0xed && p[1] > 0x9f) || (*p == 0xf4 && p[1] > 0x8f);
    return overlong || outside ? 0 : len;
}

static void make_utf8(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p != '\0';) {
        size_t len = utf8_length(p);
        if (len == 0) {
            *p = '?';
            len = 1;
        }
        p += len;
    }
}

static void add_piece(struct ct_warnings *w, const char *text, size_t len)
{
    size_t before = w->text.len;
    if (w->n >= CT_WARNINGS_MAX) {
        return;
    }
    if (w->n > 0) {
        ct_buf_add_str(&w->text, ",");
    }
    ct_buf_add_json(&w->text, text, len);
    if (w->text.failed) {
        w->text.len = before; // without the comma; nothing more is taken
        return;
    }
    w->n++;
}

// Where to cut a text that is too long for one piece: behind a space, else between characters.
static size_t piece_length(const char *text, size_t max)
{
    size_t len = strlen(text);
    if (len <= max) {
        return len;
    }
    for (size_t i = max; i > max / 2; i--) {
        if (text[i - 1] == ' ') {
            return i;
        }
    }
    while (max > 1 && ((unsigned char)text[max] & 0xc0) == 0x80) {
        max--;
    }
    return max;
}

void ct_warnings_add(struct ct_warnings *w, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    make_utf8(text);
    const char *before = "";
    for (const char *p = text; *p != '\0';) {
        char piece[CT_WARNING_BYTES + 1];
        size_t room = CT_WARNING_BYTES - strlen(before);
        bool last = strlen(p) <= room;
        size_t len = last ? strlen(p) : piece_length(p, room - strlen(CONTINUED));
        int n =
            snprintf(piece, sizeof(piece), "%s%.*s%s", before, (int)len, p, last ? "" : CONTINUED);
        add_piece(w, piece, n > 0 ? (size_t)n : 0);
        p += len;
        before = CONTINUED " ";
    }
}

static void start(const char *uid, bool allowed, struct ct_buf *out)
{
    ct_buf_add_str(out, "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\","
                        "\"response\":{\"uid\":");
    ct_buf_add_json(out, uid, strlen(uid));
    ct_buf_add_str(out, allowed ? ",\"allowed\":true" : ",\"allowed\":false");
}

static void finish(const struct ct_warnings *warnings, struct ct_buf *out)
{
    if (warnings->n > 0) {
        ct_buf_add_str(out, ",\"warnings\":[");
        ct_buf_add(out, warnings->text.data, warnings->text.len);
        ct_buf_add_str(out, "]");
    }
    ct_buf_add_str(out, "}}");
}

void ct_review_allow(const char *uid, const struct ct_buf *patch,
                     const struct ct_warnings *warnings, struct ct_buf *out)
{
    start(uid, true, out);
    if (patch != NULL && patch->len > 0) {
        ct_buf_add_str(out, ",\"patchType\":\"JSONPatch\",\"patch\":\"");
        ct_buf_add_base64(out, patch->data, patch->len);
        ct_buf_add_str(out, "\"");
    }
    finish(warnings, out);
}

void ct_review_deny(const char *uid, const char *sentence, unsigned retry_s,
                    const struct ct_warnings *warnings, struct ct_buf *out)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "%s", sentence);
    make_utf8(text);
    start(uid, false, out);
    ct_buf_add_str(out, ",\"status\":{\"status\":\"Failure\",");
    if (retry_s > 0) {
        ct_buf_addf(out,
                    "\"code\":503,\"reason\":\"ServiceUnavailable\","
                    "\"details\":{\"retryAfterSeconds\":%u},\"message\":",
                    retry_s);
    } else {
        ct_buf_add_str(out, "\"code\":403,\"reason\":\"Forbidden\",\"message\":");
    }
    ct_buf_add_json(out, text, strlen(text));
    ct_buf_add_str(out, "}");
    finish(warnings, out);
}
