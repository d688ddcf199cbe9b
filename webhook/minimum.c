// SPDX-License-Identifier: Apache-2.0
#include "minimum.h"

#include <string.h>

#include "candidate.h"
#include "json.h"
#include "scratch.h"
#include "starts.h"

#define BIT(check) (1U << (check))
#define NODE_CHECKS                                                                                \
    (BIT(CT_CHECK_MEMFD_SECRET) | BIT(CT_CHECK_EBPF_CONNECTED) | BIT(CT_CHECK_KPROBES_ACTIVE))
#define EBPF_CHECKS (BIT(CT_CHECK_EBPF_CONNECTED) | BIT(CT_CHECK_KPROBES_ACTIVE))
#define POD_CHECKS (((1U << CT_CHECK_COUNT) - 1) & ~NODE_CHECKS)
// What a program that hands its environment on undoes: all that is proven about the app.
#define LAUNCHER_CHECKS                                                                            \
    (BIT(CT_CHECK_MEMFD_SECRET) | BIT(CT_CHECK_MLOCK) | BIT(CT_CHECK_MADV_DONTDUMP) |              \
     BIT(CT_CHECK_PR_SET_DUMPABLE))
#define BEST_NODES 3

// One node in the light of this pod.
struct candidate {
    const struct ct_node *node;
    int points;        // of the node's share, for this pod
    uint32_t passes;   // checks that pass there and count
    int without_agent; // points without an agent
    uint32_t passes_without_agent;
    bool good; // reaches the minimum and passes what is required
};

static int points_of(uint32_t checks)
{
    int points = 0;
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        points += (checks & BIT(i)) != 0 ? ct_check_info((enum ct_check)i)->points : 0;
    }
    return points;
}

static int max_of(int a, int b)
{
    return a > b ? a : b;
}

void ct_minimum_collect(struct ct_case *c, int from_variables)
{
    struct ct_minimum *m = &c->minimum;
    m->asked[CT_SOURCE_ANNOTATION] = c->annotations.min_score;
    m->asked[CT_SOURCE_VARIABLE] = from_variables;
    m->asked[CT_SOURCE_OPERATOR] = c->settings->min_protection_score;
    for (int i = 0; i < CT_SOURCE_NAMESPACE; i++) {
        m->points = max_of(m->points, m->asked[i]);
    }
    m->require = c->annotations.require;
    m->counted = NODE_CHECKS;
    m->affinity_points = -1;
    m->candidates = -1;
    for (size_t i = 0; i < c->n_containers && m->launcher == NULL; i++) {
        if (c->containers[i].wrap) {
            struct ct_starts starts;
            ct_starts_judge(c, &c->containers[i], &starts);
            m->launcher = starts.launcher;
            m->launcher_why = starts.why;
            m->launched = m->launcher != NULL ? &c->containers[i] : NULL;
        }
    }
    m->lost = m->launcher != NULL ? LAUNCHER_CHECKS : 0;
    // A token that lies in a file is not in protected memory alone.
    m->token_file = c->annotations.has_auth && c->annotations.auth == CT_AUTH_TOKEN;
    m->lost |= m->token_file ? BIT(CT_CHECK_TOKEN_PROTECTED) : 0;
    const char *runtime_class = ct_json_str(c->spec, "runtimeClassName");
    if (runtime_class != NULL && *runtime_class != '\0') {
        m->runtime_class = runtime_class;
        m->counted &= ~EBPF_CHECKS;
    }
    m->counted &= ~m->lost;
    m->pod_share = points_of(POD_CHECKS & ~m->lost);
}

static uint32_t share_checks(const struct ct_node_share *share)
{
    return (share->memfd_secret ? BIT(CT_CHECK_MEMFD_SECRET) : 0) |
           (share->ebpf ? BIT(CT_CHECK_EBPF_CONNECTED) : 0) |
           (share->kprobes ? BIT(CT_CHECK_KPROBES_ACTIVE) : 0);
}

static void judge_node(const struct ct_minimum *m, const struct ct_node *node,
                       struct candidate *ret)
{
    const struct ct_node_share *share = &node->share;
    ret->node = node;
    ret->passes = share_checks(share) & m->counted;
    // The sum is the label's; when only some checks count for this pod it is theirs.
    int counted = points_of(ret->passes);
    ret->points = m->counted == NODE_CHECKS || share->points < counted ? share->points : counted;
    ret->passes_without_agent =
        share->without_agent > 0 ? BIT(CT_CHECK_MEMFD_SECRET) & m->counted : 0;
    ret->without_agent = points_of(ret->passes_without_agent);
    ret->good =
        m->pod_share + ret->points >= m->points && (m->require & NODE_CHECKS & ~ret->passes) == 0;
}

// The best first; nodes come sorted by name, and stay so among equals.
static bool better(const struct candidate *a, const struct candidate *b)
{
    return b->node == NULL || a->points > b->points;
}

static void keep_best(struct candidate best[BEST_NODES], const struct candidate *new)
{
    for (size_t i = 0; i < BEST_NODES; i++) {
        if (better(new, &best[i])) {
            memmove(&best[i + 1], &best[i], (BEST_NODES - 1 - i) * sizeof(*best));
            best[i] = *new;
            return;
        }
    }
}

struct survey {
    size_t matching;
    size_t good;
    size_t enough_without_agent;                // reach the points without an agent
    size_t check_without_agent[CT_CHECK_COUNT]; // pass that check without an agent
    struct candidate best[BEST_NODES];
};

static void look_at(const struct ct_minimum *m, const struct ct_node *node, struct survey *s)
{
    struct candidate candidate;
    judge_node(m, node, &candidate);
    s->matching++;
    s->good += candidate.good;
    s->enough_without_agent += m->pod_share + candidate.without_agent >= m->points;
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        s->check_without_agent[i] += (candidate.passes_without_agent & BIT(i)) != 0;
    }
    keep_best(s->best, &candidate);
}

static void look_around(const struct ct_case *c, struct survey *s)
{
    const char *name = ct_json_str(c->spec, "nodeName");
    if (name != NULL && *name != '\0') {
        const struct ct_node *node = ct_nodes_find(c->nodes, name);
        if (node != NULL) {
            look_at(&c->minimum, node, s);
        }
        return;
    }
    for (size_t i = 0; i < ct_nodes_count(c->nodes); i++) {
        const struct ct_node *node = ct_nodes_at(c->nodes, i);
        if (ct_candidate_matches(c->spec, node)) {
            look_at(&c->minimum, node, s);
        }
    }
}

// A kernel's version without what the distribution appends: "5.10" of "5.10.0-28-amd64".
static int short_kernel(const char *kernel)
{
    size_t major = strspn(kernel, "0123456789");
    size_t minor = kernel[major] == '.' ? 1 + strspn(kernel + major + 1, "0123456789") : 0;
    return (int)(major + minor < 20 ? major + minor : 20);
}

static void describe_memfd(const struct ct_node *node, char *out, size_t size)
{
    const char *kernel = node->kernel;
    if (!ct_kernel_at_least(kernel, 0, 0)) {
        (void)snprintf(out, size, "kernel unknown");
    } else if (!ct_kernel_at_least(kernel, 5, 14)) {
        (void)snprintf(out, size, "kernel %.*s < 5.14", short_kernel(kernel), kernel);
    } else if (!ct_kernel_at_least(kernel, 6, 5)) {
        (void)snprintf(out, size, "memfd_secret is off by default before 6.5 (kernel %.*s)",
                       short_kernel(kernel), kernel);
    } else {
        (void)snprintf(out, size, "memfd_secret is off");
    }
}

static void append(char *out, size_t size, const char *separator, const char *text)
{
    size_t used = strlen(out);
    (void)snprintf(out + used, size - used, "%s%s", used > 0 ? separator : "", text);
}

// What a node lacks of what counts for this pod: "kernel 5.10 < 5.14, no agent".
static void describe_lack(const struct ct_minimum *m, const struct candidate *candidate, char *out,
                          size_t size)
{
    uint32_t missing = m->counted & ~candidate->passes;
    out[0] = '\0';
    if ((missing & BIT(CT_CHECK_MEMFD_SECRET)) != 0) {
        char text[96];
        describe_memfd(candidate->node, text, sizeof(text));
        append(out, size, ", ", text);
    }
    if ((missing & EBPF_CHECKS) != 0) {
        const struct ct_node_share *share = &candidate->node->share;
        append(out, size, ", ",
               !share->agent ? "no agent"
               : share->ebpf ? "its agent only reacts, it does not block"
                             : "its agent enforces nothing");
    }
    if (out[0] == '\0') {
        append(out, size, ", ", "it has nothing more to give");
    }
}

static void describe_nodes(const struct ct_minimum *m, const struct survey *s, char *out,
                           size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < BEST_NODES && s->best[i].node != NULL; i++) {
        char lack[160];
        char text[280];
        describe_lack(m, &s->best[i], lack, sizeof(lack));
        (void)snprintf(text, sizeof(text), "%.63s reaches %d (%s)", s->best[i].node->name,
                       m->pod_share + s->best[i].points, lack);
        append(out, size, "; ", text);
    }
}

static void name_checks(uint32_t checks, char *out, size_t size)
{
    out[0] = '\0';
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        if ((checks & BIT(i)) != 0) {
            append(out, size, ", ", ct_check_info((enum ct_check)i)->name);
        }
    }
}

// "a protection score of 70 and mlock, memfd_secret"
static void describe_wish(const struct ct_minimum *m, char *out, size_t size)
{
    char checks[128];
    name_checks(m->require, checks, sizeof(checks));
    (void)snprintf(out, size, "%s%.0d%s%s%s", m->points > 0 ? "a protection score of " : "",
                   m->points, m->of_namespace ? " (its namespace's label)" : "",
                   m->points > 0 && checks[0] != '\0' ? " and " : "", checks);
}

// What in the pod itself costs points, and what to do about it.
static void describe_causes(const struct ct_minimum *m, char *out, size_t size)
{
    char text[300];
    if (m->launcher != NULL) {
        (void)snprintf(text, sizeof(text),
                       "%s %.63s starts through %s, which hands its environment on in the clear%s",
                       ct_container_kind(m->launched), m->launched->name, m->launcher,
                       m->launcher_why);
        append(out, size, "; ", text);
    }
    if (m->token_file) {
        append(out, size, "; ",
               "the auth method \"token\" keeps the Vault token in a file (use \"kubernetes\")");
    }
    if (m->runtime_class != NULL) {
        (void)snprintf(text, sizeof(text),
                       "RuntimeClass \"%.63s\" brings a kernel of its own, which no agent protects",
                       m->runtime_class);
        append(out, size, "; ", text);
    }
}

// No node of whatever kind would do: the pod itself stands in the way.
static int check_ceiling(struct ct_case *c, struct ct_err *err)
{
    const struct ct_minimum *m = &c->minimum;
    int ceiling = m->pod_share + points_of(m->counted);
    uint32_t hopeless = m->require & ~(m->counted | (POD_CHECKS & ~m->lost));
    if (m->points <= ceiling && hopeless == 0) {
        return 0;
    }
    char wish[200];
    describe_wish(m, wish, sizeof(wish));
    char causes[700] = "";
    describe_causes(m, causes, sizeof(causes));
    struct survey survey = {0};
    if (!c->settings->without_nodes) {
        look_around(c, &survey);
    }
    char lower[80] = "";
    if (survey.matching > 0 && m->pod_share + survey.best[0].points < m->points) {
        (void)snprintf(lower, sizeof(lower), " to %d (what the best of its nodes gives)",
                       m->pod_share + survey.best[0].points);
    }
    return ct_case_deny(
        c, CT_REASON_SCORE, err,
        "the pod asks for %s, but at most %d of %d can be reached: %s; mend that, or "
        "lower the minimum%s",
        wish, ceiling, ct_score_max(), causes, lower);
}

// How old the nodes are that a denial speaks of; "" when they are not.
static void describe_age(const struct ct_case *c, char *out, size_t size)
{
    out[0] = '\0';
    if (c->age_s > 0) {
        (void)snprintf(
            out, size,
            " (as they were %u s ago: the API server has not answered the webhook since)",
            c->age_s);
    }
}

static int deny_matchless(struct ct_case *c, const char *wish, struct ct_err *err)
{
    const char *name = ct_json_str(c->spec, "nodeName");
    size_t n = ct_nodes_count(c->nodes);
    char age[120];
    describe_age(c, age, sizeof(age));
    if (name != NULL && *name != '\0') {
        return ct_case_deny(
            c, CT_REASON_SCORE, err,
            "the pod asks for %s, but its node \"%.80s\" is not among the %zu nodes that "
            "are known%s",
            wish, name, n, age);
    }
    if (n == 0) {
        return ct_case_deny(c, CT_REASON_SCORE, err,
                            "the pod asks for %s, which takes a node's help, but the webhook knows "
                            "of no node (see its options --nodes-file and --kubeconfig)",
                            wish);
    }
    return ct_case_deny(
        c, CT_REASON_SCORE, err,
        "the pod asks for %s, but none of the %zu nodes that are known%s passes its "
        "nodeSelector, node affinity and tolerations; widen these, or add such a node",
        wish, n, age);
}

static int deny_score(struct ct_case *c, const struct survey *s, struct ct_err *err)
{
    const struct ct_minimum *m = &c->minimum;
    char wish[200];
    describe_wish(m, wish, sizeof(wish));
    if (s->matching == 0) {
        return deny_matchless(c, wish, err);
    }
    char age[120];
    describe_age(c, age, sizeof(age));
    char nodes[900];
    describe_nodes(m, s, nodes, sizeof(nodes));
    char lower[80] = "";
    if (m->points > m->pod_share + s->best[0].points) {
        (void)snprintf(lower, sizeof(lower), ", or lower the minimum to %d",
                       m->pod_share + s->best[0].points);
    }
    return ct_case_deny(
        c, CT_REASON_SCORE, err,
        "the pod asks for %s, but of %zu node%s that it may run on%s none reaches that. Run the "
        "agent on a node with kernel 6.5 or later%s. The best: %s",
        wish, s->matching, s->matching == 1 ? "" : "s", age, lower, nodes);
}

// Checks without which the points cannot be had, beyond what the sum of the label tells: when not all
// checks of the node count for this pod, a sum may be made of others.
static uint32_t needed_checks(const struct ct_minimum *m)
{
    uint32_t needed = m->require & NODE_CHECKS;
    for (int i = 0; i < CT_CHECK_COUNT && m->counted != NODE_CHECKS; i++) {
        if ((m->counted & BIT(i)) != 0 &&
            m->pod_share + points_of(m->counted & ~BIT(i)) < m->points) {
            needed |= BIT(i);
        }
    }
    return needed;
}

static void settle_affinity(struct ct_case *c, const struct survey *s)
{
    struct ct_minimum *m = &c->minimum;
    const char *name = ct_json_str(c->spec, "nodeName");
    if (name != NULL && *name != '\0') {
        return;
    }
    int need = m->points - m->pod_share;
    bool open = false; // does a node without an agent stay in the running?
    if (need > 0 && s->enough_without_agent == 0) {
        m->affinity_points = need - 1;
    } else if (need > 0) {
        open = true;
    }
    uint32_t needed = needed_checks(m);
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        if ((needed & BIT(i)) != 0) {
            bool inject = s->check_without_agent[i] == 0;
            m->affinity_checks |= inject ? BIT(i) : 0;
            open = open || !inject;
        }
    }
    size_t bad = s->matching - s->good;
    if (open && bad > 0) {
        char wish[200];
        describe_wish(m, wish, sizeof(wish));
        ct_warnings_add(
            &c->warnings,
            "cloudtaser: %zu of the %zu nodes that this pod may run on cannot give it %s; "
            "there it will refuse to start",
            bad, s->matching, wish);
    }
}

void ct_minimum_look_at(const struct ct_case *c, const struct ct_node *node,
                        struct ct_minimum_node *ret)
{
    struct candidate candidate;
    judge_node(&c->minimum, node, &candidate);
    *ret = (struct ct_minimum_node){.obstacle = ct_candidate_obstacle(c->spec, node),
                                    .points = c->minimum.pod_share + candidate.points,
                                    .passes = candidate.passes,
                                    .good = candidate.good};
    if ((c->minimum.counted & ~candidate.passes) != 0) {
        describe_lack(&c->minimum, &candidate, ret->lack, sizeof(ret->lack));
    }
}

static void warn_launcher(struct ct_case *c)
{
    const struct ct_minimum *m = &c->minimum;
    ct_warnings_add(&c->warnings,
                    "cloudtaser: %s %.63s starts through %s, which hands its environment on in the "
                    "clear%s: the score is at most %d of %d",
                    ct_container_kind(m->launched), m->launched->name, m->launcher, m->launcher_why,
                    m->pod_share + points_of(m->counted), ct_score_max());
}

int ct_minimum_judge(struct ct_case *c, struct ct_err *err)
{
    struct ct_minimum *m = &c->minimum;
    int r = check_ceiling(c, err);
    if (r == 0 && m->launcher != NULL) {
        warn_launcher(c);
    }
    if (r != 0 || (m->points <= m->pod_share && (m->require & NODE_CHECKS) == 0)) {
        return r;
    }
    if (c->settings->without_nodes) {
        m->nodes_left_out = true;
        return 0;
    }
    struct survey survey = {0};
    look_around(c, &survey);
    m->candidates = (int)survey.good;
    if (survey.good == 0) {
        return deny_score(c, &survey, err);
    }
    settle_affinity(c, &survey);
    return 0;
}
