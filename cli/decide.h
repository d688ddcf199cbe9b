// SPDX-License-Identifier: Apache-2.0
//
// Asks the webhook's decision engine about the pod of a manifest, as the API server would.
#ifndef CT_CLI_DECIDE_H
#define CT_CLI_DECIDE_H

#include <jansson.h>

#include "manifest.h"
#include "mutate.h"
#include "story.h"

// Zero-initialise; free with ct_verdict_done().
struct ct_verdict {
    struct ct_decision decision;
    json_t *patch;    // array of operations on the template; NULL: none
    json_t *warnings; // array of strings; NULL: none
    struct ct_story story;
};

// By what is known of the cluster; either may be NULL. A namespace that is not among `namespaces` has no
// label yet. A denial is no error: see verdict->decision. Negative when the engine cannot answer: the
// pod takes too much memory, or there is none.
CT_CHECKED int ct_decide(const struct ct_webhook_settings *settings, const struct ct_nodes *nodes,
                         const struct ct_nodes *namespaces, const struct ct_manifest_pod *pod,
                         struct ct_verdict *ret, struct ct_err *err);
void ct_verdict_done(struct ct_verdict *verdict);
#define CT_AUTO_VERDICT __attribute__((cleanup(ct_verdict_done))) struct ct_verdict

#endif
