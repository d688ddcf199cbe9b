// SPDX-License-Identifier: Apache-2.0
#include "standby.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent_metrics.h"
#include "cleanup.h"
#include "clock.h"
#include "httpd_listen.h"
#include "run.h"
#include "scrape.h"

#define TICK_MS 1000
#define ANSWER_MAX ((size_t)4 << 10)

enum { FD_SIGNAL, FD_FIXED };

struct standby {
    const struct ct_standby_options *options;
    int signals;
    int listener; // -1: nobody is answered
    struct ct_scrape scrape;
    struct pollfd fds[FD_FIXED + CT_SCRAPE_FDS];
    char answers[CT_SCRAPE_CONNECTIONS * ANSWER_MAX];
};

static size_t fill(void *cls, int status, char *out, size_t size)
{
    CT_AUTO_BUF body = {.max = ANSWER_MAX - 1024};
    (void)cls;
    ct_agent_metrics_standby(true, &body);
    return ct_scrape_answer(status, body.data != NULL ? body.data : "", out, size);
}

static bool is_signalled(const struct standby *standby, struct signalfd_siginfo *info)
{
    return standby->fds[FD_SIGNAL].revents != 0 &&
           read(standby->signals, info, sizeof(*info)) == (ssize_t)sizeof(*info);
}

static bool wait_in(struct standby *standby)
{
    const int64_t end = (int64_t)ct_clock_ms() + standby->options->wait_ms;
    struct signalfd_siginfo info;
    while ((int64_t)ct_clock_ms() < end) {
        int timeout_ms = TICK_MS;
        standby->fds[FD_SIGNAL] = (struct pollfd){.fd = standby->signals, .events = POLLIN};
        ct_scrape_wait(&standby->scrape, standby->fds + FD_FIXED, &timeout_ms);
        if (poll(standby->fds, FD_FIXED + CT_SCRAPE_FDS, timeout_ms) > 0) {
            if (is_signalled(standby, &info)) {
                return info.ssi_signo == SIGUSR1;
            }
            ct_scrape_turn(&standby->scrape, standby->fds + FD_FIXED);
        }
        standby->options->turn(standby->options->cls);
    }
    return true;
}

bool ct_standby_wait(const struct ct_standby_options *options)
{
    struct standby *standby = calloc(1, sizeof(*standby));
    bool again = false;
    if (standby == NULL) {
        return false;
    }
    standby->options = options;
    standby->listener = -1;
    standby->signals = ct_run_signals();
    if (options->metrics_listen != NULL) {
        // What makes this impossible has been told by who wanted to begin.
        int fd = -1;
        standby->listener = ct_httpd_listen(options->metrics_listen, &fd, NULL) == 0 ? fd : -1;
    }
    ct_scrape_init(&standby->scrape, standby->listener, standby->answers, sizeof(standby->answers),
                   fill, standby);
    if (standby->signals >= 0) {
        again = wait_in(standby);
    }
    ct_scrape_done(&standby->scrape);
    ct_close_fd(&standby->listener);
    ct_close_fd(&standby->signals);
    free(standby);
    return again;
}
