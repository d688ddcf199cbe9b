// SPDX-License-Identifier: Apache-2.0
//
// The protection score: one table of checks, and the one place where facts become points. Facts are
// recorded where a step is taken; nothing else earns a point. Names and points are those of the
// published specification of the score and are kept to the letter.
#ifndef CT_SCORE_H
#define CT_SCORE_H

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"

enum ct_check {
    CT_CHECK_MEMFD_SECRET,
    CT_CHECK_MLOCK,
    CT_CHECK_MADV_DONTDUMP,
    CT_CHECK_PR_SET_DUMPABLE,
    CT_CHECK_TOKEN_PROTECTED,
    CT_CHECK_EBPF_CONNECTED,
    CT_CHECK_KPROBES_ACTIVE,
    CT_CHECK_COUNT,
};

struct ct_check_info {
    const char *name; // "memfd_secret"
    int points;
    bool node; // does the node decide (kernel, agent) or the pod and its program?
    bool app;  // must it be proven about the app too (else about the wrapper alone)?
    const char *proves;
};

const struct ct_check_info *ct_check_info(enum ct_check check);
// -1 when there is no check of that name.
int ct_check_from_name(const char *name, size_t len);
int ct_score_max(void);       // 75: every mechanism that is built
int ct_score_pod_share(void); // 40: what a pod reaches whatever its node

// Whose memory a fact is about.
enum ct_holder { CT_HOLDER_WRAPPER, CT_HOLDER_APP, CT_HOLDER_COUNT };

enum ct_fact_state {
    CT_FACT_UNTRIED, // nothing was shown: 0 points
    CT_FACT_PROVEN,
    CT_FACT_FAILED,
};

struct ct_fact {
    enum ct_fact_state state;
    char reason[160];
};

struct ct_facts {
    struct ct_fact fact[CT_CHECK_COUNT][CT_HOLDER_COUNT];
};

// Records one fact. A failure is never overwritten by a later success of the same holder.
// The reason is printf-formatted, may be NULL for a proven one, and never holds a secret.
void ct_fact_proven(struct ct_facts *f, enum ct_check c, enum ct_holder h);
void ct_fact_failed(struct ct_facts *f, enum ct_check c, enum ct_holder h, const char *fmt, ...)
    CT_PRINTF(4, 5);

struct ct_score_line {
    bool ok;
    int points;         // earned: info->points or 0
    const char *reason; // "" when ok; borrowed from the facts or static
};

struct ct_score {
    int points;
    int max;
    struct ct_score_line line[CT_CHECK_COUNT];
};

// Computes the score from facts alone; a check that needs both holders earns its points only when
// both are proven, and gives the first holder's failure as its reason ("wrapper: …" / "app: …" are
// NOT added here: reasons are recorded whole). `facts` must outlive *ret.
void ct_score_compute(const struct ct_facts *facts, struct ct_score *ret);

// Writes line number `i` (0: "Protection score: 55/75", then "memfd_secret: OK (+15)" or
// "memfd_secret: FAIL (+0) reason") into out, to the letter of the specification. False past the
// end.
bool ct_score_format(const struct ct_score *score, size_t i, char *out, size_t out_size);

#endif
