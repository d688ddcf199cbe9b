// SPDX-License-Identifier: Apache-2.0
//
// A small server that speaks as much of Vault's HTTP API as development needs: logins by kubernetes,
// jwt and approle (with response-wrapped secret ids), tokens, KV version 2 at secret/ and version 1 at
// kv/. It keeps everything in memory and verifies no JWT.
#ifndef CT_DEV_VAULT_H
#define CT_DEV_VAULT_H

#include <pthread.h>

#include "dev_vault_store.h"
#include "httpd.h"

struct ct_dev_vault {
    struct ct_dev_store store;
    pthread_mutex_t lock; // around the store, for each request
};

// For ct_httpd_options, with the struct as `cls`.
extern const struct ct_httpd_route ct_dev_vault_routes[];
extern const size_t ct_dev_vault_n_routes;

#endif
