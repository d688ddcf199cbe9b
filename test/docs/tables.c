// SPDX-License-Identifier: Apache-2.0
//
// Prints one of the tables that the documents hold, as Markdown: tables NAME. The options of a
// command of `cloudtaser` go by the command's name.
#include <string.h>

#include "annotation.h"
#include "command.h"
#include "metrics.h"
#include "run_main.h"
#include "score.h"
#include "settings.h"

// A cell of a Markdown table: '|' would end it.
static void print_cell(const char *text)
{
    for (; *text != '\0'; text++) {
        (void)printf("%s%c", *text == '|' ? "\\" : "", *text);
    }
}

static void print_options(void)
{
    ct_option_markdown(&ct_webhook_options, stdout);
}

static void print_agent(void)
{
    ct_option_markdown(&ct_agent_options, stdout);
}

static void print_annotations(void)
{
    struct ct_annotation_info info;
    (void)puts("| key | value | meaning |\n|---|---|---|");
    for (size_t i = 0; ct_annotation_describe(i, &info); i++) {
        (void)printf("| `%s` | ", info.name);
        print_cell(info.value);
        (void)fputs(" | ", stdout);
        print_cell(info.help);
        (void)puts(" |");
    }
}

static void print_checks(void)
{
    (void)puts("| check | points | decided by | proven about | proves |\n|---|---|---|---|---|");
    for (int i = 0; i < CT_CHECK_COUNT; i++) {
        const struct ct_check_info *info = ct_check_info((enum ct_check)i);
        (void)printf("| `%s` | %d | %s | %s | ", info->name, info->points,
                     info->node ? "node" : "pod", info->app ? "wrapper and app" : "wrapper");
        print_cell(info->proves);
        (void)puts(" |");
    }
    (void)printf("| all | %d | | | of them %d whatever the node |\n", ct_score_max(),
                 ct_score_pod_share());
}

static void print_metrics(void)
{
    ct_metrics_markdown(stdout);
}

static void print_labels(void)
{
    ct_metrics_markdown_labels(stdout);
}

// Does the webhook have it too? Those are told in docs/configuration.md.
static bool is_shared(const struct ct_option *option)
{
    for (size_t i = 0; i < ct_webhook_options.n; i++) {
        if (strcmp(ct_webhook_options.options[i].name, option->name) == 0) {
            return true;
        }
    }
    return false;
}

// A command's options; of one that takes the webhook's settings, its own.
static bool print_command(const char *name)
{
    for (size_t i = 0; i < ct_n_commands; i++) {
        if (strcmp(ct_commands[i].name, name) != 0) {
            continue;
        }
        const struct ct_option_table *whole = ct_commands[i].table();
        struct ct_option own[64];
        struct ct_option_table table = {.options = own};
        for (size_t k = 0; k < whole->n && table.n < CT_ARRAY_LEN(own); k++) {
            if (!whole->file || !is_shared(&whole->options[k])) {
                own[table.n++] = whole->options[k];
            }
        }
        ct_option_markdown(&table, stdout);
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } tables[] = {
        {"options", print_options}, {"annotations", print_annotations}, {"checks", print_checks},
        {"metrics", print_metrics}, {"labels", print_labels},           {"agent", print_agent},
    };
    for (size_t i = 0; argc == 2 && i < CT_ARRAY_LEN(tables); i++) {
        if (strcmp(argv[1], tables[i].name) == 0) {
            tables[i].print();
            return ferror(stdout) != 0;
        }
    }
    if (argc == 2 && print_command(argv[1])) {
        return ferror(stdout) != 0;
    }
    (void)fputs("usage: tables options|annotations|checks|metrics|labels|agent|COMMAND\n", stderr);
    return 2;
}
