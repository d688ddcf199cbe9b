// SPDX-License-Identifier: Apache-2.0
//
// OpenSSL's certificates and keys to and from PEM. Internal to ct_certs.
#ifndef CT_CERTS_CHAIN_H
#define CT_CERTS_CHAIN_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <time.h>

#include "cleanup.h"

#define CT_CERTS_MAX_CA 8

struct ct_certs_chain {
    X509 *certs[CT_CERTS_MAX_CA];
    size_t n;
};

static inline void ct_certs_free_x509(X509 **x)
{
    X509_free(*x);
}

static inline void ct_certs_free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

void ct_certs_chain_done(struct ct_certs_chain *chain);

#define CT_AUTO_X509 __attribute__((cleanup(ct_certs_free_x509))) X509 *
#define CT_AUTO_PKEY __attribute__((cleanup(ct_certs_free_key))) EVP_PKEY *
#define CT_AUTO_CHAIN __attribute__((cleanup(ct_certs_chain_done))) struct ct_certs_chain

// As many certificates as there are, CT_CERTS_MAX_CA at most; n is 0 when there is none, or one of them
// cannot be read. NULL is no text.
void ct_certs_read_chain(const char *pem, struct ct_certs_chain *ret);
// NULL when there is none that can be read. Encrypted ones cannot.
EVP_PKEY *ct_certs_read_key(const char *pem);
// malloc'd; NULL when memory is out.
char *ct_certs_write_chain(const struct ct_certs_chain *chain);
char *ct_certs_write_key(EVP_PKEY *key);

time_t ct_certs_begins(const X509 *cert);
time_t ct_certs_ends(const X509 *cert);

#endif
