// SPDX-License-Identifier: Apache-2.0
#include "tally.h"

#include <pthread.h>

#include "log.h"
#include "metrics_server.h"
#include "score_log.h"

static struct {
    pthread_mutex_t lock; // held for moments alone: nothing that is called under it waits
    struct ct_facts *facts;
    int min_score;
    uint32_t require;
} tally = {.lock = PTHREAD_MUTEX_INITIALIZER};

void ct_tally_begin(struct ct_facts *facts, int min_score, uint32_t require)
{
    tally.facts = facts;
    tally.min_score = min_score;
    tally.require = require;
}

void ct_tally_read(struct ct_facts *ret)
{
    (void)pthread_mutex_lock(&tally.lock);
    *ret = *tally.facts;
    (void)pthread_mutex_unlock(&tally.lock);
}

static void tell(const struct ct_score *before, const struct ct_score *after, const char *fallen,
                 const char *risen)
{
    struct ct_err why = {0};
    ct_metrics_set_score(after);
    if (after->points == before->points) {
        return;
    }
    bool worse = after->points < before->points;
    ct_log(worse ? CT_LOG_WARN : CT_LOG_INFO, "%s", worse ? fallen : risen);
    ct_score_log(after);
    if (worse && ct_score_reached(after, tally.min_score, tally.require, &why) < 0) {
        ct_log(CT_LOG_WARN,
               "this is below what the app needed to start (minimum %d, or a required check); it "
               "goes on",
               tally.min_score);
    }
}

void ct_tally_replace(uint32_t set, const struct ct_facts *news, const char *fallen,
                      const char *risen)
{
    struct ct_score before;
    struct ct_score after;
    (void)pthread_mutex_lock(&tally.lock);
    ct_score_compute(tally.facts, &before);
    for (int c = 0; c < CT_CHECK_COUNT; c++) {
        for (int h = 0; h < CT_HOLDER_COUNT && (set & UINT32_C(1) << c) != 0; h++) {
            tally.facts->fact[c][h] = news->fact[c][h];
        }
    }
    ct_score_compute(tally.facts, &after);
    tell(&before, &after, fallen, risen);
    (void)pthread_mutex_unlock(&tally.lock);
}
