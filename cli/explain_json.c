// SPDX-License-Identifier: Apache-2.0
#include "explain_json.h"

#include "json.h"

static const char *const obstacles[] = {
    [CT_STORY_POD] = NULL,
    [CT_STORY_NODE] = NULL,
    [CT_STORY_LAUNCHER] = "launcher",
    [CT_STORY_TOKEN] = "tokenFile",
    [CT_STORY_RUNTIME] = "runtimeClass",
};

static json_t *names_of(uint32_t checks)
{
    json_t *names = json_array();
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        if ((checks & (1U << i)) != 0) {
            (void)json_array_append_new(names, json_string(ct_check_info((enum ct_check)i)->name));
        }
    }
    return names;
}

static json_t *checks_of(const struct ct_story *story)
{
    json_t *checks = json_array();
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        const struct ct_check_info *info = ct_check_info((enum ct_check)i);
        enum ct_story_check how = ct_story_check(story, (enum ct_check)i);
        (void)json_array_append_new(
            checks, json_pack("{s:s,s:i,s:s,s:b,s:s?}", "name", info->name, "points", info->points,
                              "by", info->node ? "node" : "pod", "possible", obstacles[how] == NULL,
                              "lostTo", obstacles[how]));
    }
    return checks;
}

static json_t *containers_of(const struct ct_story *story)
{
    json_t *containers = json_array();
    for (size_t i = 0; i < story->n_containers; i++) {
        const struct ct_story_container *container = &story->containers[i];
        (void)json_array_append_new(containers,
                                    json_pack("{s:s,s:s,s:b}", "name", container->name, "kind",
                                              container->kind, "wrapped", container->wrap));
    }
    return containers;
}

static json_t *nodes_of(const struct ct_story *story)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < story->n_nodes; i++) {
        const struct ct_story_node *node = &story->nodes[i];
        bool candidate = node->look.obstacle == NULL;
        (void)json_array_append_new(
            nodes, json_pack("{s:s,s:b,s:s?,s:i,s:b,s:o,s:s}", "name", node->node->name,
                             "candidate", candidate, "obstacle", node->look.obstacle, "score",
                             node->look.points, "enough", candidate && node->look.good, "passes",
                             names_of(node->look.passes), "lacks", node->look.lack));
    }
    return nodes;
}

static json_t *sources_of(const struct ct_story *story)
{
    const int *asked = story->minimum.asked;
    return json_pack("{s:i,s:i,s:i,s:i}", "annotation", asked[CT_SOURCE_ANNOTATION], "variable",
                     asked[CT_SOURCE_VARIABLE], "operator", asked[CT_SOURCE_OPERATOR], "namespace",
                     asked[CT_SOURCE_NAMESPACE]);
}

json_t *ct_explain_json(const struct ct_manifest_pod *pod, const struct ct_verdict *verdict)
{
    const struct ct_story *story = &verdict->story;
    const struct ct_decision *d = &verdict->decision;
    CT_AUTO_JSON warnings =
        verdict->warnings != NULL ? json_incref(verdict->warnings) : json_array();
    CT_AUTO_JSON whole = json_pack(
        "{s:I,s:I,s:s,s:s,s:s,s:s,s:O}", "document", (json_int_t)pod->document, "line",
        (json_int_t)pod->line, "object", pod->object, "outcome", ct_outcome_name(d->outcome),
        "reason", ct_reason_name(d->reason), "sentence", d->sentence, "warnings", warnings);
    if (whole == NULL || !story->told) {
        return ct_steal(&whole);
    }
    CT_AUTO_JSON more =
        json_pack("{s:i,s:o,s:o,s:i,s:s?,s:s?,s:o,s:o,s:o}", "minimum", story->minimum.points,
                  "sources", sources_of(story), "required", names_of(story->minimum.require),
                  "podShare", story->minimum.pod_share, "launcher", story->launcher, "runtimeClass",
                  story->runtime_class[0] != '\0' ? story->runtime_class : NULL, "containers",
                  containers_of(story), "checks", checks_of(story), "nodes", nodes_of(story));
    return more != NULL && json_object_update(whole, more) == 0 ? ct_steal(&whole) : NULL;
}

int ct_explain_json_write(json_t *pods, struct ct_err *err)
{
    CT_AUTO_JSON whole = json_pack("{s:i,s:O}", "scoreMax", ct_score_max(), "pods", pods);
    CT_AUTO_STR text = whole != NULL ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    if (text == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the answer");
    }
    (void)puts(text);
    return 0;
}
