// SPDX-License-Identifier: Apache-2.0
#include "story.h"

#include <string.h>

#include "json.h"
#include "text.h"

static void copy_container(const struct ct_container *from, struct ct_story_container *to)
{
    struct ct_shown shown;
    struct ct_shown name;
    const char *program =
        json_string_value(json_array_get(from->command, ct_container_command_start(from)));
    to->kind = ct_container_kind(from);
    to->wrap = from->wrap;
    to->wrapped = from->wrapped;
    (void)snprintf(to->name, sizeof(to->name), "%.63s",
                   ct_text_show(&name, from->name, strlen(from->name)));
    if (program != NULL) {
        (void)snprintf(to->program, sizeof(to->program), "%s",
                       ct_text_show(&shown, program, strlen(program)));
    }
}

static void copy_minimum(const struct ct_case *c, struct ct_story *story)
{
    const struct ct_minimum *m = &c->minimum;
    story->minimum = *m;
    story->launcher = m->launcher;
    story->launcher_why = m->launcher_why;
    if (m->launched != NULL) {
        struct ct_shown name;
        (void)snprintf(story->launched, sizeof(story->launched), "%s %.60s",
                       ct_container_kind(m->launched),
                       ct_text_show(&name, m->launched->name, strlen(m->launched->name)));
    }
    if (m->runtime_class != NULL) {
        struct ct_shown shown;
        (void)snprintf(story->runtime_class, sizeof(story->runtime_class), "%.63s",
                       ct_text_show(&shown, m->runtime_class, strlen(m->runtime_class)));
    }
    story->minimum.launcher = NULL;
    story->minimum.launched = NULL;
    story->minimum.runtime_class = NULL;
}

static void add_variable(struct ct_story *story, const char *name, const char *where,
                         const struct ct_ref *ref)
{
    struct ct_shown shown;
    if (story->n_variables == CT_STORY_MAX_VARIABLES) {
        story->more_variables++;
        return;
    }
    struct ct_story_variable *variable = &story->variables[story->n_variables++];
    (void)snprintf(variable->name, sizeof(variable->name), "%s",
                   ct_text_show(&shown, name, strlen(name)));
    (void)snprintf(variable->where, sizeof(variable->where), "%s", where);
    variable->ref = *ref;
}

// Is it one that an annotation makes? Those stand in an injected pod's containers too.
static bool is_annotated(const struct ct_case *c, const char *name)
{
    for (size_t i = 0; i < c->annotations.n_variables; i++) {
        if (strcmp(c->annotations.variables[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void copy_references(const char *name, const char *value, const char *where,
                            struct ct_story *story)
{
    struct ct_ref_part *parts = NULL;
    size_t n = 0;
    if (ct_ref_split(value, &parts, &n, NULL) < 0) {
        return; // the decision's sentence tells what is wrong with it
    }
    for (size_t i = 0; i < n; i++) {
        if (parts[i].is_ref) {
            add_variable(story, name, where, &parts[i].ref);
        }
    }
    free(parts);
}

static void copy_variables(const struct ct_case *c, struct ct_story *story)
{
    for (size_t i = 0; i < c->annotations.n_variables; i++) {
        const struct ct_annotation_variable *variable = &c->annotations.variables[i];
        add_variable(story, variable->name, "", &variable->ref);
    }
    for (size_t i = 0; i < c->n_containers; i++) {
        const struct ct_container *container = &c->containers[i];
        struct ct_shown shown;
        char where[80];
        size_t k;
        json_t *entry;
        (void)snprintf(where, sizeof(where), "%s %.60s", ct_container_kind(container),
                       ct_text_show(&shown, container->name, strlen(container->name)));
        json_array_foreach(container->wrap ? container->env : NULL, k, entry)
        {
            const char *name = ct_json_str(entry, "name");
            const char *value = ct_json_str(entry, "value");
            if (name != NULL && value != NULL && ct_ref_present(value) && !is_annotated(c, name)) {
                copy_references(name, value, where, story);
            }
        }
    }
}

// What was allocated for the request will be gone: everything is copied.
void ct_story_see(void *cls, const struct ct_case *c)
{
    struct ct_story *story = cls;
    size_t n_nodes = ct_nodes_count(c->nodes);
    story->told = true;
    story->config = c->config;
    copy_minimum(c, story);
    story->containers = calloc(c->n_containers + 1, sizeof(*story->containers));
    story->variables = calloc(CT_STORY_MAX_VARIABLES, sizeof(*story->variables));
    story->nodes = calloc(n_nodes + 1, sizeof(*story->nodes));
    if (story->containers == NULL || story->variables == NULL || story->nodes == NULL) {
        story->failed = true;
        return;
    }
    for (size_t i = 0; i < c->n_containers; i++) {
        copy_container(&c->containers[i], &story->containers[story->n_containers++]);
    }
    copy_variables(c, story);
    for (size_t i = 0; i < n_nodes; i++) {
        struct ct_story_node *node = &story->nodes[story->n_nodes++];
        node->node = ct_nodes_at(c->nodes, i);
        ct_minimum_look_at(c, node->node, &node->look);
    }
}

void ct_story_done(struct ct_story *story)
{
    free(story->containers);
    free(story->variables);
    free(story->nodes);
    *story = (struct ct_story){0};
}

enum ct_story_check ct_story_check(const struct ct_story *story, enum ct_check check)
{
    uint32_t bit = 1U << check;
    if ((story->minimum.lost & bit) != 0) {
        return check == CT_CHECK_TOKEN_PROTECTED ? CT_STORY_TOKEN : CT_STORY_LAUNCHER;
    }
    if (!ct_check_info(check)->node) {
        return CT_STORY_POD;
    }
    return (story->minimum.counted & bit) != 0 ? CT_STORY_NODE : CT_STORY_RUNTIME;
}
