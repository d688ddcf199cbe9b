// SPDX-License-Identifier: Apache-2.0
#include "annotation.h"

#include <stddef.h>
#include <string.h>

#include "annotation_variable.h"
#include "on_change.h"
#include "text.h"

#define SEPARATOR "; "
#define CONTAINERS_MAX 64
#define AUDIENCE_MAX 253
#define ENV_PREFIX "env."

struct reading {
    struct ct_annotations *a;
    const char *secret_paths;
    const char *env_map;
};

struct row {
    const char *name; // behind the prefix
    // Takes one value into r->a. The problem is told with its key.
    int (*read)(const struct row *row, const char *key, const char *value, struct reading *r,
                struct ct_err *err);
    size_t offset; // of the member, where the reader needs one
    int (*check)(const char *key, const char *value, struct ct_err *err);
    const char *value; // what is allowed, for the documents
    const char *help;  // likewise, what it means; both in Markdown
};

static int refuse(struct ct_err *err, const char *key, const char *value, const char *allowed)
{
    struct ct_shown shown;
    return ct_err_set(err, CT_EINVAL, "%s \"%s\": %s", key,
                      ct_text_show(&shown, value, strlen(value)), allowed);
}

static int check_address(const char *key, const char *value, struct ct_err *err)
{
    int rc = ct_config_check_address(value, err);
    return rc < 0 ? ct_err_wrap(err, "%s", key) : 0;
}

static int check_auth_path(const char *key, const char *value, struct ct_err *err)
{
    return ct_config_check_path(key, value, sizeof(((struct ct_config *)0)->auth_path), err);
}

static int check_namespace(const char *key, const char *value, struct ct_err *err)
{
    return ct_config_check_path(key, value, sizeof(((struct ct_config *)0)->vault_namespace), err);
}

// An audience is any text to the API server; an identifier or a URL to everybody else.
static int check_audience(const char *key, const char *value, struct ct_err *err)
{
    size_t len = strlen(value);
    if (len > 0 && len <= AUDIENCE_MAX && ct_text_consists(value, len, "-._~@+=:/?&%,")) {
        return 0;
    }
    return refuse(err, key, value, "1 to 253 letters, digits and -._~@+=:/?&%, are allowed");
}

static int check_object_name(const char *key, const char *value, struct ct_err *err)
{
    if (ct_text_is_subdomain(value, strlen(value))) {
        return 0;
    }
    return refuse(err, key, value,
                  "the name of an object is allowed: lower-case letters, digits, "
                  "'-' and '.', at most 253");
}

static int read_string(const struct row *row, const char *key, const char *value, struct reading *r,
                       struct ct_err *err)
{
    int rc = row->check(key, value, err);
    if (rc < 0) {
        return rc;
    }
    char *copy = strdup(value);
    if (copy == NULL) {
        return ct_annotation_no_memory(err);
    }
    *(char **)(void *)((char *)r->a + row->offset) = copy;
    return 0;
}

static int read_bool(const struct row *row, const char *key, const char *value, struct reading *r,
                     struct ct_err *err)
{
    bool yes = strcmp(value, "true") == 0;
    if (!yes && strcmp(value, "false") != 0) {
        return refuse(err, key, value, "\"true\" or \"false\" is allowed");
    }
    *(bool *)((char *)r->a + row->offset) = yes;
    return 0;
}

static int read_auth(const struct row *row, const char *key, const char *value, struct reading *r,
                     struct ct_err *err)
{
    (void)row;
    int auth = ct_auth_from_name(value);
    if (auth < 0) {
        return refuse(err, key, value, "unknown method; allowed: " CT_AUTH_NAMES);
    }
    r->a->has_auth = true;
    r->a->auth = (enum ct_auth)auth;
    return 0;
}

static int read_port(const struct row *row, const char *key, const char *value, struct reading *r,
                     struct ct_err *err)
{
    unsigned long port = 0;
    (void)row;
    if (!ct_text_number(value, strlen(value), 65535, &port) || port == 0) {
        return refuse(err, key, value, "a port is allowed: a whole number from 1 to 65535");
    }
    r->a->metrics_port = (unsigned)port;
    return 0;
}

static int read_refresh(const struct row *row, const char *key, const char *value,
                        struct reading *r, struct ct_err *err)
{
    unsigned long seconds = 0;
    (void)row;
    int rc = ct_refresh_parse(key, value, &seconds, err);
    r->a->refresh_s = (unsigned)seconds;
    return rc;
}

static int check_on_change(const char *key, const char *value, struct ct_err *err)
{
    struct ct_on_change reaction;
    return ct_on_change_parse(key, value, &reaction, err);
}

static int read_launcher(const struct row *row, const char *key, const char *value,
                         struct reading *r, struct ct_err *err)
{
    (void)row;
    int mode = ct_launcher_mode_from_name(value);
    if (mode < 0) {
        return refuse(err, key, value, "allowed: " CT_LAUNCHER_MODE_NAMES);
    }
    r->a->launcher = (enum ct_launcher_mode)mode;
    return 0;
}

// The highest of all wins: an author can only raise it.
static int read_score(const struct row *row, const char *key, const char *value, struct reading *r,
                      struct ct_err *err)
{
    unsigned long score = 0;
    (void)row;
    if (!ct_text_number(value, strlen(value), (unsigned long)ct_score_max(), &score)) {
        struct ct_shown shown;
        return ct_err_set(err, CT_EINVAL, "%s \"%s\": a whole number from 0 to %d is allowed", key,
                          ct_text_show(&shown, value, strlen(value)), ct_score_max());
    }
    if ((int)score > r->a->min_score) {
        r->a->min_score = (int)score;
    }
    return 0;
}

static int refuse_check(struct ct_err *err, const char *key, const char *entry, size_t len)
{
    struct ct_shown shown;
    (void)ct_err_set(err, CT_EINVAL, "%s: \"%s\" is no check; allowed: ", key,
                     ct_text_show(&shown, entry, len));
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        (void)ct_err_add(err, i == 0 ? "" : ", ", CT_EINVAL, "%s",
                         ct_check_info((enum ct_check)i)->name);
    }
    return -CT_EINVAL;
}

static int read_require(const struct row *row, const char *key, const char *value,
                        struct reading *r, struct ct_err *err)
{
    const char *entry;
    size_t len;
    (void)row;
    while (ct_text_next(&value, &entry, &len)) {
        int check = ct_check_from_name(entry, len);
        if (check < 0) {
            return refuse_check(err, key, entry, len);
        }
        r->a->require |= UINT32_C(1) << check;
    }
    return 0;
}

static bool has_container(const struct ct_annotations *a, const char *name, size_t len)
{
    for (size_t i = 0; i < a->n_containers; i++) {
        if (strlen(a->containers[i]) == len && memcmp(a->containers[i], name, len) == 0) {
            return true;
        }
    }
    return false;
}

static int add_container(struct ct_annotations *a, const char *key, const char *name, size_t len,
                         struct ct_err *err)
{
    struct ct_shown shown;
    if (!ct_text_is_label(name, len)) {
        return ct_err_set(err, CT_EINVAL,
                          "%s: \"%s\" is no container's name; allowed: lower-case "
                          "letters, digits and '-', at most 63",
                          key, ct_text_show(&shown, name, len));
    }
    if (has_container(a, name, len)) {
        return 0;
    }
    if (a->n_containers == CONTAINERS_MAX) {
        return ct_err_set(err, CT_ETOOBIG, "%s names more than %d containers", key, CONTAINERS_MAX);
    }
    char *copy = strndup(name, len);
    if (copy == NULL) {
        return ct_annotation_no_memory(err);
    }
    a->containers[a->n_containers++] = copy;
    return 0;
}

static int read_containers(const struct row *row, const char *key, const char *value,
                           struct reading *r, struct ct_err *err)
{
    const char *entry;
    size_t len;
    (void)row;
    r->a->containers = calloc(CONTAINERS_MAX, sizeof(*r->a->containers));
    if (r->a->containers == NULL) {
        return ct_annotation_no_memory(err);
    }
    while (ct_text_next(&value, &entry, &len)) {
        int rc = add_container(r->a, key, entry, len, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int read_secret_paths(const struct row *row, const char *key, const char *value,
                             struct reading *r, struct ct_err *err)
{
    (void)row, (void)key, (void)err;
    r->secret_paths = value;
    return 0;
}

static int read_env_map(const struct row *row, const char *key, const char *value,
                        struct reading *r, struct ct_err *err)
{
    (void)row, (void)key, (void)err;
    r->env_map = value;
    return 0;
}

// Written by the webhook itself; what it means is not the parser's business.
static int read_nothing(const struct row *row, const char *key, const char *value,
                        struct reading *r, struct ct_err *err)
{
    (void)row, (void)key, (void)value, (void)r, (void)err;
    return 0;
}

static const struct row rows[] = {
    {"inject", read_bool, offsetof(struct ct_annotations, inject), NULL, "`\"true\"`, `\"false\"`",
     "`true` opts in"},
    {"status", read_nothing, 0, NULL, "`injected`", "written by the webhook"},
    {"vault-address", read_string, offsetof(struct ct_annotations, vault_address), check_address,
     "URL", "Vault's or OpenBao's address; must be the operator's default or on its allow-list"},
    {"vault-role", read_string, offsetof(struct ct_annotations, vault_role), ct_config_check_role,
     "name", "role for the kubernetes and jwt logins; for approle the role id (no default)"},
    {"vault-auth-method", read_auth, 0, NULL, "`kubernetes`, `jwt`, `approle`, `token`",
     "how to log in; default `kubernetes`"},
    {"vault-auth-path", read_string, offsetof(struct ct_annotations, vault_auth_path),
     check_auth_path, "path", "mount of the login method, default its name"},
    {"vault-namespace", read_string, offsetof(struct ct_annotations, vault_namespace),
     check_namespace, "path", "sent as `X-Vault-Namespace`"},
    {"vault-audience", read_string, offsetof(struct ct_annotations, vault_audience), check_audience,
     "text", "audience of the service-account token, default the API server's own"},
    {"vault-ca-configmap", read_string, offsetof(struct ct_annotations, vault_ca_configmap),
     check_object_name, "name",
     "ConfigMap whose key `ca.crt` verifies Vault; needs the operator's permission"},
    {"vault-token-secret", read_string, offsetof(struct ct_annotations, vault_token_secret),
     check_object_name, "name", "with the token method: Secret whose key `token` holds the token"},
    {"vault-secret-id-secret", read_string, offsetof(struct ct_annotations, vault_secret_id_secret),
     check_object_name, "name",
     "with the approle method: Secret whose key `secret-id` holds the secret id"},
    {"vault-secret-id-wrapped", read_bool, offsetof(struct ct_annotations, vault_secret_id_wrapped),
     NULL, "`\"true\"`, `\"false\"`",
     "`true`: that key holds a response-wrapping token for the secret id, which can be used once"},
    {"vault-skip-verify", read_bool, offsetof(struct ct_annotations, vault_skip_verify), NULL,
     "`\"true\"`, `\"false\"`", "`true`: no TLS verification; needs the operator's permission"},
    {"plain-environment", read_bool, offsetof(struct ct_annotations, plain_environment), NULL,
     "`\"true\"`, `\"false\"`",
     "`true`: deliver in the clear where nothing better can be had, at the points' price; needs "
     "the operator's permission"},
    {"launcher", read_launcher, 0, NULL, "`auto`, `follow`, `deliver`",
     "what is done about shells, tini, gosu and the like: see below; default `auto`"},
    {"secret-paths", read_secret_paths, 0, NULL, "`secret/data/db,…`",
     "secrets that `env-map` takes keys of"},
    {"env-map", read_env_map, 0, NULL, "`password=PGPASSWORD,…`",
     "which key becomes which variable; with several paths `PATH#key=NAME`; `*` takes every listed "
     "path whole, `PATH#*` that one"},
    {"min-protection-score", read_score, 0, NULL, "points",
     "the least score that the pod may start with; the highest of all sources wins"},
    {"require", read_require, 0, NULL, "`memfd_secret,…`",
     "checks that must pass, whatever the sum"},
    {"refresh-interval", read_refresh, 0, NULL, "`90s`, `5m`, `2h`",
     "how often the secrets are read again while the app runs, from 30 s to a week; without it "
     "never"},
    {"on-change", read_string, offsetof(struct ct_annotations, on_change), check_on_change,
     "`keep`, `signal:SIGHUP`, `restart`",
     "what happens when they have changed: it is logged (default), and the app gets a signal, or "
     "is "
     "ended and started again with the new ones"},
    {"metrics-port", read_port, 0, NULL, "port",
     "where the wrapper serves `/metrics`, the score and the token's life, to whoever can reach "
     "the "
     "pod; without it nowhere"},
    {"containers", read_containers, 0, NULL, "`app,worker`",
     "containers to protect, by name; default: the author's containers that hold a reference, else "
     "the regular ones"},
};

static const struct row bare_row = {CT_MIN_SCORE_VARIABLE,
                                    read_score,
                                    0,
                                    NULL,
                                    "points",
                                    "`min-protection-score` without the prefix"};

static const struct row *find_row(const char *key)
{
    if (strncmp(key, CT_ANNOTATION_PREFIX, strlen(CT_ANNOTATION_PREFIX)) != 0) {
        return strcmp(key, bare_row.name) == 0 ? &bare_row : NULL;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(rows); i++) {
        if (strcmp(key + strlen(CT_ANNOTATION_PREFIX), rows[i].name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

bool ct_annotation_describe(size_t i, struct ct_annotation_info *ret)
{
    static const struct ct_annotation_info variable = {ENV_PREFIX "NAME", "`PATH#KEY[#VERSION]`",
                                                       "one variable, exactly"};
    if (i == CT_ARRAY_LEN(rows)) {
        *ret = variable;
        return true;
    }
    const struct row *row = i < CT_ARRAY_LEN(rows) ? &rows[i] : &bare_row;
    *ret = (struct ct_annotation_info){row->name, row->value, row->help};
    return i <= CT_ARRAY_LEN(rows) + 1;
}

static const char *row_name(const void *cls, size_t i)
{
    (void)cls;
    return rows[i].name;
}

// `name` is the key behind the prefix.
static int refuse_unknown(struct ct_err *err, const char *key, const char *name)
{
    struct ct_shown shown;
    const char *nearest = ct_text_nearest(name, strlen(name), row_name, NULL, CT_ARRAY_LEN(rows));
    (void)ct_err_set(err, CT_EINVAL, "unknown annotation %s",
                     ct_text_show(&shown, key, strlen(key)));
    if (nearest != NULL) {
        (void)ct_err_add(err, "", CT_EINVAL, " (did you mean " CT_ANNOTATION_PREFIX "%s?)",
                         nearest);
    }
    (void)ct_err_add(err, "", CT_EINVAL,
                     "; allowed behind " CT_ANNOTATION_PREFIX " are " ENV_PREFIX "NAME");
    for (size_t i = 0; i < CT_ARRAY_LEN(rows); i++) {
        (void)ct_err_add(err, ", ", CT_EINVAL, "%s", rows[i].name);
    }
    return -CT_EINVAL;
}

static int read_value(const char *key, const json_t *value, const char **ret, struct ct_err *err)
{
    struct ct_shown shown;
    const char *s = json_string_value(value);
    const char *name = ct_text_show(&shown, key, strlen(key));
    if (s == NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "%s must be a string: in YAML put its value between quotes", name);
    }
    if (strlen(s) != json_string_length(value)) {
        return ct_err_set(err, CT_EINVAL, "%s holds a NUL, which is not allowed", name);
    }
    if (json_string_length(value) > CT_ANNOTATION_VALUE_MAX) {
        return ct_err_set(err, CT_ETOOBIG, "%s is longer than %d bytes", name,
                          CT_ANNOTATION_VALUE_MAX);
    }
    *ret = s;
    return 0;
}

static int read_one(const char *key, const json_t *value, struct reading *r, struct ct_err *err)
{
    const struct row *row = find_row(key);
    bool ours = strncmp(key, CT_ANNOTATION_PREFIX, strlen(CT_ANNOTATION_PREFIX)) == 0;
    if (row == NULL && !ours) {
        return 0;
    }
    const char *name = key + (ours ? strlen(CT_ANNOTATION_PREFIX) : 0);
    bool variable = row == NULL && strncmp(name, ENV_PREFIX, strlen(ENV_PREFIX)) == 0;
    if (row == NULL && !variable) {
        return refuse_unknown(err, key, name);
    }
    const char *text = "";
    int rc = read_value(key, value, &text, err);
    if (rc < 0) {
        return rc;
    }
    if (!variable) {
        return row->read(row, key, text, r, err);
    }
    struct ct_shown shown;
    name += strlen(ENV_PREFIX);
    return ct_annotation_add_variable(r->a, ct_text_show(&shown, key, strlen(key)),
                                      (struct ct_slice){name, strlen(name)},
                                      (struct ct_slice){text, strlen(text)}, err);
}

// True when it is no use to go on.
static bool add_problem(struct ct_err *all, const struct ct_err *one)
{
    if (one->code == CT_ENOMEM) {
        *all = *one;
        return true;
    }
    (void)ct_err_add(all, SEPARATOR, (enum ct_code)one->code, "%s", one->msg);
    return false;
}

// A method whose credential lies in a Secret, and the annotation that names it, need each other.
static void check_secret_of(const struct ct_annotations *a, enum ct_auth auth, const char *name,
                            const char *key, const char *member, struct ct_err *all)
{
    bool chosen = a->has_auth && a->auth == auth;
    if (chosen && name == NULL) {
        (void)ct_err_add(all, SEPARATOR, CT_EINVAL,
                         CT_ANNOTATION_KEY("vault-auth-method") " \"%s\" needs %s, the name of a "
                                                                "Secret with the key %s",
                         ct_auth_name(auth), key, member);
    }
    if (!chosen && name != NULL) {
        (void)ct_err_add(all, SEPARATOR, CT_EINVAL,
                         "%s \"%.63s\" needs " CT_ANNOTATION_KEY("vault-auth-method") " \"%s\"",
                         key, name, ct_auth_name(auth));
    }
}

static void check_together(const struct ct_annotations *a, struct ct_err *all)
{
    if (a->on_change != NULL && a->refresh_s == 0) {
        (void)ct_err_add(
            all, SEPARATOR, CT_EINVAL,
            CT_ANNOTATION_KEY("on-change") " needs " CT_ANNOTATION_KEY("refresh-interval"));
    }
    bool restart = a->on_change != NULL && strcmp(a->on_change, "restart") == 0;
    if (restart && a->vault_secret_id_wrapped) {
        (void)ct_err_add(
            all, SEPARATOR, CT_EINVAL,
            CT_ANNOTATION_KEY("on-change") " \"restart\" cannot go with " CT_ANNOTATION_KEY(
                "vault-secret-id-wrapped") ": a wrapping token works once");
    }
    check_secret_of(a, CT_AUTH_TOKEN, a->vault_token_secret,
                    CT_ANNOTATION_KEY("vault-token-secret"), "token", all);
    check_secret_of(a, CT_AUTH_APPROLE, a->vault_secret_id_secret,
                    CT_ANNOTATION_KEY("vault-secret-id-secret"), "secret-id", all);
    if (a->vault_secret_id_wrapped && a->vault_secret_id_secret == NULL) {
        (void)ct_err_add(all, SEPARATOR, CT_EINVAL,
                         CT_ANNOTATION_KEY("vault-secret-id-wrapped") " needs " CT_ANNOTATION_KEY(
                             "vault-secret-id-secret"));
    }
}

int ct_annotations_opted_in(const json_t *annotations, struct ct_err *err)
{
    const json_t *value = json_object_get(annotations, CT_ANNOTATION_INJECT);
    if (value == NULL) {
        return 0;
    }
    const char *s = "";
    int rc = read_value(CT_ANNOTATION_INJECT, value, &s, err);
    if (rc < 0) {
        return rc;
    }
    if (strcmp(s, "true") == 0) {
        return 1;
    }
    if (strcmp(s, "false") == 0) {
        return 0;
    }
    return refuse(err, CT_ANNOTATION_INJECT, s, "\"true\" or \"false\" is allowed");
}

int ct_annotations_parse(const json_t *annotations, struct ct_annotations *ret, struct ct_err *err)
{
    *ret = (struct ct_annotations){0};
    if (annotations == NULL || json_is_null(annotations)) {
        return 0;
    }
    if (!json_is_object(annotations)) {
        return ct_err_set(err, CT_EINVAL, "annotations must be an object");
    }
    struct reading r = {.a = ret};
    struct ct_err all = {0};
    const char *key;
    json_t *value;
    // The macro wants a mutable object and changes nothing.
    json_object_foreach((json_t *)(uintptr_t)annotations, key, value)
    {
        struct ct_err found = {0};
        if (read_one(key, value, &r, &found) < 0 && add_problem(&all, &found)) {
            break;
        }
    }
    struct ct_err one = {0};
    if (all.code != CT_ENOMEM && ct_annotation_read_map(r.secret_paths, r.env_map, ret, &one) < 0) {
        (void)add_problem(&all, &one);
    }
    if (all.code != CT_ENOMEM) {
        check_together(ret, &all);
    }
    return all.code == CT_OK ? 0 : ct_err_set(err, (enum ct_code)all.code, "%s", all.msg);
}

void ct_annotations_done(struct ct_annotations *a)
{
    char *strings[] = {
        a->vault_address,  a->vault_role,         a->vault_auth_path,    a->vault_namespace,
        a->vault_audience, a->vault_ca_configmap, a->vault_token_secret, a->vault_secret_id_secret,
        a->on_change};
    for (size_t i = 0; i < CT_ARRAY_LEN(strings); i++) {
        free(strings[i]);
    }
    for (size_t i = 0; i < a->n_containers; i++) {
        free(a->containers[i]);
    }
    free(a->containers);
    for (size_t i = 0; i < a->n_variables; i++) {
        free(a->variables[i].name);
    }
    free(a->variables);
    free(a->paths);
    *a = (struct ct_annotations){0};
}
