// SPDX-License-Identifier: Apache-2.0
//
// Scripts of shells and command lines of launchers, from images and manifests: whatever they hold, the
// reader comes to its end and stays within them.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "launcher.h"
#include "script.h"

#define WORDS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

// The text as a command line of up to WORDS words, cut at its lines.
static void parse_as_arguments(char *text)
{
    const char *argv[WORDS];
    size_t argc = 0;
    for (char *word = strtok(text, "\n"); word != NULL && argc < WORDS; word = strtok(NULL, "\n")) {
        argv[argc++] = word;
    }
    struct ct_launcher launcher = ct_launcher_find(argc > 0 ? argv[0] : "", argv, argc);
    must(launcher.name == NULL || launcher.skip <= argc);
    struct ct_shell_line line;
    ct_shell_parse(argv, argc, &line);
    must(line.text == NULL || line.file == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // Not terminated, and no byte longer than it says.
    char *text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    char *exact = malloc(size > 0 ? size : 1);
    must(exact != NULL);
    memcpy(exact, data, size);
    enum ct_script_kind kind = ct_script_judge(exact, size);
    must(kind != CT_SCRIPT_EXEC || memmem(exact, size, "exec", 4) != NULL);
    must(!ct_script_uses(exact, size, "NAME") || memmem(exact, size, "NAME", 4) != NULL);
    text[size] = '\0';
    parse_as_arguments(text);
    free(exact);
    free(text);
    return 0;
}
