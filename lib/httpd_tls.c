// SPDX-License-Identifier: Apache-2.0
#include "httpd_tls.h"

#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "file.h"
#include "stamp.h"

#define MAX_CHAIN 16
#define MAX_FILE (256 * 1024)

const char ct_httpd_tls_priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
    ":-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA"
    ":-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD"
    ":-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1"
    ":%SERVER_PRECEDENCE";

struct ct_httpd_pair {
    atomic_uint refs;
    long long expiry;
    gnutls_privkey_t key;
    unsigned n_certs;
    gnutls_pcert_st certs[MAX_CHAIN];
};
CT_DEFINE_AUTO(ct_httpd_pair, ct_httpd_pair_unref);

struct ct_httpd_tls {
    char *cert_path;
    char *key_path;
    struct ct_stamp cert_stamp;
    struct ct_stamp key_stamp;
    pthread_mutex_t lock; // guards `current`: taking a reference must not race with its replacement
    struct ct_httpd_pair *current;
};

void ct_httpd_pair_unref(struct ct_httpd_pair *pair)
{
    if (pair == NULL || atomic_fetch_sub_explicit(&pair->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < pair->n_certs; i++) {
        gnutls_pcert_deinit(&pair->certs[i]);
    }
    if (pair->key != NULL) {
        gnutls_privkey_deinit(pair->key);
    }
    free(pair);
}

// The chain as parsed, before it is copied into a pair.
struct chain {
    gnutls_x509_crt_t *certs;
    unsigned n;
};

static void chain_done(struct chain *chain)
{
    for (unsigned i = 0; i < chain->n; i++) {
        gnutls_x509_crt_deinit(chain->certs[i]);
    }
    gnutls_free(chain->certs);
}

static void key_done(gnutls_x509_privkey_t *key)
{
    if (*key != NULL) {
        gnutls_x509_privkey_deinit(*key);
    }
}

static gnutls_datum_t datum_of(const struct ct_buf *buf)
{
    return (gnutls_datum_t){.data = (unsigned char *)buf->data, .size = (unsigned)buf->len};
}

CT_CHECKED static int read_chain(const struct ct_buf *pem, const char *path, struct chain *ret,
                                 struct ct_err *err)
{
    gnutls_datum_t datum = datum_of(pem);
    int status = gnutls_x509_crt_list_import2(&ret->certs, &ret->n, &datum, GNUTLS_X509_FMT_PEM,
                                              GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (status < 0) {
        ret->certs = NULL;
        ret->n = 0;
        return ct_err_set(err, CT_EINVAL,
                          "%s holds no certificate chain in PEM, the server's own first: %s", path,
                          gnutls_strerror(status));
    }
    if (ret->n > MAX_CHAIN) {
        return ct_err_set(err, CT_ETOOBIG, "%s holds %u certificates, at most %d are taken", path,
                          ret->n, MAX_CHAIN);
    }
    return 0;
}

CT_CHECKED static int read_key(const struct ct_buf *pem, const char *path,
                               gnutls_x509_privkey_t *ret, struct ct_err *err)
{
    if (gnutls_x509_privkey_init(ret) < 0) {
        *ret = NULL;
        return ct_err_set(err, CT_ENOMEM, "out of memory while reading %s", path);
    }
    gnutls_datum_t datum = datum_of(pem);
    int status = gnutls_x509_privkey_import2(*ret, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (status < 0) {
        return ct_err_set(err, CT_EINVAL, "%s holds no private key in PEM without a passphrase: %s",
                          path, gnutls_strerror(status));
    }
    return 0;
}

// Does the key belong to the certificate? A key's id is the hash of its public half.
static bool belong_together(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
    unsigned char of_cert[64];
    unsigned char of_key[64];
    size_t cert_len = sizeof(of_cert);
    size_t key_len = sizeof(of_key);
    return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, of_cert, &cert_len) == 0 &&
           gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len) == 0 &&
           cert_len == key_len && memcmp(of_cert, of_key, cert_len) == 0;
}

CT_CHECKED static int make_pair(const struct chain *chain, gnutls_x509_privkey_t key,
                                struct ct_httpd_pair **ret, struct ct_err *err)
{
    CT_AUTO(ct_httpd_pair) *pair = calloc(1, sizeof(*pair));
    if (pair == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for a certificate");
    }
    atomic_init(&pair->refs, 1);
    pair->expiry = (long long)gnutls_x509_crt_get_expiration_time(chain->certs[0]);
    for (unsigned i = 0; i < chain->n; i++) {
        int status = gnutls_pcert_import_x509(&pair->certs[i], chain->certs[i], 0);
        if (status < 0) {
            return ct_err_set(err, CT_EINVAL, "certificate %u cannot be used: %s", i + 1,
                              gnutls_strerror(status));
        }
        pair->n_certs = i + 1;
    }
    if (gnutls_privkey_init(&pair->key) < 0) {
        pair->key = NULL;
        return ct_err_set(err, CT_ENOMEM, "out of memory for a private key");
    }
    int status = gnutls_privkey_import_x509(pair->key, key, GNUTLS_PRIVKEY_IMPORT_COPY);
    if (status < 0) {
        return ct_err_set(err, CT_EINVAL, "the private key cannot be used: %s",
                          gnutls_strerror(status));
    }
    *ret = ct_steal(&pair);
    return 0;
}

// The names are for sentences.
CT_CHECKED static int pair_of(const struct ct_buf *cert, const char *cert_name,
                              const struct ct_buf *key, const char *key_name,
                              struct ct_httpd_pair **ret, struct ct_err *err)
{
    __attribute__((cleanup(chain_done))) struct chain chain = {0};
    __attribute__((cleanup(key_done))) gnutls_x509_privkey_t private = NULL;
    int r = read_chain(cert, cert_name, &chain, err);
    if (r == 0) {
        r = read_key(key, key_name, &private, err);
    }
    if (r < 0) {
        return r;
    }
    if (!belong_together(chain.certs[0], private)) {
        return ct_err_set(err, CT_EINVAL,
                          "the private key %s does not belong to the certificate %s", key_name,
                          cert_name);
    }
    return make_pair(&chain, private, ret, err);
}

CT_CHECKED static int load_pair(const struct ct_httpd_tls *tls, struct ct_httpd_pair **ret,
                                struct ct_err *err)
{
    CT_AUTO_BUF cert = {.max = MAX_FILE};
    CT_AUTO_SECRET_BUF key = {.max = MAX_FILE};
    int r = ct_file_read(tls->cert_path, &cert, err);
    if (r == 0) {
        r = ct_file_read(tls->key_path, &key, err);
    }
    return r < 0 ? r : pair_of(&cert, tls->cert_path, &key, tls->key_path, ret, err);
}

static void put_in_use(struct ct_httpd_tls *tls, struct ct_httpd_pair *fresh)
{
    (void)pthread_mutex_lock(&tls->lock);
    struct ct_httpd_pair *old = tls->current;
    tls->current = fresh;
    (void)pthread_mutex_unlock(&tls->lock);
    ct_httpd_pair_unref(old);
}

int ct_httpd_tls_replace(struct ct_httpd_tls *tls, const char *cert, const char *key,
                         struct ct_err *err)
{
    const struct ct_buf cert_text = {.data = (char *)(uintptr_t)cert, .len = strlen(cert)};
    const struct ct_buf key_text = {.data = (char *)(uintptr_t)key, .len = strlen(key)};
    struct ct_httpd_pair *fresh = NULL;
    int r = pair_of(&cert_text, "in memory", &key_text, "in memory", &fresh, err);
    if (r == 0) {
        put_in_use(tls, fresh);
    }
    return r;
}

int ct_httpd_tls_of_text(const char *cert, const char *key, struct ct_httpd_tls **ret,
                         struct ct_err *err)
{
    CT_AUTO(ct_httpd_tls) *tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for TLS");
    }
    (void)pthread_mutex_init(&tls->lock, NULL);
    int r = ct_httpd_tls_replace(tls, cert, key, err);
    if (r == 0) {
        *ret = ct_steal(&tls);
    }
    return r;
}

void ct_httpd_tls_free(struct ct_httpd_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    ct_httpd_pair_unref(tls->current);
    (void)pthread_mutex_destroy(&tls->lock);
    free(tls->cert_path);
    free(tls->key_path);
    free(tls);
}

int ct_httpd_tls_new(const char *cert, const char *key, struct ct_httpd_tls **ret,
                     struct ct_err *err)
{
    CT_AUTO(ct_httpd_tls) *tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for TLS");
    }
    (void)pthread_mutex_init(&tls->lock, NULL);
    tls->cert_path = strdup(cert);
    tls->key_path = strdup(key);
    if (tls->cert_path == NULL || tls->key_path == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for TLS");
    }
    int r = ct_httpd_tls_reload(tls, err);
    if (r < 0) {
        return r;
    }
    *ret = ct_steal(&tls);
    return 0;
}

int ct_httpd_tls_reload(struct ct_httpd_tls *tls, struct ct_err *err)
{
    if (tls->cert_path == NULL) {
        return 0;
    }
    struct ct_stamp cert = ct_stamp_of(tls->cert_path);
    struct ct_stamp key = ct_stamp_of(tls->key_path);
    if (tls->current != NULL && ct_stamp_equal(&cert, &tls->cert_stamp) &&
        ct_stamp_equal(&key, &tls->key_stamp)) {
        return 0;
    }
    // Remembered before the attempt: a bad pair is refused once, not each second.
    tls->cert_stamp = cert;
    tls->key_stamp = key;
    struct ct_httpd_pair *fresh = NULL;
    int r = load_pair(tls, &fresh, err);
    if (r < 0) {
        return r;
    }
    put_in_use(tls, fresh);
    return 1;
}

long long ct_httpd_tls_expiry(struct ct_httpd_tls *tls)
{
    (void)pthread_mutex_lock(&tls->lock);
    long long expiry = tls->current->expiry;
    (void)pthread_mutex_unlock(&tls->lock);
    return expiry;
}

bool ct_httpd_tls_shows(struct ct_httpd_tls *tls, const gnutls_datum_t *cert)
{
    (void)pthread_mutex_lock(&tls->lock);
    const gnutls_datum_t *own = &tls->current->certs[0].cert;
    bool same = own->size == cert->size && memcmp(own->data, cert->data, cert->size) == 0;
    (void)pthread_mutex_unlock(&tls->lock);
    return same;
}

struct ct_httpd_pair *ct_httpd_tls_attach(struct ct_httpd_tls *tls, gnutls_session_t session)
{
    (void)pthread_mutex_lock(&tls->lock);
    struct ct_httpd_pair *pair = tls->current;
    atomic_fetch_add_explicit(&pair->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&tls->lock);
    // The session's own pointer belongs to libmicrohttpd; that of its session cache is free, for no
    // cache is kept.
    gnutls_db_set_ptr(session, pair);
    return pair;
}

int ct_httpd_tls_callback(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                          gnutls_pcert_st **certs, unsigned int *n_certs,
                          gnutls_ocsp_data_st **ocsp, unsigned int *n_ocsp, gnutls_privkey_t *key,
                          unsigned int *flags)
{
    (void)info;
    struct ct_httpd_pair *pair = gnutls_db_get_ptr(session);
    if (pair == NULL) {
        return -1;
    }
    *certs = pair->certs;
    *n_certs = pair->n_certs;
    *ocsp = NULL;
    *n_ocsp = 0;
    *key = pair->key;
    *flags = 0; // everything stays ours
    return 0;
}
