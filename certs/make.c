// SPDX-License-Identifier: Apache-2.0
#include "make.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "buf.h"
#include "chain.h"

#define CA_LIVES 3
#define SETTLE_S 60
#define BACKDATE_S 300

static void wipe_str(char **s)
{
    if (*s != NULL) {
        explicit_bzero(*s, strlen(*s));
        free(*s);
        *s = NULL;
    }
}

void ct_certs_set_done(struct ct_certs_set *set)
{
    wipe_str(&set->ca);
    wipe_str(&set->ca_key);
    wipe_str(&set->cert);
    wipe_str(&set->key);
}

unsigned ct_certs_settle_s(const struct ct_certs_plan *plan)
{
    return plan->life_s / 6 < SETTLE_S ? plan->life_s / 6 : SETTLE_S;
}

unsigned ct_certs_backdate_s(const struct ct_certs_plan *plan)
{
    return plan->life_s / 10 < BACKDATE_S ? plan->life_s / 10 : BACKDATE_S;
}

static int no_memory(struct ct_err *err)
{
    return ct_err_set(err, CT_ENOMEM, "OpenSSL cannot make a certificate, or memory is out");
}

// ---- making ----

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    // 127 bits: positive, and at most 20 octets (RFC 5280, 4.1.2.2).
    bool ok = number != NULL && BN_rand(number, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return ok;
}

static bool set_name(X509 *cert, const char *common)
{
    X509_NAME *name = X509_get_subject_name(cert);
    // A common name holds 64 characters at most; who asks looks at the alternative names.
    int len = (int)strnlen(common, 64);
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"cloudtaser",
                                      -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common, len,
                                      -1, 0) == 1;
}

// All but the extensions and the signature.
static X509 *start_cert(const char *common, EVP_PKEY *key, time_t from, time_t to)
{
    X509 *cert = X509_new();
    if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        set_name(cert, common) && X509_set_pubkey(cert, key) == 1 &&
        X509_time_adj(X509_getm_notBefore(cert), 0, &from) != NULL &&
        X509_time_adj(X509_getm_notAfter(cert), 0, &to) != NULL) {
        return cert;
    }
    X509_free(cert);
    return NULL;
}

static int make_ca(const struct ct_certs_plan *plan, time_t now, EVP_PKEY *key, X509 **ret,
                   struct ct_err *err)
{
    char name[64];
    // Of its own, so that nobody mistakes it for its predecessor.
    (void)snprintf(name, sizeof(name), "cloudtaser-webhook-ca-%lld", (long long)now);
    CT_AUTO_X509 ca = start_cert(name, key, now - ct_certs_backdate_s(plan),
                                 now + (time_t)plan->life_s * CA_LIVES);
    if (ca == NULL || X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1 ||
        !add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(ca, ca, NID_subject_key_identifier, "hash") ||
        X509_sign(ca, key, EVP_sha256()) == 0) {
        return no_memory(err);
    }
    *ret = ct_steal(&ca);
    return 0;
}

static bool is_address(const char *name)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int list_names(const struct ct_certs_plan *plan, struct ct_buf *out, struct ct_err *err)
{
    for (size_t i = 0; i < plan->n_names; i++) {
        const char *name = plan->names[i];
        size_t len = strlen(name);
        // A comma or a colon would end this name and begin another.
        bool plain =
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.*") ==
            len;
        if (len == 0 || len > 253 || !(plain || is_address(name))) {
            return ct_err_set(err, CT_EINVAL, "\"%.100s\" is no DNS name and no IP address", name);
        }
        ct_buf_addf(out, "%s%s:%s", i > 0 ? "," : "", is_address(name) ? "IP" : "DNS", name);
    }
    return plan->n_names == 0 ? ct_err_set(err, CT_EINVAL, "a certificate needs a name at least")
                              : (out->failed ? no_memory(err) : 0);
}

static int make_cert(const struct ct_certs_plan *plan, time_t now, X509 *ca, EVP_PKEY *ca_key,
                     struct ct_certs_set *set, struct ct_err *err)
{
    CT_AUTO_BUF names = {.max = 65536};
    int rc = list_names(plan, &names, err);
    if (rc < 0) {
        return rc;
    }
    CT_AUTO_PKEY key = EVP_EC_gen("P-256");
    time_t end = now + (time_t)plan->life_s;
    end = end < ct_certs_ends(ca) ? end : ct_certs_ends(ca);
    CT_AUTO_X509 cert =
        key != NULL ? start_cert(plan->names[0], key, now - ct_certs_backdate_s(plan), end) : NULL;
    if (cert == NULL || X509_set_issuer_name(cert, X509_get_subject_name(ca)) != 1 ||
        !add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") ||
        !add_extension(cert, ca, NID_ext_key_usage, "serverAuth") ||
        !add_extension(cert, ca, NID_subject_key_identifier, "hash") ||
        !add_extension(cert, ca, NID_authority_key_identifier, "keyid:always") ||
        !add_extension(cert, ca, NID_subject_alt_name, names.data) ||
        X509_sign(cert, ca_key, EVP_sha256()) == 0) {
        return no_memory(err);
    }
    const struct ct_certs_chain one = {.certs = {cert}, .n = 1};
    CT_AUTO_STR cert_text = ct_certs_write_chain(&one);
    char *key_text = ct_certs_write_key(key);
    if (cert_text == NULL || key_text == NULL) {
        wipe_str(&key_text);
        return no_memory(err);
    }
    wipe_str(&set->cert);
    wipe_str(&set->key);
    set->cert = ct_steal(&cert_text);
    set->key = key_text;
    return 0;
}

// Puts authorities that have not ended, and are not in it yet, behind those of a chain; borrows them.
static void append(struct ct_certs_chain *chain, const struct ct_certs_chain *more, time_t now)
{
    for (size_t i = 0; i < more->n && chain->n < CT_CERTS_MAX_CA; i++) {
        X509 *ca = more->certs[i];
        bool wanted = X509_check_ca(ca) == 1 && ct_certs_ends(ca) > now;
        for (size_t k = 0; k < chain->n && wanted; k++) {
            wanted = X509_cmp(chain->certs[k], ca) != 0;
        }
        if (wanted) {
            chain->certs[chain->n++] = ca;
        }
    }
}

// Puts a new authority before those of the set that have not ended.
static int add_ca(const struct ct_certs_plan *plan, time_t now, struct ct_certs_set *set,
                  struct ct_err *err)
{
    CT_AUTO_CHAIN old = {.n = 0};
    CT_AUTO_PKEY key = EVP_EC_gen("P-256");
    CT_AUTO_X509 ca = NULL;
    int rc = key != NULL ? make_ca(plan, now, key, &ca, err) : no_memory(err);
    if (rc < 0) {
        return rc;
    }
    ct_certs_read_chain(set->ca, &old);
    struct ct_certs_chain all = {.certs = {ca}, .n = 1}; // borrows
    append(&all, &old, now);
    CT_AUTO_STR text = ct_certs_write_chain(&all);
    char *key_text = ct_certs_write_key(key);
    if (text == NULL || key_text == NULL) {
        wipe_str(&key_text);
        return no_memory(err);
    }
    wipe_str(&set->ca);
    wipe_str(&set->ca_key);
    set->ca = ct_steal(&text);
    set->ca_key = key_text;
    return 0;
}

static int sign_anew(const struct ct_certs_plan *plan, time_t now, struct ct_certs_set *set,
                     struct ct_err *err)
{
    CT_AUTO_CHAIN chain = {.n = 0};
    ct_certs_read_chain(set->ca, &chain);
    CT_AUTO_PKEY key = ct_certs_read_key(set->ca_key);
    return chain.n > 0 && key != NULL ? make_cert(plan, now, chain.certs[0], key, set, err)
                                      : no_memory(err);
}

int ct_certs_make(const struct ct_certs_plan *plan, time_t now, struct ct_certs_set *ret,
                  struct ct_err *err)
{
    CT_AUTO_CERTS_SET set = {0};
    int rc = add_ca(plan, now, &set, err);
    rc = rc == 0 ? sign_anew(plan, now, &set, err) : rc;
    if (rc == 0) {
        *ret = set;
        set = (struct ct_certs_set){0};
    }
    return rc;
}

int ct_certs_keep(struct ct_certs_set *set, const char *others, time_t now, struct ct_err *err)
{
    CT_AUTO_CHAIN own = {.n = 0};
    CT_AUTO_CHAIN more = {.n = 0};
    ct_certs_read_chain(set->ca, &own);
    ct_certs_read_chain(others, &more);
    struct ct_certs_chain all = own; // borrows
    append(&all, &more, now);
    if (all.n == own.n) {
        return 0;
    }
    char *text = ct_certs_write_chain(&all);
    if (text == NULL) {
        return no_memory(err);
    }
    free(set->ca);
    set->ca = text;
    return 0;
}

// ---- judging ----

int ct_certs_check(const struct ct_certs_set *set, time_t now, struct ct_err *err)
{
    CT_AUTO_CHAIN chain = {.n = 0};
    ct_certs_read_chain(set->ca, &chain);
    if (chain.n == 0) {
        return ct_err_set(err, CT_EINVAL, "ca.crt holds no certificate in PEM");
    }
    CT_AUTO_PKEY key = ct_certs_read_key(set->ca_key);
    if (key == NULL) {
        return ct_err_set(err, CT_EINVAL, "ca.key holds no private key in PEM");
    }
    X509 *ca = chain.certs[0];
    if (X509_check_private_key(ca, key) != 1) {
        return ct_err_set(err, CT_EINVAL,
                          "ca.key does not belong to the first certificate of ca.crt");
    }
    if (X509_check_ca(ca) != 1) {
        return ct_err_set(err, CT_EINVAL, "the first certificate of ca.crt is no authority's");
    }
    if (ct_certs_begins(ca) > now || ct_certs_ends(ca) <= now) {
        return ct_err_set(err, CT_EINVAL, "the first certificate of ca.crt %s",
                          ct_certs_ends(ca) <= now ? "has ended" : "is not valid yet");
    }
    return 0;
}

static bool has_names(X509 *cert, const struct ct_certs_plan *plan)
{
    for (size_t i = 0; i < plan->n_names; i++) {
        const char *name = plan->names[i];
        if ((is_address(name) ? X509_check_ip_asc(cert, name, 0)
                              : X509_check_host(cert, name, 0, 0, NULL)) != 1) {
            return false;
        }
    }
    return true;
}

static bool usable(X509 *cert, const char *key_pem, const struct ct_certs_chain *authorities,
                   const struct ct_certs_plan *plan, time_t now)
{
    CT_AUTO_PKEY key = ct_certs_read_key(key_pem);
    if (key == NULL || X509_check_private_key(cert, key) != 1 || !has_names(cert, plan) ||
        ct_certs_begins(cert) > now || ct_certs_ends(cert) <= now) {
        return false;
    }
    for (size_t i = 0; i < authorities->n; i++) {
        X509 *ca = authorities->certs[i];
        if (X509_check_issued(ca, cert) == X509_V_OK &&
            X509_verify(cert, X509_get0_pubkey(ca)) == 1) {
            return true;
        }
    }
    return false;
}

static bool is_late(const X509 *cert, time_t now)
{
    time_t begin = ct_certs_begins(cert);
    return now - begin >= (ct_certs_ends(cert) - begin) / 3 * 2;
}

int ct_certs_renew(const struct ct_certs_plan *plan, time_t now, struct ct_certs_set *set,
                   struct ct_err *err)
{
    CT_AUTO_CHAIN authorities = {.n = 0};
    CT_AUTO_CHAIN own = {.n = 0};
    int change = CT_CERTS_SAME;
    ct_certs_read_chain(set->ca, &authorities);
    ct_certs_read_chain(set->cert, &own);
    if (authorities.n == 0) {
        return ct_err_set(err, CT_EINVAL, "ca.crt holds no certificate in PEM");
    }
    X509 *ca = authorities.certs[0];
    X509 *cert = own.n > 0 ? own.certs[0] : NULL;
    bool good = cert != NULL && usable(cert, set->key, &authorities, plan, now);
    time_t known = now - ct_certs_begins(ca) - ct_certs_backdate_s(plan);
    bool settled = known >= (time_t)ct_certs_settle_s(plan);
    // With a good one at hand there is time to wait for the successor to be known everywhere.
    if (!good || (is_late(cert, now) && settled)) {
        int rc = sign_anew(plan, now, set, err);
        if (rc < 0) {
            return rc;
        }
        change |= CT_CERTS_NEW_CERT;
    }
    if (is_late(ca, now)) {
        int rc = add_ca(plan, now, set, err);
        change |= rc == 0 ? CT_CERTS_NEW_CA : 0;
        if (rc < 0 && change == CT_CERTS_SAME) {
            return rc;
        }
    }
    return change;
}

time_t ct_certs_end(const char *cert_pem)
{
    CT_AUTO_CHAIN chain = {.n = 0};
    ct_certs_read_chain(cert_pem, &chain);
    return chain.n > 0 ? ct_certs_ends(chain.certs[0]) : 0;
}
