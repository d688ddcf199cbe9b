// SPDX-License-Identifier: Apache-2.0
//
// Manifests: reading gives documents or a sentence, what is written is read back as the same values,
// and looking for pods ends.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "manifest.h"
#include "yaml_doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static int visit(void *cls, const struct ct_manifest_pod *pod, struct ct_err *err)
{
    size_t *n = cls;
    (void)err;
    (*n)++;
    must(json_is_object(pod->template) && pod->object[0] != '\0' && pod->namespace != NULL);
    return 0;
}

static void compare(const struct ct_yaml *yaml, const struct ct_yaml *back)
{
    size_t k = 0;
    for (size_t i = 0; i < yaml->n; i++) {
        if (!json_is_null(yaml->documents[i].value)) {
            must(k < back->n && json_equal(yaml->documents[i].value, back->documents[k].value));
            k++;
        }
    }
    must(k == back->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CT_AUTO_YAML yaml = {.n = 0};
    CT_AUTO_YAML back = {.n = 0};
    CT_AUTO_BUF out = {.max = (size_t)1 << 26};
    struct ct_err err = {0};
    size_t pods = 0;
    int rc = ct_yaml_read((const char *)data, size, "the input", &yaml, &err);
    must(rc == -err.code && (rc == 0 || err.msg[0] != '\0'));
    if (rc != 0) {
        return 0;
    }
    rc = ct_manifest_each(&yaml, "the input", NULL, visit, &pods, &err);
    must(rc == -err.code);
    // Aliases may make more of a text than may be read again.
    if (ct_yaml_write(&yaml, &out, NULL) == 0 && out.len < CT_YAML_MAX_BYTES) {
        rc = ct_yaml_read(out.data != NULL ? out.data : "", out.len, "what was written", &back,
                          NULL);
        must(rc == 0);
        compare(&yaml, &back);
    }
    return 0;
}
