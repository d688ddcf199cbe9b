// SPDX-License-Identifier: Apache-2.0
//
// Keeps the webhook's own certificate true to its Secret, in a thread of its own.
#ifndef CT_WEBHOOK_RENEW_H
#define CT_WEBHOOK_RENEW_H

#include "store.h"

struct ct_renew;

struct ct_renew_options {
    struct ct_certs_place place; // its strings, and the plan's, must outlive the thread
    struct ct_certs_plan plan;
    // A certificate to be shown from now on; called in the thread. Negative: it is tried again.
    int (*use)(void *cls, const char *cert, const char *key, struct ct_err *err);
    void *cls;
};

// Starts the thread, which logs. On success `config` and `set` (what is in use now) are moved and left
// empty. CT_ENOMEM, CT_ESYSTEM.
CT_CHECKED int ct_renew_start(struct ct_kube_config *config, struct ct_certs_set *set,
                              const struct ct_renew_options *options, struct ct_renew **ret,
                              struct ct_err *err);
// Ends the thread and frees. NULL is fine.
void ct_renew_stop(struct ct_renew *renew);
CT_DEFINE_AUTO(ct_renew, ct_renew_stop);

// Has what is shown been in the Secret, is there a registration, and does each of its caBundles hold the
// authority? Any thread; why not is written to `trouble`, a sentence. While the API server does not
// answer that stays what it was.
bool ct_renew_ready(struct ct_renew *renew, char *trouble, size_t size);
// The authorities that callers are told of (PEM), malloc'd; NULL when memory is out. Any thread.
char *ct_renew_authorities(struct ct_renew *renew);

#endif
