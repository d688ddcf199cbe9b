// SPDX-License-Identifier: Apache-2.0
#include "pod_of.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "buf.h"
#include "config.h"

#define TOKEN_MAX 16384
#define ENVIRONMENT_MAX (256 << 10)
#define PATIENCE_MS 200

static bool read_all(int fd, struct ct_buf *out)
{
    ssize_t n = 1;
    while (n > 0 && !out->failed && out->len < out->max) {
        char chunk[4096];
        size_t room = out->max - out->len;
        n = read(fd, chunk, room < sizeof(chunk) ? room : sizeof(chunk));
        ct_buf_add(out, chunk, n > 0 ? (size_t)n : 0);
    }
    return n >= 0 && !out->failed && out->len > 0;
}

// The settings that the webhook wrote into the process's environment.
static bool find_settings(pid_t pid, struct ct_config *ret)
{
    static const char name[] = CT_CONFIG_VARIABLE "=";
    CT_AUTO_SECRET_BUF environment = {.max = ENVIRONMENT_MAX, .secret = true};
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !read_all(fd, &environment)) {
        return false;
    }
    const char *at = environment.data;
    const char *end = at + environment.len;
    for (; at < end; at += strlen(at) + 1) {
        if (strncmp(at, name, sizeof(name) - 1) == 0) {
            return ct_config_parse(at + sizeof(name) - 1, ret, NULL) == 0;
        }
    }
    return false;
}

// A file as the process sees it: links lead nowhere but into its own root.
static int open_within(pid_t pid, const char *path)
{
    char root[64];
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    (void)snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
    CT_AUTO_FD folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return folder < 0 ? -1 : (int)syscall(SYS_openat2, folder, path, &how, sizeof(how));
}

static void look(pid_t pid, const char *uid, struct ct_pod_identity *ret)
{
    CT_AUTO_SECRET_BUF token = {.max = TOKEN_MAX, .secret = true};
    struct ct_config config;
    struct stat status;
    *ret = (struct ct_pod_identity){0};
    if (!find_settings(pid, &config)) {
        return;
    }
    CT_AUTO_FD fd = open_within(pid, config.identity_file[0] != '\0' ? config.identity_file
                                                                     : config.token_file);
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || !read_all(fd, &token) ||
        ct_pod_identity_parse(token.data, token.len, ret, NULL) < 0 || strcmp(ret->uid, uid) != 0) {
        *ret = (struct ct_pod_identity){0};
    }
}

void ct_pod_of(pid_t pid, const char *uid, struct ct_pod_identity *ret)
{
    int ends[2];
    *ret = (struct ct_pod_identity){0};
    if (uid[0] == '\0' || pipe2(ends, O_CLOEXEC) != 0) {
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        struct ct_pod_identity found;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        look(pid, uid, &found);
        _exit(write(ends[1], &found, sizeof(found)) == (ssize_t)sizeof(found) ? 0 : 1);
    }
    (void)close(ends[1]);
    struct pollfd ready = {.fd = ends[0], .events = POLLIN};
    if (child < 0 || poll(&ready, 1, PATIENCE_MS) <= 0 ||
        read(ends[0], ret, sizeof(*ret)) != (ssize_t)sizeof(*ret)) {
        *ret = (struct ct_pod_identity){0};
    }
    (void)close(ends[0]);
    if (child > 0) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
    }
}
