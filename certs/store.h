// SPDX-License-Identifier: Apache-2.0
//
// The webhook's certificates where all its replicas find them: a Secret; and the authorities where the
// API server looks for them: the caBundle of every entry of the webhook's registration.
#ifndef CT_CERTS_STORE_H
#define CT_CERTS_STORE_H

#include "kube.h"
#include "make.h"

struct ct_certs_place {
    const char *namespace;
    const char *secret;        // its keys: ca.crt, ca.key, tls.crt, tls.key
    const char *configuration; // name of a MutatingWebhookConfiguration
};

// What a round has done, bits.
enum ct_certs_event {
    CT_CERTS_CREATED = 1,        // the Secret was not there, or was empty
    CT_CERTS_REPLACED = 2,       // it was of no use: `why` says
    CT_CERTS_RENEWED = 4,        // a new certificate was put into it
    CT_CERTS_SUCCEEDED = 8,      // a new authority was
    CT_CERTS_ADOPTED = 16,       // somebody else had changed it
    CT_CERTS_PATCHED = 32,       // a caBundle was not what it must be
    CT_CERTS_CONFLICT = 64,      // somebody else was quicker: nothing is lost, call again
    CT_CERTS_UNREGISTERED = 128, // the configuration does not exist
};

// One round. `set` is what is in use (made by ct_certs_make() in the beginning). The Secret is read, or
// created from `set`; what is due is renewed in it, on the very version that was read; then every caBundle
// is made to hold the Secret's authorities, and only then `set` becomes what the Secret holds: a
// certificate comes into use when the API server has been told of its authority.
// Returns enum ct_certs_event bits, or negative with a sentence; `set` is as before then, unless what it
// holds is about to end. Sentences: `why` for CT_CERTS_REPLACED, `err` for errors.
CT_CHECKED int ct_certs_round(struct ct_kube *kube, const struct ct_certs_place *place,
                              const struct ct_certs_plan *plan, time_t now,
                              struct ct_certs_set *set, struct ct_err *why, struct ct_err *err);

#endif
