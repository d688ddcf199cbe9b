// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser inject: what the webhook would do to a manifest.
#include "apply.h"
#include "command.h"
#include "decide.h"
#include "explain_json.h"
#include "input.h"
#include "operator.h"
#include "words.h"

#define MAX_OUTPUT ((size_t)256 << 20)
#define PROGRAM "cloudtaser inject"

static const char *const outputs[] = {"yaml", "json", NULL};

static const struct ct_option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = CT_OPTION_CHOICE,
    .offset = offsetof(struct ct_operator_settings, output),
    .fallback = "yaml",
    .argument = "FORMAT",
    .choices = outputs,
    .help = "How the manifest is written; as JSON several documents become one List. With "
            "--explain, json tells it as `cloudtaser explain -o json` does.",
};

static const struct ct_option explain_option = {
    .name = "explain",
    .kind = CT_OPTION_BOOL,
    .offset = offsetof(struct ct_operator_settings, explain),
    .fallback = "false",
    .help = "Tell in words what would be done and why, instead of writing the manifest.",
};

const struct ct_option_table *ct_inject_table(void)
{
    static struct ct_operator_table table;
    const struct ct_option own[] = {ct_operator_file, ct_operator_namespace, explain_option,
                                    output_option};
    return ct_operator_table(
        &table, PROGRAM,
        "Writes the manifest as the webhook would change it. Pods, and the templates of "
        "Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs, "
        "CronJobs, PodTemplates and Lists of these are looked at; all else passes through. Order "
        "is kept, comments are lost. Exit status: 0; 1 when the webhook would refuse a pod "
        "(nothing is written then); 2 for bad options or a manifest that cannot be read.",
        own, CT_ARRAY_LEN(own),
        "What `kubectl get nodes -o json` prints. Without it the cluster is asked if --kubeconfig, "
        "--context or --from-cluster is given; else the nodes' part of a minimum score is not "
        "judged, and no node affinity is written.");
}

struct run {
    const struct ct_operator_settings *settings;
    json_t *told; // with --explain, for CT_OUTPUT_JSON
    size_t pods;
    size_t refused;
    bool nodes_left_out;
};

static void complain(const struct run *run, const struct ct_manifest_pod *pod, const char *what,
                     const char *sentence)
{
    char room[64];
    (void)fprintf(stderr, PROGRAM ": %s%s, %s%s: ", what, ct_input_name(run->settings->file),
                  ct_words_place(pod, room, sizeof(room)), pod->object);
    ct_terminal_text(stderr, sentence);
    (void)fputc('\n', stderr);
}

static void warn(const struct run *run, const struct ct_manifest_pod *pod, const json_t *warnings)
{
    size_t i;
    json_t *warning;
    json_array_foreach(warnings, i, warning)
    {
        complain(run, pod, "warning: ", json_string_value(warning));
    }
}

static int visit(void *cls, const struct ct_manifest_pod *pod, struct ct_err *err)
{
    struct run *run = cls;
    CT_AUTO_VERDICT verdict = {.patch = NULL};
    struct ct_err why = {0};
    run->pods++;
    ct_operator_note_namespace(run->settings, PROGRAM, pod);
    int r = ct_decide(&run->settings->webhook, run->settings->nodes, run->settings->namespaces, pod,
                      &verdict, &why);
    if (r == -CT_ENOMEM) {
        return ct_err_set(err, CT_ENOMEM, "%s", why.msg);
    }
    if (r < 0) { // the webhook could not answer: the API server would not let it in
        run->refused++;
        complain(run, pod, "", why.msg);
        return 0;
    }
    bool denied = verdict.decision.outcome == CT_OUTCOME_DENIED;
    run->refused += denied;
    run->nodes_left_out = run->nodes_left_out || verdict.decision.nodes_left_out;
    if (run->settings->explain && run->settings->output == CT_OUTPUT_JSON) {
        return json_array_append_new(run->told, ct_explain_json(pod, &verdict)) == 0
                   ? 0
                   : ct_err_set(err, CT_ENOMEM, "out of memory for the answer");
    }
    if (run->settings->explain) {
        ct_words_tell(stdout, ct_paint_for(stdout), pod, &verdict);
        return 0;
    }
    if (denied) {
        complain(run, pod, "", verdict.decision.sentence);
    }
    warn(run, pod, verdict.warnings);
    return verdict.patch != NULL ? ct_apply_patch(pod->template, verdict.patch, err) : 0;
}

static void note(const struct run *run)
{
    if (run->pods == 0) {
        (void)fprintf(stderr, PROGRAM ": note: the manifest holds no pod\n");
    }
    if (run->nodes_left_out) {
        (void)fprintf(stderr,
                      PROGRAM ": note: no nodes are known, so it was not judged whether one "
                              "reaches the minimum score, and no node affinity was "
                              "written; give --nodes-file for that\n");
    }
}

// One document as it is, several in a List: what comes out is one JSON text.
CT_CHECKED static int write_json(const struct ct_yaml *yaml, struct ct_err *err)
{
    CT_AUTO_JSON items = json_array();
    for (size_t i = 0; i < yaml->n; i++) {
        if (!json_is_null(yaml->documents[i].value)) {
            (void)json_array_append(items, yaml->documents[i].value);
        }
    }
    if (json_array_size(items) == 0) {
        return 0;
    }
    CT_AUTO_JSON whole =
        json_array_size(items) == 1
            ? json_incref(json_array_get(items, 0))
            : json_pack("{s:s,s:s,s:O}", "apiVersion", "v1", "kind", "List", "items", items);
    CT_AUTO_STR text = whole != NULL ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    if (text == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the manifest");
    }
    (void)puts(text);
    return 0;
}

CT_CHECKED static int write_manifest(const struct ct_operator_settings *settings,
                                     const struct ct_yaml *yaml, struct ct_err *err)
{
    CT_AUTO_BUF out = {.max = MAX_OUTPUT};
    if (settings->output == CT_OUTPUT_JSON) {
        return write_json(yaml, err);
    }
    int r = ct_yaml_write(yaml, &out, err);
    if (r == 0 && out.len > 0) {
        (void)fwrite(out.data, 1, out.len, stdout);
    }
    return r;
}

static int work(void *cls, struct ct_err *err)
{
    struct ct_operator_settings *settings = cls;
    CT_AUTO_YAML yaml = {.n = 0};
    CT_AUTO_JSON told = json_array();
    struct run run = {.settings = settings, .told = told};
    const char *what = "";
    int r = ct_operator_know(settings, false, err);
    r = r < 0 ? r : ct_operator_read(settings, &yaml, &what, err);
    if (r < 0) {
        return ct_operator_status(r);
    }
    r = ct_manifest_each(&yaml, what, ct_operator_namespace_of(settings), visit, &run, err);
    if (r < 0) {
        return r == -CT_EINVAL ? CT_EXIT_USAGE : CT_EXIT_REFUSED;
    }
    note(&run);
    if (settings->explain) {
        r = settings->output == CT_OUTPUT_JSON ? ct_explain_json_write(told, err) : 0;
    } else if (run.refused == 0) {
        r = write_manifest(settings, &yaml, err);
    }
    return r < 0 || run.refused > 0 ? CT_EXIT_REFUSED : CT_EXIT_GOOD;
}

int ct_inject_run(int argc, char **argv)
{
    return ct_operator_run(ct_inject_table(), argc, argv, work);
}
