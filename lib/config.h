// SPDX-License-Identifier: Apache-2.0
//
// The wrapper's settings: the document that the webhook writes into CLOUDTASER_CONFIG and that the
// wrapper reads there. Written and read here, in one place. JSON, one object, unknown keys refused.
#ifndef CT_CONFIG_H
#define CT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "launcher.h"
#include "score.h"

#define CT_CONFIG_VARIABLE "CLOUDTASER_CONFIG"
#define CT_CONFIG_VERSION 1
#define CT_CONFIG_MAX 16384
#define CT_CONFIG_PATHS_SIZE 2048

enum ct_auth { CT_AUTH_KUBERNETES, CT_AUTH_TOKEN, CT_AUTH_JWT, CT_AUTH_APPROLE };
#define CT_AUTH_NAMES "kubernetes, jwt, approle, token"

// "kubernetes", "token", "jwt", "approle". From a name: -1 when there is no such method.
const char *ct_auth_name(enum ct_auth auth);
int ct_auth_from_name(const char *name);

struct ct_config {
    char vault_address[512]; // "address": http(s)://host[:port], no path, no credentials
    enum ct_auth auth;       // "auth": CT_AUTH_NAMES
    char auth_path[128];     // "auth-path": mount of the login, default the method's name; read, it
                             // is never empty
    char role[128];          // "role": needed but for token; of approle the role id
    char vault_namespace[256]; // "namespace": X-Vault-Namespace, "" for none
    char ca_file[256];         // "ca-file": PEM; "" for the system's
    bool skip_verify;          // "skip-verify"
    // "token-file": service-account token (kubernetes, jwt), secret id (approle), Vault token (token)
    char token_file[256];
    // "token-fd": of the method token, a descriptor that was inherited and holds the token, to be read
    // to its end and closed; 0: the token is in token-file
    unsigned token_fd;
    bool
        secret_id_wrapped; // "secret-id-wrapped": the file holds a wrapping token for the secret id
    // "paths": secrets of which every key becomes a variable, as "PATH,PATH"; "" for none
    char paths[CT_CONFIG_PATHS_SIZE];
    bool plain_environment; // "plain-environment": deliver in the clear where injection cannot
    enum ct_launcher_mode launcher; // "launcher": ct_launcher_mode_name()
    int min_score;                  // "min-score": 0..75
    uint32_t require;               // "require": array of check names; bit (1 << enum ct_check)
    unsigned connect_timeout_ms;    // "connect-timeout-ms", default 5000
    unsigned timeout_ms;            // "timeout-ms": one request, default 10000
    unsigned retry_budget_ms;       // "retry-budget-ms": all tries together, default 60000
    bool json_log;                  // "json-log"
    unsigned metrics_port;          // "metrics-port": 0 for none
    char identity_file[256];        // "identity-file": the service-account token that names the pod
    unsigned refresh_ms;            // "refresh-interval-ms": 0: secrets are not read again
    char on_change[32];             // "on-change": as ct_on_change_parse() takes it; "" for keep
};

// Sets the defaults named above, those of the method kubernetes.
void ct_config_init(struct ct_config *c);

// Reads the document, checked so that no field can break a header line or a URL. Needed: "version",
// "address", "token-file" (or "token-fd"), and "role" but for token. Every problem found is told at once in one
// message. CT_EINVAL, CT_ETOOBIG, CT_ENOMEM. Thread-safe, as all of this header.
CT_CHECKED int ct_config_parse(const char *text, struct ct_config *ret, struct ct_err *err);

// Writes the document, keys in a fixed order, defaults left out, so that equal settings give equal
// text. Appends to out (compact JSON, not escaped any further).
void ct_config_write(const struct ct_config *c, struct ct_buf *out);

// What auth-path, namespace and role may look like, for those who take them from elsewhere: paths
// of Vault's API (a role without '/'), shorter than the fields above. CT_EINVAL, CT_ETOOBIG; `what`
// names the value in the sentence.
CT_CHECKED int ct_config_check_path(const char *what, const char *value, size_t size,
                                    struct ct_err *err);
CT_CHECKED int ct_config_check_role(const char *what, const char *value, struct ct_err *err);

// Is this an address that settings may hold? http:// or https://, a host, an optional port, nothing
// else. CT_EINVAL with what is allowed.
CT_CHECKED int ct_config_check_address(const char *address, struct ct_err *err);

#endif
