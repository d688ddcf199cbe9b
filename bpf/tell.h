// SPDX-License-Identifier: Apache-2.0
//
// The process that speaks with the API server for the agent: `cloudtaser-agent tell`, started by advertise.c.
// What it is to tell comes as packets on its standard input.
#ifndef CT_TELL_H
#define CT_TELL_H

#include "label.h"
#include "pod_event.h"

#define CT_TELL_END_MS 2500 // for what is left to tell when the agent has ended

enum ct_tell_kind { CT_TELL_FACTS = 1, CT_TELL_EVENT = 2 };

// One packet; only between two processes of one program.
struct ct_tell_packet {
    uint32_t kind;
    uint32_t pad;
    union {
        struct ct_node_facts facts;
        struct ct_pod_event event;
    };
};

// The node's path in the API, for an apply. A failed append shows in `out`.
void ct_tell_apply_path(const char *node, struct ct_buf *out);

// The command; returns its exit status.
int ct_tell_main(int argc, char **argv);

#endif
