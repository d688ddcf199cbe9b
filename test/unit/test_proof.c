// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include "attack.h"
#include "proof.h"
#include "secmem.h"
#include "smaps.h"
#include "verdict.h"

#define TOKEN_LEN 40

static const struct ct_fact *fact(const struct ct_facts *facts, enum ct_check check)
{
    return &facts->fact[check][CT_HOLDER_WRAPPER];
}

static void expect_proven(const struct ct_facts *facts, enum ct_check check)
{
    if (fact(facts, check)->state != CT_FACT_PROVEN) {
        fail_msg("%s: %s", ct_check_info(check)->name, fact(facts, check)->reason);
    }
}

static void expect_failed(const struct ct_facts *facts, enum ct_check check, const char *reason)
{
    assert_int_equal(fact(facts, check)->state, CT_FACT_FAILED);
    assert_string_equal(fact(facts, check)->reason, reason);
}

static void test_this_process_is_proven(void **state)
{
    (void)state;
    struct ct_facts facts = {0};
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
    ct_proof_wrapper(&facts);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
    expect_proven(&facts, CT_CHECK_MEMFD_SECRET);
    expect_proven(&facts, CT_CHECK_MLOCK);
    expect_proven(&facts, CT_CHECK_MADV_DONTDUMP);
    expect_proven(&facts, CT_CHECK_PR_SET_DUMPABLE);
    assert_int_equal(facts.fact[CT_CHECK_TOKEN_PROTECTED][CT_HOLDER_WRAPPER].state,
                     CT_FACT_UNTRIED);
}

// The attack itself: it must succeed on this process while it is dumpable and as unprivileged as
// the attacker, and fail afterwards.
static void test_a_dumpable_process_is_read(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        return; // main() comes again without privileges
    }
    static const long ordinary = 5;
    struct ct_attack_outcome outcome;
    assert_int_equal(ct_attack_process(getpid(), (uintptr_t)&ordinary, &outcome, NULL), 0);
    assert_true((outcome.control & CT_ATTACK_ENVIRON) != 0);
    assert_true((outcome.target & CT_ATTACK_ENVIRON) != 0);
    struct ct_facts facts = {0};
    ct_verdict_dumpable(&facts, CT_HOLDER_WRAPPER, getpid(), (uintptr_t)&ordinary, 0, true);
    assert_int_equal(fact(&facts, CT_CHECK_PR_SET_DUMPABLE)->state, CT_FACT_FAILED);
    assert_non_null(strstr(fact(&facts, CT_CHECK_PR_SET_DUMPABLE)->reason,
                           "an attacker without privileges succeeded by "));
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
    assert_int_equal(ct_attack_process(getpid(), (uintptr_t)&ordinary, &outcome, NULL), 0);
    assert_int_equal(outcome.target, 0);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
}

static void test_pages(void **state)
{
    (void)state;
    static const struct {
        unsigned control, secret;
        const char *reason; // NULL: proven
    } cases[] = {
        {CT_ATTACK_VM_READ | CT_ATTACK_MEM, 0, NULL},
        {CT_ATTACK_SPLICE, 0, NULL},
        {0, 0, "unproven: no attack succeeds on an ordinary page either"},
        {CT_ATTACK_VM_READ, CT_ATTACK_VM_READ, "a secret page was read by process_vm_readv"},
        {CT_ATTACK_MEM, CT_ATTACK_MEM, "a secret page was read by /proc/PID/mem"},
        {0, CT_ATTACK_PEEK, "a secret page was read by PTRACE_PEEKDATA"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_facts facts = {0};
        ct_verdict_pages(&facts, CT_HOLDER_WRAPPER, cases[i].control, cases[i].secret);
        if (cases[i].reason == NULL) {
            expect_proven(&facts, CT_CHECK_MEMFD_SECRET);
        } else {
            expect_failed(&facts, CT_CHECK_MEMFD_SECRET, cases[i].reason);
        }
    }
}

// An ordinary page is read by each attack: none of them is a blank shot.
static void test_attacks_read_ordinary_pages(void **state)
{
    (void)state;
    static long ordinary = 1;
    uintptr_t at = (uintptr_t)&ordinary;
    const struct ct_secmem_area *area = ct_arena_area();
    assert_int_equal(ct_attack_page(getpid(), -1, at, false), CT_ATTACK_VM_READ);
    assert_int_equal(ct_attack_page(getpid(), -1, (uintptr_t)area->base, false), 0);
    assert_int_equal(ct_attack_splice(at), CT_ATTACK_SPLICE);
    assert_int_equal(ct_attack_splice((uintptr_t)area->base), 0);
}

static void test_flags(void **state)
{
    (void)state;
    const struct ct_flags good = {
        .found_secret = true,
        .found_control = true,
        .secret = {.locked = true, .dont_dump = true},
    };
    struct ct_facts facts = {0};
    ct_verdict_flags(&facts, CT_HOLDER_WRAPPER, &good, "", "");
    expect_proven(&facts, CT_CHECK_MLOCK);
    expect_proven(&facts, CT_CHECK_MADV_DONTDUMP);

    struct ct_flags bad = good;
    bad.secret.locked = false;
    bad.secret.dont_dump = false;
    facts = (struct ct_facts){0};
    ct_verdict_flags(&facts, CT_HOLDER_WRAPPER, &bad, "EPERM", "");
    expect_failed(&facts, CT_CHECK_MLOCK, "EPERM");
    expect_failed(&facts, CT_CHECK_MADV_DONTDUMP, "VmFlags lack dd");

    bad = good;
    bad.control.locked = true;
    bad.control.dont_dump = true;
    facts = (struct ct_facts){0};
    ct_verdict_flags(&facts, CT_HOLDER_WRAPPER, &bad, "", "");
    expect_failed(&facts, CT_CHECK_MLOCK, "unproven: an ordinary page has VmFlags lo too");
    expect_failed(&facts, CT_CHECK_MADV_DONTDUMP, "unproven: an ordinary page has VmFlags dd too");

    bad = good;
    bad.secret.locked = false; // as kernels tell it that do not count secret pages as locked ones
    bad.secret.secret = true;
    facts = (struct ct_facts){0};
    ct_verdict_flags(&facts, CT_HOLDER_WRAPPER, &bad, "", "");
    expect_proven(&facts, CT_CHECK_MLOCK);
    bad.control.secret = true;
    facts = (struct ct_facts){0};
    ct_verdict_flags(&facts, CT_HOLDER_WRAPPER, &bad, "", "");
    expect_failed(&facts, CT_CHECK_MLOCK, "unproven: an ordinary page has VmFlags lo too");

    bad = good;
    bad.found_control = false;
    facts = (struct ct_facts){0};
    ct_verdict_flags(&facts, CT_HOLDER_WRAPPER, &bad, "", "");
    expect_failed(&facts, CT_CHECK_MLOCK, "unproven: smaps lacks the pages");
}

static void test_smaps(void **state)
{
    (void)state;
    static volatile char written;
    written = 'w'; // or its page might be a clean one of the file's
    const struct ct_secmem_area *area = ct_arena_area();
    struct ct_smaps maps;
    struct ct_mapping m;
    bool found_arena = false;
    bool found_data = false;
    bool found_code = false;
    assert_int_equal(ct_smaps_open(&maps, 0), 0);
    while (ct_smaps_next(&maps, &m)) {
        uintptr_t code = (uintptr_t)&test_smaps;
        if (m.start == (uintptr_t)area->base) {
            found_arena = m.end == m.start + area->size && m.secret && m.dont_dump && m.writable;
        }
        if ((uintptr_t)&written >= m.start && (uintptr_t)&written < m.end) {
            found_data =
                m.writable && m.dirty && !m.secret && !m.locked && !m.dont_dump && !m.special;
        }
        if (code >= m.start && code < m.end) {
            found_code = m.readable && !m.writable;
        }
    }
    ct_smaps_close(&maps);
    assert_true(found_arena);
    assert_true(found_data);
    assert_true(found_code);
    assert_true(ct_smaps_open(&maps, 0x7ffffff0) < 0);
}

int __real_ct_smaps_open(struct ct_smaps *maps, pid_t pid);
int __wrap_ct_smaps_open(struct ct_smaps *maps, pid_t pid);

// While set, each look into smaps counts this token's copies in ordinary memory: what anybody would see
// who looked at that moment.
static const char *watched;
static size_t looks;
static size_t copies;

static void count_copies(void)
{
    struct ct_smaps maps;
    struct ct_mapping m;
    assert_int_equal(__real_ct_smaps_open(&maps, 0), 0);
    while (ct_smaps_next(&maps, &m)) {
        const char *at = (const char *)m.start;
        bool ordinary = m.readable && m.writable && !m.special && !m.secret;
        while (ordinary && (at = memmem(at, m.end - (uintptr_t)at, watched, TOKEN_LEN)) != NULL) {
            copies++;
            at++;
        }
    }
    ct_smaps_close(&maps);
    looks++;
}

int __wrap_ct_smaps_open(struct ct_smaps *maps, pid_t pid)
{
    if (watched != NULL) {
        count_copies();
    }
    return __real_ct_smaps_open(maps, pid);
}

// Not under AddressSanitizer, whose shadow is terabytes of memory that holds no copies.
#ifndef __SANITIZE_ADDRESS__
static char *random_token(void)
{
    char *token = ct_arena_calloc(1, TOKEN_LEN + 1);
    assert_int_equal(getrandom(token, TOKEN_LEN, 0), TOKEN_LEN);
    for (size_t i = 0; i < TOKEN_LEN; i++) {
        token[i] = (char)('a' + (unsigned char)token[i] % 26);
    }
    return token;
}

// The control of the proof is not the token in the clear.
static void test_the_token_is_never_planted(void **state)
{
    (void)state;
    static volatile char in_data[TOKEN_LEN] = "x";
    volatile char *copy = in_data;
    char *token = random_token();
    struct ct_facts facts = {0};
    looks = copies = 0;
    watched = token;
    ct_proof_token(&facts, token, TOKEN_LEN);
    assert_in_range(looks, 1, 100);
    assert_int_equal(copies, 0);
    expect_proven(&facts, CT_CHECK_TOKEN_PROTECTED);
    for (size_t i = 0; i < TOKEN_LEN; i++) {
        copy[i] = token[i];
    }
    ct_proof_token(&facts, token, TOKEN_LEN);
    watched = NULL;
    assert_in_range(copies, 1, 100); // the control
    for (size_t i = 0; i < TOKEN_LEN; i++) {
        copy[i] = 0;
    }
    ct_arena_free(token);
}

// A copy in each kind of ordinary memory is found; without one the token is protected.
static void test_token(void **state)
{
    (void)state;
    static volatile char in_data[TOKEN_LEN] = "x";
    volatile char *in_heap = malloc(TOKEN_LEN);
    volatile char on_stack[TOKEN_LEN];
    volatile char *const places[] = {in_data, in_heap, on_stack};
    char *token = random_token();
    for (size_t p = 0; p <= CT_ARRAY_LEN(places); p++) {
        struct ct_facts facts = {0};
        for (size_t i = 0; p < CT_ARRAY_LEN(places) && i < TOKEN_LEN; i++) {
            places[p][i] = token[i];
        }
        ct_proof_token(&facts, token, TOKEN_LEN);
        if (p == CT_ARRAY_LEN(places)) {
            expect_proven(&facts, CT_CHECK_TOKEN_PROTECTED);
            break;
        }
        expect_failed(&facts, CT_CHECK_TOKEN_PROTECTED,
                      "1 copies of the token lie in ordinary memory");
        for (size_t i = 0; i < TOKEN_LEN; i++) {
            places[p][i] = 0;
        }
    }
    struct ct_facts facts = {0};
    ct_proof_token(&facts, token, 11);
    expect_failed(&facts, CT_CHECK_TOKEN_PROTECTED,
                  "unproven: a token of less than 12 characters is met by chance");
    free((void *)in_heap);
    ct_arena_free(token);
}
#endif

int main(void)
{
    const struct ct_secmem_area *area = ct_arena_area();
    if (area == NULL || area->kind != CT_SECMEM_SECRET) {
        print_message("skipped: memfd_secret is not to be had here\n");
        return getenv("CT_MUST_RUN") != NULL ? 1 : 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_process_is_proven),
        cmocka_unit_test(test_a_dumpable_process_is_read),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_attacks_read_ordinary_pages),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_smaps),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_the_token_is_never_planted),
#endif
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    // Once more without privileges, as in a restricted pod.
    if (failed == 0 && geteuid() == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) {
            return 1;
        }
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
