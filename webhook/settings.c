// SPDX-License-Identifier: Apache-2.0
#include "settings.h"

#include <string.h>

#include "config.h"
#include "ct_version.h"
#include "quantity.h"
#include "text.h"

static int check_quantity(const char *value, struct ct_err *err)
{
    double ignored;
    return ct_quantity_parse(value, &ignored, err);
}

#define SIZE_OF(field) sizeof(((struct ct_config *)NULL)->field)

// What pods may not write into their annotations is no default for them either.
static int check_role(const char *value, struct ct_err *err)
{
    return ct_config_check_role("role", value, err);
}

static int check_auth_path(const char *value, struct ct_err *err)
{
    return ct_config_check_path("path", value, SIZE_OF(auth_path), err);
}

static int check_namespace(const char *value, struct ct_err *err)
{
    return ct_config_check_path("namespace", value, SIZE_OF(vault_namespace), err);
}

// As far as to see that there is one; the rest is the container runtime's business.
static int check_image(const char *value, struct ct_err *err)
{
    size_t len = strlen(value);
    if (len == 0 || len > 512 || !ct_text_is_printable(value, len) || strchr(value, ' ') != NULL) {
        return ct_err_set(err, CT_EINVAL,
                          "\"%.80s\" names no image: give NAME[:TAG][@DIGEST], at most 512 "
                          "characters and no spaces",
                          value);
    }
    return 0;
}

static int check_object_name(const char *value, struct ct_err *err)
{
    return ct_text_is_subdomain(value, strlen(value))
               ? 0
               : ct_err_set(err, CT_EINVAL, "no name of a Kubernetes object");
}

static const char *const cert_modes[] = {"files", "self", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const modes[] = {"enforce", "warn", "audit", NULL};

#define AT(field) offsetof(struct ct_webhook_settings, field)

static const struct ct_option options[] = {
    {.name = "listen",
     .kind = CT_OPTION_STRING,
     .offset = AT(listen),
     .fallback = ":8443",
     .argument = "ADDRESS:PORT",
     .help = "Where to serve HTTPS; port 0 takes any free one."},
    {.name = "tls-cert",
     .kind = CT_OPTION_STRING,
     .offset = AT(tls_cert),
     .argument = "FILE",
     .help = "The server's certificate and its chain (PEM); read again when it changes."},
    {.name = "tls-key",
     .kind = CT_OPTION_STRING,
     .offset = AT(tls_key),
     .argument = "FILE",
     .help = "The certificate's private key (PEM)."},
    {.name = "cert-mode",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(cert_mode),
     .fallback = "files",
     .argument = "MODE",
     .choices = cert_modes,
     .help =
         "files: --tls-cert and --tls-key; self: made here, kept in a Secret, renewed, and told "
         "to the API server."},
    {.name = "cert-secret",
     .kind = CT_OPTION_STRING,
     .offset = AT(cert_secret),
     .fallback = "cloudtaser-webhook-tls",
     .argument = "NAME",
     .check = check_object_name,
     .help = "The Secret of --cert-mode self."},
    {.name = "cert-namespace",
     .kind = CT_OPTION_STRING,
     .offset = AT(cert_namespace),
     .argument = "NAMESPACE",
     .check = check_object_name,
     .help = "The Secret's namespace; without it the pod's own."},
    {.name = "cert-name",
     .kind = CT_OPTION_LIST,
     .offset = AT(cert_name),
     .argument = "NAME",
     .help =
         "A DNS name or IP address that API servers call the webhook by; may be given repeatedly; "
         "without it cloudtaser-webhook.NAMESPACE.svc."},
    {.name = "cert-life",
     .kind = CT_OPTION_DURATION,
     .offset = AT(cert_life),
     .fallback = "480h",
     .argument = "DURATION",
     .help =
         "How long a certificate of --cert-mode self lives (it is renewed after two thirds, its "
         "authority lives three times as long); from 6s."},
    {.name = "webhook-configuration",
     .kind = CT_OPTION_STRING,
     .offset = AT(webhook_configuration),
     .fallback = "cloudtaser",
     .argument = "NAME",
     .check = check_object_name,
     .help = "The MutatingWebhookConfiguration whose caBundles --cert-mode self keeps true."},
    {.name = "nodes-file",
     .kind = CT_OPTION_STRING,
     .offset = AT(nodes_file),
     .argument = "FILE",
     .help = "What `kubectl get nodes -o json` prints; read again when it changes. Without it the "
             "nodes are watched in the cluster."},
    {.name = "namespaces-file",
     .kind = CT_OPTION_STRING,
     .offset = AT(namespaces_file),
     .argument = "FILE",
     .help =
         "What `kubectl get namespaces -o json` prints; read again when it changes. Without it "
         "namespaces are watched in the cluster or, with --nodes-file, their labels do not count."},
    {.name = "kubeconfig",
     .kind = CT_OPTION_STRING,
     .offset = AT(kubeconfig),
     .argument = "FILE",
     .help = "How to reach the API server; without it the pod's own service account is used."},
    {.name = "nodes-max-age",
     .kind = CT_OPTION_DURATION,
     .offset = AT(nodes_max_age),
     .fallback = "10m",
     .argument = "DURATION",
     .min = 1000,
     .max = 86400000,
     .help =
         "How long what was last known of nodes and namespaces is used while the API server does "
         "not answer."},
    {.name = "drain-delay",
     .kind = CT_OPTION_DURATION,
     .offset = AT(drain_delay),
     .fallback = "5s",
     .argument = "DURATION",
     .min = 0,
     .max = 300000,
     .help =
         "How long after SIGTERM it still serves, no longer ready, until nobody is sent here any "
         "more; a second signal ends that."},
    {.name = "drain-timeout",
     .kind = CT_OPTION_DURATION,
     .offset = AT(drain_timeout),
     .fallback = "10s",
     .argument = "DURATION",
     .min = 0,
     .max = 300000,
     .help = "How long after that running requests may take to end; a further signal ends that."},
    {.name = "threads",
     .kind = CT_OPTION_INT,
     .offset = AT(threads),
     .fallback = "0",
     .argument = "N",
     .min = 0,
     .max = 64,
     .help = "Threads that serve; 0: one a processor."},
    {.name = "max-connections",
     .kind = CT_OPTION_INT,
     .offset = AT(max_connections),
     .fallback = "1024",
     .argument = "N",
     .min = 1,
     .max = 65536,
     .help = "Connections served at a time."},
    {.name = "log-format",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(log_format),
     .fallback = "text",
     .argument = "FORMAT",
     .choices = log_formats,
     .help = "How log lines are written."},
    {.name = "log-level",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(log_level),
     .fallback = "info",
     .argument = "LEVEL",
     .choices = log_levels,
     .help = "The least urgent lines that are written; debug tells of pods that did not opt in."},
    {.name = "injector-image",
     .kind = CT_OPTION_STRING,
     .offset = AT(injector_image),
     .fallback = "cloudtaser-injector:" CT_VERSION,
     .argument = "IMAGE",
     .check = check_image,
     .help = "Image of the init container that brings the wrapper."},
    {.name = "injector-cpu",
     .kind = CT_OPTION_STRING,
     .offset = AT(injector_cpu),
     .fallback = "100m",
     .argument = "QUANTITY",
     .check = check_quantity,
     .help = "CPU of the init container, as request and limit."},
    {.name = "injector-memory",
     .kind = CT_OPTION_STRING,
     .offset = AT(injector_memory),
     .fallback = "32Mi",
     .argument = "QUANTITY",
     .check = check_quantity,
     .help = "Memory of the init container, as request and limit."},
    {.name = "vault-address",
     .kind = CT_OPTION_STRING,
     .offset = AT(vault_address),
     .argument = "URL",
     .check = ct_config_check_address,
     .help = "Vault's address for pods that name none."},
    {.name = "vault-allow",
     .kind = CT_OPTION_LIST,
     .offset = AT(vault_allow),
     .argument = "URL",
     .check = ct_config_check_address,
     .help = "An address that pods may name beside the default one; may be given repeatedly."},
    {.name = "vault-role",
     .kind = CT_OPTION_STRING,
     .offset = AT(vault_role),
     .argument = "ROLE",
     .check = check_role,
     .help = "Vault role for pods that name none."},
    {.name = "vault-auth-path",
     .kind = CT_OPTION_STRING,
     .offset = AT(vault_auth_path),
     .argument = "PATH",
     .check = check_auth_path,
     .help = "Mount of the login for pods that name none; without it that is the method's name."},
    {.name = "vault-namespace",
     .kind = CT_OPTION_STRING,
     .offset = AT(vault_namespace),
     .argument = "NAMESPACE",
     .check = check_namespace,
     .help = "Vault namespace for pods that name none."},
    {.name = "vault-timeout",
     .kind = CT_OPTION_DURATION,
     .offset = AT(vault_timeout),
     .fallback = "10s",
     .argument = "DURATION",
     .min = 100,
     .max = 300000,
     .help = "Time that one request of the wrapper to Vault may take."},
    {.name = "vault-retry-budget",
     .kind = CT_OPTION_DURATION,
     .offset = AT(vault_retry_budget),
     .fallback = "60s",
     .argument = "DURATION",
     .min = 0,
     .max = 3600000,
     .help = "Time that all tries of the wrapper may take together."},
    {.name = "allow-skip-verify",
     .kind = CT_OPTION_BOOL,
     .offset = AT(allow_skip_verify),
     .fallback = "false",
     .help = "Let pods leave Vault's certificate unchecked."},
    {.name = "allow-ca-configmap",
     .kind = CT_OPTION_BOOL,
     .offset = AT(allow_ca_configmap),
     .fallback = "false",
     .help = "Let pods bring a CA of their own in a ConfigMap."},
    {.name = "allow-plain-environment",
     .kind = CT_OPTION_BOOL,
     .offset = AT(allow_plain_environment),
     .fallback = "false",
     .help = "Let pods take secrets in the ordinary environment where injection cannot work."},
    {.name = "min-protection-score",
     .kind = CT_OPTION_INT,
     .offset = AT(min_protection_score),
     .fallback = "0",
     .argument = "POINTS",
     .min = 0,
     .max = 75,
     .help = "The least protection score; pods can only raise it."},
    {.name = "mode",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(mode),
     .fallback = "enforce",
     .argument = "MODE",
     .choices = modes,
     .help = "warn admits, with a warning, what cannot reach its score; audit denies nothing."},
};

const struct ct_option_table ct_webhook_options = {
    .program = "cloudtaser-webhook",
    .summary = "Admission webhook that wraps opted-in pods or says why it cannot.",
    .env_prefix = "CLOUDTASER_WEBHOOK",
    .file = true,
    .options = options,
    .n = CT_ARRAY_LEN(options),
};
