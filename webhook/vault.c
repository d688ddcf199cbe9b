// SPDX-License-Identifier: Apache-2.0
#include "vault.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "json.h"
#include "shape.h"

struct scheme {
    const char *prefix;
    unsigned port;
};

static const struct scheme schemes[] = {{"https://", 443}, {"http://", 80}};

static bool read_port(const char *text, unsigned *ret)
{
    unsigned port = 0;
    size_t digits = strspn(text, "0123456789");
    for (size_t i = 0; i < digits && digits <= 5; i++) {
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *ret = port;
    return digits > 0 && digits <= 5 && port > 0 && port <= 65535 &&
           (text[digits] == '\0' || strcmp(text + digits, "/") == 0);
}

// Length of the host, brackets of an IPv6 address included; 0 when it is none.
static size_t host_length(const char *host)
{
    if (*host == '[') {
        size_t inner = strspn(host + 1, "0123456789abcdefABCDEF:.");
        return inner > 0 && host[inner + 1] == ']' ? inner + 2 : 0;
    }
    size_t len = 0;
    while (isalnum((unsigned char)host[len]) || host[len] == '-' || host[len] == '.') {
        len++;
    }
    return len;
}

bool ct_address_normalise(const char *address, char *out, size_t size)
{
    const struct scheme *scheme = NULL;
    for (size_t i = 0; i < CT_ARRAY_LEN(schemes) && scheme == NULL; i++) {
        if (strncasecmp(address, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
            scheme = &schemes[i];
        }
    }
    if (scheme == NULL) {
        return false;
    }
    const char *host = address + strlen(scheme->prefix);
    size_t len = host_length(host);
    const char *rest = host + len;
    unsigned port = scheme->port;
    bool good = len > 0 && (*rest == '\0' || strcmp(rest, "/") == 0);
    if (len > 0 && *rest == ':') {
        good = read_port(rest + 1, &port);
    }
    int written =
        snprintf(out, size, "%s%.*s:%u", scheme->prefix, (int)(len < 512 ? len : 512), host, port);
    if (!good || len >= 512 || written < 0 || (size_t)written >= size) {
        return false;
    }
    for (char *p = out; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return true;
}

bool ct_address_is_plain(const char *address)
{
    return strncasecmp(address, "http://", strlen("http://")) == 0;
}

static bool same_address(const char *wanted, const char *allowed)
{
    char normal[600];
    return allowed != NULL && ct_address_normalise(allowed, normal, sizeof(normal)) &&
           strcmp(wanted, normal) == 0;
}

// Takes the operator's own spelling, so that the author has no say in a single byte of it.
static int choose_address(struct ct_case *c, const char **ret, struct ct_err *err)
{
    const struct ct_webhook_settings *s = c->settings;
    const char *wanted = c->annotations.vault_address;
    if (wanted == NULL) {
        *ret = s->vault_address;
        return s->vault_address != NULL
                   ? 0
                   : ct_case_deny(
                         c, CT_REASON_ADDRESS, err,
                         "the pod names no Vault address and the operator has set no default: "
                         "give cloudtaser.io/vault-address");
    }
    char normal[600];
    if (!ct_address_normalise(wanted, normal, sizeof(normal))) {
        return ct_case_deny(c, CT_REASON_ADDRESS, err,
                            "cloudtaser.io/vault-address \"%.120s\" is no address: give http:// or "
                            "https://, a host and perhaps a port, nothing else",
                            wanted);
    }
    *ret = same_address(normal, s->vault_address) ? s->vault_address : NULL;
    for (size_t i = 0; i < s->vault_allow.n && *ret == NULL; i++) {
        if (same_address(normal, s->vault_allow.item[i])) {
            *ret = s->vault_allow.item[i];
        }
    }
    if (*ret == NULL) {
        return ct_case_deny(
            c, CT_REASON_ADDRESS, err,
            "cloudtaser.io/vault-address \"%.120s\" is not allowed: the operator allows "
            "%.120s%s; others need --vault-allow",
            wanted, s->vault_address != NULL ? s->vault_address : "no default",
            s->vault_allow.n > 0 ? " and a list of others" : "");
    }
    return 0;
}

static int check_permissions(struct ct_case *c, struct ct_err *err)
{
    const struct ct_annotations *a = &c->annotations;
    const struct {
        bool asked;
        bool allowed;
        const char *key;
        const char *option;
    } permissions[] = {
        {a->vault_skip_verify, c->settings->allow_skip_verify, "vault-skip-verify",
         "allow-skip-verify"},
        {a->vault_ca_configmap != NULL, c->settings->allow_ca_configmap, "vault-ca-configmap",
         "allow-ca-configmap"},
        {a->plain_environment, c->settings->allow_plain_environment, "plain-environment",
         "allow-plain-environment"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(permissions); i++) {
        if (permissions[i].asked && !permissions[i].allowed) {
            return ct_case_deny(
                c, CT_REASON_PERMISSION, err,
                "cloudtaser.io/%s needs the operator's permission (--%s), which is not "
                "given: remove it",
                permissions[i].key, permissions[i].option);
        }
    }
    return 0;
}

static int copy(struct ct_case *c, const char *key, const char *value, const char *fallback,
                char *out, size_t size, struct ct_err *err)
{
    const char *text = value != NULL ? value : fallback;
    text = text != NULL ? text : "";
    size_t len = strlen(text);
    if (len >= size) {
        return ct_case_deny(c, CT_REASON_ANNOTATION, err,
                            "cloudtaser.io/%s is %zu bytes long; %zu are allowed", key, len,
                            size - 1);
    }
    memcpy(out, text, len + 1);
    return 0;
}

static int copy_texts(struct ct_case *c, const char *address, struct ct_err *err)
{
    const struct ct_annotations *a = &c->annotations;
    const struct ct_webhook_settings *s = c->settings;
    struct ct_config *config = &c->config;
    // The operator's defaults are of the default method; a role id is nobody's default.
    const char *path = config->auth == CT_AUTH_KUBERNETES ? s->vault_auth_path : NULL;
    const char *role = config->auth == CT_AUTH_APPROLE ? NULL : s->vault_role;
    const struct {
        const char *key;
        const char *value;
        const char *fallback;
        char *out;
        size_t size;
    } texts[] = {
#define FIELD(field) config->field, sizeof(config->field)
        {"vault-address", address, NULL, FIELD(vault_address)},
        {"vault-auth-path", a->vault_auth_path, path, FIELD(auth_path)},
        {"vault-role", a->vault_role, role, FIELD(role)},
        {"vault-namespace", a->vault_namespace, s->vault_namespace, FIELD(vault_namespace)},
        {"ca", a->vault_ca_configmap != NULL ? CT_SHAPE_CA_FILE : NULL, NULL, FIELD(ca_file)},
        {"token", CT_SHAPE_TOKEN_FILE, NULL, FIELD(token_file)},
        {"env-map", a->paths, NULL, FIELD(paths)},
        {"on-change", a->on_change, NULL, FIELD(on_change)},
        {"metrics-port", a->metrics_port != 0 ? CT_SHAPE_IDENTITY_FILE : NULL, NULL,
         FIELD(identity_file)},
#undef FIELD
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(texts); i++) {
        int r = copy(c, texts[i].key, texts[i].value, texts[i].fallback, texts[i].out,
                     texts[i].size, err);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

// That the Secret of a token or secret id is named was checked with the annotations.
static int check_auth(struct ct_case *c, struct ct_err *err)
{
    size_t wrapped = 0;
    for (size_t i = 0; i < c->n_containers; i++) {
        wrapped += c->containers[i].wrap ? 1 : 0;
    }
    if (c->config.secret_id_wrapped && wrapped > 1) {
        return ct_case_deny(c, CT_REASON_ANNOTATION, err,
                            "cloudtaser.io/vault-secret-id-wrapped: a wrapping token can be used "
                            "once, and %zu containers of the pod would log in with it: name one in "
                            "cloudtaser.io/containers",
                            wrapped);
    }
    if (c->config.metrics_port != 0 && wrapped > 1) {
        return ct_case_deny(c, CT_REASON_ANNOTATION, err,
                            "cloudtaser.io/metrics-port: the wrappers of %zu containers of the pod "
                            "would listen at port %u, and one can: name one container in "
                            "cloudtaser.io/containers",
                            wrapped, c->config.metrics_port);
    }
    if (c->config.auth == CT_AUTH_TOKEN || c->config.role[0] != '\0') {
        return 0;
    }
    if (c->config.auth == CT_AUTH_APPROLE) {
        return ct_case_deny(c, CT_REASON_ANNOTATION, err,
                            "cloudtaser.io/vault-auth-method is \"approle\": give the role id in "
                            "cloudtaser.io/vault-role");
    }
    return ct_case_deny(c, CT_REASON_ANNOTATION, err,
                        "the pod names no Vault role and the operator has set no default: give "
                        "cloudtaser.io/vault-role");
}

// What is permitted and yet weakens the pod shall be seen by whoever creates it.
static void warn_of_risks(struct ct_case *c)
{
    const struct ct_config *config = &c->config;
    const struct {
        bool taken;
        const char *sentence;
    } risks[] = {
        {ct_address_is_plain(config->vault_address),
         "Vault's address is http://: its token and secrets cross the network in the clear"},
        {config->skip_verify,
         "vault-skip-verify: whoever can stand between the pod and Vault gets its token"},
        {config->plain_environment,
         "plain-environment: where nothing better can be had, secrets stand in the clear in "
         "/proc/PID/environ"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(risks); i++) {
        if (risks[i].taken) {
            ct_warnings_add(&c->warnings, "cloudtaser: %s", risks[i].sentence);
        }
    }
}

int ct_vault_configure(struct ct_case *c, struct ct_err *err)
{
    const struct ct_annotations *a = &c->annotations;
    const char *address = NULL;
    int r = choose_address(c, &address, err);
    if (r == 0) {
        r = check_permissions(c, err);
    }
    if (r != 0) {
        return r;
    }
    ct_config_init(&c->config);
    c->config.auth = a->has_auth ? a->auth : CT_AUTH_KUBERNETES;
    c->config.skip_verify = a->vault_skip_verify;
    c->config.secret_id_wrapped = a->vault_secret_id_wrapped;
    c->config.plain_environment = a->plain_environment;
    c->config.metrics_port = a->metrics_port;
    c->config.refresh_ms = a->refresh_s * 1000U;
    c->config.launcher = a->launcher;
    c->config.timeout_ms = c->settings->vault_timeout;
    c->config.retry_budget_ms = c->settings->vault_retry_budget;
    r = copy_texts(c, address, err);
    warn_of_risks(c);
    return r != 0 ? r : check_auth(c, err);
}

int ct_vault_write_config(const struct ct_case *c, bool other, struct ct_buf *out,
                          struct ct_err *err)
{
    const struct ct_minimum *m = &c->minimum;
    struct ct_config changed;
    if (other && (c->settings->mode != CT_MODE_WARN || (m->points == 0 && m->require == 0))) {
        return 0;
    }
    if (other) {
        bool left_out = c->config.min_score == 0 && c->config.require == 0;
        changed = c->config;
        changed.min_score = left_out ? m->points : 0;
        changed.require = left_out ? m->require : 0;
    }
    ct_config_write(other ? &changed : &c->config, out);
    if (out->failed || out->len == 0) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for " CT_CONFIG_VARIABLE);
    }
    return 0;
}
