// SPDX-License-Identifier: Apache-2.0
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define PATIENCE_MS 100
#define CLIENT_SECONDS 10
#define QUEUE 8
#define CGROUP_MAX 8192

struct ct_control {
    int fd;
};

struct question {
    uint64_t cgroup;
    int64_t pid;
};

struct reply {
    int32_t code; // 0, or a negative enum ct_code
    uint32_t processes;
    char words[256];
};

static int address_of(const char *name, struct sockaddr_un *ret, socklen_t *ret_len,
                      struct ct_err *err)
{
    size_t len = strlen(name);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof(ret->sun_path)) {
        return ct_err_set(err, CT_EINVAL, "a control socket's name has 1 to %zu bytes",
                          sizeof(ret->sun_path) - 1);
    }
    memcpy(ret->sun_path + 1, name, len); // behind a NUL: no file (unix(7))
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
    return 0;
}

// ---- the agent's side ----

int ct_control_new(const char *name, struct ct_control **ret, struct ct_err *err)
{
    struct sockaddr_un address;
    socklen_t len = 0;
    int rc = address_of(name, &address, &len, err);
    if (rc < 0) {
        return rc;
    }
    CT_AUTO(ct_control) *control = malloc(sizeof(*control));
    if (control == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the control socket");
    }
    control->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->fd < 0) {
        return ct_err_errno(err, "cannot make the control socket");
    }
    if (bind(control->fd, (struct sockaddr *)&address, len) != 0) {
        return errno == EADDRINUSE
                   ? ct_err_set(err, CT_EUNAVAIL,
                                "another process listens at the control socket %s", name)
                   : ct_err_errno(err, "cannot bind the control socket %s", name);
    }
    if (listen(control->fd, QUEUE) != 0) {
        return ct_err_errno(err, "cannot listen at the control socket %s", name);
    }
    *ret = ct_steal(&control);
    return 0;
}

void ct_control_free(struct ct_control *control)
{
    if (control != NULL) {
        ct_close_fd(&control->fd);
        free(control);
    }
}

int ct_control_fd(const struct ct_control *control)
{
    return control->fd;
}

static bool read_cgroup(const char *path, char ret[CGROUP_MAX])
{
    CT_AUTO_FILE file = fopen(path, "re");
    size_t len = file != NULL ? fread(ret, 1, CGROUP_MAX - 1, file) : 0;
    ret[len] = '\0';
    return len > 0 && len < CGROUP_MAX - 1;
}

// Root in the agent's own container.
static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    char path[64];
    char own[CGROUP_MAX];
    char other[CGROUP_MAX];
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.uid != 0 ||
        peer.pid <= 0) {
        return false;
    }
    (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)peer.pid);
    return read_cgroup("/proc/self/cgroup", own) && read_cgroup(path, other) &&
           strcmp(own, other) == 0;
}

static void serve(int fd, struct ct_registrar *registrar, struct reply *reply)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    struct question question;
    struct ct_err err = {0};
    unsigned n = 0;
    if (poll(&ready, 1, PATIENCE_MS) <= 0 ||
        recv(fd, &question, sizeof(question), MSG_DONTWAIT) != (ssize_t)sizeof(question)) {
        return;
    }
    reply->code = question.pid != 0
                      ? ct_registrar_unprotect_pid(registrar, (pid_t)question.pid, &n, &err)
                      : ct_registrar_unprotect_cgroup(registrar, question.cgroup, &n, &err);
    reply->processes = n;
    (void)snprintf(reply->words, sizeof(reply->words), "%.255s", err.msg);
}

void ct_control_handle(struct ct_control *control, struct ct_registrar *registrar)
{
    struct reply reply = {.code = -CT_EPROTO, .words = "that question makes no sense"};
    CT_AUTO_FD fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    // Who is not allowed is not waited for: the connection is closed.
    if (!is_allowed(fd)) {
        return;
    }
    serve(fd, registrar, &reply);
    (void)send(fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
}

// ---- the operator's side ----

int ct_control_unprotect(const char *name, pid_t pid, uint64_t cgroup, unsigned *ret,
                         struct ct_err *err)
{
    const struct question question = {.cgroup = cgroup, .pid = pid};
    const struct timeval patience = {.tv_sec = CLIENT_SECONDS};
    struct sockaddr_un address;
    struct reply reply;
    socklen_t len = 0;
    int rc = address_of(name, &address, &len, err);
    if (rc < 0) {
        return rc;
    }
    errno = ECONNRESET; // for an end of file, which sets none
    CT_AUTO_FD fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0) {
        return ct_err_errno(err, "cannot make a socket");
    }
    if (connect(fd, (struct sockaddr *)&address, len) != 0) {
        return ct_err_set(err, CT_EUNAVAIL,
                          "no agent answers here (%s): run this where it runs, by kubectl exec",
                          ct_err_name(errno));
    }
    if (send(fd, &question, sizeof(question), MSG_NOSIGNAL) != (ssize_t)sizeof(question) ||
        recv(fd, &reply, sizeof(reply), 0) != (ssize_t)sizeof(reply)) {
        return errno == ECONNRESET || errno == EPIPE
                   ? ct_err_set(err, CT_EDENIED,
                                "the agent takes orders from root in its own container alone: "
                                "use kubectl exec")
                   : ct_err_set(err, CT_EUNAVAIL, "the agent does not answer");
    }
    *ret = reply.processes;
    reply.words[sizeof(reply.words) - 1] = '\0';
    return reply.code == 0 ? 0 : ct_err_set(err, (enum ct_code) - reply.code, "%s", reply.words);
}
