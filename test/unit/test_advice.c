// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <stdio.h>

#include "advice.h"
#include "cleanup.h"
#include "shared.h"

#define ALL (~0U)
#define ONLY(tier) (1U << (tier))

#define NO_OVERRIDE                                                                                \
    "to have system calls refused where lsm and fmod_ret do not: take a kernel that is built "     \
    "with "                                                                                        \
    "CONFIG_BPF_KPROBE_OVERRIDE=y\n"
#define NO_TIERS "to get more: leave --tiers out, or name lsm and fmod_ret too\n"

static const struct {
    const char *about;
    struct ct_advice_facts facts;
    const char *advice;
} cases[] = {
    {"nothing is missing", {ALL, false, true, true, "lockdown,bpf"}, ""},
    {"bpf is first", {ALL, false, true, true, "bpf,lockdown"}, ""},
    {"built, and not booted with",
     {ALL, false, true, true, "lockdown,capability"},
     "to get more: boot with lsm=lockdown,capability,bpf\n"},
    {"another of a like name",
     {ALL, false, true, true, "bpfish,nobpf"},
     "to get more: boot with lsm=bpfish,nobpf,bpf\n"},
    {"not built",
     {ALL, false, false, true, "capability"},
     "to get more: take a kernel that is built with CONFIG_BPF_LSM=y, and boot with "
     "lsm=capability,bpf\n"},
    {"built, and nobody sees what it was booted with",
     {ALL, false, true, true, ""},
     "to get more: boot with bpf in lsm=; what is in it now cannot be seen, for there is no "
     "/sys/kernel/security/lsm\n"},
    {"neither built nor to be seen",
     {ALL, false, false, true, ""},
     "to get more: take a kernel that is built with CONFIG_BPF_LSM=y, and boot with bpf in lsm=; "
     "what is in it now cannot be seen, for there is no /sys/kernel/security/lsm\n"},
    {"no override", {ALL, false, true, false, "bpf"}, NO_OVERRIDE},
    {"neither",
     {ALL, false, true, false, "yama"},
     "to get more: boot with lsm=yama,bpf\n" NO_OVERRIDE},
    {"tiers that are not to be used are not asked for",
     {ONLY(CT_TIER_REACTIVE), false, false, false, "yama"},
     NO_TIERS},
    {"all but override",
     {ONLY(CT_TIER_LSM) | ONLY(CT_TIER_FMOD_RET), false, true, false, "bpf"},
     ""},
    {"one of the two", {ONLY(CT_TIER_LSM), false, true, false, "bpf"}, NO_TIERS},
    {"what is exempt costs it all",
     {ALL, true, false, false, "yama"},
     "to get more: leave --exempt out, for whoever is root can look like the program that it "
     "names\n"},
};

static void test_advice(void **state)
{
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_STR text = NULL;
        size_t len;
        FILE *out = open_memstream(&text, &len);
        assert_non_null(out);
        ct_advice_write(&cases[i].facts, out);
        assert_int_equal(fclose(out), 0);
        if (strcmp(text, cases[i].advice) != 0) {
            fail_msg("%s: \"%s\"", cases[i].about, text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_advice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
