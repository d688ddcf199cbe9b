// SPDX-License-Identifier: Apache-2.0
#include "advertise.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "aside.h"
#include "kube.h"
#include "tell.h"
#include "text.h"

#define RESPAWN_S 10
#define WITHDRAW_BUDGET_MS 10000
#define TRY_MS 5000
#define END_SLACK_MS 500

struct ct_advertise {
    char *node;
    char *program;
    char hold[32]; // as the option takes it
    pid_t pid;     // 0: none
    int fd;        // -1: none
    int64_t spawned_s;
    bool has_facts;
    struct ct_node_facts facts;
    struct ct_pod_gatherer *gatherer;
    uint64_t dropped;
};

static int64_t seconds(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return now.tv_sec;
}

// What does not fit is dropped: facts come again, and attacks are counted.
static bool send_packet(const struct ct_advertise *a, const struct ct_tell_packet *packet)
{
    return a->fd >= 0 && send(a->fd, packet, sizeof(*packet), MSG_DONTWAIT | MSG_NOSIGNAL) ==
                             (ssize_t)sizeof(*packet);
}

static void send_facts(const struct ct_advertise *a)
{
    struct ct_tell_packet packet = {.kind = CT_TELL_FACTS};
    if (a->has_facts) {
        packet.facts = a->facts;
        (void)send_packet(a, &packet);
    }
}

static void send_event(struct ct_advertise *a, const struct ct_pod_event *event)
{
    struct ct_tell_packet packet = {.kind = CT_TELL_EVENT};
    packet.event = *event;
    if (!send_packet(a, &packet)) {
        a->dropped += event->count;
    }
}

// The child: standard input is the socket, all else is as here, but for what is blocked or handled here.
static int run_child(struct ct_advertise *a, int fd, struct ct_err *err)
{
    char name[] = "cloudtaser-agent";
    char command[] = "tell";
    char node[] = "--node";
    char hold[] = "--label-hold";
    char *const argv[] = {name, command, node, a->node, hold, a->hold, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0) {
        errno = rc;
        return ct_err_errno(err, "cannot start what speaks with the API server");
    }
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
        rc = rc == 0 ? posix_spawnattr_setsigmask(&attributes, &none) : rc;
        rc = rc == 0 ? posix_spawnattr_setsigdefault(&attributes, &all) : rc;
        rc = rc == 0 ? posix_spawnattr_setflags(&attributes,
                                                POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)
                     : rc;
        rc = rc == 0 ? posix_spawn(&a->pid, a->program, &actions, &attributes, argv, environ) : rc;
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        a->pid = 0;
        errno = rc;
        return ct_err_errno(err, "cannot start %s, which speaks with the API server", a->program);
    }
    return 0;
}

static int start_child(struct ct_advertise *a, struct ct_err *err)
{
    int pair[2];
    a->spawned_s = seconds(CLOCK_MONOTONIC);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return ct_err_errno(err, "cannot make a socket for what speaks with the API server");
    }
    CT_AUTO_FD mine = pair[0];
    CT_AUTO_FD theirs = pair[1];
    int rc = run_child(a, theirs, err);
    if (rc == 0) {
        a->fd = ct_steal_fd(&mine);
        send_facts(a);
    }
    return rc;
}

int ct_advertise_start(const struct ct_advertise_options *options, struct ct_advertise **ret,
                       struct ct_err *err)
{
    *ret = NULL;
    if (options->node == NULL || options->node[0] == '\0') {
        return 0;
    }
    if (!ct_text_is_subdomain(options->node, strlen(options->node))) {
        return ct_err_set(err, CT_EINVAL, "\"%.100s\" is no name of a node", options->node);
    }
    CT_AUTO(ct_advertise) *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the node's labels");
    }
    a->fd = -1;
    a->node = strdup(options->node);
    a->program = strdup(options->program != NULL ? options->program : "/proc/self/exe");
    a->gatherer = ct_pod_gatherer_new();
    (void)snprintf(a->hold, sizeof(a->hold), "%ums", options->hold_ms);
    if (a->node == NULL || a->program == NULL || a->gatherer == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the node's labels");
    }
    int rc = start_child(a, err);
    if (rc == 0) {
        *ret = ct_steal(&a);
    }
    return rc;
}

static void forget_child(struct ct_advertise *a)
{
    if (a->fd >= 0) {
        (void)close(a->fd);
        a->fd = -1;
    }
    a->pid = 0;
}

void ct_advertise_free(struct ct_advertise *advertise)
{
    if (advertise == NULL) {
        return;
    }
    struct ct_pod_event due;
    while (ct_pod_gatherer_due(advertise->gatherer, seconds(CLOCK_REALTIME), true, &due)) {
        send_event(advertise, &due);
    }
    // It sees the end of its input, whatever it is waiting for. In a pod it ends with this process: so it is waited for.
    pid_t child = advertise->pid;
    forget_child(advertise);
    if (child != 0 && !ct_aside_reap(child, CT_TELL_END_MS + END_SLACK_MS)) {
        (void)kill(child, SIGKILL);
        (void)ct_aside_reap(child, END_SLACK_MS);
    }
    ct_pod_gatherer_free(advertise->gatherer);
    free(advertise->program);
    free(advertise->node);
    free(advertise);
}

void ct_advertise_facts(struct ct_advertise *advertise, const struct ct_node_facts *facts)
{
    if (advertise != NULL) {
        advertise->facts = *facts;
        advertise->has_facts = true;
        send_facts(advertise);
    }
}

void ct_pod_event(struct ct_advertise *advertise, const struct ct_pod_ref *pod,
                  const struct ct_event *event)
{
    struct ct_pod_event due;
    if (advertise != NULL &&
        ct_pod_gatherer_add(advertise->gatherer, pod, event, seconds(CLOCK_REALTIME), &due)) {
        send_event(advertise, &due);
    }
}

void ct_advertise_tick(struct ct_advertise *advertise)
{
    struct ct_pod_event due;
    if (advertise == NULL) {
        return;
    }
    if (advertise->pid != 0 && waitpid(advertise->pid, NULL, WNOHANG) != 0) {
        forget_child(advertise);
    }
    if (advertise->pid == 0 && seconds(CLOCK_MONOTONIC) - advertise->spawned_s >= RESPAWN_S) {
        (void)!start_child(advertise, NULL); // tried again
    }
    while (ct_pod_gatherer_due(advertise->gatherer, seconds(CLOCK_REALTIME), false, &due)) {
        send_event(advertise, &due);
    }
}

uint64_t ct_advertise_lost(const struct ct_advertise *advertise)
{
    return advertise != NULL ? advertise->dropped + ct_pod_gatherer_lost(advertise->gatherer) : 0;
}

int ct_advertise_withdraw(const char *node, struct ct_err *err)
{
    const struct ct_kube_options options = {
        .connect_timeout_ms = TRY_MS, .timeout_ms = TRY_MS, .retry_budget_ms = WITHDRAW_BUDGET_MS};
    CT_AUTO_KUBE_CONFIG config = {0};
    CT_AUTO(ct_kube) *kube = NULL;
    CT_AUTO_BUF path = {.max = 1024};
    CT_AUTO_BUF body = {.max = 4096};
    struct ct_kube_answer answer = {.body = {.max = 1 << 20}};
    ct_tell_apply_path(node, &path);
    ct_label_write(NULL, node, &body);
    if (path.failed || body.failed) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the node's labels");
    }
    int rc = ct_kube_init(err);
    rc = rc == 0 ? ct_kube_config_in_cluster(NULL, &config, err) : rc;
    rc = rc == 0 ? ct_kube_new(&config, &options, &kube, err) : rc;
    if (rc == 0) {
        const struct ct_kube_request request = {.method = "PATCH",
                                                .path = path.data,
                                                .type = "application/apply-patch+yaml",
                                                .body = body.data,
                                                .body_len = body.len};
        rc = ct_kube_send(kube, &request, &answer, err);
    }
    ct_buf_done(&answer.body);
    return rc;
}
