// SPDX-License-Identifier: Apache-2.0
#include "proof.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "attack.h"
#include "secmem.h"
#include "smaps.h"
#include "verdict.h"

// Shorter ones would be met by chance, in messages and paths.
#define TOKEN_MIN 12
#define TOKEN_MAX 4096
#define DECOY_LEN 32
#define SCAN_MAX ((size_t)64 << 20)

static const enum ct_holder self = CT_HOLDER_WRAPPER;

// Attacks the page at `secret_at`, which lies in the arena.
static void prove_secret(struct ct_facts *facts, const struct ct_secmem_area *area,
                         uintptr_t secret_at)
{
    if (area->kind != CT_SECMEM_SECRET) {
        ct_fact_failed(facts, CT_CHECK_MEMFD_SECRET, self, "%s", area->secret_reason);
        return;
    }
    // Not on the stack, which may be secret memory itself.
    static volatile long ordinary = 1;
    uintptr_t control_at = (uintptr_t)&ordinary;
    // Refused to a process that is not dumpable and has no capabilities: then the others must do.
    CT_AUTO_FD mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    unsigned control = ct_attack_page(getpid(), mem, control_at, false);
    unsigned secret = ct_attack_page(getpid(), mem, secret_at, false);
    if (control == 0) {
        control = ct_attack_splice(control_at);
        secret |= ct_attack_splice(secret_at);
    }
    ct_verdict_pages(facts, self, control, secret);
}

static void prove_flags(struct ct_facts *facts, const struct ct_secmem_area *area)
{
    volatile long ordinary = 1;
    struct ct_smaps maps;
    struct ct_flags flags;
    if (ct_smaps_open(&maps, 0) != 0) {
        ct_verdict_no_proc(facts, self, "/proc/self/smaps");
        return;
    }
    ct_flags_find(&maps, (uintptr_t)area->base, (uintptr_t)&ordinary, &flags);
    ct_smaps_close(&maps);
    ct_verdict_flags(facts, self, &flags, area->lock_reason, area->dontdump_reason);
}

static void prove_dumpable(struct ct_facts *facts)
{
    // Long since set; asked for again only to learn why it was refused.
    volatile long ordinary = 1;
    int refused = 0;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        refused = errno;
    }
    bool cleared = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
    ct_verdict_dumpable(facts, self, getpid(), (uintptr_t)&ordinary, refused, cleared);
}

void ct_proof_wrapper(struct ct_facts *facts)
{
    static const enum ct_check memory[] = {CT_CHECK_MEMFD_SECRET, CT_CHECK_MLOCK,
                                           CT_CHECK_MADV_DONTDUMP};
    const struct ct_secmem_area *area = ct_arena_area();
    if (area == NULL) {
        for (size_t i = 0; i < CT_ARRAY_LEN(memory); i++) {
            ct_fact_failed(facts, memory[i], self, "%s", ct_arena_error()->msg);
        }
    } else {
        prove_secret(facts, area, (uintptr_t)area->base);
        prove_flags(facts, area);
    }
    prove_dumpable(facts);
}

// ---- what is left of the token in ordinary memory

struct needle {
    const char *bytes;
    size_t len;
};

// What the scan must find before its silence means anything: in ordinary memory, and volatile, or the
// optimiser would leave it out. Not the token itself, which would be there for all to read meanwhile.
static volatile char planted[DECOY_LEN];

// Compares in place: a scan that copies would make what it looks for. The needle's first byte is
// taken from its end, where tokens differ most.
static size_t count_hits(uintptr_t start, uintptr_t end, const struct needle *needle)
{
    size_t hits = 0;
    const char *at = (const char *)start;
    size_t left = end - start;
    size_t last = needle->len - 1;
    if (left <= last) {
        return 0;
    }
    at += last;
    left -= last;
    for (;;) {
        const char *found = memchr(at, needle->bytes[last], left);
        if (found == NULL) {
            return hits;
        }
        hits += memcmp(found - last, needle->bytes, last) == 0;
        left -= (size_t)(found - at) + 1;
        at = found + 1;
    }
}

// What could hold a copy: readable, written to by this process, and no secret memory (the arena, the
// stack of the thread that renews the token).
static bool is_suspect(const struct ct_mapping *m, const struct ct_secmem_area *area)
{
    uintptr_t arena = (uintptr_t)area->base;
    return m->readable && !m->special && !m->secret && (m->writable || m->dirty) &&
           !(m->start >= arena && m->end <= arena + area->size);
}

// Returns the number of copies, or -1 when there is more memory than can be looked through.
static long scan(struct ct_smaps *maps, const struct ct_secmem_area *area,
                 const struct needle *needle)
{
    size_t hits = 0;
    size_t seen = 0;
    struct ct_mapping m;
    while (ct_smaps_next(maps, &m)) {
        if (!is_suspect(&m, area)) {
            continue;
        }
        if (m.end - m.start > SCAN_MAX - seen) {
            return -1;
        }
        seen += m.end - m.start;
        hits += count_hits(m.start, m.end, needle);
    }
    return (long)hits;
}

// Random bytes, planted, as the scan sees memory: in the mappings that it looks through.
static bool find_planted(const struct ct_secmem_area *area)
{
    char decoy[DECOY_LEN];
    const struct needle needle = {decoy, sizeof(decoy)};
    struct ct_smaps maps;
    if (getrandom(decoy, sizeof(decoy), GRND_NONBLOCK) != (ssize_t)sizeof(decoy) ||
        ct_smaps_open(&maps, 0) != 0) {
        return false;
    }
    bool found = false;
    uintptr_t at = (uintptr_t)planted;
    for (size_t i = 0; i < sizeof(planted); i++) {
        planted[i] = decoy[i];
    }
    struct ct_mapping m;
    while (!found && ct_smaps_next(&maps, &m)) {
        found = is_suspect(&m, area) && at >= m.start && at < m.end &&
                count_hits(at, m.end, &needle) > 0;
    }
    ct_smaps_close(&maps);
    return found;
}

void ct_proof_token(struct ct_facts *facts, const char *token, size_t len)
{
    const enum ct_check check = CT_CHECK_TOKEN_PROTECTED;
    const struct ct_secmem_area *area = ct_arena_area();
    struct needle needle = {token, len < TOKEN_MAX ? len : TOKEN_MAX};
    if (area == NULL) {
        ct_fact_failed(facts, check, self, "%s", ct_arena_error()->msg);
        return;
    }
    if (len < TOKEN_MIN) {
        ct_fact_failed(facts, check, self,
                       "unproven: a token of less than %d characters is met by "
                       "chance",
                       TOKEN_MIN);
        return;
    }
    prove_secret(facts, area, (uintptr_t)token); // the very page that holds it
    bool control = find_planted(area);
    struct ct_smaps maps;
    if (ct_smaps_open(&maps, 0) != 0) {
        ct_fact_failed(facts, check, self, "needs /proc: /proc/self/smaps cannot be read");
        return;
    }
    long hits = scan(&maps, area, &needle);
    ct_smaps_close(&maps);
    if (!control) {
        ct_fact_failed(facts, check, self, "unproven: the scan misses a planted copy");
    } else if (hits < 0) {
        ct_fact_failed(facts, check, self, "unproven: more than %zu MiB of memory to look through",
                       SCAN_MAX >> 20);
    } else if (hits > 0) {
        ct_fact_failed(facts, check, self, "%ld copies of the token lie in ordinary memory", hits);
    } else {
        ct_fact_proven(facts, check, self);
    }
}
