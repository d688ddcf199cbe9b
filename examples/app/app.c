// SPDX-License-Identifier: Apache-2.0
//
// A small app that knows nothing of CloudTaser: it reads its secrets from its environment, says what
// it sees of them - never the whole value - and works until SIGTERM. SIGUSR1 makes it look again.
//
//   app NAME…    the variables to look at
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 4

// Two characters at each end of a long value; of a short one nothing but its length.
static void show(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL) {
        printf("[app] %s is not set\n", name);
        return;
    }
    size_t len = strlen(value);
    if (len < (size_t)4 * SHOWN) {
        printf("[app] %s has %zu characters\n", name, len);
    } else {
        printf("[app] %s = %.*s…%s (%zu characters)\n", name, SHOWN, value, value + len - SHOWN,
               len);
    }
}

int main(int argc, char **argv)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0) {
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int got = SIGUSR1; got != SIGTERM;) {
        for (int i = 1; i < argc; i++) {
            show(argv[i]);
        }
        printf("[app] ready\n");
        if (sigwait(&signals, &got) != 0) {
            return 1;
        }
    }
    printf("[app] SIGTERM, goodbye\n");
    return 0;
}
