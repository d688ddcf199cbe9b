// SPDX-License-Identifier: Apache-2.0
#include "namespace.h"

#include <string.h>

#include "score.h"
#include "text.h"

#define RETRY_S 1

// -1: no score.
static int read_label(const char *value)
{
    unsigned long points = 0;
    return ct_text_number(value, strlen(value), (unsigned long)ct_score_max(), &points)
               ? (int)points
               : -1;
}

int ct_namespace_raise(struct ct_case *c, struct ct_err *err)
{
    struct ct_shown name;
    struct ct_shown shown;
    if (c->namespaces == NULL) {
        return 0;
    }
    (void)ct_text_show(&name, c->review.namespace, strlen(c->review.namespace));
    const struct ct_node *namespace = ct_nodes_find(c->namespaces, c->review.namespace);
    if (namespace == NULL) {
        c->retry_s = RETRY_S;
        return ct_case_deny(c, CT_REASON_NAMESPACE, err,
                            "namespace \"%s\" is not among the %zu that are known, so its least "
                            "protection score is not known either; try again in a moment",
                            name.text, ct_nodes_count(c->namespaces));
    }
    const char *value = ct_node_label(namespace, CT_NAMESPACE_LABEL);
    if (value == NULL) {
        return 0;
    }
    int points = read_label(value);
    if (points < 0) {
        return ct_case_deny(c, CT_REASON_NAMESPACE, err,
                            "namespace \"%s\" has label " CT_NAMESPACE_LABEL
                            ": \"%s\", where a whole number from 0 "
                            "to %d is allowed; whoever manages the namespace must mend it",
                            name.text, ct_text_show(&shown, value, strlen(value)), ct_score_max());
    }
    c->minimum.asked[CT_SOURCE_NAMESPACE] = points;
    if (points > c->minimum.points) {
        c->minimum.points = points;
        c->minimum.of_namespace = true;
    }
    return 0;
}

void ct_namespace_stats(const struct ct_nodes *namespaces, struct ct_namespace_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < ct_nodes_count(namespaces); i++) {
        const char *value = ct_node_label(ct_nodes_at(namespaces, i), CT_NAMESPACE_LABEL);
        ret->unlabelled += value == NULL;
        ret->labelled += value != NULL && read_label(value) >= 0;
        ret->bad += value != NULL && read_label(value) < 0;
    }
}
