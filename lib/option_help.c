// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "option_internal.h"

#define WIDTH 80
#define INDENT 2
#define COLUMN_MAX 30

// The options that every program has, beside those of its table.
static const struct ct_option config_option = {
    .name = "config",
    .kind = CT_OPTION_STRING,
    .argument = "FILE",
    .help = "A JSON object of these options, their names without dashes in front as keys.",
};

static const struct ct_option common[] = {
    {.name = "help", .kind = CT_OPTION_BOOL, .help = "Show this and exit."},
    {.name = "version", .kind = CT_OPTION_BOOL, .help = "Show the version and exit."},
};

// What an option takes, as shown behind its name; "" for nothing.
static const char *argument_of(const struct ct_option *o)
{
    if (o->kind == CT_OPTION_BOOL) {
        return "";
    }
    return o->argument != NULL ? o->argument : "VALUE";
}

// "-f, " in front of "--file".
static size_t letter_length(const struct ct_option *o)
{
    return o->letter != '\0' ? strlen("-f, ") : 0;
}

static size_t label_length(const struct ct_option *o)
{
    size_t argument = strlen(argument_of(o));
    return INDENT + letter_length(o) + 2 + strlen(o->name) + (argument > 0 ? 1 + argument : 0);
}

static void find_column(const struct ct_option *options, size_t n, size_t *column)
{
    for (size_t i = 0; i < n; i++) {
        size_t need = label_length(&options[i]) + 2;
        if (!options[i].hidden && need > *column && need <= COLUMN_MAX) {
            *column = need;
        }
    }
}

// Prints words, each line starting at `column`; `*at` is the column reached.
static void print_words(FILE *out, const char *text, size_t column, size_t *at)
{
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (*at > column && *at + 1 + len > WIDTH) {
            (void)fprintf(out, "\n%*s", (int)column, "");
            *at = column;
        } else if (*at > column) {
            (void)fputc(' ', out);
            (*at)++;
        }
        (void)fwrite(text, 1, len, out);
        *at += len;
        text += len + strspn(text + len, " ");
    }
}

// "default: 10s", "required", the choices: what is worth knowing beside the sentence. "" for
// nothing.
static void describe(const struct ct_option *o, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; o->choices != NULL && o->choices[i] != NULL && len < size; i++) {
        len += (size_t)snprintf(out + len, size - len, "%s%s", i == 0 ? "One of: " : ", ",
                                o->choices[i]);
    }
    if (len > 0 && len < size) {
        len += (size_t)snprintf(out + len, size - len, ". ");
    }
    char low[32];
    char high[32];
    if (o->max != 0 && len < size) {
        (void)snprintf(low, sizeof(low), "%d", o->min);
        (void)snprintf(high, sizeof(high), "%d", o->max);
        if (o->kind == CT_OPTION_DURATION) {
            ct_option_duration_text(o->min, low, sizeof(low));
            ct_option_duration_text(o->max, high, sizeof(high));
        }
        len += (size_t)snprintf(out + len, size - len, "From %s to %s. ", low, high);
    }
    if (o->kind == CT_OPTION_LIST && len < size) {
        len += (size_t)snprintf(out + len, size - len, "Repeatable. ");
    }
    if (o->required && len < size) {
        (void)snprintf(out + len, size - len, "Required.");
    } else if (o->fallback != NULL && len < size) {
        (void)snprintf(out + len, size - len, "Default: %s.", o->fallback);
    }
}

static void print_option(FILE *out, const struct ct_option *o, size_t column)
{
    char more[512];
    const char *argument = argument_of(o);
    size_t at = label_length(o);
    char letter[8] = "";
    if (o->letter != '\0') {
        (void)snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    }
    (void)fprintf(out, "%*s%s--%s%s%s", INDENT, "", letter, o->name, argument[0] != '\0' ? " " : "",
                  argument);
    if (at + 2 > column) {
        (void)fputc('\n', out);
        at = 0;
    }
    (void)fprintf(out, "%*s", (int)(column - at), "");
    at = column;
    print_words(out, o->help != NULL ? o->help : "", column, &at);
    describe(o, more, sizeof(more));
    print_words(out, more, column, &at);
    (void)fputc('\n', out);
}

static void print_sources(const struct ct_option_table *table, FILE *out)
{
    char text[512];
    size_t at = 0;
    if (table->env_prefix != NULL) {
        (void)snprintf(text, sizeof(text),
                       "Each option can also be set by an environment variable: %s_ and its name "
                       "in capitals, '_' for '-', lists divided by commas. An empty variable "
                       "counts as none.",
                       table->env_prefix);
        (void)fputc('\n', out);
        print_words(out, text, 0, &at);
        (void)fputc('\n', out);
    }
    if (table->env_prefix != NULL || table->file) {
        (void)fprintf(out, "\nWhat counts, first to last: flag%s%s, default.\n",
                      table->env_prefix != NULL ? ", environment" : "",
                      table->file ? ", file" : "");
    }
}

void ct_option_help(const struct ct_option_table *table, FILE *out)
{
    size_t column = 0;
    size_t at = 0;
    find_column(table->options, table->n, &column);
    find_column(common, CT_ARRAY_LEN(common), &column);
    (void)fprintf(out, "Usage: %s [OPTION]...%s%s\n\n", table->program,
                  table->operands != NULL ? " " : "",
                  table->operands != NULL ? table->operands : "");
    print_words(out, table->summary, 0, &at);
    (void)fputs("\n\nOptions:\n", out);
    for (size_t i = 0; i < table->n; i++) {
        if (!table->options[i].hidden) {
            print_option(out, &table->options[i], column);
        }
    }
    if (table->file) {
        print_option(out, &config_option, column);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(common); i++) {
        print_option(out, &common[i], column);
    }
    print_sources(table, out);
}

// A cell of a Markdown table: '|' would end it.
static void print_cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            (void)fputc('\\', out);
        }
        (void)fputc(*text, out);
    }
}

static void print_row(FILE *out, const struct ct_option *o)
{
    char more[512];
    const char *argument = argument_of(o);
    describe(o, more, sizeof(more));
    (void)fprintf(out, "| `--%s%s%s` | ", o->name, argument[0] != '\0' ? " " : "", argument);
    print_cell(out, o->help != NULL ? o->help : "");
    (void)fputs(" | ", out);
    size_t len = strlen(more);
    while (len > 0 && more[len - 1] == ' ') {
        more[--len] = '\0';
    }
    print_cell(out, more);
    (void)fputs(" |\n", out);
}

void ct_option_markdown(const struct ct_option_table *table, FILE *out)
{
    (void)fputs("| Option | Meaning | Values |\n|---|---|---|\n", out);
    for (size_t i = 0; i < table->n; i++) {
        if (!table->options[i].hidden) {
            print_row(out, &table->options[i]);
        }
    }
    if (table->file) {
        print_row(out, &config_option);
    }
}
