// SPDX-License-Identifier: Apache-2.0
//
// The pod under decision: its containers, which of them are wrapped, and the case that all the steps
// of the decision share.
#ifndef CT_WEBHOOK_POD_H
#define CT_WEBHOOK_POD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "annotation.h"
#include "config.h"
#include "mutate.h"
#include "review.h"

// Bounds of what deciding on one pod may cost, far above what pods are made of.
#define CT_POD_MAX_VARIABLES 2048     // in a container
#define CT_POD_MAX_ALL_VARIABLES 8192 // each is held against each of the annotations'
#define CT_POD_MAX_CONTAINERS 256
#define CT_POD_MAX_MANAGERS 512      // entries of managedFields
#define CT_POD_MAX_REQUIREMENTS 2048 // of node affinity (values counted), nodeSelector, tolerations

struct ct_container {
    const json_t *json;
    const char *name;
    size_t index;          // in its list
    bool init;             // from spec.initContainers (native sidecars too)
    bool injector;         // named as our init container
    bool author;           // written by the pod's author, not by another webhook
    bool reference;        // a variable of it holds a reference
    bool wrap;             // to be wrapped
    bool wrapped;          // its command is wrapped already
    const json_t *command; // arrays of strings, or NULL
    const json_t *args;
    const json_t *env;    // array of objects with names, or NULL
    const json_t *mounts; // array of objects, or NULL
};

// Who may ask for a minimum; the highest wins.
enum ct_minimum_source {
    CT_SOURCE_ANNOTATION,
    CT_SOURCE_VARIABLE,
    CT_SOURCE_OPERATOR,
    CT_SOURCE_NAMESPACE,
    CT_SOURCE_COUNT,
};

// The score that the pod must reach, and what of it the node must give.
struct ct_minimum {
    int points;                          // 0: none
    int asked[CT_SOURCE_COUNT];          // by each; 0: nothing
    bool of_namespace;                   // they are what the namespace's label wants
    uint32_t require;                    // bits of enum ct_check
    int pod_share;                       // what the pod reaches by itself
    uint32_t counted;                    // checks of the node that count for this pod
    uint32_t lost;                       // checks of the pod that its launcher undoes
    const char *launcher;                // name of the launcher that costs points, NULL: none
    const char *launcher_why;            // static: why it cannot be followed, or ""
    const struct ct_container *launched; // which container starts through it
    const char *runtime_class;           // NULL: the node's own
    bool token_file;                     // the Vault token comes from a file
    // Result of the look at the nodes.
    int affinity_points;      // inject protection-points Gt this; -1: don't
    uint32_t affinity_checks; // inject the labels of these checks
    int candidates;           // nodes that will do; -1: nobody looked
    bool nodes_left_out;      // they would have been looked at, but settings->without_nodes
};

struct ct_case {
    const struct ct_webhook_settings *settings;
    const struct ct_nodes *nodes;
    const struct ct_nodes *namespaces;         // NULL: no source of the minimum
    unsigned age_s;                            // of both, as struct ct_view has it
    const struct ct_mutate_observer *observer; // NULL: none
    struct ct_review review;
    bool holds_nul; // a string of the request holds a NUL
    const json_t *metadata;
    const json_t *spec;
    struct ct_container *containers; // in the scratch: init containers, then regular ones
    size_t n_containers;
    size_t n_init;
    struct ct_annotations annotations;
    struct ct_config config; // of the pod; `container` is set for each container in turn
    struct ct_minimum minimum;
    struct ct_warnings warnings;
    enum ct_reason reason; // of the last denial
    unsigned retry_s;      // it may pass by itself: ask again then; 0: it will not
};

// Sets reason and sentence; returns -CT_EDENIED, the code of every denial.
int ct_case_deny(struct ct_case *c, enum ct_reason reason, struct ct_err *err, const char *fmt, ...)
    CT_PRINTF(4, 5);
// Makes a denial of a library's refusal `r` (whose sentence is in err); -CT_ENOMEM stays as it is.
int ct_case_refuse(struct ct_case *c, enum ct_reason reason, int r);

// Reads the containers and checks their types; finds author's ones, references and wrapped commands.
CT_CHECKED int ct_pod_read(struct ct_case *c, struct ct_err *err);
// Chooses what to wrap, by annotation or by default, and wants a command of each.
CT_CHECKED int ct_pod_choose(struct ct_case *c, struct ct_err *err);

// "container app" or "init container setup", for sentences: use as "%s %s".
const char *ct_container_kind(const struct ct_container *container);
// The index in `command` at which the author's own begins: 2 when it is wrapped already.
size_t ct_container_command_start(const struct ct_container *container);

#endif
