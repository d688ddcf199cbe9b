// SPDX-License-Identifier: Apache-2.0
#include "starts.h"

#include <string.h>

#include "json.h"
#include "launcher.h"
#include "ref.h"
#include "script.h"

#define WORDS_MAX 64

#define WHY_MANY " (start the program itself in command:)"
#define WHY_DELIVER " (as its annotation " CT_ANNOTATION_PREFIX "launcher asks)"

// The strings of command (without what wraps it) and args, as the launcher table wants them.
static size_t collect_words(const struct ct_container *container, const char *words[WORDS_MAX])
{
    size_t n = 0;
    const json_t *lists[] = {container->command, container->args};
    size_t from = ct_container_command_start(container);
    for (size_t l = 0; l < CT_ARRAY_LEN(lists); l++) {
        for (size_t i = from; i < json_array_size(lists[l]) && n < WORDS_MAX; i++) {
            words[n++] = json_string_value(json_array_get(lists[l], i));
        }
        from = 0;
    }
    return n;
}

static bool uses_secret(const struct ct_case *c, const struct ct_container *container,
                        const char *text, size_t len)
{
    for (size_t i = 0; i < c->annotations.n_variables; i++) {
        if (ct_script_uses(text, len, c->annotations.variables[i].name)) {
            return true;
        }
    }
    size_t i;
    json_t *variable;
    json_array_foreach(container->env, i, variable)
    {
        const char *value = ct_json_str(variable, "value");
        if (value != NULL && ct_ref_present(value) &&
            ct_script_uses(text, len, ct_json_str(variable, "name"))) {
            return true;
        }
    }
    return false;
}

// NULL: the shell will be followed, or its script lies in the image.
static const char *judge_shell(const struct ct_case *c, const struct ct_container *container,
                               const char *const *words, size_t n)
{
    struct ct_shell_line line;
    ct_shell_parse(words, n, &line);
    if (line.text == NULL) {
        return line.file == NULL ? CT_SCRIPT_WHY_UNREAD : NULL;
    }
    size_t len = strlen(line.text);
    if (uses_secret(c, container, line.text, len)) {
        return CT_SCRIPT_WHY_USES;
    }
    enum ct_script_kind kind = ct_script_judge(line.text, len);
    return len > CT_SCRIPT_MAX || kind == CT_SCRIPT_CHILDREN ||
                   (kind == CT_SCRIPT_ONE && line.startup)
               ? CT_SCRIPT_WHY_CHILDREN
               : NULL;
}

void ct_starts_judge(const struct ct_case *c, const struct ct_container *container,
                     struct ct_starts *ret)
{
    const char *words[WORDS_MAX];
    size_t n = collect_words(container, words);
    *ret = (struct ct_starts){.why = ""};
    if (n == 0 || c->annotations.launcher == CT_LAUNCHER_FOLLOW) {
        return;
    }
    struct ct_launcher launcher = ct_launcher_find(words[0], words, n);
    bool ask = c->annotations.launcher == CT_LAUNCHER_AUTO;
    if (launcher.name == NULL || (ask && launcher.kind == CT_LAUNCHER_ONE)) {
        return;
    }
    ret->why = ask ? WHY_MANY : WHY_DELIVER;
    if (ask && launcher.kind == CT_LAUNCHER_SHELL) {
        ret->why = judge_shell(c, container, words + launcher.skip, n - launcher.skip);
        if (ret->why == NULL) {
            ret->why = "";
            return;
        }
    }
    ret->launcher = launcher.name;
}
