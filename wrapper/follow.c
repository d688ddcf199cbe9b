// SPDX-License-Identifier: Apache-2.0
#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script.h"

#define ARGS_MAX 32 // of its arguments that a program is judged by

struct arguments {
    char text[ARGS_MAX][CT_STACK_STRING_MAX]; // each cut to that
    const char *argv[ARGS_MAX];
    size_t n;
};

// A script's text. One more byte than is looked at, to see that there is more.
static char script[CT_SCRIPT_MAX + 1];

// The length of the file's text, or -1.
static ssize_t read_file(const char *path)
{
    struct stat st;
    CT_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return -1;
    }
    size_t len = 0;
    while (len < sizeof(script)) {
        ssize_t n = read(fd, script + len, sizeof(script) - len);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n == 0) {
            return (ssize_t)len;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    return -1;
}

// As the process sees the path: in its own root, from its own folder.
static ssize_t read_script(pid_t pid, const char *file)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "/proc/%d/%s/%s", (int)pid,
                     file[0] == '/' ? "root" : "cwd", file);
    if (n < 0 || (size_t)n >= sizeof(path) || strlen(file) >= CT_STACK_STRING_MAX - 1) {
        return -1;
    }
    return read_file(path);
}

// The whole of an argument, of which `argv` holds the beginning.
static ssize_t read_argument(const struct ct_follow_subject *s, const struct arguments *a,
                             const char *argument)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->argv[i] == argument) {
            return ct_stack_string(s->pid, s->stack, i, script, sizeof(script));
        }
    }
    return -1;
}

static bool uses_secret(const struct ct_secrets *secrets, size_t len)
{
    for (size_t i = 0; i < secrets->n; i++) {
        if (ct_script_uses(script, len, secrets->item[i].name)) {
            return true;
        }
    }
    return false;
}

static bool has_startup_file(const struct ct_follow_subject *s, const char *shell)
{
    const char *variable = ct_shell_startup_variable(shell);
    return strcmp(shell, "zsh") == 0 ||
           (variable != NULL && ct_stack_has_variable(s->pid, s->stack, variable));
}

static void judge_shell(const struct ct_follow_subject *s, const struct arguments *a,
                        const struct ct_launcher *launcher, struct ct_follow_verdict *ret)
{
    struct ct_shell_line line;
    ct_shell_parse(a->argv + launcher->skip, a->n - launcher->skip, &line);
    ssize_t len = line.text != NULL   ? read_argument(s, a, line.text)
                  : line.file != NULL ? read_script(s->pid, line.file)
                                      : -1;
    enum ct_script_kind kind = len < 0 ? CT_SCRIPT_CHILDREN : ct_script_judge(script, (size_t)len);
    if (kind == CT_SCRIPT_ONE && (line.startup || has_startup_file(s, launcher->name))) {
        kind = CT_SCRIPT_CHILDREN; // what that file runs would be taken for the one program
    }
    ret->rule = kind == CT_SCRIPT_ONE ? CT_CHAIN_FIRST : CT_CHAIN_OWN;
    ret->follow = true;
    if (s->mode == CT_LAUNCHER_FOLLOW) {
        return;
    }
    ret->why = len < 0                                ? CT_SCRIPT_WHY_UNREAD
               : uses_secret(s->secrets, (size_t)len) ? CT_SCRIPT_WHY_USES
               : kind == CT_SCRIPT_CHILDREN           ? CT_SCRIPT_WHY_CHILDREN
                                                      : "";
    ret->follow = ret->why[0] == '\0';
}

void ct_follow_judge(const struct ct_follow_subject *s, struct ct_follow_verdict *ret)
{
    struct arguments a;
    a.n = ct_stack_argv(s->pid, s->stack, a.text, ARGS_MAX);
    for (size_t i = 0; i < a.n; i++) {
        a.argv[i] = a.text[i];
    }
    struct ct_launcher launcher = ct_launcher_find(s->exe, a.argv, a.n);
    *ret = (struct ct_follow_verdict){.launcher = launcher.name, .why = ""};
    if (launcher.name == NULL || s->mode == CT_LAUNCHER_DELIVER) {
        return;
    }
    if (launcher.kind == CT_LAUNCHER_SHELL) {
        judge_shell(s, &a, &launcher, ret);
        return;
    }
    ret->rule = CT_CHAIN_FIRST;
    ret->follow = launcher.kind == CT_LAUNCHER_ONE || s->mode == CT_LAUNCHER_FOLLOW;
}
