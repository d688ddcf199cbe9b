// SPDX-License-Identifier: Apache-2.0
//
// References in values of environment variables: what splits fits together again.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

// Literal parts are pieces of the value, in order; references are within their bounds and parse.
static void check_parts(const char *value, const struct ct_ref_part *parts, size_t n)
{
    const char *at = value;
    size_t refs = 0;
    for (size_t i = 0; i < n; i++) {
        if (!parts[i].is_ref) {
            must(parts[i].text >= at && parts[i].text + parts[i].len <= value + strlen(value));
            at = parts[i].text + parts[i].len;
            continue;
        }
        refs++;
        must(parts[i].ref.path[0] != '\0' && parts[i].ref.key[0] != '\0');
        must(parts[i].ref.path[0] != '/' && strstr(parts[i].ref.path, "//") == NULL);
    }
    must(refs <= CT_REF_MAX_PER_VALUE);
    must((refs > 0) == ct_ref_present(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ct_ref_part *parts = NULL;
    struct ct_ref ref;
    struct ct_err err = {0};
    size_t n = 0;
    char *value = malloc(size + 1);
    must(value != NULL);
    memcpy(value, data, size);
    value[size] = '\0';
    int rc = ct_ref_split(value, &parts, &n, &err);
    must(rc == -err.code);
    if (rc == 0) {
        check_parts(value, parts, n);
        free(parts);
    } else {
        must(err.msg[0] != '\0' && ct_ref_present(value));
    }
    // Not terminated, NUL inside: as it stands in an annotation.
    err = (struct ct_err){0};
    must(ct_ref_parse((const char *)data, size, &ref, &err) == -err.code);
    free(value);
    return 0;
}
