// SPDX-License-Identifier: Apache-2.0
//
// The certificate that a server shows, and its renewal while the server runs. Internal to ct_httpd.
#ifndef CT_HTTPD_TLS_H
#define CT_HTTPD_TLS_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "err.h"

// A certificate chain with its key, immutable and counted: one reference is the server's, one is held
// by each connection that may still sign with it.
struct ct_httpd_pair;

struct ct_httpd_tls;

// TLS 1.2 and 1.3 with forward secrecy and AEAD only; the fast curves and AES-128-GCM come first.
extern const char ct_httpd_tls_priorities[];

// Reads both PEM files. CT_ENOTFOUND, CT_EINVAL (malformed, expired makes no difference, key and
// certificate do not belong together), CT_ENOMEM.
CT_CHECKED int ct_httpd_tls_new(const char *cert, const char *key, struct ct_httpd_tls **ret,
                                struct ct_err *err);
// As ct_httpd_tls_new(), of PEM texts, which are not kept; ct_httpd_tls_reload() never finds them changed.
CT_CHECKED int ct_httpd_tls_of_text(const char *cert, const char *key, struct ct_httpd_tls **ret,
                                    struct ct_err *err);
// Puts another pair in their place for the handshakes to come. Any thread.
CT_CHECKED int ct_httpd_tls_replace(struct ct_httpd_tls *tls, const char *cert, const char *key,
                                    struct ct_err *err);
void ct_httpd_tls_free(struct ct_httpd_tls *tls);
CT_DEFINE_AUTO(ct_httpd_tls, ct_httpd_tls_free);

// As ct_httpd_reload_certificate().
CT_CHECKED int ct_httpd_tls_reload(struct ct_httpd_tls *tls, struct ct_err *err);
long long ct_httpd_tls_expiry(struct ct_httpd_tls *tls);
// Is this (DER) the server's own certificate of the pair in use?
bool ct_httpd_tls_shows(struct ct_httpd_tls *tls, const gnutls_datum_t *cert);

// Ties the pair in use to a session before its handshake. The session uses this very pair until it
// ends, when the caller gives the reference back. Thread-safe.
struct ct_httpd_pair *ct_httpd_tls_attach(struct ct_httpd_tls *tls, gnutls_session_t session);
void ct_httpd_pair_unref(struct ct_httpd_pair *pair);

// For MHD_OPTION_HTTPS_CERT_CALLBACK2 (a gnutls_certificate_retrieve_function3).
int ct_httpd_tls_callback(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                          gnutls_pcert_st **certs, unsigned int *n_certs,
                          gnutls_ocsp_data_st **ocsp, unsigned int *n_ocsp, gnutls_privkey_t *key,
                          unsigned int *flags);

#endif
