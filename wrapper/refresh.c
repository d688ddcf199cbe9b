// SPDX-License-Identifier: Apache-2.0
#include "refresh.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secmem.h"

struct known {
    char *name; // in the arena
    unsigned char digest[CT_REFRESH_DIGEST];
};

struct ct_refresh {
    const struct ct_plan *plan;
    struct ct_secret_source source;
    unsigned char key[CT_REFRESH_DIGEST];
    struct known *item;
    size_t n;
};

static void forget(struct known *item, size_t n)
{
    for (size_t i = 0; item != NULL && i < n; i++) {
        ct_arena_free(item[i].name);
    }
    ct_arena_free(item);
}

void ct_refresh_free(struct ct_refresh *r)
{
    if (r != NULL) {
        forget(r->item, r->n);
        explicit_bzero(r, sizeof(*r));
        ct_arena_free(r);
    }
}

static int digest(const struct ct_refresh *r, const struct ct_secrets *secrets, struct known **ret,
                  struct ct_err *err)
{
    struct known *item = ct_arena_calloc(secrets->n + 1, sizeof(*item));
    bool good = item != NULL;
    for (size_t i = 0; good && i < secrets->n; i++) {
        const struct ct_secret_variable *v = &secrets->item[i];
        unsigned len = 0;
        item[i].name = ct_arena_strdup(v->name);
        good = item[i].name != NULL &&
               HMAC(EVP_sha256(), r->key, sizeof(r->key), (const unsigned char *)v->value,
                    v->value_len, item[i].digest, &len) != NULL;
    }
    if (!good) {
        forget(item, secrets->n);
        return ct_err_set(err, CT_ENOMEM, "out of memory for the secrets' digests");
    }
    *ret = item;
    return 0;
}

int ct_refresh_new(const struct ct_plan *plan, const struct ct_secret_source *source,
                   const struct ct_secrets *secrets, struct ct_refresh **ret, struct ct_err *err)
{
    CT_AUTO(ct_refresh) *r = ct_arena_calloc(1, sizeof(*r));
    if (r == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the secrets' digests");
    }
    r->plan = plan;
    r->source = *source;
    if (RAND_bytes(r->key, sizeof(r->key)) != 1) {
        return ct_err_set(err, CT_ESYSTEM, "no random bytes");
    }
    int rc = digest(r, secrets, &r->item, err);
    if (rc < 0) {
        return rc;
    }
    r->n = secrets->n;
    *ret = ct_steal(&r);
    return 0;
}

static const struct known *find(const struct known *item, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(item[i].name, name) == 0) {
            return &item[i];
        }
    }
    return NULL;
}

static void add_name(char *names, size_t size, const char *name)
{
    size_t used = strlen(names);
    size_t len = strlen(name);
    if (used + len + 8 < size) {
        (void)snprintf(names + used, size - used, "%s%s", used > 0 ? ", " : "", name);
    } else if (strstr(names, ", …") == NULL) {
        (void)snprintf(names + used, size - used, ", …");
    }
}

// Changed or new ones of `a`; with `gone`, those that `b` does not have.
static size_t compare(const struct known *a, size_t n_a, const struct known *b, size_t n_b,
                      bool gone, char *names, size_t size)
{
    size_t found = 0;
    for (size_t i = 0; i < n_a; i++) {
        const struct known *other = find(b, n_b, a[i].name);
        bool differs = other == NULL ||
                       (!gone && CRYPTO_memcmp(a[i].digest, other->digest, CT_REFRESH_DIGEST) != 0);
        if (differs) {
            add_name(names, size, a[i].name);
            found++;
        }
    }
    return found;
}

int ct_refresh_look(struct ct_refresh *r, char *names, size_t size, struct ct_err *err)
{
    struct ct_secrets secrets = {0};
    struct known *item = NULL;
    names[0] = '\0';
    int rc = ct_plan_resolve(r->plan, &r->source, &secrets, err);
    if (rc == 0) {
        rc = digest(r, &secrets, &item, err);
    }
    size_t n = secrets.n;
    ct_secrets_done(&secrets);
    if (rc < 0) {
        return rc;
    }
    size_t found = compare(item, n, r->item, r->n, false, names, size) +
                   compare(r->item, r->n, item, n, true, names, size);
    forget(r->item, r->n);
    r->item = item;
    r->n = n;
    return found > 0 ? 1 : 0;
}
