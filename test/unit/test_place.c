// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <string.h>
#include <unistd.h>

#include "place.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "01234567-89ab-cdef-0123-456789abcdef"

static void a_pods_container(void **state)
{
    (void)state;
    static const char path[] = "/kubepods/burstable/pod" UID "/" ID;
    struct ct_place place;
    ct_place_parse(path, &place);
    assert_string_equal(place.path, path);
    assert_string_equal(place.pod, UID);
    assert_string_equal(place.container, ID);
    ct_place_parse("/user.slice", &place);
    assert_string_equal(place.path, "/user.slice");
    assert_string_equal(place.pod, "");
    assert_string_equal(place.container, "");
}

static void what_is_long_is_cut(void **state)
{
    (void)state;
    char path[2 * CT_PLACE_PATH_MAX];
    struct ct_place place;
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    ct_place_parse(path, &place);
    assert_int_equal(strlen(place.path), CT_PLACE_PATH_MAX - 1);
    assert_string_equal(place.pod, "");
}

static void who_has_ended_is_nowhere(void **state)
{
    (void)state;
    struct ct_place place;
    assert_false(ct_place_of(0x7ffffff0, &place));
    assert_string_equal(place.path, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pods_container),
        cmocka_unit_test(what_is_long_is_cut),
        cmocka_unit_test(who_has_ended_is_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
