// SPDX-License-Identifier: Apache-2.0
#include "words.h"

#include <string.h>

#include "annotation.h"
#include "json.h"
#include "shape.h"

static const char *const outcomes[CT_OUTCOME_COUNT] = {
    [CT_OUTCOME_SKIPPED] = "left as it is: " CT_ANNOTATION_INJECT " is not \"true\"",
    [CT_OUTCOME_PATCHED] = "would be protected",
    [CT_OUTCOME_UNCHANGED] = "has everything already, and would not be changed",
    [CT_OUTCOME_DENIED] = "would be refused: ",
    [CT_OUTCOME_UNPROTECTED] = "would be let in without protection (mode audit): ",
};

// What operations below a path of the pod are there for; in the order of telling.
static const struct {
    const char *path;
    const char *words;
} changes[] = {
    {"/spec/initContainers", "the init container " CT_SHAPE_INJECTOR " comes first; it copies the "
                             "wrapper into the pod"},
    {"/spec/volumes", "the volumes " CT_SHAPE_VOLUME " (the wrapper) and " CT_SHAPE_IDENTITY
                      " (short-lived tokens) are added, mounted read-only where needed"},
    {"/spec/affinity", "required node affinity keeps the pod off nodes that give too little"},
    {"/metadata/annotations", "the annotation " CT_ANNOTATION_STATUS " says that it was done"},
};

const char *ct_words_place(const struct ct_manifest_pod *pod, char *room, size_t size)
{
    room[0] = '\0';
    if (pod->line > 0) {
        (void)snprintf(room, size, "document %zu (line %zu), ", pod->document, pod->line);
    }
    return room;
}

void ct_words_outcome(FILE *out, const struct ct_paint *paint, const struct ct_manifest_pod *pod,
                      const struct ct_verdict *verdict)
{
    const struct ct_decision *d = &verdict->decision;
    bool bad = d->outcome == CT_OUTCOME_DENIED || d->outcome == CT_OUTCOME_UNPROTECTED;
    bool good = d->outcome == CT_OUTCOME_PATCHED || d->outcome == CT_OUTCOME_UNCHANGED;
    char room[64];
    (void)fprintf(out, "%s%s%s%s: %s%s%s", ct_words_place(pod, room, sizeof(room)), paint->strong,
                  pod->object, paint->end,
                  bad    ? paint->bad
                  : good ? paint->good
                         : "",
                  outcomes[d->outcome], bad || good ? paint->end : "");
    ct_terminal_text(out, bad ? d->sentence : "");
    (void)fputc('\n', out);
}

static void tell_containers(FILE *out, const struct ct_story *story)
{
    for (size_t i = 0; i < story->n_containers; i++) {
        const struct ct_story_container *container = &story->containers[i];
        (void)fprintf(out, "  %s %s: ", container->kind, container->name);
        if (!container->wrap) {
            (void)fputs("left alone\n", out);
        } else if (container->wrapped) {
            (void)fprintf(out, "%s starts %s already\n", CT_SHAPE_WRAPPER, container->program);
        } else {
            (void)fprintf(out, "%s takes the place of %s, and starts it\n", CT_SHAPE_WRAPPER,
                          container->program);
        }
    }
}

static void tell_variables(FILE *out, const struct ct_story *story)
{
    for (size_t i = 0; i < story->n_variables; i++) {
        const struct ct_story_variable *variable = &story->variables[i];
        (void)fprintf(out, "  variable %s%s%s: %s of %s", variable->name,
                      variable->where[0] != '\0' ? " of " : "", variable->where, variable->ref.key,
                      variable->ref.path);
        if (variable->ref.version != 0) {
            (void)fprintf(out, ", version %u", variable->ref.version);
        }
        (void)fputc('\n', out);
    }
    if (story->more_variables > 0) {
        (void)fprintf(out, "  and %zu references more\n", story->more_variables);
    }
    if (story->config.paths[0] != '\0') {
        (void)fprintf(out, "  each key of %s becomes a variable of that name\n",
                      story->config.paths);
    }
}

static void tell_vault(FILE *out, const struct ct_config *config)
{
    (void)fprintf(out, "  Vault: %s, login by %s", config->vault_address,
                  ct_auth_name(config->auth));
    if (config->role[0] != '\0') {
        (void)fprintf(out, " as role %s", config->role);
    }
    if (config->vault_namespace[0] != '\0') {
        (void)fprintf(out, ", namespace %s", config->vault_namespace);
    }
    (void)fprintf(out, "%s\n", config->skip_verify ? "; its certificate is not checked" : "");
}

static void tell_changes(FILE *out, const json_t *patch)
{
    for (size_t k = 0; k < CT_ARRAY_LEN(changes); k++) {
        size_t i;
        json_t *operation;
        bool found = false;
        json_array_foreach(patch, i, operation)
        {
            const char *path = ct_json_str(operation, "path");
            found = found ||
                    (path != NULL && strncmp(path, changes[k].path, strlen(changes[k].path)) == 0);
        }
        if (found) {
            (void)fprintf(out, "  %s\n", changes[k].words);
        }
    }
}

// ", by the namespace's label (annotation 40)": whose minimum it is, and what others ask for.
static void tell_sources(FILE *out, const struct ct_minimum *m)
{
    static const char *const names[CT_SOURCE_COUNT] = {
        [CT_SOURCE_ANNOTATION] = "annotation",
        [CT_SOURCE_VARIABLE] = "variable",
        [CT_SOURCE_OPERATOR] = "operator",
        [CT_SOURCE_NAMESPACE] = "namespace's label",
    };
    const char *separator = ", by ";
    const char *end = "";
    for (int i = 0; i < CT_SOURCE_COUNT; i++) {
        if (m->asked[i] == m->points) {
            (void)fprintf(out, "%s%s", separator, names[i]);
            separator = " and ";
        }
    }
    separator = " (";
    for (int i = 0; i < CT_SOURCE_COUNT; i++) {
        if (m->asked[i] != 0 && m->asked[i] != m->points) {
            (void)fprintf(out, "%s%s %d", separator, names[i], m->asked[i]);
            separator = ", ";
            end = ")";
        }
    }
    (void)fputs(end, out);
}

void ct_words_minimum(FILE *out, const struct ct_verdict *verdict)
{
    const struct ct_story *story = &verdict->story;
    const struct ct_minimum *m = &story->minimum;
    if (!story->told) {
        return;
    }
    if (m->points == 0) {
        (void)fprintf(out, "  minimum: none; the pod gives %d of %d points by itself", m->pod_share,
                      ct_score_max());
    } else {
        (void)fprintf(out, "  minimum: %d of %d points", m->points, ct_score_max());
        tell_sources(out, m);
        (void)fprintf(out, "; the pod gives %d by itself, ", m->pod_share);
        if (m->points > m->pod_share) {
            (void)fprintf(out, "its node must give %d", m->points - m->pod_share);
        } else {
            (void)fputs("which suffices", out);
        }
    }
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        if ((m->require & (1U << i)) != 0) {
            (void)fprintf(out, "; %s must pass", ct_check_info((enum ct_check)i)->name);
        }
    }
    (void)fputc('\n', out);
}

void ct_words_warnings(FILE *out, const struct ct_verdict *verdict)
{
    size_t i;
    json_t *warning;
    json_array_foreach(verdict->warnings, i, warning)
    {
        (void)fputs("  warning: ", out);
        ct_terminal_text(out, json_string_value(warning));
        (void)fputc('\n', out);
    }
}

void ct_words_tell(FILE *out, const struct ct_paint *paint, const struct ct_manifest_pod *pod,
                   const struct ct_verdict *verdict)
{
    const struct ct_story *story = &verdict->story;
    enum ct_outcome outcome = verdict->decision.outcome;
    ct_words_outcome(out, paint, pod, verdict);
    if (outcome == CT_OUTCOME_PATCHED || outcome == CT_OUTCOME_UNCHANGED) {
        tell_containers(out, story);
        tell_variables(out, story);
        tell_vault(out, &story->config);
        tell_changes(out, verdict->patch);
        ct_words_minimum(out, verdict);
    }
    ct_words_warnings(out, verdict);
}
