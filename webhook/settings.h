// SPDX-License-Identifier: Apache-2.0
//
// What the operator decides: the webhook's settings and the option table behind them.
#ifndef CT_WEBHOOK_SETTINGS_H
#define CT_WEBHOOK_SETTINGS_H

#include <stdbool.h>

#include "option.h"

enum ct_mode {
    CT_MODE_ENFORCE, // what breaks a rule is denied
    CT_MODE_WARN,    // as enforce, but a score that cannot be reached is a warning
    CT_MODE_AUDIT, // nothing is denied: what enforce would deny is admitted unpatched, with a warning
};

enum ct_cert_mode {
    CT_CERT_FILES, // from tls_cert and tls_key
    CT_CERT_SELF,  // made here and kept in a Secret
};

// Filled by ct_option_parse() with ct_webhook_options, freed by ct_option_free(). Strings may be NULL
// where the table has no default.
struct ct_webhook_settings {
    // The server.
    char *listen;
    char *tls_cert;
    char *tls_key;
    int cert_mode; // enum ct_cert_mode
    char *cert_secret;
    char *cert_namespace; // NULL: the pod's own
    struct ct_option_list cert_name;
    unsigned cert_life; // milliseconds
    char *webhook_configuration;
    char *nodes_file;       // NULL: the cluster is watched
    char *namespaces_file;  // NULL: watched where nodes are, else none
    char *kubeconfig;       // NULL: in-cluster
    unsigned nodes_max_age; // milliseconds
    unsigned drain_delay;   // milliseconds
    unsigned drain_timeout; // milliseconds
    int threads;            // 0: one a processor
    int max_connections;
    int log_format; // enum ct_log_format
    int log_level;  // enum ct_log_level
    // What is injected.
    char *injector_image;
    char *injector_cpu;
    char *injector_memory;
    // Vault: defaults for pods that do not say, and what they may say.
    char *vault_address;
    struct ct_option_list vault_allow;
    char *vault_role;
    char *vault_auth_path;
    char *vault_namespace;
    unsigned vault_timeout;      // milliseconds
    unsigned vault_retry_budget; // milliseconds
    bool allow_skip_verify;
    bool allow_ca_configmap;
    bool allow_plain_environment;
    int min_protection_score;
    int mode; // enum ct_mode
    // Not the operator's, in no table: whoever decides without a cluster at hand leaves the nodes out,
    // what they would reach and the affinity that would keep the pod off some of them.
    bool without_nodes;
};

extern const struct ct_option_table ct_webhook_options;

#endif
