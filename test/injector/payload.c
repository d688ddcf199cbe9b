// SPDX-License-Identifier: Apache-2.0
// What the injector under test takes for the wrapper: it says "running" until its input ends.
#include <unistd.h>

int main(void)
{
    char c;
    if (write(STDOUT_FILENO, "running\n", 8) != 8) {
        return 1;
    }
    while (read(STDIN_FILENO, &c, 1) > 0) {
    }
    return 0;
}
