// SPDX-License-Identifier: Apache-2.0
//
// Loads the tiers' programs and attaches them. Internal to ct_guard, which decides what of them stays.
#ifndef CT_LOADER_H
#define CT_LOADER_H

#include <bpf/libbpf.h>
#include <stdbool.h>

#include "err.h"
#include "ring.h"
#include "shared.h"

#define CT_LOADER_PROGRAMS 128
#define CT_LOADER_OBJECTS 128
#define CT_LOADER_WORDS 256

struct ct_attached {
    struct bpf_link *link; // NULL: a program of the root cgroup, attached to stay
    enum ct_tier tier;
    __u64 vectors; // bit N: it can refuse vector N
    int program;
    const char *name; // the program's, which lives as long as the loader
};

struct ct_loader {
    struct bpf_object *base; // the maps, and who is protected; borrowed
    __u32 generation;
    __s32 reading[CT_READING_CALLS];               // see learn.h; 0: no more of them
    bool stays;                                    // what is attached is to outlive the process
    struct bpf_object *objects[CT_LOADER_OBJECTS]; // of the tiers; they use the base's maps
    size_t n_objects;
    struct ct_attached attached[CT_LOADER_PROGRAMS];
    size_t n_attached;
    char trouble[CT_TIER_COUNT][CT_LOADER_WORDS];
};

// From now on libbpf's own words are kept: the first ones since ct_loader_forget_words().
void ct_loader_keep_words(void);
void ct_loader_forget_words(void);
const char *ct_loader_words(void);

// Opens the object of maps and marks, not loaded yet, with its generation set. NULL with errno.
struct bpf_object *ct_loader_open_base(__u32 generation);

// Attaches what of a tier can refuse one of `wanted`. What this kernel does not have is no error: see trouble.
void ct_loader_attach_tier(struct ct_loader *loader, enum ct_tier tier, __u64 wanted);

// Takes off again what of a tier has refused nothing of `proven`, and frees what is attached no more.
void ct_loader_detach_idle(struct ct_loader *loader, enum ct_tier tier, __u64 proven);

// In a process that was forked from the loader's: frees its objects and forgets what is attached, which goes on by the
// other's descriptors. Of use is only the base then.
void ct_loader_close_objects(struct ct_loader *loader);

// The tiers from the best to the last; CT_TIER_NONE behind the last.
enum ct_tier ct_loader_tier(size_t rank);

// Takes all off that does not stay by itself, and frees what the loader holds but not itself.
void ct_loader_done(struct ct_loader *loader);

// Gives up what was to stay: for a loader whose programs are not to be used after all.
void ct_loader_take_back(struct ct_loader *loader);

// Writes into `own`, a descriptor of ct_own, whose the map or program at `fd` is. False: it could not be.
bool ct_loader_own(int own, enum ct_own_kind kind, int fd);

// Takes off the root cgroup's programs that are not among the loader's; NULL: all of the agent's. Returns
// how many there were. They are known by ct_own, a descriptor of that map.
unsigned ct_loader_detach_cgroup(const struct ct_loader *loader, int own);

#endif
