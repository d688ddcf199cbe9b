// SPDX-License-Identifier: Apache-2.0
//
// A certificate authority and a server's certificate of our own: ECDSA on P-256 (FIPS 186-5), X.509 v3
// (RFC 5280). Pure: no files, no network, and the time is the caller's.
#ifndef CT_CERTS_MAKE_H
#define CT_CERTS_MAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "err.h"

// All in PEM, malloc'd. The authorities in `ca`: the one whose key this is first, then those before it
// that may still have signed what somebody shows.
struct ct_certs_set {
    char *ca;
    char *ca_key;
    char *cert;
    char *key;
};

// Frees; keys are wiped. Zeroed afterwards.
void ct_certs_set_done(struct ct_certs_set *set);
#define CT_AUTO_CERTS_SET __attribute__((cleanup(ct_certs_set_done))) struct ct_certs_set

// What is wanted. Names are DNS names or IP addresses, the first one is the common name too.
struct ct_certs_plan {
    const char *const *names;
    size_t n_names;
    unsigned life_s; // of a certificate; an authority lives three times as long
};

// How long a new authority must have been known before it signs, for API servers to take it up; and how
// far back validity reaches, for clocks that are behind. Seconds.
unsigned ct_certs_settle_s(const struct ct_certs_plan *plan);
unsigned ct_certs_backdate_s(const struct ct_certs_plan *plan);

// A new authority and a certificate by it. CT_EINVAL (a name), CT_ENOMEM.
CT_CHECKED int ct_certs_make(const struct ct_certs_plan *plan, time_t now, struct ct_certs_set *ret,
                             struct ct_err *err);

// Puts the authorities of `others` (PEM; NULL is none) that have not ended behind those of the set: who
// shows a certificate by one of them stays believed. CT_ENOMEM.
CT_CHECKED int ct_certs_keep(struct ct_certs_set *set, const char *others, time_t now,
                             struct ct_err *err);

// Is the authority's half of it of use at this time: PEM, key and certificate belong together, valid?
// CT_EINVAL with a sentence otherwise. `set` members may be NULL (missing).
CT_CHECKED int ct_certs_check(const struct ct_certs_set *set, time_t now, struct ct_err *err);

enum ct_certs_change { CT_CERTS_SAME = 0, CT_CERTS_NEW_CERT = 1, CT_CERTS_NEW_CA = 2 };

// Makes what is due: at two thirds of its life an authority gets a successor, put before it; a
// certificate that is at two thirds of its own, or of no use (other names, another key, no authority of
// the set), is made anew, by a successor only once that has settled. `set` must have passed
// ct_certs_check(). Returns enum ct_certs_change bits, or negative; `set` is unchanged then.
CT_CHECKED int ct_certs_renew(const struct ct_certs_plan *plan, time_t now,
                              struct ct_certs_set *set, struct ct_err *err);

// When the certificate ends; 0 when it is none.
time_t ct_certs_end(const char *cert_pem);

#endif
