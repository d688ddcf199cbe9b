// SPDX-License-Identifier: Apache-2.0
//
// What the daemon does where nothing can be enforced: it waits to try again, and answers scrapes meanwhile.
#ifndef CT_STANDBY_H
#define CT_STANDBY_H

#include <stdbool.h>

struct ct_standby_options {
    const char *metrics_listen; // as in ct_run_options
    unsigned wait_ms;
    void (*turn)(void *cls); // once a second
    void *cls;
};

// Until it is time to try again, or SIGUSR1 asks for it. False: SIGTERM or SIGINT has come, or there is no
// waiting for them. These three stay blocked. Without the address for scrapes nobody is answered.
bool ct_standby_wait(const struct ct_standby_options *options);

#endif
