// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "chaos.h"
#include "kube_config.h"
#include "kube_yaml.h"

static char folder[] = "/tmp/ct-kube-config-XXXXXX";
static char path[256];

static const char *write_file(const char *name, const char *text)
{
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

#define CONTEXT                                                                                    \
    "apiVersion: v1\nkind: Config\ncurrent-context: here\n"                                        \
    "contexts:\n- name: there\n  context: {cluster: none}\n"                                       \
    "- name: here\n  context:\n    cluster: c\n    user: u\n    namespace: apps\n"
#define CLUSTER                                                                                    \
    "clusters:\n- cluster:\n    certificate-authority: ca.crt\n    server: "                       \
    "https://10.0.0.1:6443/\n"                                                                     \
    "  name: c\n"
// "-----BEGIN X-----"
#define PEM64 "LS0tLS1CRUdJTiBYLS0tLS0="

static void test_yaml_and_json_give_the_same(void **state)
{
    static const char *const texts[] = {
        CONTEXT CLUSTER "users:\n- name: u\n  user:\n    token: \"s3cret\"\n",
        "{\"current-context\":\"here\",\"contexts\":[{\"name\":\"here\",\"context\":{\"cluster\":"
        "\"c\","
        "\"user\":\"u\",\"namespace\":\"apps\"}}],\"clusters\":[{\"name\":\"c\",\"cluster\":{"
        "\"certificate-authority\":\"ca.crt\",\"server\":\"https:\\/\\/10.0.0.1:6443\"}}],"
        "\"users\":[{\"name\":\"u\",\"user\":{\"token\":\"s3cret\"}}]}",
    };
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(texts); i++) {
        CT_AUTO_KUBE_CONFIG config = {0};
        struct ct_err err = {0};
        char ca[300];
        expect_ok(ct_kube_config_load(write_file("config", texts[i]), &config, &err), &err);
        (void)snprintf(ca, sizeof(ca), "%s/ca.crt", folder);
        assert_string_equal(config.server, "https://10.0.0.1:6443");
        assert_string_equal(config.ca_file, ca);
        assert_string_equal(config.token, "s3cret");
        assert_string_equal(config.namespace, "apps");
        assert_null(config.token_file);
        assert_false(config.skip_verify);
    }
}

static void test_data_in_base64(void **state)
{
    (void)state;
    CT_AUTO_KUBE_CONFIG config = {0};
    struct ct_err err = {0};
    static const char text[] =
        CONTEXT "clusters:\n- name: c\n  cluster: {server: 'https://h:1', "
                "insecure-skip-tls-verify: true, certificate-authority-data: " PEM64 "}\n"
                "users:\n- name: u\n  user:\n    client-certificate-data: " PEM64 "\n"
                "    client-key-data: " PEM64 "\n    tokenFile: /abs/token\n";
    expect_ok(ct_kube_config_load(write_file("config", text), &config, &err), &err);
    assert_string_equal(config.ca_pem, "-----BEGIN X-----");
    assert_string_equal(config.cert_pem, "-----BEGIN X-----");
    assert_string_equal(config.key_pem, "-----BEGIN X-----");
    assert_string_equal(config.token_file, "/abs/token");
    assert_true(config.skip_verify);
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *part;
    } cases[] = {
        {"", "the document is empty"},
        {"a: [", "is no YAML: did not find"},
        {"? [a]\n: b\n", "a key is no plain text"},
        {"a: b\n", "there is no current-context"},
        {"- a\n", "there is no current-context"},
        {"current-context: gone\ncontexts: []\n", "\"contexts\" has no context named \"gone\""},
        {CONTEXT, "\"clusters\" has no cluster named \"c\""},
        {CONTEXT "clusters: [{name: c, cluster: {server: 'ftp://h'}}]\n", "is no https:// URL"},
        {CONTEXT "clusters: [{name: c, cluster: {}}]\n", "is no https:// URL"},
        {CONTEXT "clusters: [{name: c, cluster: {server: [1]}}]\n", "\"server\" must be a text"},
        {CONTEXT "clusters: [{name: c, cluster: {server: 'https://h', proxy-url: 'http://p'}}]\n",
         "\"proxy-url\" is not supported"},
        {CONTEXT "clusters: [{name: c, cluster: {server: 'https://h', tls-server-name: x}}]\n",
         "\"tls-server-name\" is not supported"},
        {CONTEXT "clusters: [{name: c, cluster: {server: 'https://h', "
                 "certificate-authority-data: '%%%'}}]\n",
         "\"certificate-authority-data\" is no PEM in base64"},
        {CONTEXT CLUSTER "users: []\n", "\"users\" has no user named \"u\""},
        {CONTEXT CLUSTER "users: [{name: u, user: {exec: {command: gcloud}}}]\n",
         "\"exec\" is not supported: give a token"},
        {CONTEXT CLUSTER "users: [{name: u, user: {auth-provider: {}}}]\n",
         "\"auth-provider\" is not supported"},
        {CONTEXT CLUSTER "users: [{name: u, user: {username: a, password: b}}]\n",
         "\"username\" is not supported"},
        {CONTEXT CLUSTER "users: [{name: u, user: {client-certificate: a.crt}}]\n",
         "client-certificate and client-key belong together"},
    };
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_KUBE_CONFIG config = {0};
        struct ct_err err = {0};
        int rc = ct_kube_config_load(write_file("config", cases[i].text), &config, &err);
        expect_error(rc, &err, CT_EINVAL, cases[i].part);
        assert_non_null(strstr(err.msg, path));
        assert_null(config.server);
    }
    struct ct_err err = {0};
    CT_AUTO_KUBE_CONFIG config = {0};
    expect_error(ct_kube_config_load("/nonexistent/config", &config, &err), &err, CT_ENOTFOUND,
                 "/nonexistent/config does not exist");
}

static void test_bombs(void **state)
{
    (void)state;
    CT_AUTO_JSON value = NULL;
    struct ct_err err = {0};
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    expect_error(ct_kube_yaml_parse(deep, sizeof(deep), "it", &value, &err), &err, CT_ETOOBIG,
                 "it: nested too deeply");
    static const char laughs[] =
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    expect_error(ct_kube_yaml_parse(laughs, sizeof(laughs) - 1, "it", &value, &err), &err,
                 CT_ETOOBIG, "too many values");
    // Few values, and long ones: as texts, as keys.
    for (int i = 0; i < 2; i++) {
        CT_AUTO_BUF text = {.max = 1 << 20};
        ct_buf_add_str(&text, i == 0 ? "a: &a " : "a: &a {? ");
        for (int k = 0; k < 1000; k++) {
            ct_buf_add_str(&text, "0123456789");
        }
        ct_buf_add_str(&text, i == 0 ? "\nb: [*a" : " : x}\nb: [*a");
        for (int k = 0; k < 1000; k++) {
            ct_buf_add_str(&text, ",*a");
        }
        ct_buf_add_str(&text, "]\n");
        expect_error(ct_kube_yaml_parse(text.data, text.len, "it", &value, &err), &err, CT_ETOOBIG,
                     "it: aliases make more than 8 MiB of it");
    }
    static const char self[] = "&a [*a]";
    int rc = ct_kube_yaml_parse(self, sizeof(self) - 1, "it", &value, &err);
    assert_true(rc < 0); // a knot: libyaml or the bound on depth
}

static void test_in_a_pod(void **state)
{
    (void)state;
    CT_AUTO_KUBE_CONFIG config = {0};
    struct ct_err err = {0};
    (void)unsetenv("KUBERNETES_SERVICE_HOST");
    expect_error(ct_kube_config_in_cluster(folder, &config, &err), &err, CT_ENOTFOUND,
                 "this is no pod");
    (void)setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    (void)setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    expect_error(ct_kube_config_in_cluster("/nonexistent", &config, &err), &err, CT_ENOTFOUND,
                 "needs a service account");
    (void)write_file("token", "t\n");
    (void)write_file("ca.crt", "c");
    (void)write_file("namespace", "cloudtaser\n");
    expect_ok(ct_kube_config_in_cluster(folder, &config, &err), &err);
    assert_string_equal(config.server, "https://[fd00::1]:443");
    assert_string_equal(config.namespace, "cloudtaser");
    assert_non_null(strstr(config.token_file, "/token"));
    assert_non_null(strstr(config.ca_file, "/ca.crt"));
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    const char *file =
        write_file("config", CONTEXT CLUSTER "users:\n- name: u\n  user: {token: t}\n");
    chaos_join_jansson();
    for (size_t n = 1;; n++) {
        CT_AUTO_KUBE_CONFIG config = {0};
        struct ct_err err = {0};
        chaos_struck = false;
        chaos_countdown = n;
        int rc = ct_kube_config_load(file, &config, &err);
        chaos_countdown = 0;
        if (!chaos_struck) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_true(rc == 0 || err.code != 0);
    }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"config", "token", "ca.crt", "namespace"};
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml_and_json_give_the_same),
        cmocka_unit_test(test_data_in_base64),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_in_a_pod),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
