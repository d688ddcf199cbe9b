// SPDX-License-Identifier: Apache-2.0
#include "update.h"

#include <string.h>

#include "json.h"
#include "shape.h"
#include "trust.h"

static bool same_value(const json_t *a, const json_t *b)
{
    return a == b || json_equal(a, b) == 1;
}

// The image of our init container; NULL without such a one.
static const json_t *injector_image(const json_t *spec)
{
    size_t i;
    json_t *container;
    json_array_foreach(json_object_get(spec, "initContainers"), i, container)
    {
        const char *name = ct_json_str(container, "name");
        if (name != NULL && strcmp(name, CT_SHAPE_INJECTOR) == 0) {
            return json_object_get(container, "image");
        }
    }
    return NULL;
}

static int check_image(struct ct_case *c, const json_t *old_spec, struct ct_err *err)
{
    const json_t *image = injector_image(c->spec);
    const char *text = json_string_value(image);
    if (same_value(image, injector_image(old_spec)) ||
        (text != NULL && strlen(text) == json_string_length(image) &&
         strcmp(text, c->settings->injector_image) == 0)) {
        return 0;
    }
    return ct_case_deny(c, CT_REASON_TAMPERED, err,
                        "the image of init container \"" CT_SHAPE_INJECTOR
                        "\" is changed to \"%.120s\": it must stay what it was, or become %.120s",
                        text != NULL ? text : "", c->settings->injector_image);
}

// Of a pod that was not injected: too late now.
static int check_late(struct ct_case *c, const json_t *now, const json_t *before,
                      struct ct_err *err)
{
    static const char late[] = "this pod was created without CloudTaser, and only a new pod can be "
                               "protected: create it anew";
    const json_t *inject = json_object_get(now, CT_ANNOTATION_INJECT);
    const json_t *status = json_object_get(now, CT_ANNOTATION_STATUS);
    if (!same_value(inject, json_object_get(before, CT_ANNOTATION_INJECT)) &&
        ct_annotations_opted_in(now, NULL) != 0) {
        return ct_case_deny(c, CT_REASON_ANNOTATION, err, CT_ANNOTATION_INJECT " is set: %s", late);
    }
    if (status != NULL && !same_value(status, json_object_get(before, CT_ANNOTATION_STATUS))) {
        return ct_case_deny(c, CT_REASON_TAMPERED, err, CT_ANNOTATION_STATUS " is set: %s", late);
    }
    return 0;
}

int ct_update_check(struct ct_case *c, struct ct_err *err)
{
    static const char *const keys[] = {CT_ANNOTATION_INJECT, CT_ANNOTATION_STATUS};
    const json_t *old_spec = json_object_get(c->review.old_object, "spec");
    const json_t *before = ct_json_at(c->review.old_object, "metadata", "annotations", NULL);
    const json_t *now = json_object_get(c->metadata, "annotations");
    if (!ct_trust_injected(c->spec) && !ct_trust_injected(old_spec)) {
        return check_late(c, now, before, err);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(keys); i++) {
        if (!same_value(json_object_get(now, keys[i]), json_object_get(before, keys[i]))) {
            return ct_case_deny(c, CT_REASON_TAMPERED, err,
                                "%s of an injected pod is changed or removed: it must stay as it "
                                "is; to change it create the pod anew",
                                keys[i]);
        }
    }
    return check_image(c, old_spec, err);
}
