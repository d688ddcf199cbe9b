// SPDX-License-Identifier: Apache-2.0
#include "beside.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "assume.h"
#include "clock.h"
#include "log.h"
#include "lookup.h"
#include "metrics_server.h"
#include "proof.h"
#include "supervise.h"
#include "tally.h"
#include "vault_internal.h"

// Younger than some C libraries' headers; the same numbers on every architecture.
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define STACK_SIZE ((size_t)128 << 10)
#define LOOKUP_PATIENCE_MS 10000U
#define GRACE_MS 10000 // between SIGTERM and SIGKILL for an app that is to be started again

static void tell(void *cls, enum ct_log_level level, const char *sentence)
{
    (void)cls;
    ct_log(level, "%s", sentence);
}

// The proof was about the token of the first login.
static void prove_again(void *cls)
{
    const struct ct_beside *b = cls;
    const uint32_t proven = UINT32_C(1) << CT_CHECK_TOKEN_PROTECTED | UINT32_C(1)
                                                                          << CT_CHECK_MEMFD_SECRET;
    const char *token = ct_vault_token(b->renewal.vault);
    struct ct_facts facts;
    ct_tally_read(&facts);
    ct_proof_token(&facts, token, strlen(token));
    ct_tally_replace(proven, &facts, "the protection score has fallen with the new Vault token",
                     "");
}

static void publish(const struct ct_renewal *r)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t left_ms = ct_renewal_left_ms(r);
    ct_metrics_set_token(&r->counts, left_ms < 0 ? 0 : (int64_t)now.tv_sec + left_ms / 1000);
}

static int look_up(void *cls, const char *host, char *ret, size_t size, struct ct_err *err)
{
    (void)cls;
    return ct_lookup_patiently(host, LOOKUP_PATIENCE_MS, ret, size, err);
}

static void wait_for(struct ct_beside *b, int ms);

// ---- secrets that change

// A tenth of the interval is chance, so that pods which started together do not come together.
static void plan_look(struct ct_beside *b)
{
    b->look_ms = ct_clock_ms() + b->interval_ms - ct_vault_chance_below(b->interval_ms / 10 + 1);
}

// To the app itself: a shell above it would not pass the signal on, but die of it. That launcher reaps the
// app, so its number alone might be somebody else's by now.
static void signal_app(const struct ct_beside *b, int signal)
{
    if (b->app_fd < 0) {
        (void)ct_assume_kill(b->child, signal);
    } else if (syscall(SYS_pidfd_send_signal, b->app_fd, signal, NULL, 0) != 0 && errno == EPERM) {
        (void)ct_assume_kill(b->app, signal);
    }
}

static void end_app(struct ct_beside *b)
{
    b->restart = true;
    signal_app(b, SIGTERM);
    wait_for(b, GRACE_MS);
    // The end of all ends this thread; here it has not come. Who asked meanwhile has a grace of their own.
    if (!ct_supervise_asked_to_end()) {
        signal_app(b, SIGKILL);
        (void)ct_assume_kill(b->child, SIGKILL);
    }
    wait_for(b, -1);
}

static void react(struct ct_beside *b, const char *names)
{
    static const char *const words[] = {
        [CT_REACTION_KEEP] = "the app keeps those it has",
        [CT_REACTION_SIGNAL] = "the app is told by a signal",
        [CT_REACTION_RESTART] = "the app is ended and started again",
    };
    // It may be taking its time over what it was doing: nobody cuts that short.
    bool ending = b->on_change.reaction == CT_REACTION_RESTART && ct_supervise_asked_to_end();
    ct_log(CT_LOG_INFO, "secrets have changed at Vault (%s): %s", names,
           ending ? "the app was asked to end, and is left to it" : words[b->on_change.reaction]);
    if (b->on_change.reaction == CT_REACTION_SIGNAL) {
        signal_app(b, b->on_change.signal);
    } else if (b->on_change.reaction == CT_REACTION_RESTART && !ending) {
        end_app(b);
    }
}

// Reads the secrets; once more with another token when this one turns out to be void.
static int look(struct ct_beside *b, char *names, size_t size, struct ct_err *why)
{
    ct_vault_begin_budget(b->renewal.vault);
    int rc = ct_refresh_look(b->refresh, names, size, why);
    if (ct_renewal_after_read(&b->renewal, rc)) {
        *why = (struct ct_err){0};
        ct_vault_begin_budget(b->renewal.vault);
        rc = ct_refresh_look(b->refresh, names, size, why);
    }
    ct_vault_disconnect(b->renewal.vault);
    return rc;
}

static void look_again(struct ct_beside *b)
{
    char names[256];
    struct ct_err why = {0};
    int rc = look(b, names, sizeof(names), &why);
    publish(&b->renewal);
    plan_look(b);
    if (rc < 0 && !b->told_unreadable) {
        ct_log(CT_LOG_WARN, "the secrets cannot be read again; trying on: %s", why.msg);
    }
    if (rc >= 0 && b->told_unreadable) {
        ct_log(CT_LOG_INFO, "the secrets can be read again");
    }
    b->told_unreadable = rc < 0;
    if (rc > 0) {
        react(b, names);
    }
}

static int due_in(const struct ct_beside *b)
{
    int renewal = ct_renewal_due_ms(&b->renewal);
    if (b->refresh == NULL) {
        return renewal;
    }
    uint64_t now = ct_clock_ms();
    int look = b->look_ms > now ? (int)(b->look_ms - now) : 0;
    return renewal >= 0 && renewal < look ? renewal : look;
}

static void wait_for(struct ct_beside *b, int ms)
{
    struct pollfd wake = {.fd = b->wake, .events = POLLIN};
    eventfd_t count = 0;
    if (poll(&wake, 1, ms) == 1) {
        (void)eventfd_read(b->wake, &count);
    }
}

static void *run(void *cls)
{
    struct ct_beside *b = cls;
    ct_supervise_shield();
    do {
        wait_for(b, -1);
    } while (b->renewal.vault == NULL);
    publish(&b->renewal);
    if (b->refresh != NULL) {
        plan_look(b);
    }
    for (;;) {
        int due = due_in(b);
        if (due != 0) {
            wait_for(b, due);
            continue;
        }
        (void)pthread_mutex_lock(&b->busy);
        if (ct_renewal_due_ms(&b->renewal) == 0) {
            ct_renewal_run(&b->renewal);
            publish(&b->renewal);
        } else {
            look_again(b);
        }
        (void)pthread_mutex_unlock(&b->busy);
    }
    return NULL;
}

static int make_thread(struct ct_beside *b, struct ct_err *err)
{
    pthread_attr_t attributes;
    int rc = ct_secmem_map(STACK_SIZE, false, &b->stack, err);
    if (rc == 0) {
        rc = ct_secmem_dont_fork(&b->stack, err);
    }
    if (rc < 0) {
        return ct_err_wrap(err, "no stack for what goes on beside the app");
    }
    int status = pthread_attr_init(&attributes);
    if (status == 0) {
        status = pthread_attr_setstack(&attributes, b->stack.base, b->stack.size);
    }
    if (status == 0) {
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        status = pthread_create(&b->thread, &attributes, run, b);
        (void)pthread_attr_destroy(&attributes);
    }
    return status == 0
               ? 0
               : ct_err_set(err, CT_ESYSTEM, "no thread for what goes on beside the app: %s",
                            strerror(status));
}

int ct_beside_start(struct ct_beside *b, struct ct_err *err)
{
    *b = (struct ct_beside){.wake = eventfd(0, EFD_CLOEXEC), .app_fd = -1};
    if (b->wake < 0) {
        return ct_err_errno(err, "no descriptor for what goes on beside the app");
    }
    (void)pthread_mutex_init(&b->busy, NULL);
    return make_thread(b, err);
}

void ct_beside_watch(struct ct_beside *b, struct ct_refresh *refresh,
                     const struct ct_on_change *on_change, unsigned interval_ms)
{
    b->refresh = refresh;
    b->on_change = *on_change;
    b->interval_ms = interval_ms;
}

bool ct_beside_wants_restart(const struct ct_beside *b)
{
    return b->restart;
}

void ct_beside_released(struct ct_beside *b, struct ct_vault *vault, const struct ct_config *config,
                        pid_t app, pid_t child)
{
    static struct ct_renewal_hooks renewal_hooks = {.tell = tell, .fresh_token = prove_again};
    static const struct ct_vault_hooks vault_hooks = {.look_up = look_up};
    b->app = app;
    b->app_fd =
        app != child ? (int)syscall(SYS_pidfd_open, app, 0) : -1; // before 5.3 there is none
    b->child = child;
    renewal_hooks.cls = b;
    ct_vault_go_on(vault, &vault_hooks);
    ct_renewal_begin(&b->renewal, vault, config->auth != CT_AUTH_TOKEN, &renewal_hooks);
    (void)eventfd_write(b->wake, 1);
}

bool ct_beside_end(struct ct_beside *b)
{
    // The lock is kept: the thread does nothing any more.
    return pthread_mutex_trylock(&b->busy) == 0;
}
