// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as the nodes file, and as that of namespaces; what is accepted is then asked by a pod with every kind of constraint.
#include <stdint.h>
#include <stdlib.h>

#include "candidate.h"
#include "json.h"
#include "namespace.h"
#include "nodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char spec_text[] =
    "{\"nodeSelector\":{\"zone\":\"a\"},\"tolerations\":[{\"key\":\"k\",\"value\":\"v\"}],"
    "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":"
    "{\"nodeSelectorTerms\":[{},{\"matchExpressions\":["
    "{\"key\":\"n\",\"operator\":\"Gt\",\"values\":[\"1\"]},"
    "{\"key\":\"zone\",\"operator\":\"In\",\"values\":[\"a\"]}],"
    "\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"NotIn\",\"values\":[\"x\"]}]}]}}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *spec;
    if (spec == NULL) {
        spec = json_loads(spec_text, 0, NULL);
    }
    CT_AUTO(ct_nodes) *nodes = NULL;
    struct ct_err err = {0};
    int r = ct_nodes_parse((const char *)data, size, &nodes, &err);
    if (r != 0 && (r > 0 || nodes != NULL || err.msg[0] == '\0')) {
        abort();
    }
    struct ct_nodes_stats stats;
    ct_nodes_stats(nodes, &stats);
    for (size_t i = 0; i < ct_nodes_count(nodes); i++) {
        const struct ct_node *node = ct_nodes_at(nodes, i);
        (void)ct_candidate_matches(spec, node);
        if (ct_nodes_find(nodes, node->name) != node) {
            abort();
        }
    }
    CT_AUTO(ct_nodes) *namespaces = NULL;
    struct ct_namespace_stats labels;
    r = ct_kind_parse(&ct_kind_namespace, (const char *)data, size, &namespaces, &err);
    ct_namespace_stats(namespaces, &labels);
    if ((r == 0) != (namespaces != NULL) ||
        labels.unlabelled + labels.labelled + labels.bad != ct_nodes_count(namespaces)) {
        abort();
    }
    return 0;
}
