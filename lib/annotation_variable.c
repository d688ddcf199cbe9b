// SPDX-License-Identifier: Apache-2.0
#include "annotation_variable.h"

#include <string.h>

#include "text.h"

#define SEPARATOR "; "
#define PATHS_MAX 64
#define VARIABLE_MAX 253

int ct_annotation_no_memory(struct ct_err *err)
{
    return ct_err_set(err, CT_ENOMEM, "out of memory while reading annotations");
}

int ct_annotation_check_variable(const char *name, struct ct_err *err)
{
    static const char *const reserved[] = {"CLOUDTASER_", "LD_"};
    struct ct_shown shown;
    size_t len = strlen(name);
    if (len == 0 || len > VARIABLE_MAX || ct_text_is_digit(name[0]) || name[0] == '.' ||
        name[0] == '-' || !ct_text_consists(name, len, "_.-")) {
        return ct_err_set(err, CT_EINVAL,
                          "variable \"%s\": letters, digits, '_', '.' and '-' are "
                          "allowed, a letter or '_' first, at most %d",
                          ct_text_show(&shown, name, len), VARIABLE_MAX);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(reserved); i++) {
        if (strncmp(name, reserved[i], strlen(reserved[i])) == 0) {
            return ct_err_set(err, CT_EINVAL,
                              "variable \"%s\": names that start with %s are "
                              "reserved",
                              ct_text_show(&shown, name, len), reserved[i]);
        }
    }
    return 0;
}

static int find_room(struct ct_annotations *a, const char *key, struct ct_err *err)
{
    const size_t step = 8;
    if (a->n_variables == CT_ANNOTATION_MAX_VARIABLES) {
        return ct_err_set(err, CT_ETOOBIG, "%s: annotations may ask for at most %d variables", key,
                          CT_ANNOTATION_MAX_VARIABLES);
    }
    if (a->n_variables % step == 0) {
        void *more = realloc(a->variables, (a->n_variables + step) * sizeof(*a->variables));
        if (more == NULL) {
            return ct_annotation_no_memory(err);
        }
        a->variables = more;
    }
    return 0;
}

// The reference is PATH#KEY[#VERSION], the name any text.
int ct_annotation_add_variable(struct ct_annotations *a, const char *key, struct ct_slice name,
                               struct ct_slice ref, struct ct_err *err)
{
    CT_AUTO_STR copy = strndup(name.s, name.len);
    if (copy == NULL) {
        return ct_annotation_no_memory(err);
    }
    if (ct_annotation_check_variable(copy, err) < 0) {
        return ct_err_wrap(err, "%s", key);
    }
    for (size_t i = 0; i < a->n_variables; i++) {
        if (strcmp(a->variables[i].name, copy) == 0) {
            return ct_err_set(err, CT_EINVAL, "%s: variable %s is asked for twice", key, copy);
        }
    }
    int rc = find_room(a, key, err);
    if (rc < 0) {
        return rc;
    }
    struct ct_annotation_variable *variable = &a->variables[a->n_variables];
    if (ct_ref_parse(ref.s, ref.len, &variable->ref, err) < 0) {
        return ct_err_wrap(err, "%s", key);
    }
    variable->name = ct_steal(&copy);
    a->n_variables++;
    return 0;
}

struct paths {
    struct ct_slice item[PATHS_MAX];
    size_t n;
};

static int split_paths(const char *value, struct paths *ret, struct ct_err *err)
{
    struct ct_shown shown;
    struct ct_slice entry;
    while (ct_text_next(&value, &entry.s, &entry.len)) {
        if (entry.len > CT_REF_PATH_MAX || !ct_text_is_path(entry.s, entry.len)) {
            return ct_err_set(
                err, CT_EINVAL,
                CT_ANNOTATION_KEY(
                    "secret-paths") ": \"%s\" is no path of a secret; "
                                    "allowed: letters, digits and " CT_TEXT_PATH_CHARACTERS
                                    ", at most %d, no '/' at start or end, no part that is empty, "
                                    "\".\" "
                                    "or \"..\"",
                ct_text_show(&shown, entry.s, entry.len), CT_REF_PATH_MAX);
        }
        if (ret->n == PATHS_MAX) {
            return ct_err_set(err, CT_ETOOBIG,
                              CT_ANNOTATION_KEY("secret-paths") " names more than %d paths",
                              PATHS_MAX);
        }
        ret->item[ret->n++] = entry;
    }
    return 0;
}

static bool lists_path(const struct paths *paths, const char *path, size_t len)
{
    for (size_t i = 0; i < paths->n; i++) {
        if (paths->item[i].len == len && memcmp(paths->item[i].s, path, len) == 0) {
            return true;
        }
    }
    return false;
}

static int check_listed(struct ct_slice entry, struct ct_slice path, const struct paths *paths,
                        struct ct_err *err)
{
    struct ct_shown shown;
    if (lists_path(paths, path.s, path.len)) {
        return 0;
    }
    return ct_err_set(err, CT_EINVAL,
                      CT_ANNOTATION_KEY("env-map") ": the path of \"%s\" must stand "
                                                   "in " CT_ANNOTATION_KEY("secret-paths") " too",
                      ct_text_show(&shown, entry.s, entry.len));
}

// "key" becomes "PATH#key" with the only path there is; "path#key" stays, when its path is listed.
static int complete_ref(struct ct_slice left, const struct paths *paths, struct ct_buf *room,
                        struct ct_slice *ret, struct ct_err *err)
{
    struct ct_shown shown;
    const char *hash = memchr(left.s, '#', left.len);
    if (hash != NULL) {
        *ret = left;
        return check_listed(left, (struct ct_slice){left.s, (size_t)(hash - left.s)}, paths, err);
    }
    if (paths->n != 1) {
        return ct_err_set(err, CT_EINVAL,
                          CT_ANNOTATION_KEY("env-map") ": \"%s\" does not say of which path; with "
                                                       "more than one path in " CT_ANNOTATION_KEY(
                                                           "secret-paths") ", write path#key=NAME",
                          ct_text_show(&shown, left.s, left.len));
    }
    ct_buf_reset(room);
    ct_buf_add(room, paths->item[0].s, paths->item[0].len);
    ct_buf_add(room, "#", 1);
    ct_buf_add(room, left.s, left.len);
    if (room->failed) {
        return ct_annotation_no_memory(err);
    }
    *ret = (struct ct_slice){room->data, room->len};
    return 0;
}

// Is the path among those taken whole?
static bool takes_whole(const struct ct_annotations *a, struct ct_slice path)
{
    const char *rest = a->paths;
    struct ct_slice entry;
    while (ct_text_next(&rest, &entry.s, &entry.len)) {
        if (entry.len == path.len && memcmp(entry.s, path.s, path.len) == 0) {
            return true;
        }
    }
    return false;
}

static int add_whole(struct ct_slice path, struct ct_annotations *a, struct ct_err *err)
{
    if (takes_whole(a, path)) {
        return 0;
    }
    size_t used = a->paths != NULL ? strlen(a->paths) : 0;
    if (used + 1 + path.len >= CT_CONFIG_PATHS_SIZE) {
        return ct_err_set(err, CT_ETOOBIG,
                          CT_ANNOTATION_KEY("env-map") ": the paths that are taken whole are "
                                                       "together longer than %d bytes",
                          CT_CONFIG_PATHS_SIZE - 1);
    }
    char *more = realloc(a->paths, used + 1 + path.len + 1);
    if (more == NULL) {
        return ct_annotation_no_memory(err);
    }
    a->paths = more;
    if (used > 0) {
        more[used++] = ',';
    }
    memcpy(more + used, path.s, path.len);
    more[used + path.len] = '\0';
    return 0;
}

// "*" or "path#*".
static bool is_whole(struct ct_slice entry)
{
    bool star = entry.len > 0 && entry.s[entry.len - 1] == '*';
    return star && (entry.len == 1 || entry.s[entry.len - 2] == '#');
}

static int read_whole(struct ct_slice entry, const struct paths *paths, struct ct_annotations *a,
                      struct ct_err *err)
{
    if (entry.len > 1) {
        struct ct_slice path = {entry.s, entry.len - 2};
        int rc = check_listed(entry, path, paths, err);
        return rc < 0 ? rc : add_whole(path, a, err);
    }
    for (size_t i = 0; i < paths->n; i++) {
        int rc = add_whole(paths->item[i], a, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int read_map_entry(struct ct_slice entry, const struct paths *paths, struct ct_buf *room,
                          struct ct_annotations *a, struct ct_err *err)
{
    if (is_whole(entry)) {
        return read_whole(entry, paths, a, err);
    }
    const char *equals = memrchr(entry.s, '=', entry.len);
    if (equals == NULL || equals == entry.s) {
        struct ct_shown shown;
        return ct_err_set(
            err, CT_EINVAL,
            CT_ANNOTATION_KEY("env-map") ": \"%s\" must be key=NAME or path#key=NAME, or * or "
                                         "path#* for all keys",
            ct_text_show(&shown, entry.s, entry.len));
    }
    struct ct_slice left = {entry.s, (size_t)(equals - entry.s)};
    struct ct_slice name = {equals + 1, entry.len - left.len - 1};
    struct ct_slice ref;
    int rc = complete_ref(left, paths, room, &ref, err);
    return rc < 0 ? rc
                  : ct_annotation_add_variable(a, CT_ANNOTATION_KEY("env-map"), name, ref, err);
}

int ct_annotation_read_map(const char *secret_paths, const char *env_map, struct ct_annotations *a,
                           struct ct_err *err)
{
    struct paths paths = {0};
    if (secret_paths == NULL && env_map == NULL) {
        return 0;
    }
    if (secret_paths == NULL) {
        return ct_err_set(
            err, CT_EINVAL,
            CT_ANNOTATION_KEY("env-map") " needs " CT_ANNOTATION_KEY("secret-paths") " beside it");
    }
    if (env_map == NULL) {
        return ct_err_set(
            err, CT_EINVAL,
            CT_ANNOTATION_KEY("secret-paths") " needs " CT_ANNOTATION_KEY(
                "env-map") " beside it: key=NAME for each variable, or * for all keys");
    }
    int rc = split_paths(secret_paths, &paths, err);
    if (rc < 0) {
        return rc;
    }
    CT_AUTO_BUF room = {.max = 2 * CT_ANNOTATION_VALUE_MAX};
    struct ct_err all = {0};
    struct ct_slice entry;
    while (ct_text_next(&env_map, &entry.s, &entry.len)) {
        struct ct_err one = {0};
        rc = read_map_entry(entry, &paths, &room, a, &one);
        if (rc < 0) {
            (void)ct_err_add(&all, SEPARATOR, (enum ct_code)one.code, "%s", one.msg);
        }
        if (rc == -CT_ENOMEM || rc == -CT_ETOOBIG) {
            return ct_err_set(err, (enum ct_code) - rc, "%s", one.msg);
        }
    }
    return all.code == CT_OK ? 0 : ct_err_set(err, (enum ct_code)all.code, "%s", all.msg);
}
