// SPDX-License-Identifier: Apache-2.0
//
// The pods of a manifest: written as such, or as the template of what makes pods.
#ifndef CT_CLI_MANIFEST_H
#define CT_CLI_MANIFEST_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"
#include "yaml_doc.h"

struct ct_manifest_pod {
    size_t document;       // from 1
    size_t line;           // where the document begins
    char object[320];      // "Deployment shop/web", fit for a sentence
    const char *namespace; // the manifest's own, or else the one that was given
    const char *name;      // of the object; "" when it has none
    json_t *template;      // object with "metadata" and "spec"; borrowed, may be changed
};

// Calls `visit` for each pod of Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets,
// ReplicationControllers, Jobs, CronJobs, PodTemplates and Lists of these, in the order of the text;
// objects of other kinds are passed over. Stops at the first negative result, and returns it.
// -CT_EINVAL for a document that is no Kubernetes object, and for a kind above without its template.
// `what` names the text in sentences; `namespace` is that of objects that name none, NULL for "default".
CT_CHECKED int ct_manifest_each(const struct ct_yaml *yaml, const char *what, const char *namespace,
                                int (*visit)(void *cls, const struct ct_manifest_pod *pod,
                                             struct ct_err *err),
                                void *cls, struct ct_err *err);

#endif
