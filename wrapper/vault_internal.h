// SPDX-License-Identifier: Apache-2.0
//
// Inside of vault.h: the client's state and its one way to ask, for the files it is made of.
#ifndef CT_VAULT_INTERNAL_H
#define CT_VAULT_INTERNAL_H

#include <stdint.h>

#include "http.h"
#include "vault.h"

#define CT_VAULT_URL_MAX 4096
#define CT_VAULT_CONNECTION_ROOM ((size_t)256 << 10)
#define CT_VAULT_ADDRESSES_MAX 512 // of a name's addresses as text

struct ct_vault {
    const struct ct_config *config;
    struct ct_vault_hooks hooks;
    struct ct_http *http; // NULL while disconnected
    // Strings in the arena, as all of malloc in the wrapper; NULL while there is none.
    char *token;
    char *credential; // what the login sends: kept while connected, to be recognised in answers
    char *wrapping;   // the wrapping token that was used up for secret_id
    char *secret_id;  // what it held, for a later login
    enum ct_exit_code exit_code;
    long status;                 // of the last exchange's answer; 0: none came
    struct ct_vault_lease lease; // of the token
    bool beside;                 // an app runs: ct_vault_go_on()
    // Where to connect, vault_connect.c: settled before the app is released.
    struct ct_http_trust *trust;             // NULL: not read yet, or nothing is verified
    char addresses[CT_VAULT_ADDRESSES_MAX];  // that Vault answered from; "": none yet
    char candidates[CT_VAULT_ADDRESSES_MAX]; // of the connection there is
    bool look_again;                         // the next connection's name is looked up
    uint64_t deadline_ms;                    // of the budget, CLOCK_MONOTONIC; 0: not started
    unsigned tries;                          // of the last exchange
};

// One thing asked of Vault. `refused_exit` is what a refusal ends the wrapper with: it tells a login
// from a read.
struct ct_vault_request {
    const char *url;
    const char *what; // "login by auth/kubernetes", "secret secret/data/db": begins each sentence
    const char *body; // NULL: GET
    size_t body_len;
    const char *token; // NULL: sent without one
    enum ct_exit_code refused_exit;
};

uint64_t ct_vault_chance_below(uint64_t n); // 0 to n - 1; not for secrets

// Wipes and frees a string, and forgets it. NULL is fine.
void ct_vault_wipe(char **s);

// Makes v->http unless it is there. CT_EUNAVAIL when the name cannot be looked up. Sets the exit code
// after an error.
CT_CHECKED int ct_vault_connect(struct ct_vault *v, struct ct_err *err);
// Tells whether a complete answer came over the connection: that decides where the next one goes.
void ct_vault_connection_used(struct ct_vault *v, bool answered);

// "ADDRESS/v1/PATH" + query, the path escaped. CT_ETOOBIG.
CT_CHECKED int ct_vault_make_url(struct ct_vault *v, const char *path, const char *query, char *out,
                                 size_t size, struct ct_err *err);

// Asks, within the budget of retries. 0 for an answer of status 200, or 404 to a read; the caller
// frees it. Sets the client's exit code after an error.
CT_CHECKED int ct_vault_exchange(struct ct_vault *v, const struct ct_vault_request *rq,
                                 struct ct_http_answer *ret, struct ct_err *err);

#endif
