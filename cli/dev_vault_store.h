// SPDX-License-Identifier: Apache-2.0
//
// What the development Vault keeps, in ordinary memory: roles, tokens and secrets.
// Not thread-safe: the server holds one lock around everything.
#ifndef CT_DEV_VAULT_STORE_H
#define CT_DEV_VAULT_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "err.h"

#define CT_DEV_VAULT_TOKEN 32
#define CT_DEV_VAULT_TTL 3600 // seconds

enum ct_dev_kind {
    CT_DEV_TOKEN,
    CT_DEV_SECRET_ID, // of approle: no token, and good for a login only
    CT_DEV_WRAPPING,  // gives `wrapped` away, once
};

struct ct_dev_token {
    char text[128]; // filled with NULs to its end, so that a comparison always covers all of it
    char role[64];  // "root" for the root token
    enum ct_dev_kind kind;
    time_t expiry; // 0: never
    json_t *wrapped;
    char made_by[160]; // path of the request that a wrapping token answers
};

struct ct_dev_store {
    json_t
        *secrets; // path below the mount -> array of versions: {"data": {…}|null, "created_time"}
    json_t *plain; // KV version 1: path below its mount -> object of keys
    json_t *roles; // name -> array of path prefixes that its tokens may read
    struct ct_dev_token *tokens;
    size_t n_tokens;
};

// A root token of the caller's choice, or a random one when it is NULL or "". CT_ENOMEM, CT_ESYSTEM.
CT_CHECKED int ct_dev_store_init(struct ct_dev_store *store, const char *root_token,
                                 struct ct_err *err);
void ct_dev_store_done(struct ct_dev_store *store);

// "NAME" (may read everything) or "NAME=PREFIX,PREFIX". CT_EINVAL.
CT_CHECKED int ct_dev_store_role(struct ct_dev_store *store, const char *text, struct ct_err *err);
// A file {"PATH": {"KEY": "VALUE"} or an array of such versions}. CT_EINVAL and ct_file_read()'s.
CT_CHECKED int ct_dev_store_load(struct ct_dev_store *store, const char *file, struct ct_err *err);

// A new token (or secret id, or wrapping token) for a role, from getrandom(2), for `ttl` seconds.
// Expired ones make room. NULL when there is none left.
struct ct_dev_token *ct_dev_store_issue(struct ct_dev_store *store, const char *role,
                                        enum ct_dev_kind kind, time_t ttl);
// The one of that kind with that text, compared in constant time; NULL when unknown or expired.
struct ct_dev_token *ct_dev_store_find(struct ct_dev_store *store, const char *text,
                                       enum ct_dev_kind kind);
// Ends it at once. Never the root token.
void ct_dev_store_revoke(struct ct_dev_token *token);
bool ct_dev_store_may_read(const struct ct_dev_store *store, const struct ct_dev_token *token,
                           const char *path);

// Appends a version (data NULL: a deletion) and returns its number; 0 when out of memory.
size_t ct_dev_store_put(struct ct_dev_store *store, const char *path, json_t *data);
// Version `n` of a path (0: the latest), borrowed, NULL when there is none; *ret is its number.
json_t *ct_dev_store_get(const struct ct_dev_store *store, const char *path, size_t n, size_t *ret);

#endif
