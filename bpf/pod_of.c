// SPDX-License-Identifier: Apache-2.0
#include "pod_of.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "buf.h"
#include "config.h"

#define TOKEN_MAX 16384
#define ENVIRONMENT_MAX (256 << 10)
#define PATIENCE_MS 1000

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

struct question {
    pid_t pid;
    const char *uid;
};

static void look(const void *cls, void *ret)
{
    CT_AUTO_SECRET_BUF token = {.max = TOKEN_MAX, .secret = true};
    const struct question *question = cls;
    struct ct_pod_identity *identity = ret;
    struct ct_config config;
    struct stat status;
    if (!find_settings(question->pid, &config)) {
        return;
    }
    CT_AUTO_FD fd = open_within(
        question->pid, config.identity_file[0] != '\0' ? config.identity_file : config.token_file);
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || !read_all(fd, &token) ||
        ct_pod_identity_parse(token.data, token.len, identity, NULL) < 0 ||
        strcmp(identity->uid, question->uid) != 0) {
        *identity = (struct ct_pod_identity){0};
    }
}

void ct_pod_of(struct ct_aside *aside, pid_t pid, const char *uid, struct ct_pod_identity *ret)
{
    const struct question question = {.pid = pid, .uid = uid};
    *ret = (struct ct_pod_identity){0};
    if (uid[0] != '\0' && ct_aside_hanging(aside) == 0) {
        (void)!ct_aside_run(aside, -1, PATIENCE_MS, look, &question, ret, sizeof(*ret));
    }
}
