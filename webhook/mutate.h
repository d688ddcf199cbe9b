// SPDX-License-Identifier: Apache-2.0
//
// The decision engine: from the bytes of an AdmissionReview to the bytes of its answer.
#ifndef CT_WEBHOOK_MUTATE_H
#define CT_WEBHOOK_MUTATE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "nodes.h"
#include "settings.h"

enum ct_outcome {
    CT_OUTCOME_SKIPPED,     // allowed, none of ours: not opted in, or no pod's CREATE
    CT_OUTCOME_PATCHED,     // allowed with a patch
    CT_OUTCOME_UNCHANGED,   // allowed: everything that a patch would add is there already
    CT_OUTCOME_DENIED,      // allowed: false
    CT_OUTCOME_UNPROTECTED, // audit: allowed without a patch though enforce would have denied it
    CT_OUTCOME_COUNT,
};

// Why a pod was denied (or would have been).
enum ct_reason {
    CT_REASON_NONE,
    CT_REASON_ANNOTATION, // unknown, malformed or contradictory annotation
    CT_REASON_CONTAINER,  // unknown container named, nothing to wrap, names that clash
    CT_REASON_COMMAND,    // a wrapped container has no command
    CT_REASON_REFERENCE,  // a malformed reference
    CT_REASON_EXPOSURE,   // a secret would end in a command line
    CT_REASON_RESERVED,   // variable, volume, path or name that is ours
    CT_REASON_TAMPERED,   // what looks injected differs from what would be
    CT_REASON_ADDRESS,    // Vault address missing or not allowed
    CT_REASON_PERMISSION, // needs the operator's permission
    CT_REASON_SCORE,      // the minimum cannot be reached
    CT_REASON_EPHEMERAL,  // an ephemeral container that reaches for our volumes
    CT_REASON_MALFORMED,  // the pod's object makes no sense
    CT_REASON_NAMESPACE,  // the namespace's label makes no sense, or the namespace is not known
    CT_REASON_COUNT,
};

// What was decided, for the log and for metrics. Plain data, no ownership.
struct ct_decision {
    enum ct_outcome outcome;
    enum ct_reason reason;
    unsigned warnings;   // in the answer
    int min_score;       // the minimum that held for the pod; 0: none
    bool below_minimum;  // mode warn: admitted though no node reaches the minimum
    bool nodes_left_out; // settings->without_nodes, and the nodes would have mattered
    int candidates;      // nodes that it may run on and that give what it needs; -1: nobody looked
    bool dry_run;
    char uid[64]; // of the request
    char operation[16];
    char user[128]; // who asks, by name
    char namespace[64];
    bool generated;      // `name` is metadata.generateName
    char name[256];      // metadata.name
    char sentence[1024]; // "" unless denied, unprotected or below the minimum
};

// What became of a request, for labels of metrics and for logs.
enum ct_disposition {
    CT_DISPOSITION_SKIPPED,  // allowed, none of ours
    CT_DISPOSITION_PATCHED,  // allowed with a patch
    CT_DISPOSITION_ADMITTED, // allowed: it is as it should be already
    CT_DISPOSITION_DENIED,
    CT_DISPOSITION_WARNED, // mode warn: allowed below its minimum
    CT_DISPOSITION_AUDIT,  // mode audit: allowed, though it would be denied
    CT_DISPOSITION_COUNT,
};
enum ct_disposition ct_decision_disposition(const struct ct_decision *decision);
const char *ct_disposition_name(enum ct_disposition disposition);
// Both in one: "patched".
const char *ct_decision_word(const struct ct_decision *decision);

// Short names: "patched", "score".
const char *ct_outcome_name(enum ct_outcome outcome);
const char *ct_reason_name(enum ct_reason reason);

// Installs jansson's allocation functions: a bump allocator while this module works on a request,
// malloc's otherwise (other uses of jansson in the process are not disturbed, whatever the thread).
// Call once, before the first use of jansson and before threads.
void ct_mutate_init(void);

// Decides on one request. `body` need not be NUL-terminated. `nodes` may be NULL (none is known:
// every minimum above the pod's own share is out of reach). `out` is reset, and holds the complete
// AdmissionReview answer afterwards: allowed, patched or denied (which is HTTP 200 too).
// JSON that cannot be read, or takes more memory than a request may, is denied if a uid is found in it.
// Negative for requests that cannot be answered: -CT_EINVAL (HTTP 400) such JSON without a uid, no
// request, no uid, another apiVersion or kind than admission.k8s.io/v1 AdmissionReview; -CT_ETOOBIG
// (413) too much memory, and no uid; -CT_ENOMEM (500). *ret is filled as far as it is known in every case.
// Thread-safe; settings and nodes are only read.
CT_CHECKED int ct_mutate(const struct ct_webhook_settings *settings, const struct ct_nodes *nodes,
                         const char *body, size_t len, struct ct_buf *out, struct ct_decision *ret,
                         struct ct_err *err);

struct ct_mutate_observer;

// What is known of the cluster as a request is decided.
struct ct_view {
    const struct ct_nodes *nodes; // NULL: none is known
    const struct ct_nodes
        *namespaces; // of ct_kind_namespace; NULL: labels are no source of the minimum
    unsigned age_s;  // so long ago the API server was last heard; 0: it is there
    const struct ct_mutate_observer *observer; // NULL: none
};

// Shown the case of an opted-in pod once its minimum is judged, whatever came of it; not called when
// the pod was refused before. Everything in the case is lent for the call, during which jansson
// allocates from the request's own memory: create nothing of jansson's that is to last.
struct ct_case;
struct ct_mutate_observer {
    void (*see)(void *cls, const struct ct_case *c);
    void *cls;
};

// ct_mutate() with all that may be known. What is old is said: in denials that nodes led to, and, from
// CT_VIEW_OLD_S on, as a warning in the answer about each opted-in pod.
#define CT_VIEW_OLD_S 10
CT_CHECKED int ct_mutate_view(const struct ct_webhook_settings *settings,
                              const struct ct_view *view, const char *body, size_t len,
                              struct ct_buf *out, struct ct_decision *ret, struct ct_err *err);

// ct_mutate() with somebody looking on. `observer` may be NULL.
CT_CHECKED int ct_mutate_observed(const struct ct_webhook_settings *settings,
                                  const struct ct_nodes *nodes, const char *body, size_t len,
                                  struct ct_buf *out, struct ct_decision *ret,
                                  const struct ct_mutate_observer *observer, struct ct_err *err);

#endif
