// SPDX-License-Identifier: Apache-2.0
#include "own.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "clock.h"
#include "ring.h"

#define STEP_NS 20000000L

int ct_own_open(const char *pin_dir)
{
    struct bpf_map_info info = {0}; // older kernels want what they do not know to be zero
    __u32 size = sizeof(info);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/maps/ct_own", pin_dir);
    CT_AUTO_FD own = bpf_obj_get(path);
    bool is_own = own >= 0 && bpf_obj_get_info_by_fd(own, &info, &size) == 0 &&
                  info.key_size == sizeof(struct ct_own_key);
    return is_own ? ct_steal_fd(&own) : -1;
}

void ct_own_list(int own, struct ct_own_programs *ret)
{
    struct ct_own_key key;
    const void *last = NULL;
    ret->n = 0;
    while (ret->n < CT_OWN_PROGRAMS && bpf_map_get_next_key(own, last, &key) == 0) {
        last = &key;
        if (key.kind == CT_OWN_PROGRAM) {
            ret->ids[ret->n++] = key.id;
        }
    }
}

static bool is_freed(__u32 id)
{
    CT_AUTO_FD fd = bpf_prog_get_fd_by_id(id);
    return fd < 0 && errno == ENOENT;
}

bool ct_own_wait(const struct ct_own_programs *programs, int patience_ms)
{
    const struct timespec step = {.tv_nsec = STEP_NS};
    uint64_t end = ct_clock_ms() + (uint64_t)patience_ms;
    for (size_t i = 0; i < programs->n; i++) {
        while (!is_freed(programs->ids[i])) {
            if (ct_clock_ms() >= end) {
                return false;
            }
            (void)nanosleep(&step, NULL);
        }
    }
    return true;
}
