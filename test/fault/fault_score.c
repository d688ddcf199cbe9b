// SPDX-License-Identifier: Apache-2.0
//
// fault-score [plain]: goes the wrapper's way from its first proof to the app's release, with a made
// up secret and token, and prints the score's lines. Exit 0 when the app got its secret.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "proof.h"
#include "secmem.h"

#define VALUE "a-made-up-value"

static int be_app(void)
{
    const char *value = getenv("SECRET");
    return value != NULL && strcmp(value, VALUE) == 0 ? 0 : 1;
}

static void print_score(const struct ct_facts *facts)
{
    struct ct_score score;
    char line[256];
    ct_score_compute(facts, &score);
    for (size_t i = 0; ct_score_format(&score, i, line, sizeof(line)); i++) {
        (void)puts(line);
    }
}

// Spelled out letter by letter, so that no copy of it lies in this program.
static char *make_token(void)
{
    char *token = ct_arena_calloc(1, 33);
    for (int i = 0; token != NULL && i < 32; i++) {
        token[i] = (char)('a' + (i * 7 + getpid()) % 26);
    }
    return token;
}

static int fail(const char *what, const struct ct_err *err)
{
    (void)printf("%s: %s\n", what, err->msg);
    return 1;
}

static int launch(char *program, bool plain, struct ct_facts *facts)
{
    char duty[] = "app";
    char *argv[] = {program, duty, NULL};
    struct ct_secret_variable item = {ct_arena_strdup("SECRET"), ct_arena_strdup(VALUE),
                                      strlen(VALUE)};
    const struct ct_secrets secrets = {&item, 1};
    sigset_t mask;
    (void)sigemptyset(&mask);
    const struct ct_launch_spec spec = {
        .argv = argv,
        .environment = environ,
        .secrets = &secrets,
        .plain_environment = plain,
        .signal_mask = &mask,
    };
    struct ct_launched app;
    struct ct_err err = {0};
    if (ct_launch_prepare(&spec, facts, &app, &err) != 0) {
        return fail("refused", &err);
    }
    print_score(facts);
    if (ct_launch_release(&app, &err) != 0) {
        return fail("not released", &err);
    }
    int status = 1;
    (void)waitpid(app.pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "app") == 0) {
        return be_app();
    }
    static struct ct_facts facts;
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // whether it worked is the proof's business
    ct_proof_wrapper(&facts);
    char *token = make_token();
    if (token == NULL) {
        return 1;
    }
    ct_proof_token(&facts, token, strlen(token));
    return launch(argv[0], argc == 2 && strcmp(argv[1], "plain") == 0, &facts);
}
