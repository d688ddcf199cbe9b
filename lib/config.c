// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "json.h"
#include "on_change.h"
#include "ref.h"
#include "text.h"

#define SEPARATOR "; "
#define CONNECT_TIMEOUT_DEFAULT 5000
#define TIMEOUT_DEFAULT 10000
#define RETRY_BUDGET_DEFAULT 60000
#define FD_LIMIT (1 << 20)
#define HOUR_MS 3600000
#define FIELD_SIZE(field) sizeof(((struct ct_config *)0)->field)

static const char *const auth_names[] = {
    [CT_AUTH_KUBERNETES] = "kubernetes",
    [CT_AUTH_TOKEN] = "token",
    [CT_AUTH_JWT] = "jwt",
    [CT_AUTH_APPROLE] = "approle",
};

const char *ct_auth_name(enum ct_auth auth)
{
    return auth_names[auth];
}

int ct_auth_from_name(const char *name)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(auth_names); i++) {
        if (strcmp(auth_names[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int check_size(const char *what, const char *value, size_t size, struct ct_err *err)
{
    size_t len = strlen(value);
    if (len >= size) {
        struct ct_shown shown;
        return ct_err_set(err, CT_ETOOBIG, "%s \"%s\" is longer than %zu bytes", what,
                          ct_text_show(&shown, value, len), size - 1);
    }
    return 0;
}

int ct_config_check_path(const char *what, const char *value, size_t size, struct ct_err *err)
{
    struct ct_shown shown;
    size_t len = strlen(value);
    int rc = check_size(what, value, size, err);
    if (rc == 0 && !ct_text_is_path(value, len)) {
        rc = ct_err_set(err, CT_EINVAL,
                        "%s \"%s\": letters, digits and " CT_TEXT_PATH_CHARACTERS
                        " are allowed, no '/' at its start or end, and no part that is empty, "
                        "\".\" or \"..\"",
                        what, ct_text_show(&shown, value, len));
    }
    return rc;
}

int ct_config_check_role(const char *what, const char *value, struct ct_err *err)
{
    struct ct_shown shown;
    size_t len = strlen(value);
    int rc = check_size(what, value, FIELD_SIZE(role), err);
    if (rc == 0 && (len == 0 || !ct_text_consists(value, len, "-._~@+=:"))) {
        rc = ct_err_set(err, CT_EINVAL, "%s \"%s\": letters, digits and -._~@+=: are allowed", what,
                        ct_text_show(&shown, value, len));
    }
    return rc;
}

static bool is_host(const char *host, size_t len)
{
    if (len == 0 || len > 253) {
        return false;
    }
    size_t label = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && host[i] != '.') {
            continue;
        }
        const char *s = host + label;
        size_t n = i - label;
        if (n == 0 || n > 63 || s[0] == '-' || s[n - 1] == '-' || !ct_text_consists(s, n, "-")) {
            return false;
        }
        label = i + 1;
    }
    return true;
}

static bool is_ipv6(const char *s, size_t len)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    if (len >= sizeof(text)) {
        return false;
    }
    memcpy(text, s, len);
    text[len] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1;
}

// What follows "://".
static bool is_authority(const char *s)
{
    const char *port = s + strcspn(s, ":");
    bool host_ok;
    if (s[0] == '[') {
        const char *end = strchr(s, ']');
        if (end == NULL) {
            return false;
        }
        host_ok = is_ipv6(s + 1, (size_t)(end - s - 1));
        port = end + 1;
    } else {
        host_ok = is_host(s, (size_t)(port - s));
    }
    unsigned long number = 0;
    return host_ok && (port[0] == '\0' ||
                       (port[0] == ':' &&
                        ct_text_number(port + 1, strlen(port + 1), 65535, &number) && number > 0));
}

int ct_config_check_address(const char *address, struct ct_err *err)
{
    static const char *const schemes[] = {"https://", "http://"};
    int rc = check_size("address", address, FIELD_SIZE(vault_address), err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (strncmp(address, schemes[i], len) == 0 && is_authority(address + len)) {
            return 0;
        }
    }
    // One that holds '@' may hold a password: not repeated.
    struct ct_shown shown;
    return ct_err_set(
        err, CT_EINVAL,
        "address \"%s\" is refused: https://HOST[:PORT] or "
        "http://HOST[:PORT] is allowed, without path, user or query",
        strchr(address, '@') != NULL ? "…@…" : ct_text_show(&shown, address, strlen(address)));
}

enum field_kind {
    FIELD_STRING,
    FIELD_BOOL,
    FIELD_INT,
    FIELD_UNSIGNED,
    FIELD_AUTH,
    FIELD_LAUNCHER,
    FIELD_REQUIRE,
};

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    size_t size;   // of strings, NUL included
    long min, max; // of numbers
    int (*check)(const char *key, const char *value, struct ct_err *err); // of strings; may be NULL
};

static int check_address_field(const char *key, const char *value, struct ct_err *err)
{
    (void)key;
    return ct_config_check_address(value, err);
}

static int check_auth_path_field(const char *key, const char *value, struct ct_err *err)
{
    return ct_config_check_path(key, value, FIELD_SIZE(auth_path), err);
}

static int check_namespace_field(const char *key, const char *value, struct ct_err *err)
{
    return ct_config_check_path(key, value, FIELD_SIZE(vault_namespace), err);
}

static int check_file_field(const char *key, const char *value, struct ct_err *err)
{
    struct ct_shown shown;
    size_t len = strlen(value);
    if (value[0] == '/' && ct_text_is_printable(value, len)) {
        return 0;
    }
    return ct_err_set(err, CT_EINVAL, "%s \"%s\" must be an absolute path of printable characters",
                      key, ct_text_show(&shown, value, len));
}

static int check_paths_field(const char *key, const char *value, struct ct_err *err)
{
    const char *entry;
    size_t len;
    struct ct_shown shown;
    while (ct_text_next(&value, &entry, &len)) {
        if (len > CT_REF_PATH_MAX || !ct_text_is_path(entry, len)) {
            return ct_err_set(err, CT_EINVAL, "%s: \"%s\" is no path of a secret", key,
                              ct_text_show(&shown, entry, len));
        }
    }
    return 0;
}

static int check_on_change_field(const char *key, const char *value, struct ct_err *err)
{
    struct ct_on_change reaction;
    return ct_on_change_parse(key, value, &reaction, err);
}

#define STRING(name, member, check)                                                                \
    {                                                                                              \
        name, FIELD_STRING, offsetof(struct ct_config, member), FIELD_SIZE(member), 0, 0, check    \
    }
#define NUMBER(name, kind, member, min, max)                                                       \
    {                                                                                              \
        name, kind, offsetof(struct ct_config, member), 0, min, max, NULL                          \
    }
#define OTHER(name, kind, member)                                                                  \
    {                                                                                              \
        name, kind, offsetof(struct ct_config, member), 0, 0, 0, NULL                              \
    }

// In the order in which they are written; "version" stands before all of them.
static const struct field fields[] = {
    STRING("address", vault_address, check_address_field),
    OTHER("auth", FIELD_AUTH, auth),
    STRING("auth-path", auth_path, check_auth_path_field),
    STRING("role", role, ct_config_check_role),
    STRING("namespace", vault_namespace, check_namespace_field),
    STRING("ca-file", ca_file, check_file_field),
    OTHER("skip-verify", FIELD_BOOL, skip_verify),
    STRING("token-file", token_file, check_file_field),
    NUMBER("token-fd", FIELD_UNSIGNED, token_fd, 3, FD_LIMIT),
    OTHER("secret-id-wrapped", FIELD_BOOL, secret_id_wrapped),
    STRING("paths", paths, check_paths_field),
    OTHER("plain-environment", FIELD_BOOL, plain_environment),
    OTHER("launcher", FIELD_LAUNCHER, launcher),
    NUMBER("min-score", FIELD_INT, min_score, 0, LONG_MAX),
    OTHER("require", FIELD_REQUIRE, require),
    NUMBER("connect-timeout-ms", FIELD_UNSIGNED, connect_timeout_ms, 1, HOUR_MS),
    NUMBER("timeout-ms", FIELD_UNSIGNED, timeout_ms, 1, HOUR_MS),
    NUMBER("retry-budget-ms", FIELD_UNSIGNED, retry_budget_ms, 0, HOUR_MS),
    OTHER("json-log", FIELD_BOOL, json_log),
    NUMBER("metrics-port", FIELD_UNSIGNED, metrics_port, 1, 65535),
    STRING("identity-file", identity_file, check_file_field),
    NUMBER("refresh-interval-ms", FIELD_UNSIGNED, refresh_ms, 1000, 7 * 24 * HOUR_MS),
    STRING("on-change", on_change, check_on_change_field),
};

void ct_config_init(struct ct_config *c)
{
    *c = (struct ct_config){
        .auth = CT_AUTH_KUBERNETES,
        .auth_path = "kubernetes",
        .connect_timeout_ms = CONNECT_TIMEOUT_DEFAULT,
        .timeout_ms = TIMEOUT_DEFAULT,
        .retry_budget_ms = RETRY_BUDGET_DEFAULT,
    };
}

static int read_string(const struct field *f, const json_t *value, void *to, struct ct_err *err)
{
    const char *s = json_string_value(value);
    if (s == NULL || strlen(s) != json_string_length(value)) {
        return ct_err_set(err, CT_EINVAL, "%s must be a string", f->key);
    }
    int rc = check_size(f->key, s, f->size, err);
    if (rc == 0 && s[0] == '\0') {
        rc = ct_err_set(err, CT_EINVAL, "%s is empty", f->key);
    }
    if (rc == 0 && f->check != NULL) {
        rc = f->check(f->key, s, err);
    }
    if (rc == 0) {
        memcpy(to, s, strlen(s) + 1);
    }
    return rc;
}

static int read_bool(const struct field *f, const json_t *value, void *to, struct ct_err *err)
{
    if (!json_is_boolean(value)) {
        return ct_err_set(err, CT_EINVAL, "%s must be true or false", f->key);
    }
    *(bool *)to = json_is_true(value);
    return 0;
}

static int read_number(const struct field *f, const json_t *value, long *ret, struct ct_err *err)
{
    long max = f->kind == FIELD_INT ? ct_score_max() : f->max;
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < f->min || n > max) {
        return ct_err_set(err, CT_EINVAL, "%s must be a whole number from %ld to %ld", f->key,
                          f->min, max);
    }
    *ret = (long)n;
    return 0;
}

static int read_int(const struct field *f, const json_t *value, void *to, struct ct_err *err)
{
    long n = 0;
    int rc = read_number(f, value, &n, err);
    if (rc == 0) {
        *(int *)to = (int)n;
    }
    return rc;
}

static int read_unsigned(const struct field *f, const json_t *value, void *to, struct ct_err *err)
{
    long n = 0;
    int rc = read_number(f, value, &n, err);
    if (rc == 0) {
        *(unsigned *)to = (unsigned)n;
    }
    return rc;
}

static int read_auth(const struct field *f, const json_t *value, void *to, struct ct_err *err)
{
    const char *s = json_string_value(value);
    int auth = s != NULL && strlen(s) == json_string_length(value) ? ct_auth_from_name(s) : -1;
    if (auth < 0) {
        return ct_err_set(err, CT_EINVAL, "%s must be one of " CT_AUTH_NAMES, f->key);
    }
    *(enum ct_auth *)to = (enum ct_auth)auth;
    return 0;
}

static int read_launcher(const struct field *f, const json_t *value, void *to, struct ct_err *err)
{
    const char *s = json_string_value(value);
    int mode =
        s != NULL && strlen(s) == json_string_length(value) ? ct_launcher_mode_from_name(s) : -1;
    if (mode < 0) {
        return ct_err_set(err, CT_EINVAL, "%s must be one of " CT_LAUNCHER_MODE_NAMES, f->key);
    }
    *(enum ct_launcher_mode *)to = (enum ct_launcher_mode)mode;
    return 0;
}

static int read_require(const struct field *f, const json_t *value, void *to, struct ct_err *err)
{
    uint32_t bits = 0;
    if (!json_is_array(value)) {
        return ct_err_set(err, CT_EINVAL, "%s must be an array of names of checks", f->key);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(item);
        int check = name != NULL ? ct_check_from_name(name, json_string_length(item)) : -1;
        if (check < 0) {
            struct ct_shown shown;
            return ct_err_set(err, CT_EINVAL, "%s: \"%s\" is no check's name", f->key,
                              ct_text_show(&shown, name != NULL ? name : "",
                                           name != NULL ? json_string_length(item) : 0));
        }
        bits |= UINT32_C(1) << check;
    }
    *(uint32_t *)to = bits;
    return 0;
}

static int (*const readers[])(const struct field *, const json_t *, void *, struct ct_err *) = {
    [FIELD_STRING] = read_string,     [FIELD_BOOL] = read_bool, [FIELD_INT] = read_int,
    [FIELD_UNSIGNED] = read_unsigned, [FIELD_AUTH] = read_auth, [FIELD_REQUIRE] = read_require,
    [FIELD_LAUNCHER] = read_launcher,
};

static const struct field *find_field(const char *key)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static void add_problem(struct ct_err *all, const struct ct_err *one)
{
    (void)ct_err_add(all, SEPARATOR, (enum ct_code)one->code, "%s", one->msg);
}

static void check_needed(const struct ct_config *c, struct ct_err *all)
{
    const struct {
        const char *key, *value;
        bool needed;
    } needs[] = {
        {"address", c->vault_address, true},
        {"token-file", c->token_file, c->token_fd == 0},
        {"role", c->role, c->auth != CT_AUTH_TOKEN},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(needs); i++) {
        if (needs[i].needed && needs[i].value[0] == '\0') {
            (void)ct_err_add(all, SEPARATOR, CT_EINVAL, "%s is missing", needs[i].key);
        }
    }
}

static void check_descriptor(const struct ct_config *c, struct ct_err *all)
{
    if (c->token_fd != 0 && (c->auth != CT_AUTH_TOKEN || c->token_file[0] != '\0')) {
        (void)ct_err_add(all, SEPARATOR, CT_EINVAL,
                         "token-fd is for the method token alone, instead of token-file");
    }
}

static void read_members(json_t *doc, struct ct_config *c, struct ct_err *all)
{
    const char *key;
    json_t *value;
    json_object_foreach(doc, key, value)
    {
        struct ct_err one = {0};
        const struct field *f = find_field(key);
        if (f != NULL) {
            if (readers[f->kind](f, value, (char *)c + f->offset, &one) < 0) {
                add_problem(all, &one);
            }
        } else if (strcmp(key, "version") != 0) {
            struct ct_shown shown;
            (void)ct_err_add(all, SEPARATOR, CT_EINVAL, "unknown key \"%s\"",
                             ct_text_show(&shown, key, strlen(key)));
        }
    }
}

int ct_config_parse(const char *text, struct ct_config *ret, struct ct_err *err)
{
    CT_AUTO_JSON doc = NULL;
    struct ct_err all = {0};
    size_t len = strnlen(text, CT_CONFIG_MAX + 1);
    ct_config_init(ret);
    if (len > CT_CONFIG_MAX) {
        return ct_err_set(err, CT_ETOOBIG, CT_CONFIG_VARIABLE " is longer than %d bytes",
                          CT_CONFIG_MAX);
    }
    int rc = ct_json_parse(text, len, CT_CONFIG_VARIABLE, &doc, err);
    if (rc < 0) {
        return rc;
    }
    if (!json_is_object(doc)) {
        return ct_err_set(err, CT_EINVAL, CT_CONFIG_VARIABLE " must be a JSON object");
    }
    const json_t *version = json_object_get(doc, "version");
    if (!json_is_integer(version) || json_integer_value(version) != CT_CONFIG_VERSION) {
        return ct_err_set(err, CT_EINVAL,
                          CT_CONFIG_VARIABLE ": version must be %d: webhook and "
                                             "wrapper are of different releases",
                          CT_CONFIG_VERSION);
    }
    ret->auth_path[0] = '\0';
    read_members(doc, ret, &all);
    if (all.code == CT_OK) {
        check_needed(ret, &all);
        check_descriptor(ret, &all);
    }
    if (all.code != CT_OK) {
        ct_config_init(ret);
        return ct_err_set(err, (enum ct_code)all.code, CT_CONFIG_VARIABLE ": %s", all.msg);
    }
    if (ret->auth_path[0] == '\0') {
        const char *mount = ct_auth_name(ret->auth);
        memcpy(ret->auth_path, mount, strlen(mount) + 1);
    }
    return 0;
}

static void write_key(struct ct_buf *out, const char *key)
{
    ct_buf_add(out, ",\"", 2);
    ct_buf_add_str(out, key);
    ct_buf_add(out, "\":", 2);
}

static void write_require(uint32_t bits, struct ct_buf *out)
{
    const char *before = "[\"";
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        if ((bits & (UINT32_C(1) << i)) != 0) {
            ct_buf_add_str(out, before);
            ct_buf_add_str(out, ct_check_info((enum ct_check)i)->name);
            before = "\",\"";
        }
    }
    ct_buf_add_str(out, "\"]");
}

// Does the field hold its default? Those of auth-path and the timeouts depend on more than zero.
static bool is_default(const struct field *f, const struct ct_config *c,
                       const struct ct_config *defaults)
{
    const char *value = (const char *)c + f->offset;
    const char *usual = (const char *)defaults + f->offset;
    if (f->kind == FIELD_STRING) {
        return value[0] == '\0' || strcmp(value, usual) == 0;
    }
    size_t size = f->kind == FIELD_BOOL ? sizeof(bool) : sizeof(int);
    return memcmp(value, usual, size) == 0;
}

_Static_assert(sizeof(enum ct_auth) == sizeof(int) &&
                   sizeof(enum ct_launcher_mode) == sizeof(int) && sizeof(uint32_t) == sizeof(int),
               "is_default() compares these as ints");

void ct_config_write(const struct ct_config *c, struct ct_buf *out)
{
    struct ct_config defaults;
    ct_config_init(&defaults);
    if (c->auth == CT_AUTH_TOKEN) {
        // No login, no mount: whatever stands there is left out.
        memcpy(defaults.auth_path, c->auth_path, sizeof(defaults.auth_path));
    } else {
        const char *mount = ct_auth_name(c->auth);
        memcpy(defaults.auth_path, mount, strlen(mount) + 1);
    }
    ct_buf_addf(out, "{\"version\":%d", CT_CONFIG_VERSION);
    for (size_t i = 0; i < CT_ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        const void *value = (const char *)c + f->offset;
        if (is_default(f, c, &defaults)) {
            continue;
        }
        write_key(out, f->key);
        if (f->kind == FIELD_STRING) {
            ct_buf_add_json(out, value, strlen(value));
        } else if (f->kind == FIELD_BOOL) {
            ct_buf_add_str(out, *(const bool *)value ? "true" : "false");
        } else if (f->kind == FIELD_AUTH) {
            ct_buf_addf(out, "\"%s\"", ct_auth_name(*(const enum ct_auth *)value));
        } else if (f->kind == FIELD_LAUNCHER) {
            ct_buf_addf(out, "\"%s\"",
                        ct_launcher_mode_name(*(const enum ct_launcher_mode *)value));
        } else if (f->kind == FIELD_REQUIRE) {
            write_require(*(const uint32_t *)value, out);
        } else {
            ct_buf_addf(out, "%d", *(const int *)value);
        }
    }
    ct_buf_add_str(out, "}");
}
