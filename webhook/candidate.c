// SPDX-License-Identifier: Apache-2.0
#include "candidate.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "json.h"

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static bool parse_int64(const char *text, long long *ret)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        return false;
    }
    errno = 0;
    *ret = strtoll(text, NULL, 10);
    return errno == 0;
}

static bool is_in(const char *value, const json_t *values)
{
    size_t i;
    json_t *each;
    json_array_foreach(values, i, each)
    {
        if (strcmp(or_empty(json_string_value(each)), value) == 0) {
            return true;
        }
    }
    return false;
}

// Operators of a requirement; `value` is NULL when the node has no such label.
static bool op_in(const char *value, const json_t *values)
{
    return json_array_size(values) > 0 && value != NULL && is_in(value, values);
}

static bool op_not_in(const char *value, const json_t *values)
{
    return json_array_size(values) > 0 && (value == NULL || !is_in(value, values));
}

static bool op_exists(const char *value, const json_t *values)
{
    return json_array_size(values) == 0 && value != NULL;
}

static bool op_does_not_exist(const char *value, const json_t *values)
{
    return json_array_size(values) == 0 && value == NULL;
}

static bool both_numbers(const char *value, const json_t *values, long long *a, long long *b)
{
    return value != NULL && json_array_size(values) == 1 && parse_int64(value, a) &&
           parse_int64(or_empty(json_string_value(json_array_get(values, 0))), b);
}

static bool op_gt(const char *value, const json_t *values)
{
    long long a;
    long long b;
    return both_numbers(value, values, &a, &b) && a > b;
}

static bool op_lt(const char *value, const json_t *values)
{
    long long a;
    long long b;
    return both_numbers(value, values, &a, &b) && a < b;
}

static const struct {
    const char *name;
    bool (*holds)(const char *value, const json_t *values);
    bool field; // allowed in matchFields, with exactly one value
} operators[] = {
    {"In", op_in, true},          {"NotIn", op_not_in, true},
    {"Exists", op_exists, false}, {"DoesNotExist", op_does_not_exist, false},
    {"Gt", op_gt, false},         {"Lt", op_lt, false},
};

static bool requirement_holds(const json_t *requirement, const struct ct_node *node, bool field)
{
    const char *key = or_empty(ct_json_str(requirement, "key"));
    const char *name = or_empty(ct_json_str(requirement, "operator"));
    const json_t *values = json_object_get(requirement, "values");
    if (field && (strcmp(key, "metadata.name") != 0 || json_array_size(values) != 1)) {
        return false;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(operators); i++) {
        if (strcmp(name, operators[i].name) == 0) {
            const char *value = field ? node->name : ct_node_label(node, key);
            return (!field || operators[i].field) && operators[i].holds(value, values);
        }
    }
    return false;
}

static bool requirements_hold(const json_t *list, const struct ct_node *node, bool field)
{
    size_t i;
    json_t *requirement;
    json_array_foreach(list, i, requirement)
    {
        if (!requirement_holds(requirement, node, field)) {
            return false;
        }
    }
    return true;
}

bool ct_candidate_term_empty(const json_t *term)
{
    return json_array_size(json_object_get(term, "matchExpressions")) == 0 &&
           json_array_size(json_object_get(term, "matchFields")) == 0;
}

const json_t *ct_candidate_required(const json_t *spec)
{
    const json_t *required = ct_json_at(spec, "affinity", "nodeAffinity",
                                        "requiredDuringSchedulingIgnoredDuringExecution", NULL);
    return json_is_object(required) ? required : NULL;
}

static bool affinity_matches(const json_t *spec, const struct ct_node *node)
{
    const json_t *required = ct_candidate_required(spec);
    if (required == NULL) {
        return true;
    }
    size_t i;
    json_t *term;
    json_array_foreach(json_object_get(required, "nodeSelectorTerms"), i, term)
    {
        if (!ct_candidate_term_empty(term) &&
            requirements_hold(json_object_get(term, "matchExpressions"), node, false) &&
            requirements_hold(json_object_get(term, "matchFields"), node, true)) {
            return true;
        }
    }
    return false;
}

static bool selector_matches(const json_t *spec, const struct ct_node *node)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(spec, "nodeSelector"), key, value)
    {
        const char *label = ct_node_label(node, key);
        if (label == NULL || strcmp(label, or_empty(json_string_value(value))) != 0) {
            return false;
        }
    }
    return true;
}

static const char *effect_name(enum ct_taint_effect effect)
{
    return effect == CT_TAINT_NO_EXECUTE ? "NoExecute" : "NoSchedule";
}

static bool tolerates(const json_t *toleration, const struct ct_taint *taint)
{
    const char *effect = or_empty(ct_json_str(toleration, "effect"));
    const char *key = or_empty(ct_json_str(toleration, "key"));
    const char *wanted = or_empty(ct_json_str(toleration, "operator"));
    if (*effect != '\0' && strcmp(effect, effect_name(taint->effect)) != 0) {
        return false;
    }
    if (*key != '\0' && strcmp(key, taint->key) != 0) {
        return false;
    }
    if (*wanted == '\0' || strcmp(wanted, "Equal") == 0) {
        return strcmp(or_empty(ct_json_str(toleration, "value")), taint->value) == 0;
    }
    return strcmp(wanted, "Exists") == 0;
}

static bool tolerated(const json_t *spec, const struct ct_taint *taint)
{
    size_t i;
    json_t *toleration;
    json_array_foreach(json_object_get(spec, "tolerations"), i, toleration)
    {
        if (tolerates(toleration, taint)) {
            return true;
        }
    }
    return false;
}

static bool taints_tolerated(const json_t *spec, const struct ct_node *node)
{
    static const struct ct_taint unschedulable = {
        .key = "node.kubernetes.io/unschedulable", .value = "", .effect = CT_TAINT_NO_SCHEDULE};
    if (node->unschedulable && !tolerated(spec, &unschedulable)) {
        return false;
    }
    for (size_t i = 0; i < node->n_taints; i++) {
        if (!tolerated(spec, &node->taints[i])) {
            return false;
        }
    }
    return true;
}

const char *ct_candidate_obstacle(const json_t *spec, const struct ct_node *node)
{
    const char *name = ct_json_str(spec, "nodeName");
    if (name != NULL && *name != '\0') {
        return strcmp(name, node->name) == 0 ? NULL : "the pod's nodeName is another";
    }
    if (!selector_matches(spec, node)) {
        return "the pod's nodeSelector does not match";
    }
    if (!affinity_matches(spec, node)) {
        return "the pod's required node affinity does not match";
    }
    return taints_tolerated(spec, node) ? NULL : "a taint is not tolerated";
}

bool ct_candidate_matches(const json_t *spec, const struct ct_node *node)
{
    return ct_candidate_obstacle(spec, node) == NULL;
}
