// SPDX-License-Identifier: Apache-2.0
//
// The pins: a folder in the BPF file system that holds the maps, and for each generation of programs a folder of
// links. What is pinned goes on enforcing without any process. Internal to ct_guard.
//
//   DIR/maps/ct_marks …   DIR/gen-7/lsm_file_open …   DIR/self-test
#ifndef CT_PIN_H
#define CT_PIN_H

#include <bpf/libbpf.h>
#include <stdbool.h>

#include "err.h"
#include "guard.h"
#include "ring.h"

struct ct_loader;

struct ct_pins {
    char dir[160];
    int fd;              // of the folder, locked as long as it is open: one agent at a time
    bool found;          // an agent has been here: its maps are pinned
    bool enforcing;      // the generation that ct_ring names has links
    __u32 last;          // the highest generation that has a folder; 0: none
    struct ct_ring ring; // with `found`
    struct ct_guard_config config;
};

// Opens or makes the folder and locks it. CT_EINVAL: not in a BPF file system; CT_EDENIED: another agent holds
// it; CT_EPROTO: what is there is not an agent's, or of another layout, and the sentence says what to do.
// `whatever`: to remove it, so what is there need not make sense.
CT_CHECKED int ct_pins_open(const char *dir, bool whatever, struct ct_pins *ret,
                            struct ct_err *err);
void ct_pins_close(struct ct_pins *pins);

// Makes this process the agent, as far as pinned programs let nobody else load programs and open maps.
CT_CHECKED int ct_pins_claim(struct ct_pins *pins, struct ct_err *err);

// Has the object's maps be the pinned ones; before it is loaded. A map of another shape is CT_EPROTO.
CT_CHECKED int ct_pins_reuse(const struct ct_pins *pins, struct bpf_object *object,
                             struct ct_err *err);
// Pins those of the object's maps that are not yet; after it is loaded.
CT_CHECKED int ct_pins_keep_maps(const struct ct_pins *pins, struct bpf_object *object,
                                 struct ct_err *err);
// Puts pins to try the guard on, the map's, where none are: one to be removed, one to be opened.
void ct_pins_put_bait(int folder, int map);

// Whether programs may be pinned in this folder, and so enforce without any process; what cannot be looked at may
// be. Neither locks nor makes anything.
bool ct_pins_may_enforce(const char *dir);

CT_CHECKED int ct_pins_make_generation(const struct ct_pins *pins, __u32 generation,
                                       struct ct_err *err);
// False: this kernel does not pin such a link.
bool ct_pins_keep_link(const struct ct_pins *pins, __u32 generation, const char *name,
                       struct bpf_link *link);
// Removes all generations but this one (0: all); returns how many links went.
unsigned ct_pins_drop_generations(const struct ct_pins *pins, __u32 but);
// Removes the maps and the folder itself, when nothing foreign is in it.
void ct_pins_drop_maps(const struct ct_pins *pins, struct ct_removed *ret);

#endif
