// SPDX-License-Identifier: Apache-2.0
//
// Vault's answers, taken apart: bytes from the network in, typed results or a sentence out. No I/O,
// no state. What goes into a sentence is checked against what must stay secret.
#ifndef CT_VAULT_ANSWER_H
#define CT_VAULT_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define CT_VAULT_TOKEN_MAX 8192
#define CT_VAULT_QUOTE_MAX 200

// The strings that no sentence may hold, not even in part. Either may be NULL.
struct ct_vault_hidden {
    const char *token;
    const char *credential; // JWT, secret id or wrapping token
};

// May `text` be shown? False when it shares a run of 8 characters with a hidden string (or all of a
// shorter one), or holds what any token of Vault or any JWT begins with.
bool ct_vault_may_quote(const char *text, const struct ct_vault_hidden *hidden);

// Is this a token or JWT that can stand in a header? 1 to CT_VAULT_TOKEN_MAX characters, printable
// ASCII without spaces.
bool ct_vault_token_ok(const char *s);

// The "errors" of an answer, joined by "; ", as ": TEXT": at most CT_VAULT_QUOTE_MAX characters,
// control characters replaced; "" when there are none or when they must not be shown.
void ct_vault_quote_errors(const char *body, size_t len, const struct ct_vault_hidden *hidden,
                           char *out, size_t out_size);

// Does an answer of status 503 say that Vault is sealed?
bool ct_vault_says_sealed(const char *body, size_t len);

// How long a token lives, and whether that can be made longer.
struct ct_vault_lease {
    bool known;
    bool renewable;
    unsigned long seconds; // from when it was told; 0: for ever
};
#define CT_VAULT_LEASE_MAX 1000000000UL // about 30 years; what is longer is cut to it

// A login's or a renewal's answer: auth.client_token, and its lease unless `lease` is NULL. *ret is
// malloc'd (in the wrapper: the arena); wipe and free it. CT_EPROTO, CT_ENOMEM.
CT_CHECKED int ct_vault_parse_login(const char *body, size_t len, char **ret,
                                    struct ct_vault_lease *lease, struct ct_err *err);

// What a token says of itself: data.ttl and data.renewable. CT_EPROTO, CT_ENOMEM.
CT_CHECKED int ct_vault_parse_lookup(const char *body, size_t len, struct ct_vault_lease *ret,
                                     struct ct_err *err);

// The string data.KEY of an answer, malloc'd: wipe and free it. `what` begins the sentence. CT_EPROTO,
// CT_ENOMEM.
CT_CHECKED int ct_vault_parse_text(const char *body, size_t len, const char *what, const char *key,
                                   char **ret, struct ct_err *err);

// What is asked for, for the sentences and to check the answer's version against.
struct ct_vault_asked {
    const char *path;
    unsigned version; // 0: the newest
};

// A KV read's answer of status 200: the object of the secret's keys, a new reference. The engine's
// version is told from the answer, since only some tokens may read sys/internal/ui/mounts: version 2 is
// an object `data` of exactly two members, `data` (an object or null) and `metadata` with an integer
// `version`, a string `deletion_time` and a boolean `destroyed`; anything else is version 1, whose
// `data` holds the keys themselves. CT_ENOTFOUND for a deleted or destroyed version, CT_EINVAL when
// a version was asked of an engine that keeps none, CT_EPROTO for what is leased or no KV answer,
// CT_ENOMEM.
CT_CHECKED int ct_vault_parse_secret(const char *body, size_t len,
                                     const struct ct_vault_asked *asked, json_t **ret,
                                     struct ct_err *err);

// A read's answer of status 404: always an error, CT_ENOTFOUND; says whether the version was deleted,
// and what a KV version 2 path looks like when this one does not.
CT_CHECKED int ct_vault_parse_missing(const char *body, size_t len,
                                      const struct ct_vault_asked *asked, struct ct_err *err);

#endif
