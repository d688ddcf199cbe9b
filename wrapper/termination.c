// SPDX-License-Identifier: Apache-2.0
#include "termination.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

void ct_termination_write(const char *path, const char *sentence)
{
    struct stat st;
    char text[CT_TERMINATION_MAX];
    // O_NONBLOCK so that a FIFO put in its place is an error rather than a wait for its reader.
    CT_AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return;
    }
    size_t len = strnlen(sentence, sizeof(text) - 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)sentence[i];
        text[i] = c < ' ' || c == 0x7f ? '?' : sentence[i];
    }
    text[len++] = '\n';
    // What an app wrote that was to be started again goes.
    ssize_t written = ftruncate(fd, 0) == 0 ? write(fd, text, len) : -1;
    (void)written;
}
