// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <string.h>

#include "cleanup.h"
#include "devices.h"

static const char listing[] = "Character devices:\n"
                              "  1 mem\n"
                              " 10 misc\n"
                              "235 vfio-dev\n"
                              "236 vfio\n"
                              "237 uio\n"
                              "\n"
                              "Block devices:\n"
                              "  7 loop\n"
                              "259 blkext\n";

static void test_majors(void **state)
{
    (void)state;
    static const struct {
        const char *driver;
        __u32 major;
    } cases[] = {{"uio", 237}, {"vfio", 236}, {"mem", 1}, {"loop", 0}, {"nvme", 0}, {"", 0}};
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        char text[sizeof(listing)];
        memcpy(text, listing, sizeof(listing));
        CT_AUTO_FILE file = fmemopen(text, sizeof(text) - 1, "r");
        assert_non_null(file);
        assert_int_equal(ct_devices_major(file, cases[i].driver), cases[i].major);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_majors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
