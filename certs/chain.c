// SPDX-License-Identifier: Apache-2.0
#include "chain.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

void ct_certs_chain_done(struct ct_certs_chain *chain)
{
    for (size_t i = 0; i < chain->n; i++) {
        X509_free(chain->certs[i]);
    }
    chain->n = 0;
}

static int no_passphrase(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

void ct_certs_read_chain(const char *pem, struct ct_certs_chain *ret)
{
    BIO *bio = pem != NULL ? BIO_new_mem_buf(pem, -1) : NULL;
    X509 *cert = NULL;
    ret->n = 0;
    while (bio != NULL && ret->n < CT_CERTS_MAX_CA &&
           (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        ret->certs[ret->n++] = cert;
    }
    // Behind the last one there is nothing more that begins; anything else is damage.
    unsigned long why = ERR_peek_last_error();
    if (cert == NULL && ret->n > 0 && ERR_GET_REASON(why) != PEM_R_NO_START_LINE) {
        ct_certs_chain_done(ret);
    }
    ERR_clear_error();
    BIO_free(bio);
}

EVP_PKEY *ct_certs_read_key(const char *pem)
{
    BIO *bio = pem != NULL ? BIO_new_mem_buf(pem, -1) : NULL;
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    ERR_clear_error();
    BIO_free(bio);
    return key;
}

// Takes the BIO; what it held is wiped with it.
static char *text_of(BIO *bio, int ok)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    char *text = ok == 1 && len > 0 ? strndup(data, (size_t)len) : NULL;
    if (len > 0) {
        explicit_bzero(data, (size_t)len);
    }
    BIO_free(bio);
    return text;
}

char *ct_certs_write_chain(const struct ct_certs_chain *chain)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int ok = bio != NULL;
    for (size_t i = 0; i < chain->n && ok == 1; i++) {
        ok = PEM_write_bio_X509(bio, chain->certs[i]);
    }
    return bio != NULL ? text_of(bio, ok) : NULL;
}

char *ct_certs_write_key(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    return bio != NULL ? text_of(bio, PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
                       : NULL;
}

static time_t seconds(const ASN1_TIME *when)
{
    struct tm tm = {0};
    return ASN1_TIME_to_tm(when, &tm) == 1 ? timegm(&tm) : 0;
}

time_t ct_certs_begins(const X509 *cert)
{
    return seconds(X509_get0_notBefore(cert));
}

time_t ct_certs_ends(const X509 *cert)
{
    return seconds(X509_get0_notAfter(cert));
}
