// SPDX-License-Identifier: Apache-2.0
//
// What the author asks for when a secret has another value at Vault than the app was started with:
// how often to look, and what to do.
#ifndef CT_ON_CHANGE_H
#define CT_ON_CHANGE_H

#include "err.h"

#define CT_REFRESH_LEAST_S 30UL
#define CT_REFRESH_MOST_S (7 * 86400UL)

enum ct_reaction { CT_REACTION_KEEP, CT_REACTION_SIGNAL, CT_REACTION_RESTART };

struct ct_on_change {
    enum ct_reaction reaction;
    int signal; // for CT_REACTION_SIGNAL
};

// "keep", "signal:SIGHUP" (also "signal:HUP"; those that a program may handle and is not stopped by),
// "restart". CT_EINVAL says what is allowed; `what` begins the sentence.
CT_CHECKED int ct_on_change_parse(const char *what, const char *text, struct ct_on_change *ret,
                                  struct ct_err *err);

// "90s", "5m", "2h": seconds from CT_REFRESH_LEAST_S to CT_REFRESH_MOST_S. CT_EINVAL.
CT_CHECKED int ct_refresh_parse(const char *what, const char *text, unsigned long *ret_seconds,
                                struct ct_err *err);

#endif
