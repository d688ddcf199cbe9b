// SPDX-License-Identifier: Apache-2.0
#include "inject.h"

#include <string.h>

#include "affinity.h"
#include "json.h"
#include "shape.h"
#include "variables.h"
#include "vault.h"

#define REF_TEXT_MAX (CT_REF_PATH_MAX + CT_REF_KEY_MAX + 32)

// Elements to be put into a list of the pod, which may not exist yet. They go in front one by one
// (`at_front`) or behind; a missing list is made with all of them.
struct insertion {
    struct ct_patch *patch;
    char path[64];
    bool exists;
    bool at_front;
    size_t n; // so far
};

static void insertion_begin(struct insertion *in)
{
    if (!in->exists && in->n > 0) {
        ct_buf_add_str(&in->patch->text, ",");
    } else if (!in->exists) {
        ct_patch_begin(in->patch, "add", "%s", in->path);
        ct_buf_add_str(&in->patch->text, "[");
    } else if (in->at_front) {
        ct_patch_begin(in->patch, "add", "%s/%zu", in->path, in->n);
    } else {
        ct_patch_begin(in->patch, "add", "%s/-", in->path);
    }
    in->n++;
}

static void insertion_end(struct insertion *in)
{
    if (in->exists) {
        ct_patch_end(in->patch);
    }
}

static void insertion_finish(struct insertion *in)
{
    if (!in->exists && in->n > 0) {
        ct_buf_add_str(&in->patch->text, "]");
        ct_patch_end(in->patch);
    }
}

static void insert(struct insertion *in, const char *value)
{
    insertion_begin(in);
    ct_buf_add_str(&in->patch->text, value);
    insertion_end(in);
}

static void container_path(const struct ct_container *container, const char *field, char *out,
                           size_t size)
{
    (void)snprintf(out, size, "/spec/%s/%zu/%s", container->init ? "initContainers" : "containers",
                   container->index, field);
}

static bool has_named(const json_t *list, const char *name)
{
    size_t i;
    json_t *element;
    json_array_foreach(list, i, element)
    {
        const char *have = ct_json_str(element, "name");
        if (have != NULL && strcmp(have, name) == 0) {
            return true;
        }
    }
    return false;
}

static void inject_volumes(struct ct_case *c, const char *identity, struct ct_patch *patch)
{
    const json_t *volumes = json_object_get(c->spec, "volumes");
    struct insertion in = {.patch = patch, .path = "/spec/volumes"};
    in.exists = json_is_array(volumes);
    if (!has_named(volumes, CT_SHAPE_VOLUME)) {
        insert(&in, ct_shape_volume);
    }
    if (!has_named(volumes, CT_SHAPE_IDENTITY)) {
        insert(&in, identity);
    }
    insertion_finish(&in);
}

static void inject_command(const struct ct_container *container, struct ct_patch *patch)
{
    if (container->wrapped) {
        return;
    }
    char path[64];
    container_path(container, "command", path, sizeof(path));
    ct_patch_begin(patch, "replace", "%s", path);
    ct_buf_add_str(&patch->text, "[\"" CT_SHAPE_WRAPPER "\",\"--\"");
    size_t i;
    json_t *word;
    json_array_foreach(container->command, i, word)
    {
        ct_buf_add_str(&patch->text, ",");
        ct_buf_add_json(&patch->text, json_string_value(word), json_string_length(word));
    }
    ct_buf_add_str(&patch->text, "]");
    ct_patch_end(patch);
}

static void inject_mounts(const struct ct_container *container, struct ct_patch *patch)
{
    struct insertion in = {.patch = patch, .exists = container->mounts != NULL};
    container_path(container, "volumeMounts", in.path, sizeof(in.path));
    if (!has_named(container->mounts, CT_SHAPE_VOLUME)) {
        insert(&in, ct_shape_mount);
    }
    if (!has_named(container->mounts, CT_SHAPE_IDENTITY)) {
        insert(&in, ct_shape_identity_mount);
    }
    insertion_finish(&in);
}

static int inject_variable(struct ct_case *c, const struct ct_container *container,
                           struct insertion *in, const struct ct_derived *derived,
                           struct ct_err *err)
{
    int r = ct_variables_check_derived(c, container, derived, err);
    if (r < 0) {
        return r;
    }
    if (r == 0) {
        struct ct_buf *out = &in->patch->text;
        insertion_begin(in);
        ct_buf_add_str(out, "{\"name\":");
        ct_buf_add_json(out, derived->name, strlen(derived->name));
        ct_buf_add_str(out, ",\"value\":");
        ct_buf_add_json(out, derived->text, strlen(derived->text));
        ct_buf_add_str(out, "}");
        insertion_end(in);
    }
    return 0;
}

// kubelet expands $(NAME) from variables that stand before: ours go in front, so that the author's
// can nest those of annotations.
static int inject_variables(struct ct_case *c, const struct ct_container *container,
                            const struct ct_derived *config, struct ct_patch *patch,
                            struct ct_err *err)
{
    struct insertion in = {.patch = patch, .exists = container->env != NULL, .at_front = true};
    container_path(container, "env", in.path, sizeof(in.path));
    int r = inject_variable(c, container, &in, config, err);
    for (size_t i = 0; i < c->annotations.n_variables && r == 0; i++) {
        const struct ct_annotation_variable *variable = &c->annotations.variables[i];
        char text[REF_TEXT_MAX];
        char version[16] = "";
        if (variable->ref.version != 0) {
            (void)snprintf(version, sizeof(version), "#%u", variable->ref.version);
        }
        (void)snprintf(text, sizeof(text), "${vault:%s#%s%s}", variable->ref.path,
                       variable->ref.key, version);
        const struct ct_derived derived = {
            .name = variable->name, .text = text, .reason = CT_REASON_ANNOTATION};
        r = inject_variable(c, container, &in, &derived, err);
    }
    insertion_finish(&in);
    return r;
}

// First of all init containers: those of the author may be wrapped too.
static void inject_init_container(struct ct_case *c, struct ct_patch *patch)
{
    for (size_t i = 0; i < c->n_init; i++) {
        if (c->containers[i].injector) {
            if (i > 0) {
                char from[64];
                (void)snprintf(from, sizeof(from), "/spec/initContainers/%zu", i);
                ct_patch_move(patch, from, "/spec/initContainers/0");
            }
            return;
        }
    }
    struct insertion in = {.patch = patch, .path = "/spec/initContainers", .at_front = true};
    in.exists = json_is_array(json_object_get(c->spec, "initContainers"));
    insertion_begin(&in);
    ct_shape_write_injector(c->settings, &patch->text);
    insertion_end(&in);
    insertion_finish(&in);
}

int ct_inject(struct ct_case *c, const char *identity, struct ct_patch *patch, struct ct_err *err)
{
    CT_AUTO_BUF text = {.max = CT_CONFIG_MAX};
    CT_AUTO_BUF other = {.max = CT_CONFIG_MAX};
    int r = ct_vault_write_config(c, false, &text, err);
    if (r == 0) {
        r = ct_vault_write_config(c, true, &other, err);
    }
    if (r != 0) {
        return r;
    }
    const struct ct_derived config = {.name = CT_CONFIG_VARIABLE,
                                      .text = text.data,
                                      .other = other.data,
                                      .reason = CT_REASON_TAMPERED};
    inject_volumes(c, identity, patch);
    for (size_t i = 0; i < c->n_containers; i++) {
        const struct ct_container *container = &c->containers[i];
        if (container->wrap) {
            inject_command(container, patch);
            r = inject_variables(c, container, &config, patch, err);
            if (r != 0) {
                return r;
            }
            inject_mounts(container, patch);
        }
    }
    ct_affinity_patch(c, patch);
    if (ct_json_str(json_object_get(c->metadata, "annotations"), CT_ANNOTATION_STATUS) == NULL) {
        ct_patch_add(patch, "\"" CT_SHAPE_STATUS "\"",
                     "/metadata/annotations/cloudtaser.io~1status");
    }
    inject_init_container(c, patch);
    ct_patch_finish(patch);
    if (patch->text.failed) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the patch");
    }
    return 0;
}
