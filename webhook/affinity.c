// SPDX-License-Identifier: Apache-2.0
#include "affinity.h"

#include <string.h>

#include "candidate.h"
#include "json.h"
#include "nodes.h"

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define MAX_REQUIREMENTS 4

struct requirement {
    char text[256]; // JSON of a NodeSelectorRequirement
};

// The label by which a node shows that a check passes there.
static const struct {
    enum ct_check check;
    const char *text;
} feature_requirements[] = {
    {CT_CHECK_MEMFD_SECRET, "{\"key\":\"" CT_NODE_LABEL_PREFIX
                            "memfd-secret\",\"operator\":\"In\",\"values\":[\"true\"]}"},
    {CT_CHECK_KPROBES_ACTIVE,
     "{\"key\":\"" CT_NODE_LABEL_PREFIX
     "enforcement\",\"operator\":\"In\",\"values\":[\"lsm\",\"fmod_ret\",\"kprobe\"]}"},
    {CT_CHECK_EBPF_CONNECTED,
     "{\"key\":\"" CT_NODE_LABEL_PREFIX "enforcement\",\"operator\":\"In\","
     "\"values\":[\"lsm\",\"fmod_ret\",\"kprobe\",\"reactive\"]}"},
};

static size_t collect(const struct ct_minimum *m, struct requirement out[MAX_REQUIREMENTS])
{
    size_t n = 0;
    if (m->affinity_points >= 0) {
        (void)snprintf(out[n++].text, sizeof(out->text),
                       "{\"key\":\"" CT_NODE_LABEL_PREFIX
                       "protection-points\",\"operator\":\"Gt\",\"values\":[\"%d\"]}",
                       m->affinity_points);
    }
    uint32_t checks = m->affinity_checks;
    if ((checks & (1U << CT_CHECK_KPROBES_ACTIVE)) != 0) {
        checks &= ~(1U << CT_CHECK_EBPF_CONNECTED); // what blocks is connected
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(feature_requirements); i++) {
        if ((checks & (1U << feature_requirements[i].check)) != 0) {
            (void)snprintf(out[n++].text, sizeof(out->text), "%s", feature_requirements[i].text);
        }
    }
    return n;
}

static bool holds(const json_t *expressions, const char *text)
{
    CT_AUTO_JSON want = json_loads(text, 0, NULL);
    size_t i;
    json_t *have;
    json_array_foreach(expressions, i, have)
    {
        if (want != NULL && json_equal(have, want)) {
            return true;
        }
    }
    return false;
}

static void add_list(struct ct_buf *out, const struct requirement *requirements, size_t n)
{
    ct_buf_add_str(out, "[");
    for (size_t i = 0; i < n; i++) {
        ct_buf_add_str(out, i > 0 ? "," : "");
        ct_buf_add_str(out, requirements[i].text);
    }
    ct_buf_add_str(out, "]");
}

static void extend_term(struct ct_patch *patch, const json_t *term, size_t index,
                        const struct requirement *requirements, size_t n)
{
    static const char path[] = "/spec/affinity/nodeAffinity/" REQUIRED "/nodeSelectorTerms";
    const json_t *expressions = json_object_get(term, "matchExpressions");
    if (!json_is_array(expressions)) {
        ct_patch_begin(patch, "add", "%s/%zu/matchExpressions", path, index);
        add_list(&patch->text, requirements, n);
        ct_patch_end(patch);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!holds(expressions, requirements[i].text)) {
            ct_patch_add(patch, requirements[i].text, "%s/%zu/matchExpressions/-", path, index);
        }
    }
}

// Creates what is missing on the way to a term of our own.
static void add_term(struct ct_patch *patch, const json_t *spec,
                     const struct requirement *requirements, size_t n)
{
    static const struct {
        const char *path;
        const char *head;
        const char *tail;
    } levels[] = {
        {"/spec/affinity", "{\"nodeAffinity\":{\"" REQUIRED "\":", "}}"},
        {"/spec/affinity/nodeAffinity", "{\"" REQUIRED "\":", "}"},
        {"/spec/affinity/nodeAffinity/" REQUIRED, "", ""},
    };
    const json_t *affinity = json_object_get(spec, "affinity");
    size_t level = 0;
    if (json_is_object(affinity)) {
        level = json_is_object(json_object_get(affinity, "nodeAffinity")) ? 2 : 1;
    }
    ct_patch_begin(patch, "add", "%s", levels[level].path);
    ct_buf_add_str(&patch->text, levels[level].head);
    ct_buf_add_str(&patch->text, "{\"nodeSelectorTerms\":[{\"matchExpressions\":");
    add_list(&patch->text, requirements, n);
    ct_buf_add_str(&patch->text, "}]}");
    ct_buf_add_str(&patch->text, levels[level].tail);
    ct_patch_end(patch);
}

void ct_affinity_patch(const struct ct_case *c, struct ct_patch *patch)
{
    struct requirement requirements[MAX_REQUIREMENTS];
    size_t n = collect(&c->minimum, requirements);
    const json_t *required = ct_candidate_required(c->spec);
    if (n == 0) {
        return;
    }
    if (required == NULL) {
        add_term(patch, c->spec, requirements, n);
        return;
    }
    size_t i;
    json_t *term;
    json_array_foreach(json_object_get(required, "nodeSelectorTerms"), i, term)
    {
        if (!ct_candidate_term_empty(term)) {
            extend_term(patch, term, i, requirements, n);
        }
    }
}
