// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser completion: scripts for shells, written from the tables of commands and options.
#include <string.h>

#include "command.h"
#include "text.h"

#define PROGRAM "cloudtaser completion"

static const char *const shells[] = {"bash", "zsh", "fish"};

static const struct ct_option_table table = {
    .program = PROGRAM " bash|zsh|fish",
    .summary = "Prints a script that has the shell complete commands, options and their values. "
               "bash: source <(cloudtaser completion bash). zsh: source <(cloudtaser completion "
               "zsh), after compinit. fish: cloudtaser completion fish | source.",
};

const struct ct_option_table *ct_completion_table(void)
{
    return &table;
}

// What may stand behind an option.
static bool takes_file(const struct ct_option *o)
{
    return o->argument != NULL && strcmp(o->argument, "FILE") == 0;
}

static const struct ct_option extras[] = {
    {.name = "help", .kind = CT_OPTION_BOOL, .help = "Show this and exit."},
    {.name = "version", .kind = CT_OPTION_BOOL, .help = "Show the version and exit."},
    {.name = "config",
     .kind = CT_OPTION_STRING,
     .argument = "FILE",
     .help = "A JSON object of these options."},
};

// Calls `print` for each option that a command shows.
static void each_option(const struct ct_command *command,
                        void (*print)(const struct ct_command *, const struct ct_option *))
{
    const struct ct_option_table *t = command->table();
    for (size_t i = 0; i < t->n; i++) {
        if (!t->options[i].hidden) {
            print(command, &t->options[i]);
        }
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(extras); i++) {
        if (t->file || strcmp(extras[i].name, "config") != 0) {
            print(command, &extras[i]);
        }
    }
}

// Text within single quotes of a shell; `also` are characters that get a backslash.
static void print_quoted(const char *text, const char *also)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            (void)fputs("'\\''", stdout);
        } else {
            (void)printf("%s%c", strchr(also, *text) != NULL ? "\\" : "", *text);
        }
    }
}

static void print_choices(const struct ct_option *o)
{
    for (size_t i = 0; o->choices[i] != NULL; i++) {
        (void)printf("%s%s", i > 0 ? " " : "", o->choices[i]);
    }
}

static void bash_word(const struct ct_command *command, const struct ct_option *o)
{
    (void)command;
    (void)printf(" --%s", o->name);
}

// "'inject --file'|'inject -f') … ;;"
static void bash_value(const struct ct_command *command, const struct ct_option *o)
{
    if (o->kind == CT_OPTION_BOOL) {
        return;
    }
    (void)printf("    '%s --%s'", command->name, o->name);
    if (o->letter != '\0') {
        (void)printf("|'%s -%c'", command->name, o->letter);
    }
    if (o->choices != NULL) {
        (void)fputs(") COMPREPLY=($(compgen -W '", stdout);
        print_choices(o);
        (void)fputs("' -- \"$word\")); return ;;\n", stdout);
    } else if (takes_file(o)) {
        (void)fputs(") compopt -o filenames 2>/dev/null; "
                    "COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n",
                    stdout);
    } else {
        (void)fputs(") return ;;\n", stdout);
    }
}

// Does another program's command line follow behind "--"?
static bool takes_program(const struct ct_command *command)
{
    const char *operands = command->table()->operands;
    return operands != NULL && strncmp(operands, "-- ", 3) == 0;
}

// Behind "--" the shell's own commands and files are completed.
static void bash_program(const struct ct_command *command)
{
    (void)printf("    if [ \"$command\" = %s ]; then\n"
                 "        local each\n"
                 "        for each in \"${COMP_WORDS[@]:2:COMP_CWORD-2}\"; do\n"
                 "            [ \"$each\" = -- ] || continue\n"
                 "            compopt -o filenames 2>/dev/null\n"
                 "            COMPREPLY=($(compgen -c -f -- \"$word\"))\n"
                 "            return\n"
                 "        done\n"
                 "    fi\n",
                 command->name);
}

static void write_bash(void)
{
    (void)fputs("_cloudtaser() {\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                "    local command=${COMP_WORDS[1]} words=\n"
                "    COMPREPLY=()\n",
                stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        if (takes_program(&ct_commands[i])) {
            bash_program(&ct_commands[i]);
        }
    }
    (void)fputs("    case \"$command $before\" in\n", stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        each_option(&ct_commands[i], bash_value);
    }
    (void)fputs("    esac\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='", stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        (void)printf("%s ", ct_commands[i].name);
    }
    (void)fputs("--help --version'\n    else\n        case $command in\n", stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        (void)printf("        %s) words='%s", ct_commands[i].name,
                     ct_commands[i].run == ct_completion_run ? "bash zsh fish" : "");
        each_option(&ct_commands[i], bash_word);
        (void)fputs("' ;;\n", stdout);
    }
    (void)fputs("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
                "complete -F _cloudtaser cloudtaser\n",
                stdout);
}

// Of the form '(-f --file)'{-f,--file}'[help]:FILE:_files'
static void zsh_option(const struct ct_command *command, const struct ct_option *o)
{
    (void)command;
    (void)fputs(" \\\n            ", stdout);
    if (o->kind == CT_OPTION_LIST) {
        (void)printf("'*--%s", o->name);
    } else if (o->letter != '\0') {
        (void)printf("'(-%c --%s)'{-%c,--%s}'", o->letter, o->name, o->letter, o->name);
    } else {
        (void)printf("'--%s", o->name);
    }
    (void)fputc('[', stdout);
    print_quoted(o->help, "[]:\\");
    (void)fputc(']', stdout);
    if (o->kind != CT_OPTION_BOOL) {
        (void)fputc(':', stdout);
        print_quoted(o->argument != NULL ? o->argument : "VALUE", "[]:\\");
        (void)fputc(':', stdout);
    }
    if (o->choices != NULL) {
        (void)fputc('(', stdout);
        print_choices(o);
        (void)fputc(')', stdout);
    } else if (takes_file(o)) {
        (void)fputs("_files", stdout);
    }
    (void)fputc('\'', stdout);
}

// Behind "--" the shell completes as if the program's own command line stood there.
static void zsh_program(void)
{
    (void)fputs("            local end=${words[(i)--]}\n"
                "            if (( end < CURRENT )); then\n"
                "                shift $end words\n"
                "                (( CURRENT -= end ))\n"
                "                _normal\n"
                "                return\n"
                "            fi\n",
                stdout);
}

// No variable is called `commands`: that is the shell's own table, which _normal looks into.
static void write_zsh(void)
{
    (void)fputs("#compdef cloudtaser\n_cloudtaser() {\n    local -a known=(\n", stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        (void)printf("        '%s:", ct_commands[i].name);
        print_quoted(ct_commands[i].summary, ":\\");
        (void)fputs("'\n", stdout);
    }
    (void)fputs(
        "    )\n    if (( CURRENT == 2 )); then\n"
        "        if [[ $PREFIX = -* ]]; then\n"
        "            _arguments '--help[Show the commands.]' '--version[Show the version.]'\n"
        "        else\n            _describe command known\n        fi\n"
        "        return\n    fi\n"
        "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
        "    case $command in\n",
        stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        (void)printf("        %s)\n", ct_commands[i].name);
        if (takes_program(&ct_commands[i])) {
            zsh_program();
        }
        (void)fputs("            _arguments", stdout);
        each_option(&ct_commands[i], zsh_option);
        (void)fputs(ct_commands[i].run == ct_completion_run
                        ? " \\\n            '1:shell:(bash zsh fish)' ;;\n"
                        : " ;;\n",
                    stdout);
    }
    (void)fputs("    esac\n}\ncompdef _cloudtaser cloudtaser\n", stdout);
}

static void fish_text(const char *text)
{
    (void)fputs(" -d '", stdout);
    for (; *text != '\0'; text++) {
        (void)printf("%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
    }
    (void)fputs("'\n", stdout);
}

static void fish_option(const struct ct_command *command, const struct ct_option *o)
{
    (void)printf("complete -c cloudtaser -n '__fish_seen_subcommand_from %s' -l %s", command->name,
                 o->name);
    if (o->letter != '\0') {
        (void)printf(" -s %c", o->letter);
    }
    if (o->kind != CT_OPTION_BOOL) {
        (void)fputs(takes_file(o) ? " -r -F" : " -x", stdout);
    }
    if (o->choices != NULL) {
        (void)fputs(" -a '", stdout);
        print_choices(o);
        (void)fputc('\'', stdout);
    }
    fish_text(o->help);
}

static void write_fish(void)
{
    (void)fputs(
        "complete -c cloudtaser -f\n"
        "complete -c cloudtaser -n __fish_use_subcommand -l help -d 'Show the commands.'\n"
        "complete -c cloudtaser -n __fish_use_subcommand -l version -d 'Show the version.'\n"
        // Behind "--" as if the program's own command line stood there.
        "function __cloudtaser_program\n"
        "    set -l words (commandline -opc)\n"
        "    set -l at (contains -i -- -- $words); or return\n"
        "    set -e words[1..$at]\n"
        "    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))\n"
        "end\n",
        stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        (void)printf("complete -c cloudtaser -n __fish_use_subcommand -a %s", ct_commands[i].name);
        fish_text(ct_commands[i].summary);
    }
    (void)fputs("complete -c cloudtaser -n '__fish_seen_subcommand_from completion' "
                "-a 'bash zsh fish'\n",
                stdout);
    for (size_t i = 0; i < ct_n_commands; i++) {
        if (takes_program(&ct_commands[i])) {
            (void)printf(
                "complete -c cloudtaser -n '__fish_seen_subcommand_from %s; and contains -- "
                "-- (commandline -opc)' -a '(__cloudtaser_program)'\n",
                ct_commands[i].name);
        }
        each_option(&ct_commands[i], fish_option);
    }
}

static void (*const writers[])(void) = {write_bash, write_zsh, write_fish};

int ct_completion_run(int argc, char **argv)
{
    struct ct_shown shown;
    char none;
    int status;
    bool named = argc > 1 && argv[1][0] != '-';
    // The shell's name is no option: it takes the place of the command's.
    if (!ct_command_begin(&table, argc - named, argv + named, &none, &status)) {
        return status;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(shells) && named; i++) {
        if (strcmp(shells[i], argv[1]) == 0) {
            writers[i]();
            return CT_EXIT_GOOD;
        }
    }
    if (named) {
        (void)fprintf(stderr, PROGRAM ": there is none for \"%s\"; bash, zsh or fish is allowed\n",
                      ct_text_show(&shown, argv[1], strlen(argv[1])));
    } else {
        (void)fputs(PROGRAM ": name the shell: bash, zsh or fish\n", stderr);
    }
    return CT_EXIT_USAGE;
}
