// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "vault.h"

static void normalises_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address, *normal; // NULL: none
    } cases[] = {
        {"https://vault.example.com:8200", "https://vault.example.com:8200"},
        {"HTTPS://Vault.Example.COM", "https://vault.example.com:443"},
        {"https://vault/", "https://vault:443"},
        {"https://vault:443/", "https://vault:443"},
        {"http://vault", "http://vault:80"},
        {"https://[::1]:8200", "https://[::1]:8200"},
        {"https://[FE80::1]", "https://[fe80::1]:443"},
        {"https://10.0.0.1", "https://10.0.0.1:443"},
        {"https://u@vault", NULL},
        {"https://u:p@vault", NULL},
        {"https://vault/v1", NULL},
        {"https://vault?x", NULL},
        {"https://vault#x", NULL},
        {"https://vault:8200@evil", NULL},
        {"https://vault:0", NULL},
        {"https://vault:65536", NULL},
        {"https://vault:99999999999", NULL},
        {"https://vault:", NULL},
        {"https://vault:8200x", NULL},
        {"https://", NULL},
        {"https:///x", NULL},
        {"https://[::1", NULL},
        {"https://va ult", NULL},
        {"ftp://vault", NULL},
        {"vault:8200", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char out[600];
        bool good = ct_address_normalise(cases[i].address, out, sizeof(out));
        if (good != (cases[i].normal != NULL) || (good && strcmp(out, cases[i].normal) != 0)) {
            fail_msg("%s: %s", cases[i].address, good ? out : "refused");
        }
    }
}

static void bounds_its_output(void **state)
{
    (void)state;
    char out[16];
    assert_true(ct_address_normalise("https://a:1", out, sizeof(out)));
    assert_false(ct_address_normalise("https://abcdefg:1", out, sizeof(out)));
    char address[700] = "https://";
    memset(address + 8, 'a', sizeof(address) - 9);
    address[sizeof(address) - 1] = '\0';
    char large[2000];
    assert_false(ct_address_normalise(address, large, sizeof(large)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalises_addresses),
        cmocka_unit_test(bounds_its_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
