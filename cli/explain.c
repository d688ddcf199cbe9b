// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser explain: what score the pods of a manifest would reach, check by check and node by node.
#include <string.h>

#include "cluster.h"
#include "command.h"
#include "decide.h"
#include "explain_json.h"
#include "json.h"
#include "operator.h"
#include "text.h"
#include "words.h"

#define PROGRAM "cloudtaser explain"

static const char *const outputs[] = {"text", "json", NULL};

static const struct ct_option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = CT_OPTION_CHOICE,
    .offset = offsetof(struct ct_operator_settings, output),
    .fallback = "text",
    .argument = "FORMAT",
    .choices = outputs,
    .help = "Tables for people, or JSON for programs.",
};

static const struct ct_option object_option = {
    .name = "object",
    .kind = CT_OPTION_STRING,
    .offset = offsetof(struct ct_operator_settings, object),
    .argument = "KIND/NAME",
    .operand = true,
    .help = "What to explain, in the cluster: deployment/web. --object may be left out.",
};

const struct ct_option_table *ct_explain_table(void)
{
    static struct ct_operator_table table;
    struct ct_option file = ct_operator_file;
    file.required = false;
    const struct ct_option own[] = {object_option, file, ct_operator_namespace, output_option};
    return ct_operator_table(
        &table, PROGRAM,
        "Tells for each opted-in pod of a manifest, or of an object in the cluster, which checks "
        "of the protection score it would pass, and for each node whether the pod may run there, "
        "what score it would reach and what is lacking. Exit status: 0; 1 when the webhook would "
        "refuse a pod; 2 for bad options or a "
        "manifest that cannot be read.",
        own, CT_ARRAY_LEN(own),
        "What `kubectl get nodes -o json` prints. Without it the cluster is asked.");
}

struct run {
    const struct ct_operator_settings *settings;
    const struct ct_paint *paint;
    json_t *pods; // for CT_OUTPUT_JSON
    size_t seen;
    size_t refused;
};

// A cell of fixed width whose colour does not count.
static void print_cell(const char *colour, const char *text, int width,
                       const struct ct_paint *paint)
{
    (void)printf("%s%-*s%s  ", colour, width, text, *colour != '\0' ? paint->end : "");
}

static void tell_reached(const struct ct_story *story, enum ct_check check)
{
    size_t candidates = 0;
    size_t passing = 0;
    switch (ct_story_check(story, check)) {
    case CT_STORY_POD:
        (void)puts("yes");
        break;
    case CT_STORY_LAUNCHER:
        (void)printf("no: %s starts through %s, which hands its environment on in the clear%s\n",
                     story->launched, story->launcher, story->launcher_why);
        break;
    case CT_STORY_TOKEN:
        (void)puts("no: the Vault token lies in a file");
        break;
    case CT_STORY_RUNTIME:
        (void)printf("no: RuntimeClass %s brings a kernel of its own\n", story->runtime_class);
        break;
    case CT_STORY_NODE:
        for (size_t i = 0; i < story->n_nodes; i++) {
            bool candidate = story->nodes[i].look.obstacle == NULL;
            candidates += candidate;
            passing += candidate && (story->nodes[i].look.passes & (1U << check)) != 0;
        }
        (void)printf("on %zu of %zu nodes that the pod may run on\n", passing, candidates);
        break;
    }
}

static void print_checks(const struct run *run, const struct ct_story *story)
{
    (void)printf("\n  %s%-16s  %6s  %-4s  %s%s\n", run->paint->strong, "CHECK", "POINTS", "BY",
                 "REACHED", run->paint->end);
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        const struct ct_check_info *info = ct_check_info((enum ct_check)i);
        (void)printf("  %-16s  %6d  %-4s  ", info->name, info->points, info->node ? "node" : "pod");
        tell_reached(story, (enum ct_check)i);
    }
}

// What a nodes file calls a node may be anything.
static const char *name_of(const struct ct_story_node *node, struct ct_shown *shown)
{
    return ct_text_show(shown, node->node->name, strlen(node->node->name));
}

static int widest_name(const struct ct_story *story)
{
    struct ct_shown shown;
    int width = 4;
    for (size_t i = 0; i < story->n_nodes; i++) {
        int len = (int)strlen(name_of(&story->nodes[i], &shown));
        width = len > width ? len : width;
    }
    return width;
}

static void print_nodes(const struct run *run, const struct ct_story *story)
{
    const struct ct_paint *paint = run->paint;
    int width = widest_name(story);
    (void)printf("\n  %s%-*s  %-5s  %-6s  %s%s\n", paint->strong, width, "NODE", "SCORE", "ENOUGH",
                 "WHY", paint->end);
    for (size_t i = 0; i < story->n_nodes; i++) {
        const struct ct_minimum_node *look = &story->nodes[i].look;
        bool open = look->obstacle == NULL;
        char score[16] = "-";
        if (open) {
            (void)snprintf(score, sizeof(score), "%d/%d", look->points, ct_score_max());
        }
        struct ct_shown shown;
        (void)printf("  %-*s  %-5s  ", width, name_of(&story->nodes[i], &shown), score);
        print_cell(!open        ? ""
                   : look->good ? paint->good
                                : paint->bad,
                   !open        ? "-"
                   : look->good ? "yes"
                                : "no",
                   6, paint);
        (void)printf("%s%s\n", open && look->lack[0] != '\0' ? "lacks: " : "",
                     !open                   ? look->obstacle
                     : look->lack[0] != '\0' ? look->lack
                     : look->good            ? "nothing is lacking"
                                             : "it has nothing more to give");
    }
    if (story->n_nodes == 0) {
        (void)puts("  (there are none)");
    }
}

static void print_pod(const struct run *run, const struct ct_manifest_pod *pod,
                      const struct ct_verdict *verdict)
{
    (void)fputs(run->seen > 1 ? "\n" : "", stdout);
    ct_words_outcome(stdout, run->paint, pod, verdict);
    ct_words_minimum(stdout, verdict);
    ct_words_warnings(stdout, verdict);
    if (verdict->story.told) {
        print_checks(run, &verdict->story);
        print_nodes(run, &verdict->story);
    }
}

static int visit(void *cls, const struct ct_manifest_pod *pod, struct ct_err *err)
{
    struct run *run = cls;
    CT_AUTO_VERDICT verdict = {.patch = NULL};
    char room[64];
    int r = ct_decide(&run->settings->webhook, run->settings->nodes, run->settings->namespaces, pod,
                      &verdict, err);
    if (r < 0) {
        // Too large to be decided on; not the kind of error that a bad manifest is.
        return ct_err_wrap(err, "%s%s", ct_words_place(pod, room, sizeof(room)), pod->object);
    }
    run->seen++;
    ct_operator_note_namespace(run->settings, PROGRAM, pod);
    run->refused += verdict.decision.outcome == CT_OUTCOME_DENIED;
    if (run->settings->output == CT_OUTPUT_TEXT) {
        print_pod(run, pod, &verdict);
        return 0;
    }
    return json_array_append_new(run->pods, ct_explain_json(pod, &verdict)) == 0
               ? 0
               : ct_err_set(err, CT_ENOMEM, "out of memory for the answer");
}

static int finish(const struct run *run, struct ct_err *err)
{
    if (run->settings->output == CT_OUTPUT_JSON) {
        if (ct_explain_json_write(run->pods, err) < 0) {
            return CT_EXIT_REFUSED;
        }
    } else if (run->seen == 0) {
        (void)fprintf(stderr, PROGRAM ": note: the manifest holds no pod\n");
    }
    return run->refused > 0 ? CT_EXIT_REFUSED : CT_EXIT_GOOD;
}

static int work(void *cls, struct ct_err *err)
{
    struct ct_operator_settings *settings = cls;
    CT_AUTO_YAML yaml = {.n = 0};
    CT_AUTO_JSON pods = json_array();
    struct run run = {.settings = settings, .paint = ct_paint_for(stdout), .pods = pods};
    const char *what = "";
    if ((settings->file != NULL) == (settings->object != NULL)) {
        (void)ct_err_set(err, CT_EINVAL,
                         "name what to explain: a manifest by --file, or KIND/NAME in the cluster");
        return CT_EXIT_USAGE;
    }
    int r = settings->object != NULL ? ct_cli_cluster_check_object(settings->object, err) : 0;
    r = r < 0 ? r : ct_operator_know(settings, true, err);
    r = r < 0 ? r : ct_operator_read(settings, &yaml, &what, err);
    if (r < 0) {
        return ct_operator_status(r);
    }
    r = ct_manifest_each(&yaml, what, ct_operator_namespace_of(settings), visit, &run, err);
    if (r < 0) {
        return r == -CT_EINVAL ? CT_EXIT_USAGE : CT_EXIT_REFUSED;
    }
    return finish(&run, err);
}

int ct_explain_run(int argc, char **argv)
{
    return ct_operator_run(ct_explain_table(), argc, argv, work);
}
