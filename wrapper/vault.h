// SPDX-License-Identifier: Apache-2.0
//
// The wrapper's client for Vault and OpenBao: log in, read KV version 2 secrets, with retries within
// one budget. Token and answers live in the arena alone.
#ifndef CT_VAULT_H
#define CT_VAULT_H

#include <jansson.h>

#include "config.h"
#include "err.h"

struct ct_vault;
// `config` is borrowed for the client's life.
CT_CHECKED int ct_vault_new(const struct ct_config *config, struct ct_vault **ret,
                            struct ct_err *err);
void ct_vault_free(struct ct_vault *v); // wipes the token
CT_DEFINE_AUTO(ct_vault, ct_vault_free);

// kubernetes: POST auth/<path>/login with role and the service-account token, read afresh from its
// file; token: the file's content. CT_EDENIED when refused, CT_EUNAVAIL after retries.
CT_CHECKED int ct_vault_login(struct ct_vault *v, struct ct_err *err);
const char *ct_vault_token(const struct ct_vault *v); // NULL before login

// The newest (version 0) or one version of a KV v2 secret: the object of its keys, a new reference.
CT_CHECKED int ct_vault_read(struct ct_vault *v, const char *path, unsigned version, json_t **ret,
                             struct ct_err *err);

#endif
