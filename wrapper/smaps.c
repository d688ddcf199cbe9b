// SPDX-License-Identifier: Apache-2.0
#include "smaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int ct_smaps_open(struct ct_smaps *s, pid_t pid)
{
    char path[40] = "/proc/self/smaps";
    if (pid != 0) {
        (void)snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
    }
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    s->end = false;
    s->at = 0;
    s->len = 0;
    return s->fd < 0 ? -errno : 0;
}

void ct_smaps_close(struct ct_smaps *s)
{
    ct_close_fd(&s->fd);
    s->fd = -1;
}

// Moves what is left to the front and reads more behind it.
static void fill(struct ct_smaps *s)
{
    memmove(s->text, s->text + s->at, s->len - s->at);
    s->len -= s->at;
    s->at = 0;
    ssize_t n = 0;
    if (s->len < sizeof(s->text)) {
        do {
            n = read(s->fd, s->text + s->len, sizeof(s->text) - s->len);
        } while (n < 0 && errno == EINTR);
    }
    if (n <= 0) {
        s->end = true;
    } else {
        s->len += (size_t)n;
    }
}

// The next line, terminated in place; NULL at the end. A path longer than the buffer is cut into
// lines of which only the first means anything.
static char *next_line(struct ct_smaps *s)
{
    for (;;) {
        char *line = s->text + s->at;
        char *newline = memchr(line, '\n', s->len - s->at);
        if (newline != NULL) {
            *newline = '\0';
            s->at = (size_t)(newline - s->text) + 1;
            return line;
        }
        if (s->at == 0 && s->len == sizeof(s->text)) {
            s->text[s->len - 1] = '\0';
            s->at = s->len;
            return s->text;
        }
        if (s->end) {
            return NULL;
        }
        fill(s);
    }
}

// "55f741610000-55f741612000 r--p 00000000 fe:00 9978095    /bin/app"
static bool parse_header(const char *line, struct ct_mapping *m)
{
    char *rest;
    uintptr_t start = strtoul(line, &rest, 16);
    if (rest == line || *rest != '-') {
        return false;
    }
    uintptr_t end = strtoul(rest + 1, &rest, 16);
    if (*rest != ' ' || strlen(rest) < 5 || end <= start) {
        return false;
    }
    *m = (struct ct_mapping){
        .start = start,
        .end = end,
        .readable = rest[1] == 'r',
        .writable = rest[2] == 'w',
        .special = strstr(rest, " [v") != NULL,
        .secret = strstr(rest, " /secretmem") != NULL,
    };
    return true;
}

static bool has_flag(const char *flags, const char *flag)
{
    const char *found = strstr(flags, flag);
    return found != NULL && found[-1] == ' ' && (found[2] == ' ' || found[2] == '\0');
}

bool ct_smaps_next(struct ct_smaps *s, struct ct_mapping *ret)
{
    static const char dirty[] = "Private_Dirty:";
    static const char flags[] = "VmFlags:";
    bool inside = false;
    for (char *line = next_line(s); line != NULL; line = next_line(s)) {
        if (!inside) {
            inside = parse_header(line, ret);
        } else if (strncmp(line, dirty, sizeof(dirty) - 1) == 0) {
            ret->dirty = strtoul(line + sizeof(dirty) - 1, NULL, 10) > 0;
        } else if (strncmp(line, flags, sizeof(flags) - 1) == 0) {
            ret->locked = has_flag(line, "lo");
            ret->dont_dump = has_flag(line, "dd");
            return true; // the last line of each mapping
        }
    }
    return false;
}
