// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "annotation.h"
#include "file.h"
#include "run.h"
#include "text.h"

#define MAX_ENV_FILE ((size_t)1 << 20)
#define MAX_ENV_NAME 253

static int no_memory(struct ct_err *err)
{
    return ct_err_set(err, CT_ENOMEM, "out of memory for the environment");
}

void ct_run_environment_done(struct ct_run_environment *e)
{
    for (size_t i = 0; i < e->n; i++) {
        free(e->item[i]);
    }
    free(e->item);
    *e = (struct ct_run_environment){0};
}

static char **find(const struct ct_run_environment *e, const char *name, size_t len)
{
    for (size_t i = 0; i < e->n; i++) {
        if (strncmp(e->item[i], name, len) == 0 && e->item[i][len] == '=') {
            return &e->item[i];
        }
    }
    return NULL;
}

// Takes `text`, "NAME=VALUE", which may be NULL: there was no memory.
CT_CHECKED static int take(struct ct_run_environment *e, char *text, size_t name_len,
                           struct ct_err *err)
{
    CT_AUTO_STR owned = text;
    if (text == NULL) {
        return no_memory(err);
    }
    char **old = find(e, text, name_len);
    if (old == NULL) {
        char **grown = reallocarray(e->item, e->n + 2, sizeof(*grown));
        if (grown == NULL) {
            return no_memory(err);
        }
        e->item = grown;
        old = &grown[e->n++];
        *old = NULL;
        grown[e->n] = NULL;
    }
    free(*old);
    *old = ct_steal(&owned);
    return 0;
}

int ct_run_environment_set(struct ct_run_environment *e, const char *name, const char *value,
                           struct ct_err *err)
{
    char *text = NULL;
    if (asprintf(&text, "%s=%s", name, value) < 0) {
        text = NULL;
    }
    return take(e, text, strlen(name), err);
}

// The name in front of '=', checked. `what` is where it stands.
CT_CHECKED static int read_name(const char *text, const char *what, char **ret, struct ct_err *err)
{
    CT_AUTO_STR name = strndup(text, strcspn(text, "="));
    if (name == NULL) {
        return no_memory(err);
    }
    int r = ct_annotation_check_variable(name, err);
    if (r < 0) {
        return ct_err_wrap(err, "%s", what);
    }
    *ret = ct_steal(&name);
    return 0;
}

// What stands in such a file is never shown: a line that is none may be one of a private key.
static bool is_assignment(const char *line)
{
    size_t len = strcspn(line, "=");
    return line[len] == '=' && len > 0 && len <= MAX_ENV_NAME && !ct_text_is_digit(line[0]) &&
           line[0] != '.' && line[0] != '-' && ct_text_consists(line, len, "_.-");
}

// As docker's --env-file: '#' begins a comment at the start of a line only, quotes mean nothing.
CT_CHECKED static int add_file(struct ct_run_environment *e, const char *path, struct ct_err *err)
{
    CT_AUTO_SECRET_BUF file = {.max = MAX_ENV_FILE, .secret = true};
    char where[320];
    char *rest = NULL;
    int r = ct_file_read(path, &file, err);
    if (r == 0 && file.len > 0 && strlen(file.data) != file.len) {
        r = ct_err_set(err, CT_EINVAL, "%s holds a NUL", path);
    }
    if (r < 0 || file.len == 0) {
        return r;
    }
    size_t number = 0;
    for (rest = file.data; rest != NULL && r == 0;) {
        char *line = strsep(&rest, "\n");
        number++;
        line[strcspn(line, "\r")] = '\0';
        if (line[strspn(line, " \t")] == '\0' || line[0] == '#') {
            continue;
        }
        CT_AUTO_STR name = NULL;
        (void)snprintf(where, sizeof(where), "%.300s, line %zu", path, number);
        if (!is_assignment(line)) {
            return ct_err_set(err, CT_EINVAL,
                              "%s: NAME=VALUE is allowed, with a name of letters, digits, '_', '.' "
                              "and '-', a letter or '_' first",
                              where);
        }
        r = read_name(line, where, &name, err);
        if (r == 0) {
            r = take(e, strdup(line), strlen(name), err);
        }
    }
    return r;
}

// `seen` are the names so far.
CT_CHECKED static int add_secret(struct ct_run_environment *e, struct ct_run_environment *seen,
                                 const char *text, struct ct_err *err)
{
    CT_AUTO_STR name = NULL;
    CT_AUTO_STR value = NULL;
    struct ct_ref ref;
    struct ct_shown shown;
    char where[128];
    (void)snprintf(where, sizeof(where), "--secret \"%s\"",
                   ct_text_show(&shown, text, strcspn(text, "=")));
    if (strchr(text, '=') == NULL) {
        return ct_err_set(err, CT_EINVAL, "%s: NAME=PATH#KEY is allowed", where);
    }
    int r = read_name(text, where, &name, err);
    if (r < 0) {
        return r;
    }
    const char *reference = text + strlen(name) + 1;
    if (find(seen, name, strlen(name)) != NULL) {
        return ct_err_set(err, CT_EINVAL, "--secret %s is given twice", name);
    }
    if (ct_ref_parse(reference, strlen(reference), &ref, err) < 0) {
        return ct_err_wrap(err, "--secret %s", name);
    }
    if (asprintf(&value, "vault:%s", reference) < 0) {
        value = NULL;
        return no_memory(err);
    }
    r = ct_run_environment_set(seen, name, "", err);
    return r < 0 ? r : ct_run_environment_set(e, name, value, err);
}

int ct_run_environment_make(const struct ct_run_settings *settings, char *const *own,
                            struct ct_run_environment *ret, struct ct_err *err)
{
    CT_AUTO_RUN_ENVIRONMENT seen = {0};
    int r = 0;
    for (; *own != NULL && r == 0; own++) {
        // The token is the wrapper's: an app that inherits it could read every secret itself.
        size_t len = strcspn(*own, "=");
        bool token = len == strlen("VAULT_TOKEN") && strncmp(*own, "VAULT_TOKEN", len) == 0;
        if (!token && (*own)[len] == '=') {
            r = take(ret, strdup(*own), len, err);
        }
    }
    for (size_t i = 0; i < settings->env_files.n && r == 0; i++) {
        r = add_file(ret, settings->env_files.item[i], err);
    }
    for (size_t i = 0; i < settings->secrets.n && r == 0; i++) {
        r = add_secret(ret, &seen, settings->secrets.item[i], err);
    }
    return r;
}
