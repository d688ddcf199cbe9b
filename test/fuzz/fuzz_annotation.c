// SPDX-License-Identifier: Apache-2.0
//
// A pod's annotations, as the JSON object that admission brings.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "annotation.h"
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check(const struct ct_annotations *a)
{
    struct ct_err err = {0};
    must(a->min_score >= 0 && a->min_score <= ct_score_max());
    must(a->require >> CT_CHECK_COUNT == 0);
    must(a->vault_address == NULL || ct_config_check_address(a->vault_address, &err) == 0);
    must((a->vault_token_secret != NULL) == (a->has_auth && a->auth == CT_AUTH_TOKEN));
    must(a->n_variables <= CT_ANNOTATION_MAX_VARIABLES);
    for (size_t i = 0; i < a->n_variables; i++) {
        must(ct_annotation_check_variable(a->variables[i].name, &err) == 0);
        must(a->variables[i].ref.path[0] != '\0' && a->variables[i].ref.key[0] != '\0');
        for (size_t k = 0; k < i; k++) {
            must(strcmp(a->variables[i].name, a->variables[k].name) != 0);
        }
    }
    for (size_t i = 0; i < a->n_containers; i++) {
        must(a->containers[i][0] != '\0' && strlen(a->containers[i]) <= 63);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ct_annotations a;
    struct ct_err err = {0};
    CT_AUTO_JSON doc = NULL;
    if (ct_json_parse((const char *)data, size, "the input", &doc, &err) < 0) {
        return 0;
    }
    int opted_in = ct_annotations_opted_in(doc, &err);
    err = (struct ct_err){0};
    int rc = ct_annotations_parse(doc, &a, &err);
    must(rc == -err.code);
    if (rc == 0) {
        must(opted_in == (a.inject ? 1 : 0));
        check(&a);
    } else {
        must(err.msg[0] != '\0');
    }
    ct_annotations_done(&a);
    return 0;
}
