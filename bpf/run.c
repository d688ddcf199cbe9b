// SPDX-License-Identifier: Apache-2.0
#include "run.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent_metrics.h"
#include "clock.h"
#include "devices.h"
#include "httpd_listen.h"
#include "prover.h"
#include "report.h"
#include "rights.h"
#include "scrape.h"
#include "vectors.h"

#define TICK_MS 1000
#define PROVE_PATIENCE_MS 60000 // for a self-test's answer; after that once more, the agent ends
#define BEGIN_PATIENCE_S 600    // for all self-tests at the start
#define ANSWER_MAX ((size_t)64 << 10)

// What poll(2) waits for, in this order; the connections of scrapers and the parts follow.
enum { FD_SIGNAL, FD_EVENTS, FD_PROVER, FD_FIXED };
#define FDS_MAX (FD_FIXED + CT_SCRAPE_FDS + CT_RUN_PARTS)

struct ct_run {
    struct ct_run_options options;
    char host[64];
    const char *node;
    struct ct_lines lines;
    struct ct_guard *guard;
    struct ct_prover *prover;
    struct ct_report *report;
    struct ct_agent_metrics metrics;
    struct ct_scrape scrape;
    char *answers; // of the scrapes
    int signals;
    int listener; // -1: nobody is answered
    struct ct_run_part parts[CT_RUN_PARTS];
    size_t n_parts;
    struct pollfd fds[FDS_MAX];
    int64_t ticked_ms;
    int64_t prove_ms;   // when the next self-test is due
    int64_t asked_ms;   // when the one under way was asked for
    bool tell_selftest; // whatever it shows: it was asked for, or is the first
    uint64_t unmarked;  // told of already
    struct ct_err *err; // of the loop
    int rc;
    bool stop;
};

// ---- lines ----

static void tell_start(struct ct_run *run)
{
    CT_AUTO_BUF line = {.max = 1024};
    struct ct_guard_pinned pinned = ct_guard_pinned(run->guard);
    ct_line_begin(&line, "start", run->node);
    ct_buf_addf(&line,
                "\"generation\":%u,\"replaced\":%u,\"links\":%u,\"unpinned\":%u,"
                "\"crash_kernel\":%s,",
                pinned.generation, pinned.replaced, pinned.links, pinned.unpinned,
                ct_devices_has_crash_kernel() ? "true" : "false");
    (void)ct_line_write(&line, &run->lines);
}

static void tell_vector(struct ct_run *run, const struct ct_vector_info *info, struct ct_result was,
                        struct ct_result is)
{
    CT_AUTO_BUF line = {.max = 1024};
    bool refused = is.outcome == CT_OUTCOME_REFUSED;
    ct_line_begin(&line, "vector", run->node);
    ct_line_add(&line, "vector", info->name);
    ct_line_add(&line, "was", ct_tier_name(was.tier));
    ct_line_add(&line, "is", ct_tier_name(refused ? is.tier : CT_TIER_NONE));
    ct_line_add(&line, "message",
                refused ? "this attack is refused again, or by another tier"
                        : "this attack is not refused any more: enforcement is lost");
    (void)ct_line_write(&line, &run->lines);
}

static void tell_selftest(struct ct_run *run, double seconds)
{
    CT_AUTO_BUF line = {.max = 2048};
    unsigned refused = 0;
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    ct_line_begin(&line, "selftest", run->node);
    ct_buf_add_str(&line, "\"open\":[");
    const char *comma = "";
    for (size_t i = 0; i < n; i++) {
        struct ct_result result = ct_guard_result(run->guard, vectors[i].vector);
        refused += result.outcome == CT_OUTCOME_REFUSED ? 1 : 0;
        if (result.outcome != CT_OUTCOME_REFUSED && result.outcome != CT_OUTCOME_ABSENT) {
            ct_buf_addf(&line, "%s\"%s\"", comma, vectors[i].name);
            comma = ",";
        }
    }
    ct_buf_addf(&line, "],\"refused\":%u,\"seconds\":%.3f,", refused, seconds);
    (void)ct_line_write(&line, &run->lines);
}

static void tell_trouble(struct ct_run *run, const char *kind, const char *message)
{
    CT_AUTO_BUF line = {.max = 2048};
    ct_line_begin(&line, kind, run->node);
    ct_line_add(&line, "message", message);
    (void)ct_line_write(&line, &run->lines);
}

static void tell_unmarked(struct ct_run *run)
{
    uint64_t unmarked = ct_agent_metrics_unmarked(run->guard);
    char message[160];
    if (unmarked > run->unmarked) {
        (void)snprintf(
            message, sizeof(message),
            "%llu processes that should be protected are not: there is no room for their marks",
            (unsigned long long)(unmarked - run->unmarked));
        tell_trouble(run, "unmarked", message);
    }
    run->unmarked = unmarked;
}

// ---- what comes in ----

static void on_event(void *cls, const struct ct_event *event)
{
    struct ct_run *run = cls;
    if (!ct_report_event(run->report, event, ct_clock_ms())) {
        return;
    }
    for (size_t i = 0; i < run->n_parts; i++) {
        if (run->parts[i].attacked != NULL) {
            run->parts[i].attacked(run->parts[i].cls, event);
        }
    }
}

static void ask_for_proof(struct ct_run *run, int64_t now)
{
    if (!ct_prover_is_busy(run->prover)) {
        run->asked_ms = now;
    }
    run->prove_ms = now + run->options.prove_ms;
    run->rc = run->rc == 0 ? ct_prover_ask(run->prover, run->err) : run->rc;
}

static void on_signal(struct ct_run *run, int64_t now)
{
    struct signalfd_siginfo info;
    while (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGUSR1) {
            run->tell_selftest = true;
            ask_for_proof(run, now);
        } else {
            run->stop = true;
        }
    }
}

static void compare(struct ct_run *run, const struct ct_result *was)
{
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    for (size_t i = 0; i < n; i++) {
        struct ct_result before = was[vectors[i].vector];
        struct ct_result after = ct_guard_result(run->guard, vectors[i].vector);
        bool refused = before.outcome == CT_OUTCOME_REFUSED;
        bool refuses = after.outcome == CT_OUTCOME_REFUSED;
        if (refused != refuses || (refused && before.tier != after.tier)) {
            tell_vector(run, &vectors[i], before, after);
        }
    }
}

static void tell_parts(const struct ct_run *run)
{
    for (size_t i = 0; i < run->n_parts; i++) {
        if (run->parts[i].proven != NULL) {
            run->parts[i].proven(run->parts[i].cls, run->guard);
        }
    }
}

// A self-test that did not come to its end proves nothing: what it has shown before counts no more.
static void fail_proof(struct ct_run *run, const char *message)
{
    const struct ct_result nothing[CT_V_COUNT] = {0};
    run->metrics.selftest_failures++;
    run->metrics.proven = false;
    ct_guard_take_results(run->guard, nothing);
    tell_trouble(run, "selftest-failed", message);
    tell_parts(run);
}

static void on_proof(struct ct_run *run)
{
    struct ct_result results[CT_V_COUNT];
    struct ct_result was[CT_V_COUNT];
    struct ct_err err = {0};
    double seconds = 0;
    bool busy = ct_prover_is_busy(run->prover);
    int rc = ct_prover_take(run->prover, results, &seconds, &err);
    if (rc < 0 && (!busy || ct_prover_is_busy(run->prover))) {
        // It has ended, and only the next agent has the rights to make another.
        fail_proof(run, err.msg);
        run->rc = ct_err_set(run->err, CT_ESYSTEM, "%s", err.msg);
        return;
    }
    run->metrics.selftest_seconds = seconds;
    run->metrics.selftest_cpu_seconds = ct_prover_cpu_seconds(run->prover);
    if (rc < 0) {
        fail_proof(run, err.msg);
        return;
    }
    for (int v = 0; v < CT_V_COUNT; v++) {
        was[v] = ct_guard_result(run->guard, (enum ct_vector)v);
    }
    ct_guard_take_results(run->guard, results);
    if (run->metrics.proven) {
        compare(run, was);
    }
    if (run->tell_selftest || !run->metrics.proven) {
        tell_selftest(run, seconds);
    }
    run->metrics.proven = true;
    run->tell_selftest = false;
    tell_parts(run);
}

static size_t fill(void *cls, int status, char *out, size_t size)
{
    struct ct_run *run = cls;
    CT_AUTO_BUF body = {.max = ANSWER_MAX - 1024};
    if (status == 200) {
        ct_agent_metrics_write(&run->metrics, &body);
        for (size_t i = 0; i < run->n_parts; i++) {
            if (run->parts[i].metrics != NULL) {
                run->parts[i].metrics(run->parts[i].cls, &body);
            }
        }
    }
    return ct_scrape_answer(status, body.data != NULL ? body.data : "", out, size);
}

// ---- the loop ----

static int wait_for(struct ct_run *run, int64_t now)
{
    int64_t next = run->ticked_ms + TICK_MS;
    int timeout_ms = next > now ? (int)(next - now) : 0;
    run->fds[FD_SIGNAL] = (struct pollfd){.fd = run->signals, .events = POLLIN};
    run->fds[FD_EVENTS] = (struct pollfd){.fd = ct_guard_events_fd(run->guard), .events = POLLIN};
    run->fds[FD_PROVER] = (struct pollfd){.fd = ct_prover_fd(run->prover), .events = POLLIN};
    if (run->listener >= 0) {
        ct_scrape_wait(&run->scrape, run->fds + FD_FIXED, &timeout_ms);
    }
    for (size_t i = 0; i < run->n_parts; i++) {
        const struct ct_run_part *part = &run->parts[i];
        run->fds[FD_FIXED + CT_SCRAPE_FDS + i] =
            (struct pollfd){.fd = part->fd != NULL ? part->fd(part->cls) : -1, .events = POLLIN};
    }
    return poll(run->fds, (nfds_t)(FD_FIXED + CT_SCRAPE_FDS + run->n_parts), timeout_ms);
}

static void tick(struct ct_run *run, int64_t now)
{
    run->ticked_ms = now;
    ct_report_turn(run->report, now);
    tell_unmarked(run);
    if (now >= run->prove_ms) {
        ask_for_proof(run, now);
    }
    if (ct_prover_is_busy(run->prover) && run->metrics.proven &&
        now - run->asked_ms > PROVE_PATIENCE_MS) {
        fail_proof(run, "the self-test has not ended within a minute");
    }
    if (ct_prover_is_busy(run->prover) &&
        now - run->asked_ms > 2 * PROVE_PATIENCE_MS + (int64_t)run->options.hold_ms) {
        run->rc = ct_err_set(run->err, CT_ESYSTEM,
                             "the self-test hangs: the agent ends, and what is pinned goes on "
                             "enforcing, until the next one has proven it");
    }
}

static void turn(struct ct_run *run)
{
    int64_t now = ct_clock_ms();
    bool waited = wait_for(run, now) > 0;
    now = ct_clock_ms();
    if (waited && run->fds[FD_SIGNAL].revents != 0) {
        on_signal(run, now);
    }
    if (waited && run->fds[FD_EVENTS].revents != 0) {
        run->rc = run->rc == 0 ? ct_guard_poll(run->guard, 0, on_event, run, run->err) : run->rc;
    }
    if (waited && run->fds[FD_PROVER].revents != 0) {
        on_proof(run);
    }
    if (waited && run->listener >= 0) {
        ct_scrape_turn(&run->scrape, run->fds + FD_FIXED);
    }
    bool ticks = now - run->ticked_ms >= TICK_MS;
    if (ticks) {
        tick(run, now);
    }
    for (size_t i = 0; i < run->n_parts; i++) {
        bool ready = waited && run->fds[FD_FIXED + CT_SCRAPE_FDS + i].revents != 0;
        if (run->parts[i].turn != NULL && (ticks || ready)) {
            run->parts[i].turn(run->parts[i].cls);
        }
    }
}

int ct_run_loop(struct ct_run *run, struct ct_err *err)
{
    run->err = err;
    tell_start(run);
    run->tell_selftest = true;
    run->prove_ms = ct_clock_ms();
    while (!run->stop && run->rc == 0) {
        turn(run);
    }
    // What has come meanwhile is told before the end.
    run->rc = run->rc == 0 ? ct_guard_poll(run->guard, 0, on_event, run, err) : run->rc;
    ct_report_turn(run->report, INT64_MAX);
    tell_trouble(run, "stop",
                 ct_guard_pinned(run->guard).generation != 0
                     ? "the agent ends; what is pinned goes on enforcing"
                     : "the agent ends, and enforcement with it");
    return run->rc;
}

// ---- beginning ----

int ct_run_add(struct ct_run *run, const struct ct_run_part *part, struct ct_err *err)
{
    if (run->n_parts == CT_RUN_PARTS) {
        return ct_err_set(err, CT_ETOOBIG, "the daemon has no room for one more part");
    }
    run->parts[run->n_parts++] = *part;
    return 0;
}

struct ct_guard *ct_run_guard(struct ct_run *run)
{
    return run->guard;
}

struct ct_lines *ct_run_lines(struct ct_run *run)
{
    return &run->lines;
}

void ct_run_free(struct ct_run *run)
{
    if (run == NULL) {
        return;
    }
    ct_scrape_done(&run->scrape);
    free(run->answers);
    ct_report_free(run->report);
    ct_prover_free(run->prover);
    ct_guard_free(run->guard);
    if (run->signals >= 0) {
        (void)close(run->signals);
    }
    if (run->listener >= 0) {
        (void)close(run->listener);
    }
    free(run);
}

int ct_run_signals(void)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGUSR1);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_signals(struct ct_run *run, struct ct_err *err)
{
    run->signals = ct_run_signals();
    return run->signals >= 0 ? 0 : ct_err_errno(err, "cannot wait for signals");
}

static int listen_for_scrapes(struct ct_run *run, struct ct_err *err)
{
    const size_t size = CT_SCRAPE_CONNECTIONS * ANSWER_MAX;
    for (int i = 0; i < CT_SCRAPE_FDS; i++) {
        run->fds[FD_FIXED + i].fd = -1;
    }
    if (run->options.metrics_listen == NULL) {
        return 0;
    }
    int rc = ct_httpd_listen(run->options.metrics_listen, &run->listener, err);
    if (rc < 0) {
        return ct_err_wrap(err, "metrics-listen");
    }
    run->answers = calloc(1, size);
    if (run->answers == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the metrics");
    }
    ct_scrape_init(&run->scrape, run->listener, run->answers, size, fill, run);
    return 0;
}

static void give_up(int number)
{
    static const char words[] = "cloudtaser-agent: the self-tests of the start hang\n";
    (void)number;
    (void)!write(STDERR_FILENO, words, sizeof(words) - 1);
    _exit(1);
}

// Somebody may have stopped an attempt: then the agent ends, and with it all that it has started.
static int make_guard(struct ct_run *run, struct ct_err *err)
{
    (void)signal(SIGALRM, give_up);
    (void)alarm(BEGIN_PATIENCE_S);
    int rc = ct_guard_new(&run->options.guard, &run->guard, err);
    (void)alarm(0);
    return rc;
}

static int begin(struct ct_run *run, struct ct_err *err)
{
    int rc = ct_rights_check(err);
    rc = rc == 0 ? listen_for_scrapes(run, err) : rc;
    rc = rc == 0 ? open_signals(run, err) : rc;
    rc = rc == 0 ? ct_rights_see_cgroups(err) : rc;
    if (rc < 0) {
        return rc;
    }
    rc = make_guard(run, err);
    rc = rc == 0 ? ct_prover_new(run->guard, &run->prover, err) : rc;
    rc = rc == 0 ? ct_rights_drop(err) : rc;
    if (rc < 0) {
        return rc;
    }
    run->report = ct_report_new(run->guard, run->node, &run->lines);
    run->metrics =
        (struct ct_agent_metrics){.guard = run->guard, .report = run->report, .proven = true};
    run->unmarked = ct_agent_metrics_unmarked(run->guard);
    return run->report != NULL ? 0 : ct_err_set(err, CT_ENOMEM, "out of memory for reports");
}

int ct_run_new(const struct ct_run_options *options, struct ct_run **ret, struct ct_err *err)
{
    CT_AUTO(ct_run) *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the daemon");
    }
    run->options = *options;
    run->lines.fd = STDOUT_FILENO;
    run->signals = -1;
    run->listener = -1;
    ct_scrape_init(&run->scrape, -1, NULL, 0, fill, run);
    (void)gethostname(run->host, sizeof(run->host) - 1);
    run->node = options->node != NULL ? options->node : run->host;
    int rc = begin(run, err);
    if (rc == 0) {
        *ret = ct_steal(&run);
    }
    return rc;
}
