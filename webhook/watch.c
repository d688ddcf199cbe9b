// SPDX-License-Identifier: Apache-2.0
#include "watch.h"

#include <malloc.h>
#include <time.h>

#include "file.h"

#define MAX_NODES_FILE (256u * 1024 * 1024) // 5000 nodes with long lists of images are some 100 MB

struct ct_watch_reader ct_watch_enter(struct ct_watch *watch)
{
    struct ct_watch_reader reader = {.half = atomic_load(&watch->epoch) & 1};
    // Counted before the pointer is read: sequentially consistent, as the writer's side is.
    atomic_fetch_add(&watch->readers[reader.half], 1);
    reader.nodes = atomic_load(&watch->nodes);
    return reader;
}

void ct_watch_leave(struct ct_watch *watch, const struct ct_watch_reader *reader)
{
    atomic_fetch_sub_explicit(&watch->readers[reader->half], 1, memory_order_release);
}

// Returns once nobody can hold what was in `nodes` before the call. Two rounds: a reader may have
// read the epoch before the first step and been counted only after its half was seen empty.
static void wait_for_readers(struct ct_watch *watch)
{
    const struct timespec moment = {.tv_nsec = 200 * 1000};
    for (int round = 0; round < 2; round++) {
        unsigned half = atomic_fetch_add(&watch->epoch, 1) & 1;
        while (atomic_load(&watch->readers[half]) != 0) {
            (void)nanosleep(&moment, NULL);
        }
    }
}

CT_CHECKED static int read_nodes(const struct ct_watch *watch, struct ct_nodes **ret,
                                 struct ct_err *err)
{
    CT_AUTO_BUF text = {.max = MAX_NODES_FILE};
    int r = ct_file_read(watch->path, &text, err);
    if (r < 0) {
        return ct_err_wrap(err, "%s file", watch->kind->plural);
    }
    r = ct_kind_parse(watch->kind, text.data != NULL ? text.data : "", text.len, ret, err);
    return r < 0 ? ct_err_wrap(err, "%s file %s", watch->kind->plural, watch->path) : 0;
}

void ct_watch_publish(struct ct_watch *watch, struct ct_nodes *fresh)
{
    struct ct_nodes *old = atomic_exchange(&watch->nodes, fresh);
    wait_for_readers(watch);
    ct_nodes_free(old);
}

int ct_watch_nodes(struct ct_watch *watch, struct ct_err *err)
{
    struct ct_stamp stamp = ct_stamp_of(watch->path);
    if (watch->tried && ct_stamp_equal(&stamp, &watch->stamp)) {
        return 0;
    }
    // Remembered before the attempt: a bad file is refused once, not each second.
    watch->tried = true;
    watch->stamp = stamp;
    struct ct_nodes *fresh = NULL;
    int r = read_nodes(watch, &fresh, err);
    if (r == 0) {
        ct_watch_publish(watch, fresh);
    }
    // The document is many times larger than what is kept of it.
    (void)malloc_trim(0);
    return r < 0 ? r : 1;
}

void ct_watch_done(struct ct_watch *watch)
{
    ct_nodes_free(atomic_exchange(&watch->nodes, NULL));
}
