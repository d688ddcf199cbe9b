// SPDX-License-Identifier: Apache-2.0
#include "race.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include "row.h"

#define TRIES 300
#define LONG_ENOUGH 20 // seconds; the other thread may not run for a while
#define HOLD 8

static atomic_bool over;
static pthread_t thread;
static time_t end;
static void (*change)(bool harmless);

static void *run(void *context)
{
    row_stay_on(1);
    for (unsigned i = 0; !atomic_load_explicit(&over, memory_order_relaxed); i++) {
        change(i % HOLD < HOLD / 2);
    }
    return context;
}

bool row_race_begin(void (*show)(bool harmless))
{
    change = show;
    end = time(NULL) + LONG_ENOUGH;
    if (pthread_create(&thread, NULL, run, NULL) != 0) {
        return false;
    }
    row_stay_on(0);
    return true;
}

void row_race_end(void)
{
    atomic_store(&over, true);
    pthread_join(thread, NULL);
}

bool row_race_goes_on(int number, bool came_to_something)
{
    return number < TRIES || (!came_to_something && time(NULL) < end);
}
