// SPDX-License-Identifier: Apache-2.0
//
// What the engine knew about an opted-in pod when it decided, kept for telling it afterwards.
#ifndef CT_CLI_STORY_H
#define CT_CLI_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "minimum.h"
#include "nodes.h"
#include "pod.h"

struct ct_story_container {
    const char *kind; // "container", "init container"; static
    char name[64];
    bool wrap;
    bool wrapped;     // was so in the manifest already
    char program[80]; // the author's command[0], fit for a sentence
};

#define CT_STORY_MAX_VARIABLES 1024

// A reference, and where its secret goes.
struct ct_story_variable {
    char name[256];
    char where[80]; // "container app", which has the variable; "": an annotation makes it
    struct ct_ref ref;
};

struct ct_story_node {
    const struct ct_node *node; // of the snapshot that was decided by
    struct ct_minimum_node look;
};

// Zero-initialise; free with ct_story_done().
struct ct_story {
    bool told;   // ct_story_see() was called
    bool failed; // and ran out of memory
    struct ct_config config;
    struct ct_minimum minimum; // its pointers are NULL; see below
    const char *launcher;      // static
    const char *launcher_why;  // static
    char launched[80];         // "container app"
    char runtime_class[64];    // "": the node's own
    struct ct_story_container *containers;
    size_t n_containers;
    struct ct_story_variable *variables; // the first CT_STORY_MAX_VARIABLES
    size_t n_variables;
    size_t more_variables;
    struct ct_story_node *nodes; // all that are known, by name
    size_t n_nodes;
};

// For struct ct_mutate_observer, with the story as `cls`.
void ct_story_see(void *cls, const struct ct_case *c);
void ct_story_done(struct ct_story *story);

// How a check stands for this pod.
enum ct_story_check {
    CT_STORY_POD,      // the pod reaches it by itself
    CT_STORY_NODE,     // the node decides
    CT_STORY_LAUNCHER, // the pod's launcher undoes it
    CT_STORY_TOKEN,    // its Vault token lies in a file
    CT_STORY_RUNTIME,  // its RuntimeClass rules it out
};
enum ct_story_check ct_story_check(const struct ct_story *story, enum ct_check check);

#endif
