// SPDX-License-Identifier: Apache-2.0
//
// CLOUDTASER_CONFIG: what is accepted keeps its promises, and is written as it was read.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check(const struct ct_config *c)
{
    struct ct_err err = {0};
    struct ct_config back;
    CT_AUTO_BUF out = {.max = 4 * (size_t)CT_CONFIG_MAX};
    CT_AUTO_BUF again = {.max = 4 * (size_t)CT_CONFIG_MAX};
    must(ct_config_check_address(c->vault_address, &err) == 0);
    must(c->min_score >= 0 && c->min_score <= ct_score_max());
    must(c->require >> CT_CHECK_COUNT == 0);
    must(c->token_file[0] == '/' && (c->ca_file[0] == '/' || c->ca_file[0] == '\0'));
    must(c->auth_path[0] != '\0' && (c->role[0] != '\0' || c->auth == CT_AUTH_TOKEN));
    must(strpbrk(c->vault_namespace, "\r\n") == NULL);
    ct_config_write(c, &out);
    must(!out.failed && ct_config_parse(out.data, &back, &err) == 0);
    ct_config_write(&back, &again);
    must(strcmp(out.data, again.data) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ct_config c;
    struct ct_err err = {0};
    char *text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    int rc = ct_config_parse(text, &c, &err);
    must(rc == -err.code);
    if (rc == 0) {
        check(&c);
    }
    free(text);
    return 0;
}
