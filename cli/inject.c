// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser inject: what the webhook would do to a manifest.
#include "apply.h"
#include "command.h"
#include "decide.h"
#include "input.h"
#include "operator.h"
#include "words.h"

#define MAX_OUTPUT ((size_t)256 << 20)
#define PROGRAM "cloudtaser inject"

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
    const struct ct_option own[] = {ct_operator_file, explain_option};
    return ct_operator_table(
        &table, PROGRAM,
        "Writes the manifest as YAML as the webhook would change it. Pods, and the templates of "
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

static int work(void *cls, struct ct_err *err)
{
    struct ct_operator_settings *settings = cls;
    CT_AUTO_YAML yaml = {.n = 0};
    CT_AUTO_BUF out = {.max = MAX_OUTPUT};
    struct run run = {.settings = settings};
    const char *what = "";
    int r = ct_operator_know(settings, false, err);
    r = r < 0 ? r : ct_operator_read(settings, &yaml, &what, err);
    if (r < 0) {
        return ct_operator_status(r);
    }
    r = ct_manifest_each(&yaml, what, visit, &run, err);
    if (r < 0) {
        return r == -CT_EINVAL ? CT_EXIT_USAGE : CT_EXIT_REFUSED;
    }
    note(&run);
    if (run.refused > 0 || settings->explain) {
        return run.refused > 0 ? CT_EXIT_REFUSED : CT_EXIT_GOOD;
    }
    if (ct_yaml_write(&yaml, &out, err) < 0) {
        return CT_EXIT_REFUSED;
    }
    if (out.len > 0) {
        (void)fwrite(out.data, 1, out.len, stdout);
    }
    return CT_EXIT_GOOD;
}

int ct_inject_run(int argc, char **argv)
{
    return ct_operator_run(ct_inject_table(), argc, argv, work);
}
