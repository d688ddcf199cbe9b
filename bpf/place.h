// SPDX-License-Identifier: Apache-2.0
//
// Where a process belongs: its cgroup, and the pod and container that the cgroup's path tells of.
#ifndef CT_PLACE_H
#define CT_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cleanup.h"

#define CT_PLACE_PATH_MAX 512
#define CT_PLACE_POD_MAX 64
#define CT_PLACE_CONTAINER_MAX 80

// All empty when nothing is known.
struct ct_place {
    char path[CT_PLACE_PATH_MAX]; // in the unified hierarchy, from its root: "/kubepods/…"
    char pod[CT_PLACE_POD_MAX];   // uid
    char container[CT_PLACE_CONTAINER_MAX]; // id, without the runtime's name
};

// Fills pod and container from a path, where ct_container_parse() knows it. Pure.
void ct_place_parse(const char *path, struct ct_place *ret);

// The place of a process that lives, from /proc/PID/cgroup. False when it has ended.
bool ct_place_of(pid_t pid, struct ct_place *ret);

struct ct_places;

// Looks cgroups up by their numbers, by walking the hierarchy; what was found is remembered, and
// it is walked at most once a second. NULL: out of memory.
struct ct_places *ct_places_new(void);
void ct_places_free(struct ct_places *places); // takes NULL
CT_DEFINE_AUTO(ct_places, ct_places_free);
// False, and an empty place, when there is no such cgroup any more. now_ms: CLOCK_MONOTONIC.
bool ct_places_find(struct ct_places *places, uint64_t cgroup, int64_t now_ms,
                    struct ct_place *ret);

#endif
