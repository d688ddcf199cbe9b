// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "01234567-89ab-cdef-0123-456789abcdef"
#define UID_SYSTEMD "01234567_89ab_cdef_0123_456789abcdef"

static void tells_containers_of_pods(void **state)
{
    (void)state;
    const struct {
        const char *path;
        const char *uid; // NULL: none of a pod's
    } cases[] = {
        {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_SYSTEMD
         ".slice/cri-containerd-" ID ".scope",
         UID},
        {"/kubepods.slice/kubepods-pod" UID_SYSTEMD ".slice/crio-" ID ".scope", UID},
        {"/kubepods.slice/kubepods-pod" UID_SYSTEMD ".slice/crio-" ID ".scope/container", UID},
        {"/kubepods/burstable/pod" UID "/" ID, UID},
        {"/kubepods/pod" UID "/" ID, UID},
        {"/kubepods/besteffort/pod" UID "/crio-" ID, UID},
        {"/docker/0123/kubelet/kubepods/pod" UID "/" ID, UID},
        {"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_SYSTEMD
         ".slice/cri-containerd-" ID ".scope",
         UID},
        {"/kubepods/burstable/podfedcba9876543210fedcba9876543210/" ID,
         "fedcba9876543210fedcba9876543210"},
        {"/", NULL},
        {"", NULL},
        {"/kubepods", NULL},
        {"/kubepods/burstable/pod" UID, NULL},
        {"/kubepods/burstable/pod" UID "/" ID "/within", NULL},
        {"/kubepods/burstable/pod" UID "/" ID "/container/container", NULL},
        {"/kubepods/burstable/pod" UID "/container", NULL},
        {"/pod" UID "/" ID, NULL},
        {"/nokubepods/pod" UID "/" ID, NULL},
        {"/kubepodsx/pod" UID "/" ID, NULL},
        {"/kubepods/burstable/pod" UID "/x" ID, NULL},
        {"/kubepods/burstable/pod" UID "/" ID "0", NULL},
        {"/kubepods/burstable/pod0123/" ID, NULL},
        {"/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdeg/" ID, NULL},
        {"/kubepods/burstable/xpod" UID "/" ID, NULL},
        {"/system.slice/containerd.service", NULL},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_container container;
        if (ct_container_parse(cases[i].path, &container) != (cases[i].uid != NULL)) {
            fail_msg("%s: taken for something else", cases[i].path);
        }
        if (cases[i].uid != NULL) {
            assert_string_equal(container.pod_uid, cases[i].uid);
            assert_string_equal(container.id, ID);
        }
    }
}

static void finds_the_hierarchy(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool unified;
        const char *path;
        const char *folder;
    } cases[] = {
        {"0::/a/b\n", true, "/a/b", "/cg/a/b"},
        {"0::/a/b\n", false, "/a/b", "/cg/unified/a/b"},
        {"5:pids:/p\n1:name=systemd:/s\n0::/\n", false, "/s", "/cg/systemd/s"},
        {"5:pids:/p\n1:name=systemd:/\n0::/\n", false, "/p", "/cg/pids/p"},
        {"9:memory:/m\n5:cpu,cpuacct:/c\n", false, "/m", "/cg/memory/m"},
        {"0::/..a/b..\n", true, "/..a/b..", "/cg/..a/b.."},
        {"1:name=systemd:/s\n0::/u", false, "/u", "/cg/unified/u"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_cgroup_place place;
        struct ct_err err = {0};
        expect_ok(ct_cgroup_parse(cases[i].text, "/cg", cases[i].unified, &place, &err), &err);
        assert_string_equal(place.path, cases[i].path);
        assert_string_equal(place.folder, cases[i].folder);
    }
}

static void refuses_what_it_cannot_see(void **state)
{
    (void)state;
    static char longer[3000];
    memset(longer, 'a', sizeof(longer) - 1);
    memcpy(longer, "0::/", 4);
    const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"", "it is in no cgroup of its own"},
        {"0::/\n", "it is in no cgroup of its own"},
        {"nonsense\n3:\n:\n", "it is in no cgroup of its own"},
        {"5:cpuset:/a\n", "it is in no cgroup of its own"},
        {"5:pids:/a\n0::/\n", "it is in no cgroup of its own"},
        {"0::/../a\n", "outside of the agent's own view"},
        {"0::/a/../b\n", "outside of the agent's own view"},
        {"0::/a/..\n", "outside of the agent's own view"},
        {"0::a\n", "it is in no cgroup of its own"},
        {longer, "the path of its cgroup is too long"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_cgroup_place place;
        struct ct_err err = {0};
        expect_error(ct_cgroup_parse(cases[i].text, "/cg", true, &place, &err), &err, CT_EDENIED,
                     cases[i].words);
    }
}

static void looks_at_processes(void **state)
{
    (void)state;
    struct ct_process process;
    struct ct_err err = {0};
    expect_ok(ct_process_look(getpid(), &process, &err), &err);
    assert_int_equal(process.threads, 1);
    assert_int_equal(process.tracer, 0);
    assert_int_equal(process.uid, getuid());
    assert_true(process.started > 0);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    expect_error(ct_process_look(pid, &process, &err), &err, CT_ENOTFOUND, "it has ended");
}

static pid_t fork_idle(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    return pid;
}

static void write_procs(const char *folder, const char *words)
{
    char path[CT_CGROUP_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(words, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void tells_the_first_of_a_cgroup(void **state)
{
    (void)state;
    struct ct_cgroup_place place = {.folder = "/tmp/ct-container-XXXXXX"};
    struct ct_err err = {0};
    char words[sizeof(place.folder) + 64];
    assert_non_null(mkdtemp(place.folder));
    pid_t child = fork_idle();
    (void)snprintf(words, sizeof(words), "%d\n", (int)child);
    write_procs(place.folder, words);
    expect_ok(ct_cgroup_is_first(&place, child, &err), &err);
    expect_error(ct_cgroup_is_first(&place, getpid(), &err), &err, CT_EDENIED, "it is not in the");
    (void)snprintf(words, sizeof(words), "1\n%d\n", (int)child);
    write_procs(place.folder, words);
    expect_error(ct_cgroup_is_first(&place, child, &err), &err, CT_EDENIED,
                 "it is not the first process of its container: process 1 is older");
    (void)snprintf(words, sizeof(words), "%d\n0\n", (int)child);
    write_procs(place.folder, words);
    expect_error(ct_cgroup_is_first(&place, child, &err), &err, CT_EDENIED,
                 "has processes that the agent cannot see");
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)snprintf(words, sizeof(words), "%s/cgroup.procs", place.folder);
    assert_int_equal(unlink(words), 0);
    assert_int_equal(rmdir(place.folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_containers_of_pods),    cmocka_unit_test(finds_the_hierarchy),
        cmocka_unit_test(refuses_what_it_cannot_see),  cmocka_unit_test(looks_at_processes),
        cmocka_unit_test(tells_the_first_of_a_cgroup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
