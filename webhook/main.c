// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser-webhook: reads its settings, serves, and ends when it is told to.
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "ct_version.h"
#include "kube.h"
#include "log.h"
#include "mutate.h"
#include "server.h"

// A few threads that mostly work in memory of their own need no heap for each; and what a request of
// some megabytes took goes back to the system.
static void limit_memory(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 512 * 1024);
}

// Waits for a signal, and looks at the files each second meanwhile. Returns 0 when there was none for
// so long; a negative time is no bound.
static int wait_for_signal(struct ct_webhook *webhook, const sigset_t *signals, long long ms)
{
    long long end = ct_clock_ms() + ms;
    for (;;) {
        long long left = ms < 0 ? 1000 : end - ct_clock_ms();
        if (left <= 0) {
            return 0;
        }
        left = left < 1000 ? left : 1000;
        const struct timespec moment = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
        int signal = sigtimedwait(signals, NULL, &moment); // -1: EAGAIN, or EINTR after a stop
        if (signal > 0) {
            return signal;
        }
        ct_webhook_tick(webhook);
    }
}

// Has another signal come?
static bool hurry(void *cls)
{
    const struct timespec now = {0};
    return sigtimedwait(cls, NULL, &now) > 0;
}

// Serves until a signal comes. After SIGTERM, Kubernetes' word for a pod's end, it serves on until
// nobody is sent here any more; whoever sits at a terminal is not made to wait.
static void run(struct ct_webhook *webhook, const sigset_t *signals, unsigned delay_ms)
{
    int signal = wait_for_signal(webhook, signals, -1);
    ct_webhook_drain(webhook);
    if (signal == SIGTERM && delay_ms > 0) {
        ct_log(CT_LOG_INFO, "SIGTERM: not ready any more; serving for %u.%u s until that is known",
               delay_ms / 1000, delay_ms % 1000 / 100);
        (void)wait_for_signal(webhook, signals, delay_ms);
    }
    ct_log(CT_LOG_INFO, "%s: finishing what runs", signal == SIGTERM ? "SIGTERM" : "SIGINT");
}

static int serve(const struct ct_webhook_settings *settings)
{
    struct ct_err err = {0};
    struct ct_webhook *webhook = NULL;
    sigset_t signals;
    // Blocked before there are threads, so that only the main one takes them.
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    if (ct_kube_init(&err) < 0 || ct_webhook_start(settings, &webhook, &err) < 0) {
        ct_log(CT_LOG_ERROR, "%s", err.msg);
        return 1;
    }
    // The port that it has, also where any free one was asked for.
    int host = (int)(strrchr(settings->listen, ':') - settings->listen);
    ct_log(CT_LOG_INFO, "version %s serves on %.*s:%u", CT_VERSION, host, settings->listen,
           ct_webhook_port(webhook));
    run(webhook, &signals, settings->drain_delay);
    ct_webhook_stop(webhook, hurry, &signals);
    ct_log(CT_LOG_INFO, "ended");
    return 0;
}

// One a line, each with the program's name.
static void tell_problems(const char *problems)
{
    while (*problems != '\0') {
        size_t len = strcspn(problems, "\n");
        (void)fprintf(stderr, "cloudtaser-webhook: %.*s\n", (int)len, problems);
        problems += len + (problems[len] == '\n');
    }
}

int main(int argc, char **argv)
{
    struct ct_webhook_settings settings = {0};
    struct ct_err err = {0};
    limit_memory();
    ct_log_init("cloudtaser-webhook", CT_LOG_TEXT);
    ct_mutate_init();
    int r = ct_option_parse(&ct_webhook_options, argc, argv, &settings, &err);
    if (r == CT_OPTION_HELP) {
        ct_option_help(&ct_webhook_options, stdout);
        return 0;
    }
    if (r == CT_OPTION_VERSION) {
        (void)printf("cloudtaser-webhook %s\n", CT_VERSION);
        return 0;
    }
    if (r < 0) {
        tell_problems(err.msg);
        return 2;
    }
    ct_log_init("cloudtaser-webhook", (enum ct_log_format)settings.log_format);
    ct_log_set_level((enum ct_log_level)settings.log_level);
    int status = serve(&settings);
    ct_option_free(&ct_webhook_options, &settings);
    return status;
}
