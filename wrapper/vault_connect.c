// SPDX-License-Identifier: Apache-2.0
//
// Where Vault is and whom to believe that it is Vault. Both are settled before the app is released;
// what the app then makes of /etc/hosts, /etc/resolv.conf or a file of certificate authorities leads no
// token elsewhere.
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "vault_internal.h"

// Of one answer. Together with what parsing it takes, about five times this, it must fit into the
// arena beside TLS and its certificates.
#define ANSWER_MAX ((size_t)256 << 10)

static bool over_tls(const struct ct_config *c)
{
    return strncmp(c->vault_address, "https:", 6) == 0;
}

static bool is_verified(const struct ct_config *c)
{
    return over_tls(c) && !c->skip_verify;
}

static const char *port_of(const struct ct_config *c, const char *behind_host)
{
    return behind_host[0] == ':' ? behind_host + 1 : over_tls(c) ? "443" : "80";
}

// Fills v->candidates. After the release a look-up that fails leaves what is known.
static int look_up(struct ct_vault *v, const char *name, struct ct_err *err)
{
    bool known = v->addresses[0] != '\0';
    bool may = !v->beside || is_verified(v->config);
    int rc = 0;
    if ((!known || v->look_again) && may) {
        rc = v->hooks.look_up(v->hooks.cls, name, v->candidates, sizeof(v->candidates), err);
    } else if (!known) {
        rc = ct_err_set(err, CT_EUNAVAIL, "the address of %s is not known", name);
    }
    if (known && (rc < 0 || !v->look_again || !may)) {
        memcpy(v->candidates, v->addresses, sizeof(v->candidates));
        rc = 0;
    }
    return rc;
}

// "HOST:PORT:ADDRESSES" of the address in the settings; "" where there is no name in it.
static int resolve(struct ct_vault *v, char *out, size_t size, struct ct_err *err)
{
    const char *host = strstr(v->config->vault_address, "://") + 3;
    size_t len = strcspn(host, ":");
    char name[256];
    struct in_addr number;
    out[0] = '\0';
    (void)snprintf(name, sizeof(name), "%.*s", (int)len, host);
    if (v->hooks.look_up == NULL || host[0] == '[' || inet_pton(AF_INET, name, &number) == 1) {
        return 0;
    }
    int rc = look_up(v, name, err);
    if (rc == 0) {
        (void)snprintf(out, size, "%s:%s:%s", name, port_of(v->config, host + len), v->candidates);
    }
    return rc;
}

static int read_trust(struct ct_vault *v, struct ct_err *err)
{
    const struct ct_config *c = v->config;
    bool needed = is_verified(c) || (!c->skip_verify && c->ca_file[0] != '\0');
    return needed && v->trust == NULL ? ct_http_trust_new(c->ca_file, &v->trust, err) : 0;
}

int ct_vault_connect(struct ct_vault *v, struct ct_err *err)
{
    const struct ct_config *c = v->config;
    if (v->http != NULL) {
        return 0;
    }
    char resolved[sizeof(v->candidates) + 300];
    int rc = resolve(v, resolved, sizeof(resolved), err);
    if (rc < 0) {
        v->exit_code = CT_EXIT_UNREACHABLE;
        return rc;
    }
    rc = read_trust(v, err);
    if (rc == 0) {
        const struct ct_http_options options = {
            .ca_file = c->ca_file,
            .trust = v->trust,
            .skip_verify = c->skip_verify,
            .connect_timeout_ms = c->connect_timeout_ms,
            .timeout_ms = c->timeout_ms,
            .max_answer = ANSWER_MAX,
            .resolved = resolved,
            .stop = v->hooks.stop,
            .stop_cls = v->hooks.cls,
        };
        rc = ct_http_new(&options, &v->http, err);
    }
    if (rc < 0) {
        // The one thing that can be wrong before anything is sent is the CA file that settings name.
        v->exit_code = rc == -CT_ENOMEM ? CT_EXIT_OTHER : CT_EXIT_CONFIGURATION;
    }
    return rc;
}

void ct_vault_connection_used(struct ct_vault *v, bool answered)
{
    if (v->hooks.look_up == NULL) {
        return;
    }
    if (answered) {
        memcpy(v->addresses, v->candidates, sizeof(v->addresses));
        v->look_again = false;
        return;
    }
    // Known addresses and fresh ones in turn: neither a name server that fails nor an address that
    // has become another's keeps renewals away for good.
    v->look_again = !v->look_again;
    ct_http_free(v->http);
    v->http = NULL;
}
