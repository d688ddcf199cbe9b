// SPDX-License-Identifier: Apache-2.0
#include "trust.h"

#include <string.h>

#include "json.h"
#include "shape.h"

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static int check_volume(struct ct_case *c, const json_t *volume, const char *identity,
                        struct ct_err *err)
{
    const char *name = or_empty(ct_json_str(volume, "name"));
    if (!ct_shape_volume_reserved(name)) {
        return 0;
    }
    const char *want = NULL;
    if (strcmp(name, CT_SHAPE_VOLUME) == 0) {
        want = ct_shape_volume;
    } else if (strcmp(name, CT_SHAPE_IDENTITY) == 0) {
        want = identity;
    }
    if (want == NULL) {
        return ct_case_deny(c, CT_REASON_RESERVED, err,
                            "volume \"%.80s\": names that start with \"" CT_SHAPE_VOLUME
                            "\" are CloudTaser's own; choose another",
                            name);
    }
    int same = ct_shape_same(volume, want, err);
    if (same == 0) {
        return ct_case_deny(
            c, CT_REASON_TAMPERED, err,
            "volume \"%s\" is not the one that CloudTaser injects; remove it, it is "
            "added for you",
            name);
    }
    return same < 0 ? same : 0;
}

static bool mount_reserved(const json_t *mount)
{
    return ct_shape_volume_reserved(or_empty(ct_json_str(mount, "name"))) ||
           ct_shape_path_reserved(or_empty(ct_json_str(mount, "mountPath")));
}

static int check_mount(struct ct_case *c, const struct ct_container *container, const json_t *mount,
                       struct ct_err *err)
{
    if (!mount_reserved(mount)) {
        return 0;
    }
    const char *name = or_empty(ct_json_str(mount, "name"));
    const char *path = or_empty(ct_json_str(mount, "mountPath"));
    if (!container->wrap) {
        return ct_case_deny(c, CT_REASON_RESERVED, err,
                            "%s %.80s mounts volume \"%.80s\" at \"%.80s\": volumes named "
                            "cloudtaser* and paths at or below " CT_SHAPE_DIR
                            " and " CT_SHAPE_IDENTITY_DIR " are CloudTaser's own",
                            ct_container_kind(container), container->name, name, path);
    }
    int same = ct_shape_same(mount, ct_shape_mount, err);
    if (same == 0) {
        same = ct_shape_same(mount, ct_shape_identity_mount, err);
    }
    if (same == 0) {
        return ct_case_deny(
            c, CT_REASON_TAMPERED, err,
            "%s %.80s mounts volume \"%.80s\" at \"%.80s\", which is not the mount that "
            "CloudTaser injects; volumes named cloudtaser* and paths at or "
            "below " CT_SHAPE_DIR " and " CT_SHAPE_IDENTITY_DIR " are CloudTaser's own: remove it",
            ct_container_kind(container), container->name, name, path);
    }
    return same < 0 ? same : 0;
}

// What kubelet puts into a container beside its mounts: devices, and a file of its own for the
// termination message.
static int check_places(struct ct_case *c, const char *kind, const char *name,
                        const json_t *container, struct ct_err *err)
{
    const char *message = or_empty(ct_json_str(container, "terminationMessagePath"));
    if (ct_shape_path_reserved(message)) {
        return ct_case_deny(c, CT_REASON_RESERVED, err,
                            "%s %.80s has its terminationMessagePath at \"%.80s\": paths at or "
                            "below " CT_SHAPE_DIR " and " CT_SHAPE_IDENTITY_DIR
                            " are CloudTaser's own",
                            kind, name, message);
    }
    size_t i;
    json_t *device;
    json_array_foreach(json_object_get(container, "volumeDevices"), i, device)
    {
        const char *path = or_empty(ct_json_str(device, "devicePath"));
        const char *volume = or_empty(ct_json_str(device, "name"));
        if (ct_shape_path_reserved(path) || ct_shape_volume_reserved(volume)) {
            return ct_case_deny(c, CT_REASON_RESERVED, err,
                                "%s %.80s puts device \"%.80s\" at \"%.80s\": paths at or "
                                "below " CT_SHAPE_DIR " are CloudTaser's own",
                                kind, name, volume, path);
        }
    }
    return 0;
}

static int check_injector(struct ct_case *c, const struct ct_container *container,
                          struct ct_err *err)
{
    const char *field = "";
    const json_t *volumes = json_object_get(c->spec, "volumes");
    if (ct_shape_is_injector(c->settings, volumes, container->json, &field)) {
        return 0;
    }
    return ct_case_deny(
        c, CT_REASON_TAMPERED, err,
        "init container \"" CT_SHAPE_INJECTOR
        "\" is not the one that CloudTaser injects (%.60s differs); remove it, it is "
        "added for you",
        field);
}

static int check_container(struct ct_case *c, const struct ct_container *container,
                           struct ct_err *err)
{
    if (container->injector) {
        return check_injector(c, container, err);
    }
    if (strncmp(container->name, "cloudtaser-", strlen("cloudtaser-")) == 0) {
        return ct_case_deny(
            c, CT_REASON_RESERVED, err,
            "%s \"%.80s\": names that start with \"cloudtaser-\" are CloudTaser's own; "
            "choose another",
            ct_container_kind(container), container->name);
    }
    size_t i;
    json_t *mount;
    json_array_foreach(container->mounts, i, mount)
    {
        int r = check_mount(c, container, mount, err);
        if (r != 0) {
            return r;
        }
    }
    return check_places(c, ct_container_kind(container), container->name, container->json, err);
}

static int check_ephemeral(struct ct_case *c, const json_t *ephemeral, struct ct_err *err)
{
    const char *name = or_empty(ct_json_str(ephemeral, "name"));
    if (strncmp(name, "cloudtaser-", strlen("cloudtaser-")) == 0) {
        return ct_case_deny(
            c, CT_REASON_EPHEMERAL, err,
            "ephemeral container \"%.80s\": names that start with \"cloudtaser-\" are "
            "CloudTaser's own; choose another",
            name);
    }
    size_t i;
    json_t *mount;
    json_array_foreach(json_object_get(ephemeral, "volumeMounts"), i, mount)
    {
        if (mount_reserved(mount)) {
            return ct_case_deny(
                c, CT_REASON_EPHEMERAL, err,
                "ephemeral container %.80s mounts volume \"%.80s\" at \"%.80s\": it must "
                "keep away from CloudTaser's volumes, " CT_SHAPE_DIR " and " CT_SHAPE_IDENTITY_DIR,
                name, or_empty(ct_json_str(mount, "name")),
                or_empty(ct_json_str(mount, "mountPath")));
        }
    }
    int r = check_places(c, "ephemeral container", name, ephemeral, err);
    if (r == -CT_EDENIED) {
        c->reason = CT_REASON_EPHEMERAL;
    }
    return r;
}

static int check_ephemerals(struct ct_case *c, struct ct_err *err)
{
    size_t i;
    json_t *ephemeral;
    json_array_foreach(json_object_get(c->spec, "ephemeralContainers"), i, ephemeral)
    {
        int r = check_ephemeral(c, ephemeral, err);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static int check_status(struct ct_case *c, struct ct_err *err)
{
    const json_t *status =
        json_object_get(json_object_get(c->metadata, "annotations"), CT_ANNOTATION_STATUS);
    const char *value = json_string_value(status);
    if (status != NULL && (value == NULL || strcmp(value, CT_SHAPE_STATUS) != 0)) {
        return ct_case_deny(c, CT_REASON_TAMPERED, err,
                            CT_ANNOTATION_STATUS
                            " is \"%.80s\", but CloudTaser writes it and writes "
                            "\"" CT_SHAPE_STATUS "\"; remove it",
                            or_empty(value));
    }
    return 0;
}

int ct_trust_check_shape(struct ct_case *c, const char *identity, struct ct_err *err)
{
    int r = check_status(c, err);
    const json_t *volumes = json_object_get(c->spec, "volumes");
    size_t i;
    json_t *volume;
    json_array_foreach(volumes, i, volume)
    {
        r = r != 0 ? r : check_volume(c, volume, identity, err);
    }
    size_t injectors = 0;
    for (i = 0; i < c->n_containers && r == 0; i++) {
        r = check_container(c, &c->containers[i], err);
        injectors += c->containers[i].injector;
    }
    if (r == 0 && injectors > 1) {
        r = ct_case_deny(c, CT_REASON_TAMPERED, err,
                         "init container \"" CT_SHAPE_INJECTOR
                         "\" is there %zu times; remove it, it "
                         "is added for you",
                         injectors);
    }
    return r != 0 ? r : check_ephemerals(c, err);
}

bool ct_trust_injected(const json_t *spec)
{
    size_t i;
    json_t *volume;
    json_array_foreach(json_object_get(spec, "volumes"), i, volume)
    {
        if (strcmp(or_empty(ct_json_str(volume, "name")), CT_SHAPE_VOLUME) == 0) {
            return true;
        }
    }
    return false;
}

int ct_trust_check_ephemeral(struct ct_case *c, struct ct_err *err)
{
    const json_t *annotations = json_object_get(c->metadata, "annotations");
    return ct_trust_injected(c->spec) || ct_annotations_opted_in(annotations, NULL) != 0
               ? check_ephemerals(c, err)
               : 0;
}
