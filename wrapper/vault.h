// SPDX-License-Identifier: Apache-2.0
//
// The wrapper's client for Vault and OpenBao: log in, read KV secrets of version 1 and 2, with
// retries within one budget. Token and answers live in the arena alone.
#ifndef CT_VAULT_H
#define CT_VAULT_H

#include <jansson.h>

#include "config.h"
#include "err.h"
#include "exit_code.h"
#include "http.h"
#include "vault_answer.h"

// How the client talks to the program around it; libraries never log. Any may be NULL.
struct ct_vault_hooks {
    // Looks a host name up, into "ADDRESS[,ADDRESS…]"; CT_EUNAVAIL. Without it the HTTP client does, and
    // no address is kept.
    int (*look_up)(void *cls, const char *host, char *ret, size_t size, struct ct_err *err);
    // A try failed for a reason that may pass (`why` says which); the next one follows in delay_ms.
    void (*retry)(void *cls, const struct ct_err *why, unsigned delay_ms);
    // Asked often while it waits: true gives everything up.
    bool (*stop)(void *cls);
    void *cls;
};

struct ct_vault;
// `config` and `hooks` are borrowed for the client's life; hooks may be NULL.
CT_CHECKED int ct_vault_new(const struct ct_config *config, const struct ct_vault_hooks *hooks,
                            struct ct_vault **ret, struct ct_err *err);
void ct_vault_free(struct ct_vault *v); // wipes the token
CT_DEFINE_AUTO(ct_vault, ct_vault_free);

// kubernetes, jwt: POST auth/<path>/login with role and the service-account token, read afresh from
// its file; approle: with the role id and the secret id that the file holds, or that the wrapping
// token in it is good for, once; token: the file's content. CT_EDENIED when refused, CT_EUNAVAIL after retries. The budget of
// retries starts here and is shared by the reads that follow.
CT_CHECKED int ct_vault_login(struct ct_vault *v, struct ct_err *err);
const char *ct_vault_token(const struct ct_vault *v); // NULL before login
// What is known of the token's life, as of the last login, renewal or look-up.
const struct ct_vault_lease *ct_vault_lease(const struct ct_vault *v);

// From now on with other hooks, beside a running app that may own /etc and thus every later look at it:
// certificate authorities stay as they were read, and requests go to the addresses that Vault answered
// from. Where the server's certificate is verified, its name is looked up again when these do
// not answer; elsewhere never, for nothing else would keep the token from whom the app names.
// A login that fails keeps the token there was.
void ct_vault_go_on(struct ct_vault *v, const struct ct_vault_hooks *hooks);

// POST auth/token/renew-self. CT_EDENIED when refused, CT_EUNAVAIL after retries; ct_vault_lease()
// tells the new lease.
CT_CHECKED int ct_vault_renew(struct ct_vault *v, struct ct_err *err);
// GET auth/token/lookup-self: the lease of a token that did not come from a login. Errors likewise.
CT_CHECKED int ct_vault_look_up(struct ct_vault *v, struct ct_err *err);

// Starts the budget of retries anew, for reads that do not follow a login.
void ct_vault_begin_budget(struct ct_vault *v);

// The newest (version 0) or one version of a secret, which only KV version 2 has: the object of its
// keys, a new reference.
CT_CHECKED int ct_vault_read(struct ct_vault *v, const char *path, unsigned version, json_t **ret,
                             struct ct_err *err);

// What the wrapper ends with after the last failure of this client: an error's code alone does not
// say whether Vault was not reached or refused. CT_EXIT_OTHER when the last call succeeded.
enum ct_exit_code ct_vault_exit_code(const struct ct_vault *v);

// Closes the connection and frees the HTTP client, so that nothing of TLS lingers; the token stays.
// A later request connects anew.
void ct_vault_disconnect(struct ct_vault *v);

#endif
