// SPDX-License-Identifier: Apache-2.0
//
// Keeps the Vault token alive beside a running app: renewed at about two thirds of its life, replaced
// by a login where it cannot be renewed any longer, was revoked or has ended. What fails is tried again
// for as long as the app runs; what is told is changes for better or worse.
#ifndef CT_RENEWAL_H
#define CT_RENEWAL_H

#include <stdint.h>

#include "err.h"
#include "log.h"
#include "vault.h"

enum ct_renewal_action { CT_RENEWAL_LOOK_UP, CT_RENEWAL_RENEW, CT_RENEWAL_LOG_IN };

struct ct_renewal {
    struct ct_vault *vault;
    void (*tell)(enum ct_log_level level, const char *sentence);
    bool by_login; // the token comes from a login; else from a file
    enum ct_renewal_action action;
    bool idle;           // nothing will ever be due
    uint64_t due_ms;     // CLOCK_MONOTONIC
    uint64_t end_ms;     // of the token
    unsigned long whole; // seconds of its life when it was new
    unsigned failures;   // in a row
    bool told_trouble;
    bool told_end;
};

// After the first login of `vault`, which is borrowed.
void ct_renewal_begin(struct ct_renewal *r, struct ct_vault *vault, bool by_login,
                      void (*tell)(enum ct_log_level level, const char *sentence));

// For struct ct_supervise_work; `cls` is the struct ct_renewal.
int ct_renewal_due_ms(void *cls);
void ct_renewal_run(void *cls);

#endif
