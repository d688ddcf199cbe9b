// SPDX-License-Identifier: Apache-2.0
//
// The parts of `cloudtaser run`: the wrapper's settings and its environment, made of flags and of the
// variables that Vault's own tools know.
#ifndef CT_CLI_RUN_H
#define CT_CLI_RUN_H

#include "config.h"
#include "option.h"

struct ct_run_settings {
    struct ct_option_list secrets;   // "NAME=PATH#KEY[#VERSION]"
    struct ct_option_list paths;     // of secrets taken whole
    struct ct_option_list env_files; // of lines NAME=VALUE
    struct ct_option_list require;   // names of checks
    char *address, *namespace, *ca_file;
    bool skip_verify;
    int auth; // index into ct_run_auth_methods
    char *auth_path, *role, *token_file;
    bool secret_id_wrapped, plain_environment;
    unsigned refresh_ms;
    char *on_change;
    int min_score;
    unsigned timeout_ms, retry_budget_ms;
    int log_format; // 0 text, 1 JSON
    int launcher;   // an enum ct_launcher_mode
    char *wrapper;
    char **command; // the program's, NULL-terminated; borrowed
};

extern const char *const ct_run_auth_methods[]; // NULL-terminated; the first is the default

// Makes the wrapper's settings. Flags go before VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT and
// VAULT_SKIP_VERIFY. Where the token comes from VAULT_TOKEN, *ret_token is its text in the environment
// and the settings lack a place for it; else NULL, and a file holds it: --token-file, or the one that
// `vault login` writes. Not thread-safe (getenv(3)). CT_EINVAL, CT_ETOOBIG, CT_ENOTFOUND, CT_ENOMEM.
CT_CHECKED int ct_run_config(const struct ct_run_settings *settings, struct ct_config *ret,
                             const char **ret_token, struct ct_err *err);

// Puts a token into a pipe that the next program inherits, and that gives it to one reader, once.
// Returns the reading end, 3 or above. CT_ETOOBIG, CT_ESYSTEM.
CT_CHECKED int ct_run_hand_over(const char *token, struct ct_err *err);

// The name of a variable of Vault's tools that is set and that nothing here heeds; NULL for none.
// `i` counts from 0.
const char *ct_run_unheeded(size_t i);

// An environment in the making: "NAME=VALUE", NULL-terminated, all malloc'd. Zero-initialise.
struct ct_run_environment {
    char **item;
    size_t n;
};
void ct_run_environment_done(struct ct_run_environment *e);
#define CT_AUTO_RUN_ENVIRONMENT                                                                    \
    __attribute__((cleanup(ct_run_environment_done))) struct ct_run_environment

// What the wrapper starts with: `own` without VAULT_TOKEN, then the files' lines, then the secrets as
// references; later ones replace earlier ones of the same name, and a name given twice by --secret is
// refused. CT_EINVAL, CT_ENOTFOUND, CT_ETOOBIG, CT_ENOMEM, CT_ESYSTEM.
CT_CHECKED int ct_run_environment_make(const struct ct_run_settings *settings, char *const *own,
                                       struct ct_run_environment *ret, struct ct_err *err);
// Sets one variable. `name` is not checked. CT_ENOMEM.
CT_CHECKED int ct_run_environment_set(struct ct_run_environment *e, const char *name,
                                      const char *value, struct ct_err *err);

#endif
