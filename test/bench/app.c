// SPDX-License-Identifier: Apache-2.0
//
// The wrapped program of the benchmark: ends at once, with 0 if it was given its secret. With an
// argument it stays, so that its wrapper can be looked at.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *secret = getenv("API_KEY");
    (void)argv;
    if (secret == NULL || strcmp(secret, "benchmark-secret-value") != 0) {
        return 1;
    }
    while (argc > 1) {
        (void)pause();
    }
    return 0;
}
