// SPDX-License-Identifier: Apache-2.0
#include "shape.h"

#include <stdint.h>
#include <string.h>

#include "json.h"
#include "quantity.h"

const char ct_shape_volume[] =
    "{\"name\":\"" CT_SHAPE_VOLUME "\",\"emptyDir\":{\"sizeLimit\":\"16Mi\"}}";
const char ct_shape_mount[] =
    "{\"name\":\"" CT_SHAPE_VOLUME "\",\"mountPath\":\"" CT_SHAPE_DIR "\",\"readOnly\":true}";
const char ct_shape_identity_mount[] =
    "{\"name\":\"" CT_SHAPE_IDENTITY "\",\"mountPath\":\"" CT_SHAPE_IDENTITY_DIR
    "\",\"readOnly\":true}";

#define INJECTOR_COMMAND                                                                           \
    "[\"/cloudtaser-injector\",\"/cloudtaser-wrapper\",\"" CT_SHAPE_WRAPPER "\"]"
#define INJECTOR_MOUNT "{\"name\":\"" CT_SHAPE_VOLUME "\",\"mountPath\":\"" CT_SHAPE_DIR "\"}"
#define INJECTOR_SECURITY                                                                          \
    "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},"                   \
    "\"readOnlyRootFilesystem\":true,\"runAsNonRoot\":true,\"runAsUser\":65532,"                   \
    "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}"
// As the API server's admission plugin ServiceAccount writes them.
#define ACCOUNT_VOLUME "kube-api-access-"
#define ACCOUNT_PATH "/var/run/secrets/kubernetes.io/serviceaccount"

static void add_string(struct ct_buf *out, const char *text)
{
    ct_buf_add_json(out, text, strlen(text));
}

static void add_resources(const struct ct_webhook_settings *s, const char *key, struct ct_buf *out)
{
    ct_buf_addf(out, "\"%s\":{\"cpu\":", key);
    add_string(out, s->injector_cpu);
    ct_buf_add_str(out, ",\"memory\":");
    add_string(out, s->injector_memory);
    ct_buf_add_str(out, "}");
}

void ct_shape_write_injector(const struct ct_webhook_settings *s, struct ct_buf *out)
{
    ct_buf_add_str(out, "{\"name\":\"" CT_SHAPE_INJECTOR "\",\"image\":");
    add_string(out, s->injector_image);
    ct_buf_add_str(out, ",\"command\":" INJECTOR_COMMAND ",\"resources\":{");
    add_resources(s, "limits", out);
    ct_buf_add_str(out, ",");
    add_resources(s, "requests", out);
    ct_buf_add_str(out, "},\"securityContext\":" INJECTOR_SECURITY
                        ",\"volumeMounts\":[" INJECTOR_MOUNT "]}");
}

static void add_source(struct ct_buf *out, const char *kind, const char *name, const char *key,
                       const char *path)
{
    ct_buf_addf(out, "{\"%s\":{\"name\":", kind);
    add_string(out, name);
    ct_buf_addf(out, ",\"items\":[{\"key\":\"%s\",\"path\":\"%s\"}]}}", key, path);
}

void ct_shape_write_identity(const struct ct_annotations *a, struct ct_buf *out)
{
    ct_buf_add_str(out, "{\"name\":\"" CT_SHAPE_IDENTITY
                        "\",\"projected\":{\"defaultMode\":292,\"sources\":[");
    if (a->has_auth && a->auth == CT_AUTH_TOKEN) {
        add_source(out, "secret", a->vault_token_secret, "token", "vault-token");
    } else if (a->has_auth && a->auth == CT_AUTH_APPROLE) {
        add_source(out, "secret", a->vault_secret_id_secret, "secret-id", "vault-token");
    } else {
        ct_buf_add_str(out, "{\"serviceAccountToken\":{\"path\":\"vault-token\","
                            "\"expirationSeconds\":600");
        if (a->vault_audience != NULL) {
            ct_buf_add_str(out, ",\"audience\":");
            add_string(out, a->vault_audience);
        }
        ct_buf_add_str(out, "}}");
    }
    ct_buf_add_str(out, ",{\"serviceAccountToken\":{\"path\":\"cloudtaser-token\","
                        "\"expirationSeconds\":600,\"audience\":\"cloudtaser\"}}");
    if (a->vault_ca_configmap != NULL) {
        ct_buf_add_str(out, ",");
        add_source(out, "configMap", a->vault_ca_configmap, "ca.crt", "ca.crt");
    }
    ct_buf_add_str(out, "]}}");
}

int ct_shape_same(const json_t *have, const char *text, struct ct_err *err)
{
    CT_AUTO_JSON want = json_loads(text, JSON_DECODE_ANY, NULL);
    if (want == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory");
    }
    return json_equal(have, want);
}

static bool same(const json_t *have, const char *text)
{
    return ct_shape_same(have, text, NULL) == 1;
}

static bool same_text(const json_t *have, const char *text)
{
    const char *value = json_string_value(have);
    return value != NULL && strcmp(value, text) == 0;
}

// Requests and limits hold ours; a LimitRange may have added others (ephemeral-storage).
static bool resources_match(const struct ct_webhook_settings *s, const json_t *have)
{
    const char *const keys[] = {"limits", "requests"};
    for (size_t i = 0; i < CT_ARRAY_LEN(keys); i++) {
        const json_t *amounts = json_object_get(have, keys[i]);
        const char *cpu = ct_json_str(amounts, "cpu");
        const char *memory = ct_json_str(amounts, "memory");
        if (cpu == NULL || memory == NULL || !ct_quantity_equal(cpu, s->injector_cpu) ||
            !ct_quantity_equal(memory, s->injector_memory)) {
            return false;
        }
    }
    return json_object_get(have, "claims") == NULL;
}

// The object of a list that has this name, NULL when none has.
static const json_t *named(const json_t *list, const char *name)
{
    size_t i;
    json_t *each;
    json_array_foreach(list, i, each)
    {
        const char *have = ct_json_str(each, "name");
        if (have != NULL && strcmp(have, name) == 0) {
            return each;
        }
    }
    return NULL;
}

// The sources of the volume that the API server makes for a service account. OpenShift adds the last.
static bool is_account_source(const json_t *source)
{
    static const struct {
        const char *kind, *key, *text;
    } kinds[] = {
        {"serviceAccountToken", "path", "token"},
        {"configMap", "name", "kube-root-ca.crt"},
        {"configMap", "name", "openshift-service-ca.crt"},
    };
    if (json_object_size(source) != 1) {
        return false;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(kinds); i++) {
        const json_t *inner = json_object_get(source, kinds[i].kind);
        if (same_text(json_object_get(inner, kinds[i].key), kinds[i].text)) {
            return true;
        }
    }
    return json_is_object(json_object_get(source, "downwardAPI"));
}

static bool is_account_volume(const json_t *volume)
{
    const json_t *projected = json_object_get(volume, "projected");
    const json_t *sources = json_object_get(projected, "sources");
    size_t i;
    json_t *source;
    json_array_foreach(sources, i, source)
    {
        if (!is_account_source(source)) {
            return false;
        }
    }
    return json_object_size(volume) == 2 && json_array_size(sources) > 0;
}

// The API server's own mount of the service account, to the letter.
static bool is_account_mount(const json_t *mount, const json_t *volumes)
{
    const char *name = ct_json_str(mount, "name");
    return json_object_size(mount) == 3 && name != NULL &&
           strncmp(name, ACCOUNT_VOLUME, strlen(ACCOUNT_VOLUME)) == 0 &&
           same_text(json_object_get(mount, "mountPath"), ACCOUNT_PATH) &&
           json_is_true(json_object_get(mount, "readOnly")) &&
           is_account_volume(named(volumes, name));
}

// Ours once, and beside it at most the service account's.
static bool mounts_match(const json_t *volumes, const json_t *have)
{
    size_t ours = 0;
    size_t accounts = 0;
    size_t i;
    json_t *mount;
    json_array_foreach(have, i, mount)
    {
        if (same(mount, INJECTOR_MOUNT)) {
            ours++;
        } else if (is_account_mount(mount, volumes)) {
            accounts++;
        } else {
            return false;
        }
    }
    return ours == 1 && accounts <= 1;
}

static bool field_matches(const struct ct_webhook_settings *s, const json_t *volumes,
                          const char *key, const json_t *value)
{
    static const struct {
        const char *key;
        const char *text; // NULL: any string
    } fixed[] = {
        {"name", "\"" CT_SHAPE_INJECTOR "\""},
        {"command", INJECTOR_COMMAND},
        {"securityContext", INJECTOR_SECURITY},
        {"terminationMessagePath", "\"/dev/termination-log\""},
        {"terminationMessagePolicy", "\"File\""},
        {"imagePullPolicy", NULL},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(fixed); i++) {
        if (strcmp(key, fixed[i].key) == 0) {
            return fixed[i].text != NULL ? same(value, fixed[i].text) : json_is_string(value);
        }
    }
    if (strcmp(key, "image") == 0) {
        return same_text(value, s->injector_image);
    }
    if (strcmp(key, "resources") == 0) {
        return resources_match(s, value);
    }
    return strcmp(key, "volumeMounts") == 0 && mounts_match(volumes, value);
}

int ct_shape_is_injector(const struct ct_webhook_settings *s, const json_t *volumes,
                         const json_t *have, const char **ret_field)
{
    static const char *const needed[] = {"name",      "image",           "command",
                                         "resources", "securityContext", "volumeMounts"};
    for (size_t i = 0; i < CT_ARRAY_LEN(needed); i++) {
        if (json_object_get(have, needed[i]) == NULL) {
            *ret_field = needed[i];
            return 0;
        }
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)have, key, value)
    {
        if (!field_matches(s, volumes, key, value)) {
            *ret_field = key;
            return 0;
        }
    }
    return 1;
}

static bool segment_is(const char *segment, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(segment, word, len) == 0;
}

bool ct_shape_path_reserved(const char *path)
{
    size_t depth = 0;
    bool ours = false; // is the segment at depth 1 the name of a folder of ours?
    while (*path != '\0') {
        size_t len = strcspn(path, "/");
        if (segment_is(path, len, "..")) {
            depth -= depth > 0;
        } else if (len > 0 && !segment_is(path, len, ".")) {
            depth++;
            if (depth == 1) {
                ours = segment_is(path, len, &CT_SHAPE_DIR[1]) ||
                       segment_is(path, len, &CT_SHAPE_IDENTITY_DIR[1]);
            }
        }
        path += len;
        path += *path == '/';
    }
    return depth > 0 && ours;
}

bool ct_shape_volume_reserved(const char *name)
{
    return strncmp(name, CT_SHAPE_VOLUME, strlen(CT_SHAPE_VOLUME)) == 0;
}
