// SPDX-License-Identifier: Apache-2.0
//
// Keeps the Vault token alive beside a running app: renewed at about two thirds of its life, replaced
// by a login where it cannot be renewed any longer, was revoked or has ended. What fails is tried again
// for as long as the app runs - only a token of which Vault says that it has no end is left alone -
// and what is told is changes for better or worse.
#ifndef CT_RENEWAL_H
#define CT_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "log.h"
#include "vault.h"

enum ct_renewal_action { CT_RENEWAL_LOOK_UP, CT_RENEWAL_RENEW, CT_RENEWAL_LOG_IN };

struct ct_renewal_hooks {
    void (*tell)(void *cls, enum ct_log_level level, const char *sentence);
    void (*fresh_token)(void *cls); // another token is there: ct_vault_token()
    void *cls;
};

struct ct_renewal_counts {
    unsigned long renewed;
    unsigned long logged_in; // again; a token that is read from its file anew is none
    unsigned long failed;
};

struct ct_renewal {
    struct ct_vault *vault;
    const struct ct_renewal_hooks *hooks;
    bool by_login; // the token comes from a login; else from a file
    enum ct_renewal_action action;
    bool idle;           // the token has no end
    bool not_renewable;  // Vault refuses to renew tokens of this kind
    uint64_t due_ms;     // CLOCK_MONOTONIC
    uint64_t end_ms;     // of the token; UINT64_MAX: none is known
    unsigned long whole; // seconds of its life when it was new
    unsigned failures;   // in a row
    unsigned refusals;   // tokens in a row of which Vault neither renewed nor knew one
    bool doubted;        // a read was refused, and the token looked into
    bool told_trouble;
    bool told_end;
    struct ct_renewal_counts counts;
};

// After the first login of `vault`; both are borrowed.
void ct_renewal_begin(struct ct_renewal *r, struct ct_vault *vault, bool by_login,
                      const struct ct_renewal_hooks *hooks);

// Milliseconds until something is due; -1: never.
int ct_renewal_due_ms(const struct ct_renewal *r);
// Milliseconds until the token ends, 0 when it has; -1: it has no end, or none is known.
int64_t ct_renewal_left_ms(const struct ct_renewal *r);
// Does what is due; may take as long as Vault and the budget of retries let it.
void ct_renewal_run(struct ct_renewal *r);
// How a read with the token went. Where Vault refused it, asks - once until a read succeeds - whether the
// token is void, and replaces one that is at once: its renewal may be hours away. True: there is
// another, so that the read may be tried again.
bool ct_renewal_after_read(struct ct_renewal *r, int rc);

#endif
