// SPDX-License-Identifier: Apache-2.0
//
// Certificates made, judged and renewed, at any time one likes.
#include "expect.h"

#include <openssl/x509v3.h>
#include <stdlib.h>

#include "chain.h"
#include "make.h"

#define NOW ((time_t)1800000000)
#define DAY 86400
#define LIFE (30 * DAY)

static const char *const names[] = {"cloudtaser-webhook.apps.svc", "10.1.2.3", "fd00::1"};
static const struct ct_certs_plan plan = {.names = names, .n_names = 3, .life_s = LIFE};

static void make(struct ct_certs_set *set)
{
    struct ct_err err = {0};
    expect_ok(ct_certs_make(&plan, NOW, set, &err), &err);
}

static size_t count_ca(const struct ct_certs_set *set)
{
    CT_AUTO_CHAIN chain = {.n = 0};
    ct_certs_read_chain(set->ca, &chain);
    return chain.n;
}

// Does OpenSSL's own verification accept it for this name, with the authorities as roots?
static bool verifies(const struct ct_certs_set *set, const char *cert_pem, const char *name,
                     time_t at)
{
    CT_AUTO_CHAIN roots = {.n = 0};
    CT_AUTO_CHAIN cert = {.n = 0};
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    ct_certs_read_chain(set->ca, &roots);
    ct_certs_read_chain(cert_pem, &cert);
    for (size_t i = 0; i < roots.n; i++) {
        assert_int_equal(X509_STORE_add_cert(store, roots.certs[i]), 1);
    }
    assert_int_equal(X509_STORE_CTX_init(ctx, store, cert.certs[0], NULL), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, at);
    assert_int_equal(X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER), 1);
    assert_int_equal(X509_VERIFY_PARAM_set1_host(param, name, 0), 1);
    bool ok = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return ok;
}

static void test_what_is_made(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET set = {0};
    CT_AUTO_CERTS_SET other = {0};
    make(&set);
    make(&other);
    assert_true(verifies(&set, set.cert, names[0], NOW));
    assert_true(verifies(&set, set.cert, names[0], NOW - 299)); // a clock that is behind
    assert_false(verifies(&set, set.cert, names[0], NOW - 301));
    assert_false(verifies(&set, set.cert, names[0], NOW + LIFE + 1));
    assert_false(verifies(&set, set.cert, "cloudtaser-webhook.other.svc", NOW));
    assert_false(verifies(&other, set.cert, names[0], NOW));
    assert_int_equal(ct_certs_end(set.cert), NOW + LIFE);
    assert_int_equal(ct_certs_end(set.ca), NOW + 3 * LIFE);
    assert_string_not_equal(set.key, other.key);
    CT_AUTO_PKEY key = ct_certs_read_key(set.key);
    char curve[32] = "";
    assert_int_equal(EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL), 1);
    assert_string_equal(curve, "prime256v1"); // OpenSSL's word for P-256
    assert_int_equal(ct_certs_check(&set, NOW, NULL), 0);
}

static void test_names_that_are_none(void **state)
{
    static const char *const bad[] = {"", "a,DNS:evil.example.com", "a b", "10.0.0.1:443", "x\ny"};
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        CT_AUTO_CERTS_SET set = {0};
        struct ct_err err = {0};
        const struct ct_certs_plan wrong = {.names = &bad[i], .n_names = 1, .life_s = LIFE};
        expect_error(ct_certs_make(&wrong, NOW, &set, &err), &err, CT_EINVAL, "is no DNS name");
        assert_null(set.cert);
    }
    const struct ct_certs_plan none = {.life_s = LIFE};
    CT_AUTO_CERTS_SET set = {0};
    struct ct_err err = {0};
    expect_error(ct_certs_make(&none, NOW, &set, &err), &err, CT_EINVAL, "needs a name");
}

static void replace(char **where, const char *with)
{
    free(*where);
    *where = with != NULL ? strdup(with) : NULL;
}

static void test_what_is_of_no_use(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET other = {0};
    make(&other);
    static const char broken[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const struct {
        const char *ca;
        const char *ca_key;
        time_t at;
        const char *part;
    } cases[] = {
        {NULL, "", NOW, "ca.crt holds no certificate"},
        {"garbage", "", NOW, "ca.crt holds no certificate"},
        {broken, "", NOW, "ca.crt holds no certificate"},
        {"", NULL, NOW, "ca.key holds no private key"},
        {"", "garbage", NOW, "ca.key holds no private key"},
        {"", other.ca_key, NOW, "does not belong to the first"},
        {other.cert, other.key, NOW, "is no authority's"},
        {"", "", NOW + 3 * LIFE + 1, "has ended"},
        {"", "", NOW - DAY, "is not valid yet"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_CERTS_SET set = {0};
        struct ct_err err = {0};
        make(&set);
        if (cases[i].ca == NULL || cases[i].ca[0] != '\0') {
            replace(&set.ca, cases[i].ca);
        }
        if (cases[i].ca_key == NULL || cases[i].ca_key[0] != '\0') {
            replace(&set.ca_key, cases[i].ca_key);
        }
        expect_error(ct_certs_check(&set, cases[i].at, &err), &err, CT_EINVAL, cases[i].part);
    }
}

static int renew(struct ct_certs_set *set, time_t at)
{
    struct ct_err err = {0};
    int change = ct_certs_renew(&plan, at, set, &err);
    expect_ok(change, &err);
    return change;
}

static void test_a_certificate_of_no_use_is_made_anew(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET other = {0};
    make(&other);
    for (size_t i = 0; i < 5; i++) {
        CT_AUTO_CERTS_SET set = {0};
        make(&set);
        char **const damaged[] = {&set.cert, &set.key, &set.cert, &set.key, &set.cert};
        const char *const with[] = {NULL, NULL, other.cert, other.key, "garbage"};
        replace(damaged[i], with[i]);
        assert_int_equal(renew(&set, NOW + 1), CT_CERTS_NEW_CERT);
        assert_true(verifies(&set, set.cert, names[0], NOW + 1));
        assert_int_equal(renew(&set, NOW + 1), CT_CERTS_SAME);
    }
    CT_AUTO_CERTS_SET set = {0};
    struct ct_err err = {0};
    make(&set);
    static const char *const more[] = {"cloudtaser-webhook.apps.svc", "another.example.com"};
    const struct ct_certs_plan wider = {.names = more, .n_names = 2, .life_s = LIFE};
    assert_int_equal(ct_certs_renew(&wider, NOW, &set, &err), CT_CERTS_NEW_CERT);
    assert_true(verifies(&set, set.cert, more[1], NOW));
}

// A year, a step each nine hours, so that it comes to every third hour of the day: what was shown is accepted by whoever knew the
// authorities a step before, at every moment.
static void test_a_year(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET set = {0};
    unsigned certs = 0;
    unsigned authorities = 0;
    make(&set);
    for (time_t at = NOW; at < NOW + 365 * (time_t)DAY; at += 9 * (DAY / 24)) {
        struct ct_certs_set before = {.ca = strdup(set.ca)};
        CT_AUTO_STR shown_before = strdup(set.cert);
        struct ct_err err = {0};
        expect_ok(ct_certs_check(&set, at, &err), &err);
        int change = renew(&set, at);
        certs += (change & CT_CERTS_NEW_CERT) != 0;
        authorities += (change & CT_CERTS_NEW_CA) != 0;
        assert_true(verifies(&before, set.cert, names[0], at));  // who has not heard yet
        assert_true(verifies(&set, shown_before, names[0], at)); // who still shows the last one
        assert_in_range(count_ca(&set), 1, 2);
        ct_certs_set_done(&before);
    }
    assert_in_range(certs, 17, 20);
    assert_in_range(authorities, 5, 6);
}

// All is made anew while others still show what was before.
static void test_what_others_show_stays_believed(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET old = {0};
    CT_AUTO_CERTS_SET set = {0};
    CT_AUTO_CERTS_SET ended = {0};
    struct ct_err err = {0};
    make(&old);
    expect_ok(ct_certs_make(&plan, NOW - 3 * (time_t)LIFE, &ended, &err), &err);
    // A clock that jumps back: what is there is not valid yet.
    expect_ok(ct_certs_make(&plan, NOW - DAY, &set, &err), &err);
    assert_false(verifies(&set, old.cert, names[0], NOW));
    const char *const no_authority[] = {NULL, "", "garbage", old.cert, ended.ca};
    for (size_t i = 0; i < CT_ARRAY_LEN(no_authority); i++) {
        expect_ok(ct_certs_keep(&set, no_authority[i], NOW, &err), &err);
        assert_int_equal(count_ca(&set), 1);
    }
    for (size_t i = 0; i < 2; i++) {
        expect_ok(ct_certs_keep(&set, old.ca, NOW - DAY, &err), &err);
        assert_int_equal(count_ca(&set), 2);
    }
    assert_true(verifies(&set, old.cert, names[0], NOW));
    assert_true(verifies(&set, set.cert, names[0], NOW));
    // The new authority is still the one that signs.
    expect_ok(ct_certs_check(&set, NOW, &err), &err);
    for (size_t i = 0; i < 2 * CT_CERTS_MAX_CA; i++) {
        CT_AUTO_CERTS_SET another = {0};
        make(&another);
        expect_ok(ct_certs_keep(&set, another.ca, NOW, &err), &err);
    }
    assert_int_equal(count_ca(&set), CT_CERTS_MAX_CA);
}

static void test_a_successor_settles_first(void **state)
{
    (void)state;
    CT_AUTO_CERTS_SET set = {0};
    make(&set);
    time_t late = NOW + 3 * (time_t)LIFE * 2 / 3 + 60;
    CT_AUTO_CERTS_SET shown = {0};
    assert_int_equal(renew(&set, late - 2 * DAY) & CT_CERTS_NEW_CERT, CT_CERTS_NEW_CERT);
    assert_int_equal(renew(&set, late), CT_CERTS_NEW_CA);
    assert_int_equal(count_ca(&set), 2);
    replace(&shown.cert, set.cert);
    // The certificate is called late now by another plan; the successor is known for 59 seconds.
    assert_int_equal(renew(&set, late + 59), CT_CERTS_SAME);
    assert_string_equal(shown.cert, set.cert);
    assert_int_equal(renew(&set, late + 20 * DAY), CT_CERTS_NEW_CERT);
    assert_true(ct_certs_end(set.cert) > ct_certs_end(shown.cert));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_made),
        cmocka_unit_test(test_names_that_are_none),
        cmocka_unit_test(test_what_is_of_no_use),
        cmocka_unit_test(test_a_certificate_of_no_use_is_made_anew),
        cmocka_unit_test(test_a_year),
        cmocka_unit_test(test_what_others_show_stays_believed),
        cmocka_unit_test(test_a_successor_settles_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
