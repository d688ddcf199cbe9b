// SPDX-License-Identifier: Apache-2.0
#include "decide.h"

#include <string.h>

#include "json.h"

#define MAX_ANSWER ((size_t)64 << 20)

// The review that the API server would send for a pod made of this template.
static json_t *make_review(const struct ct_manifest_pod *pod)
{
    json_t *object = json_pack("{s:s,s:s,s:O*,s:O}", "apiVersion", "v1", "kind", "Pod", "metadata",
                               json_object_get(pod->template, "metadata"), "spec",
                               json_object_get(pod->template, "spec"));
    return json_pack("{s:s,s:s,s:{s:s,s:{s:s,s:s,s:s},s:{s:s,s:s,s:s},s:s,s:s,s:s,s:b,s:o}}",
                     "apiVersion", "admission.k8s.io/v1", "kind", "AdmissionReview", "request",
                     "uid", "manifest", "kind", "group", "", "version", "v1", "kind", "Pod",
                     "resource", "group", "", "version", "v1", "resource", "pods", "operation",
                     "CREATE", "name", pod->name, "namespace", pod->namespace, "dryRun", 1,
                     "object", object);
}

static int value_of_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

// The engine's own Base64 (padded, no breaks); what is no digit ends it.
static void decode(const char *text, struct ct_buf *out)
{
    unsigned bits = 0;
    unsigned n = 0;
    for (; value_of_digit(*text) >= 0; text++) {
        bits = (bits << 6 | (unsigned)value_of_digit(*text)) & 0xffff;
        n += 6;
        if (n >= 8) {
            n -= 8;
            char byte = (char)(bits >> n & 0xff);
            ct_buf_add(out, &byte, 1);
        }
    }
}

static int read_answer(const struct ct_buf *answer, struct ct_verdict *ret, struct ct_err *err)
{
    CT_AUTO_JSON document = NULL;
    CT_AUTO_BUF patch = {.max = MAX_ANSWER};
    int r = ct_json_parse(answer->data, answer->len, "the engine's answer", &document, err);
    const json_t *response = json_object_get(document, "response");
    const char *encoded = ct_json_str(response, "patch");
    ret->warnings = json_incref(json_object_get(response, "warnings"));
    if (r < 0 || encoded == NULL) {
        return r;
    }
    decode(encoded, &patch);
    if (patch.failed) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the patch");
    }
    return ct_json_parse(patch.data, patch.len, "the engine's patch", &ret->patch, err);
}

int ct_decide(const struct ct_webhook_settings *settings, const struct ct_nodes *nodes,
              const struct ct_nodes *namespaces, const struct ct_manifest_pod *pod,
              struct ct_verdict *ret, struct ct_err *err)
{
    CT_AUTO_JSON review = make_review(pod);
    CT_AUTO_STR body = review != NULL ? json_dumps(review, JSON_COMPACT) : NULL;
    CT_AUTO_BUF answer = {.max = MAX_ANSWER};
    const struct ct_mutate_observer observer = {.see = ct_story_see, .cls = &ret->story};
    const struct ct_view view = {
        .nodes = nodes,
        .namespaces = ct_nodes_find(namespaces, pod->namespace) != NULL ? namespaces : NULL,
        .observer = &observer,
    };
    if (body == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the review");
    }
    int r = ct_mutate_view(settings, &view, body, strlen(body), &answer, &ret->decision, err);
    if (r == 0 && ret->story.failed) {
        r = ct_err_set(err, CT_ENOMEM, "out of memory for the review");
    }
    return r == 0 ? read_answer(&answer, ret, err) : r;
}

void ct_verdict_done(struct ct_verdict *verdict)
{
    json_decref(verdict->patch);
    json_decref(verdict->warnings);
    ct_story_done(&verdict->story);
}
