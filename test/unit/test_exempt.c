// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "cleanup.h"
#include "exempt.h"

static void test_what_may_be_exempt(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "bpf_prog_load:/opt/cni/agent",
        "bpf_prog_load+perf_event_open+tracefs:/opt/edr/sensor@/system.slice/edr.service",
        "module_load:/usr/bin/kmod",
        "ptrace+proc_mem_read+proc_mem_write:/usr/bin/strace",
        "proc_mem_read+process_vm_readv+proc_environ+proc_maps+proc_links:/opt/edr:2/sensor",
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_err err = {0};
        expect_ok(ct_exempt_check(cases[i], &err), &err);
    }
}

static void test_what_may_not(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *said;
    } cases[] = {
        {"/opt/edr", "no exemption: VECTOR[+VECTOR]...:FILE"},
        {"tracefs:", "both absolute paths"},
        {"tracefs:edr", "both absolute paths"},
        {"tracefs:/opt/edr@pod", "both absolute paths"},
        {"tracefs:/opt/edr@/../x", "both absolute paths"},
        {":/opt/edr", "there is no vector \"\""},
        {"tracefs+:/opt/edr", "there is no vector \"\""},
        {"trace:/opt/edr",
         "there is no vector \"trace\" to be exempt from: `cloudtaser-agent probe`"},
        {"tracefss:/opt/edr", "there is no vector \"tracefss\""},
        {"tracefs+all:/opt/edr", "there is no vector \"all\""},
        {"agent_kill:/opt/edr", "nobody is exempt from agent_kill: it guards the agent"},
        {"agent_cgroup:/opt/edr", "it guards the agent"},
        {"agent_pins:/opt/edr", "it guards the agent"},
        {"tracefs+agent_objects:/opt/edr",
         "nobody is exempt from agent_objects: it guards the agent"},
        {"ftrace_enabled:/opt/edr", "it guards the agent"},
        {"traceme:/opt/edr", "a protected process does it itself"},
        {"block_device:/opt/edr", "only --strict refuses it"},
        {"tracefs:/bin/sh", "an interpreter is never exempt"},
        {"tracefs:/usr/bin/python3.11", "an interpreter is never exempt"},
        {"bpf_prog_load:/usr/bin/bpftrace", "an interpreter is never exempt"},
        {"tracefs:/usr/bin/busybox@/x", "an interpreter is never exempt"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_err err = {0};
        expect_error(ct_exempt_check(cases[i].value, &err), &err, CT_EINVAL, cases[i].said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_may_be_exempt),
                                       cmocka_unit_test(test_what_may_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
