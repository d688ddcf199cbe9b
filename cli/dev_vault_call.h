// SPDX-License-Identifier: Apache-2.0
//
// One request to the development Vault on its way through the handlers, under the lock. Internal to
// ct_dev_vault.
#ifndef CT_CLI_DEV_VAULT_CALL_H
#define CT_CLI_DEV_VAULT_CALL_H

#include "dev_vault_store.h"
#include "httpd.h"

struct ct_dev_call {
    struct ct_dev_store *store;
    const struct ct_httpd_request *request;
    struct ct_httpd_reply *reply;
    const char *rest;           // of the path, behind the route's prefix
    struct ct_dev_token *token; // the caller's; NULL where none is asked for
};

// {"errors": [error]}; NULL for none.
void ct_dev_fail(struct ct_dev_call *call, unsigned status, const char *error);
// Takes the reference.
void ct_dev_answer(struct ct_dev_call *call, json_t *doc);

// The handlers of logins, tokens and wrapped answers.
void ct_dev_login_jwt(struct ct_dev_call *call); // kubernetes and jwt: the JWT is not verified
void ct_dev_login_approle(struct ct_dev_call *call);
void ct_dev_role_id(struct ct_dev_call *call);
void ct_dev_secret_id(struct ct_dev_call *call); // wrapped when X-Vault-Wrap-TTL asks for it
void ct_dev_wrapping_lookup(struct ct_dev_call *call);
void ct_dev_unwrap(struct ct_dev_call *call);
void ct_dev_lookup_self(struct ct_dev_call *call);
void ct_dev_renew_self(struct ct_dev_call *call);
void ct_dev_revoke_self(struct ct_dev_call *call);

#endif
