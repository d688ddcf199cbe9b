// SPDX-License-Identifier: Apache-2.0
#include "mutate.h"

#include <string.h>

#include "inject.h"
#include "json.h"
#include "minimum.h"
#include "namespace.h"
#include "peek.h"
#include "pod.h"
#include "scratch.h"
#include "shape.h"
#include "trust.h"
#include "update.h"
#include "variables.h"
#include "vault.h"

#define MAX_PATCH ((size_t)16 << 20)
#define MAX_IDENTITY 4096

static const char *const outcome_names[CT_OUTCOME_COUNT] = {
    [CT_OUTCOME_SKIPPED] = "skipped",         [CT_OUTCOME_PATCHED] = "patched",
    [CT_OUTCOME_UNCHANGED] = "unchanged",     [CT_OUTCOME_DENIED] = "denied",
    [CT_OUTCOME_UNPROTECTED] = "unprotected",
};

static const char *const reason_names[CT_REASON_COUNT] = {
    [CT_REASON_NONE] = "none",           [CT_REASON_ANNOTATION] = "annotation",
    [CT_REASON_CONTAINER] = "container", [CT_REASON_COMMAND] = "command",
    [CT_REASON_REFERENCE] = "reference", [CT_REASON_EXPOSURE] = "exposure",
    [CT_REASON_RESERVED] = "reserved",   [CT_REASON_TAMPERED] = "tampered",
    [CT_REASON_ADDRESS] = "address",     [CT_REASON_PERMISSION] = "permission",
    [CT_REASON_SCORE] = "score",         [CT_REASON_EPHEMERAL] = "ephemeral",
    [CT_REASON_MALFORMED] = "malformed", [CT_REASON_NAMESPACE] = "namespace",
};

const char *ct_outcome_name(enum ct_outcome outcome)
{
    return outcome < CT_OUTCOME_COUNT ? outcome_names[outcome] : "unknown";
}

const char *ct_reason_name(enum ct_reason reason)
{
    return reason < CT_REASON_COUNT ? reason_names[reason] : "unknown";
}

static const char *const disposition_names[CT_DISPOSITION_COUNT] = {
    [CT_DISPOSITION_SKIPPED] = "skipped",   [CT_DISPOSITION_PATCHED] = "patched",
    [CT_DISPOSITION_ADMITTED] = "admitted", [CT_DISPOSITION_DENIED] = "denied",
    [CT_DISPOSITION_WARNED] = "warned",     [CT_DISPOSITION_AUDIT] = "audit",
};

enum ct_disposition ct_decision_disposition(const struct ct_decision *decision)
{
    static const enum ct_disposition plain[CT_OUTCOME_COUNT] = {
        [CT_OUTCOME_SKIPPED] = CT_DISPOSITION_SKIPPED,
        [CT_OUTCOME_PATCHED] = CT_DISPOSITION_PATCHED,
        [CT_OUTCOME_UNCHANGED] = CT_DISPOSITION_ADMITTED,
        [CT_OUTCOME_DENIED] = CT_DISPOSITION_DENIED,
        [CT_OUTCOME_UNPROTECTED] = CT_DISPOSITION_AUDIT,
    };
    if (decision->below_minimum && decision->outcome != CT_OUTCOME_DENIED) {
        return CT_DISPOSITION_WARNED;
    }
    bool excused = decision->outcome == CT_OUTCOME_UNCHANGED && decision->reason != CT_REASON_NONE;
    return excused ? CT_DISPOSITION_AUDIT : plain[decision->outcome];
}

const char *ct_disposition_name(enum ct_disposition disposition)
{
    return disposition < CT_DISPOSITION_COUNT ? disposition_names[disposition] : "unknown";
}

const char *ct_decision_word(const struct ct_decision *decision)
{
    return ct_disposition_name(ct_decision_disposition(decision));
}

void ct_mutate_init(void)
{
    ct_scratch_install();
}

static void case_done(struct ct_case *c)
{
    ct_annotations_done(&c->annotations);
    ct_buf_done(&c->warnings.text);
    ct_scratch_free(c->containers);
}

static void note_request(const struct ct_case *c, struct ct_decision *ret)
{
    const char *name = ct_json_str(c->metadata, "name");
    const char *generate = ct_json_str(c->metadata, "generateName");
    bool named = name != NULL && *name != '\0';
    (void)snprintf(ret->uid, sizeof(ret->uid), "%s", c->review.uid);
    (void)snprintf(ret->namespace, sizeof(ret->namespace), "%s", c->review.namespace);
    (void)snprintf(ret->operation, sizeof(ret->operation), "%s", c->review.operation);
    (void)snprintf(ret->user, sizeof(ret->user), "%s", c->review.user);
    ret->generated = !named && generate != NULL;
    (void)snprintf(ret->name, sizeof(ret->name), "%s",
                   named              ? name
                   : generate != NULL ? generate
                                      : "");
    ret->dry_run = c->review.dry_run;
}

// A score out of reach: under `warn` the pod is let in, and told; its wrapper then has no minimum to
// refuse by.
static int judge_score(struct ct_case *c, struct ct_decision *ret, struct ct_err *err)
{
    int r = ct_minimum_judge(c, err);
    ret->min_score = c->minimum.points;
    ret->candidates = c->minimum.candidates;
    ret->nodes_left_out = c->minimum.nodes_left_out;
    c->config.min_score = c->minimum.points;
    c->config.require = c->minimum.require;
    if (r != -CT_EDENIED || c->settings->mode != CT_MODE_WARN) {
        return r;
    }
    ret->below_minimum = true;
    ret->reason = c->reason;
    (void)snprintf(ret->sentence, sizeof(ret->sentence), "%s", err->msg);
    ct_warnings_add(&c->warnings, "cloudtaser: admitted below its minimum (mode warn): %s",
                    err->msg);
    c->config.min_score = 0;
    c->config.require = 0;
    return 0;
}

static void warn_of_age(struct ct_case *c)
{
    if (c->age_s >= CT_VIEW_OLD_S) {
        ct_warnings_add(
            &c->warnings,
            "cloudtaser: decided by the cluster's nodes and namespaces as they were %u s "
            "ago, for the API server has not answered the webhook since",
            c->age_s);
    }
}

// Everything about an opted-in pod's CREATE: 0 and a patch (perhaps empty), or a denial.
static int protect(struct ct_case *c, struct ct_patch *patch, struct ct_decision *ret,
                   struct ct_err *err)
{
    CT_AUTO_BUF identity = {.max = MAX_IDENTITY};
    int min = 0;
    int r = ct_annotations_parse(json_object_get(c->metadata, "annotations"), &c->annotations, err);
    if (r != 0) {
        return ct_case_refuse(c, CT_REASON_ANNOTATION, r);
    }
    r = ct_pod_read(c, err);
    if (r == 0) {
        r = ct_pod_choose(c, err);
    }
    if (r == 0) {
        r = ct_variables_check(c, &min, err);
    }
    if (r == 0) {
        r = ct_vault_configure(c, err);
    }
    if (r == 0) {
        ct_shape_write_identity(&c->annotations, &identity);
        r = identity.failed ? ct_err_set(err, CT_ENOMEM, "out of memory for the identity volume")
                            : ct_trust_check_shape(c, identity.data, err);
    }
    if (r == 0) {
        ct_minimum_collect(c, min);
        r = ct_namespace_raise(c, err);
    }
    if (r == 0) {
        r = judge_score(c, ret, err);
        if (c->observer != NULL) {
            c->observer->see(c->observer->cls, c);
        }
    }
    return r != 0 ? r : ct_inject(c, identity.data, patch, err);
}

// Does a string of the document hold a NUL? None of a pod does in earnest, and what follows one would
// be read by some programs and not by others. A backslash before the escape's own undoes it.
static bool holds_nul(const char *body, size_t len)
{
    static const char escape[] = "\\u0000";
    const char *end = body + len;
    for (const char *p = body; (p = memmem(p, (size_t)(end - p), escape, 6)) != NULL; p += 6) {
        size_t backslashes = 0;
        while (p - backslashes > body && p[-1 - (ptrdiff_t)backslashes] == '\\') {
            backslashes++;
        }
        if (backslashes % 2 == 0) {
            return true;
        }
    }
    return false;
}

// What is asked, and what of it concerns this webhook at all.
static int decide(struct ct_case *c, struct ct_patch *patch, struct ct_decision *ret,
                  struct ct_err *err)
{
    bool whole = *c->review.subresource == '\0';
    bool create = whole && strcmp(c->review.operation, "CREATE") == 0;
    bool update = whole && strcmp(c->review.operation, "UPDATE") == 0;
    bool ephemeral = strcmp(c->review.subresource, "ephemeralcontainers") == 0;
    const json_t *annotations = json_object_get(c->metadata, "annotations");
    ret->outcome = CT_OUTCOME_SKIPPED;
    if (!c->review.pod || (!create && !update && !ephemeral)) {
        return 0;
    }
    if (c->review.object == NULL) {
        return ct_case_deny(c, CT_REASON_MALFORMED, err, "the request holds no pod");
    }
    if (c->holds_nul && ct_annotations_opted_in(annotations, NULL) != 0) {
        return ct_case_deny(c, CT_REASON_MALFORMED, err, "a text of the pod holds a NUL character");
    }
    if (ephemeral || update) {
        return ephemeral ? ct_trust_check_ephemeral(c, err) : ct_update_check(c, err);
    }
    int opted = ct_annotations_opted_in(annotations, err);
    if (opted != 0) {
        warn_of_age(c);
    }
    if (opted < 0) {
        return ct_case_refuse(c, CT_REASON_ANNOTATION, opted);
    }
    int r = opted > 0 ? protect(c, patch, ret, err) : 0;
    if (opted > 0 && r == 0) {
        ret->outcome = patch->n > 0 ? CT_OUTCOME_PATCHED : CT_OUTCOME_UNCHANGED;
    }
    return r;
}

// Does the pod say that it has been through here, and look like it?
static bool carries_patch(const struct ct_case *c)
{
    const char *status =
        ct_json_str(json_object_get(c->metadata, "annotations"), CT_ANNOTATION_STATUS);
    return status != NULL && strcmp(status, CT_SHAPE_STATUS) == 0 && ct_trust_injected(c->spec);
}

// How audit lets pass what enforce would deny. Only a pod that is created, and not for a second time,
// lacks protection by that.
static void admit_by_audit(struct ct_case *c, const char *why, struct ct_decision *ret)
{
    bool create = strcmp(c->review.operation, "CREATE") == 0;
    bool carries = create && carries_patch(c);
    ret->outcome = carries ? CT_OUTCOME_UNCHANGED : CT_OUTCOME_UNPROTECTED;
    ct_warnings_add(&c->warnings, "cloudtaser: %s (mode audit): %s",
                    carries  ? "left unchanged, though it would be refused"
                    : create ? "admitted without protection"
                             : "admitted, though it would be refused",
                    why);
}

static void deny(struct ct_case *c, const struct ct_err *why, struct ct_buf *out,
                 struct ct_decision *ret)
{
    ret->reason = c->reason;
    (void)snprintf(ret->sentence, sizeof(ret->sentence), "%s", why->msg);
    if (c->settings->mode != CT_MODE_AUDIT) {
        char sentence[600];
        (void)snprintf(sentence, sizeof(sentence), "cloudtaser: %s", why->msg);
        ret->outcome = CT_OUTCOME_DENIED;
        ct_review_deny(c->review.uid, sentence, c->retry_s, &c->warnings, out);
        return;
    }
    admit_by_audit(c, why->msg, ret);
    ct_review_allow(c->review.uid, NULL, &c->warnings, out);
}

// Restored and copied pods come with what was injected into their original. Where that is no longer
// what would be injected, its author, who has written none of it, is told what to take away.
static void explain_copy(const struct ct_case *c, struct ct_err *why)
{
    if (c->reason == CT_REASON_TAMPERED && strcmp(c->review.operation, "CREATE") == 0 &&
        carries_patch(c)) {
        (void)ct_err_add(
            why, ". ", CT_EDENIED,
            "The pod looks like a copy of an injected one: remove annotation " CT_ANNOTATION_STATUS
            ", init container " CT_SHAPE_INJECTOR ", the volumes and mounts named " CT_SHAPE_VOLUME
            "*, " CT_CONFIG_VARIABLE ", and \"" CT_SHAPE_WRAPPER
            "\", \"--\" from each command; all of it is added anew");
    }
}

static int answer(struct ct_case *c, struct ct_buf *out, struct ct_decision *ret,
                  struct ct_err *err)
{
    struct ct_err why = {0};
    CT_AUTO_PATCH patch = {.text = {.max = MAX_PATCH}};
    int r = decide(c, &patch, ret, &why);
    if (r == -CT_EDENIED) {
        explain_copy(c, &why);
        deny(c, &why, out, ret);
    } else if (r == 0) {
        ct_review_allow(c->review.uid, &patch.text, &c->warnings, out);
    } else {
        return ct_err_set(err, (enum ct_code) - r, "%s", why.msg);
    }
    ret->warnings = c->warnings.n;
    return out->failed ? ct_err_set(err, CT_ENOMEM, "out of memory for the answer") : 0;
}

// A document that was read, or an answer that was found, while memory ran out is not to be believed.
static int check_memory(int r, struct ct_err *err)
{
    int failure = ct_scratch_failure();
    if (failure == -CT_ETOOBIG) {
        return ct_err_set(err, CT_ETOOBIG, "the request takes more than %zu MiB of memory",
                          CT_SCRATCH_MAX >> 20);
    }
    return failure != 0 ? ct_err_set(err, CT_ENOMEM, "out of memory for the request") : r;
}

static void copy_slice(const struct ct_slice *slice, char *out, size_t size)
{
    (void)snprintf(out, size, "%.*s", (int)(slice->len < size ? slice->len : size - 1),
                   slice->text != NULL ? slice->text : "");
}

// The short way for requests that plainly do not concern us; false: take the long one.
static bool skip_at_once(const char *body, size_t len, struct ct_buf *out, struct ct_decision *ret)
{
    struct ct_peek peek;
    struct ct_warnings none = {.n = 0};
    if (!ct_peek_skippable(body, len, &peek) || peek.uid.len >= sizeof(ret->uid)) {
        return false;
    }
    ret->outcome = CT_OUTCOME_SKIPPED;
    ret->dry_run = peek.dry_run;
    copy_slice(&peek.uid, ret->uid, sizeof(ret->uid));
    copy_slice(&peek.namespace, ret->namespace, sizeof(ret->namespace));
    copy_slice(&peek.operation, ret->operation, sizeof(ret->operation));
    copy_slice(&peek.user, ret->user, sizeof(ret->user));
    ret->generated = peek.name.len == 0 && peek.generate_name.text != NULL;
    copy_slice(ret->generated ? &peek.generate_name : &peek.name, ret->name, sizeof(ret->name));
    ct_review_allow(ret->uid, NULL, &none, out);
    return !out->failed;
}

// What cannot be read cannot be admitted: an error of HTTP would be, where the API server is told to
// ignore them. Go's JSON may hold what ours does not take, a NUL in a key for one. Leaves r as it is
// without a uid to answer with.
static int refuse_unread(struct ct_case *c, int r, const char *body, size_t len,
                         const struct ct_err *why, struct ct_buf *out, struct ct_decision *ret)
{
    struct ct_slice uid;
    if (!ct_peek_uid(body, len, &uid) || uid.len >= sizeof(ret->uid)) {
        return r;
    }
    copy_slice(&uid, ret->uid, sizeof(ret->uid));
    c->review.uid = ret->uid;
    c->review.operation = "";
    c->reason = CT_REASON_MALFORMED;
    ct_buf_reset(out);
    deny(c, why, out, ret);
    ret->warnings = c->warnings.n;
    return out->failed ? -CT_ENOMEM : 0;
}

int ct_mutate(const struct ct_webhook_settings *settings, const struct ct_nodes *nodes,
              const char *body, size_t len, struct ct_buf *out, struct ct_decision *ret,
              struct ct_err *err)
{
    const struct ct_view view = {.nodes = nodes};
    return ct_mutate_view(settings, &view, body, len, out, ret, err);
}

int ct_mutate_observed(const struct ct_webhook_settings *settings, const struct ct_nodes *nodes,
                       const char *body, size_t len, struct ct_buf *out, struct ct_decision *ret,
                       const struct ct_mutate_observer *observer, struct ct_err *err)
{
    const struct ct_view view = {.nodes = nodes, .observer = observer};
    return ct_mutate_view(settings, &view, body, len, out, ret, err);
}

int ct_mutate_view(const struct ct_webhook_settings *settings, const struct ct_view *view,
                   const char *body, size_t len, struct ct_buf *out, struct ct_decision *ret,
                   struct ct_err *err)
{
    struct ct_case c = {.settings = settings,
                        .nodes = view->nodes,
                        .namespaces = view->namespaces,
                        .age_s = view->age_s,
                        .observer = view->observer};
    struct ct_err why = {0};
    json_t *document = NULL;
    c.warnings.text.max = CT_WARNINGS_BYTES;
    memset(ret, 0, sizeof(*ret));
    ret->candidates = -1;
    ct_buf_reset(out);
    if (skip_at_once(body, len, out, ret)) {
        return 0;
    }
    ct_buf_reset(out);
    ct_scratch_open();
    int r = check_memory(ct_json_parse(body, len, "the body", &document, &why), &why);
    bool unread = r == -CT_EINVAL || r == -CT_ETOOBIG;
    if (r == 0) {
        r = ct_review_read(document, &c.review, &why);
    }
    if (r == 0) {
        c.holds_nul = holds_nul(body, len);
        c.metadata = json_object_get(c.review.object, "metadata");
        c.spec = json_object_get(c.review.object, "spec");
        note_request(&c, ret);
        r = check_memory(answer(&c, out, ret, &why), &why);
    }
    if (unread || r == -CT_ETOOBIG) {
        r = refuse_unread(&c, r, body, len, &why, out, ret);
    }
    if (r != 0) {
        ct_buf_reset(out);
        (void)ct_err_set(err, (enum ct_code) - r, "%s", why.msg);
    }
    case_done(&c);
    ct_scratch_close_json(document);
    return r;
}
