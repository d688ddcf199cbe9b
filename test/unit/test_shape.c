// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "json.h"
#include "shape.h"

static void cleans_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool reserved;
    } cases[] = {
        {"/cloudtaser", true},
        {"/cloudtaser/", true},
        {"//cloudtaser", true},
        {"/./cloudtaser/.", true},
        {"cloudtaser", true},
        {"./cloudtaser/x", true},
        {"/cloudtaser/wrapper", true},
        {"/cloudtaser-identity", true},
        {"/cloudtaser-identity/vault-token", true},
        {"/cloudtaser/../cloudtaser/x", true},
        {"/a/b/../../cloudtaser", true},
        {"/a//..///cloudtaser//x", true},
        {"/..", false},
        {"/../../cloudtaser", true},
        {"../cloudtaser", true},
        {"/cloudtaser/..", false},
        {"/cloudtaser/../a", false},
        {"/cloudtaser/a/../..", false},
        {"/a/cloudtaser", false},
        {"/a/../b/cloudtaser", false},
        {"/cloudtaser2", false},
        {"/cloudtase", false},
        {"/cloudtaser-identity2", false},
        {"/...", false},
        {"/.cloudtaser", false},
        {"/", false},
        {"", false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        if (ct_shape_path_reserved(cases[i].path) != cases[i].reserved) {
            fail_msg("\"%s\": expected %d", cases[i].path, cases[i].reserved);
        }
    }
}

static void knows_its_volumes(void **state)
{
    (void)state;
    assert_true(ct_shape_volume_reserved("cloudtaser"));
    assert_true(ct_shape_volume_reserved("cloudtaser-identity"));
    assert_true(ct_shape_volume_reserved("cloudtaserx"));
    assert_false(ct_shape_volume_reserved("cloudtase"));
    assert_false(ct_shape_volume_reserved("my-cloudtaser"));
}

static struct ct_webhook_settings settings(void)
{
    static char image[] = "i\"1", cpu[] = "0.1", memory[] = "32Mi";
    return (struct ct_webhook_settings){
        .injector_image = image, .injector_cpu = cpu, .injector_memory = memory};
}

static json_t *injector(const struct ct_webhook_settings *s)
{
    CT_AUTO_BUF text = {.max = 4096};
    ct_shape_write_injector(s, &text);
    assert_false(text.failed);
    json_t *made = json_loadb(text.data, text.len, 0, NULL);
    assert_non_null(made);
    return made;
}

static void recognises_what_it_writes(void **state)
{
    (void)state;
    struct ct_webhook_settings s = settings();
    json_t *made = injector(&s);
    const char *field = "";
    assert_int_equal(ct_shape_is_injector(&s, NULL, made, &field), 1);
    json_decref(made);
}

#define SA "/var/run/secrets/kubernetes.io/serviceaccount"
#define MOUNTS(more) "[{\"name\":\"cloudtaser\",\"mountPath\":\"/cloudtaser\"}," more "]"
#define ACCOUNT(name) "{\"name\":\"" name "\",\"mountPath\":\"" SA "\",\"readOnly\":true}"
#define TOKEN "{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}}"
#define ROOT_CA                                                                                    \
    "{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca."  \
    "crt\"}]}}"
#define NAMESPACE                                                                                  \
    "{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\","    \
    "\"fieldPath\":\"metadata.namespace\"}}]}}"

// The pod's volumes: projected ones with these sources, else emptyDirs.
static json_t *pod_volumes(void)
{
    static const char *const volumes[][2] = {
        {"kube-api-access-a", "[" TOKEN "," ROOT_CA "," NAMESPACE "]"},
        {"kube-api-access-b", "[" TOKEN "]"},
        {"kube-api-access-map", "[" TOKEN ",{\"configMap\":{\"name\":\"mine\"}}]"},
        {"kube-api-access-empty", "[]"},
        {"kube-api-access-dir", NULL},
        {"mine", NULL},
    };
    json_t *list = json_array();
    for (size_t i = 0; i < CT_ARRAY_LEN(volumes); i++) {
        const char *sources = volumes[i][1];
        json_t *volume =
            sources == NULL
                ? json_pack("{s:s,s:{}}", "name", volumes[i][0], "emptyDir")
                : json_pack("{s:s,s:{s:i,s:o}}", "name", volumes[i][0], "projected", "defaultMode",
                            420, "sources", json_loads(sources, 0, NULL));
        assert_non_null(volume);
        json_array_append_new(list, volume);
    }
    return list;
}

static void names_the_field_that_differs(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value; // value NULL: removed
        const char *field;       // NULL: still ours
    } cases[] = {
        {"image", "\"other\"", "image"},
        {"image", NULL, "image"},
        {"command", "[\"/cloudtaser-injector\"]", "command"},
        {"command", NULL, "command"},
        {"args", "[]", "args"},
        {"env", "[{\"name\":\"AWS_REGION\",\"value\":\"x\"}]", "env"},
        {"envFrom", "[]", "envFrom"},
        {"restartPolicy", "\"Always\"", "restartPolicy"},
        {"lifecycle", "{}", "lifecycle"},
        {"workingDir", "\"/x\"", "workingDir"},
        {"securityContext", "{}", "securityContext"},
        {"securityContext", NULL, "securityContext"},
        {"imagePullPolicy", "\"Always\"", NULL},
        {"terminationMessagePath", "\"/dev/termination-log\"", NULL},
        {"terminationMessagePath", "\"/cloudtaser/wrapper\"", "terminationMessagePath"},
        {"volumeMounts", "[]", "volumeMounts"},
        {"volumeMounts", MOUNTS(ACCOUNT("kube-api-access-a")), NULL},
        {"volumeMounts", MOUNTS(ACCOUNT("kube-api-access-b")), NULL},
        {"volumeMounts", MOUNTS(ACCOUNT("kube-api-access-a") "," ACCOUNT("kube-api-access-b")),
         "volumeMounts"},
        {"volumeMounts", MOUNTS(ACCOUNT("kube-api-access-dir")), "volumeMounts"},
        {"volumeMounts", MOUNTS(ACCOUNT("kube-api-access-map")), "volumeMounts"},
        {"volumeMounts", MOUNTS(ACCOUNT("kube-api-access-none")), "volumeMounts"},
        {"volumeMounts", MOUNTS(ACCOUNT("kube-api-access-empty")), "volumeMounts"},
        {"volumeMounts", MOUNTS(ACCOUNT("mine")), "volumeMounts"},
        {"volumeMounts",
         MOUNTS("{\"name\":\"kube-api-access-a\",\"mountPath\":\"" SA "/x\",\"readOnly\":true}"),
         "volumeMounts"},
        {"volumeMounts", MOUNTS("{\"name\":\"kube-api-access-a\",\"mountPath\":\"" SA "\"}"),
         "volumeMounts"},
        {"volumeMounts",
         MOUNTS("{\"name\":\"kube-api-access-a\",\"mountPath\":\"" SA "\",\"readOnly\":true,"
                "\"subPathExpr\":\"$(X)\"}"),
         "volumeMounts"},
        {"volumeMounts",
         MOUNTS("{\"name\":\"mine\",\"mountPath\":\"/var/run/secrets/a\",\"readOnly\":true},"
                "{\"name\":\"mine\",\"mountPath\":\"/var/run/secrets/a/b\"}"),
         "volumeMounts"},
        {"volumeMounts", MOUNTS("{\"name\":\"mine\",\"mountPath\":\"/cloudtaser-wrapper\"}"),
         "volumeMounts"},
        {"volumeMounts",
         "[{\"name\":\"cloudtaser\",\"mountPath\":\"/cloudtaser\","
         "\"mountPropagation\":\"Bidirectional\"}]",
         "volumeMounts"},
        {"resources",
         "{\"limits\":{\"cpu\":\"100m\",\"memory\":\"32Mi\"},"
         "\"requests\":{\"cpu\":\"100m\",\"memory\":\"33554432\"}}",
         NULL},
        {"resources",
         "{\"limits\":{\"cpu\":\"200m\",\"memory\":\"32Mi\"},"
         "\"requests\":{\"cpu\":\"100m\",\"memory\":\"32Mi\"}}",
         "resources"},
    };
    struct ct_webhook_settings s = settings();
    CT_AUTO_JSON volumes = pod_volumes();
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        json_t *made = injector(&s);
        if (cases[i].value == NULL) {
            json_object_del(made, cases[i].key);
        } else {
            json_object_set_new(made, cases[i].key,
                                json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        }
        const char *field = NULL;
        int is = ct_shape_is_injector(&s, volumes, made, &field);
        if (is != (cases[i].field == NULL) || (!is && strcmp(field, cases[i].field) != 0)) {
            fail_msg("%s %s: %d %s", cases[i].key, cases[i].value, is, field);
        }
        json_decref(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cleans_paths),
        cmocka_unit_test(knows_its_volumes),
        cmocka_unit_test(recognises_what_it_writes),
        cmocka_unit_test(names_the_field_that_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
