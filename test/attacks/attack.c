// SPDX-License-Identifier: Apache-2.0
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u
#define BLOCK 65536u

bool attack_needle_load(const char *path, struct attack_needle *ret)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        fprintf(stderr, "cannot open the needle %s: %s\n", path, strerror(errno));
        return false;
    }
    setvbuf(f, NULL, _IONBF, 0);
    ret->len = fread(ret->data, 1, sizeof(ret->data), f);
    fclose(f);
    if (ret->len > 0 && ret->data[ret->len - 1] == '\n') {
        ret->len--;
    }
    if (ret->len < ATTACK_MIN_NEEDLE) {
        fprintf(stderr, "the needle %s is shorter than %d bytes\n", path, ATTACK_MIN_NEEDLE);
        return false;
    }
    return true;
}

bool attack_arguments(int argc, char **argv, pid_t *ret_pid, struct attack_needle *ret_needle)
{
    char *end = NULL;
    long pid = argc == 3 ? strtol(argv[1], &end, 10) : 0;
    if (pid <= 0 || *end != '\0') {
        fprintf(stderr, "usage: %s PID NEEDLEFILE\n", argv[0]);
        return false;
    }
    *ret_pid = (pid_t)pid;
    return attack_needle_load(argv[2], ret_needle);
}

static bool is_kernels(const char *name)
{
    return strncmp(name, "[vvar", 5) == 0 || strcmp(name, "[vsyscall]") == 0 ||
           strcmp(name, "[vdso]") == 0;
}

static bool parse_mapping(const char *line, struct attack_mapping *ret)
{
    char permissions[5] = "";
    int name_at = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %*s %n", &ret->start, &ret->end,
               permissions, &name_at) < 3) {
        return false;
    }
    ret->readable = permissions[0] == 'r';
    snprintf(ret->name, sizeof(ret->name), "%.*s",
             (int)(name_at > 0 ? strcspn(line + name_at, "\n") : 0), line + name_at);
    if (ret->name[0] == '\0') {
        snprintf(ret->name, sizeof(ret->name), "[anonymous]");
    }
    return true;
}

bool attack_map_load(pid_t pid, struct attack_map *ret)
{
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "re");
    ret->item = NULL;
    ret->n = 0;
    if (f == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        struct attack_mapping one;
        struct attack_mapping *grown;
        if (!parse_mapping(line, &one) || is_kernels(one.name)) {
            continue;
        }
        grown = realloc(ret->item, (ret->n + 1) * sizeof(*grown));
        if (grown == NULL) {
            break;
        }
        ret->item = grown;
        ret->item[ret->n++] = one;
    }
    fclose(f);
    if (ret->n == 0) {
        errno = ESRCH;
    }
    return ret->n > 0;
}

void attack_map_done(struct attack_map *map)
{
    free(map->item);
    map->item = NULL;
    map->n = 0;
}

const void *attack_find(const struct attack_needle *needle, const void *data, size_t len)
{
    return memmem(data, len, needle->data, needle->len);
}

static void count_hits(const struct attack_mapping *m, const struct attack_needle *needle,
                       const unsigned char *data, size_t len, uint64_t address,
                       struct attack_scan *ret)
{
    const unsigned char *at = data;
    while ((at = attack_find(needle, at, len - (size_t)(at - data))) != NULL) {
        if (ret->hits++ == 0) {
            snprintf(ret->hit_name, sizeof(ret->hit_name), "%s", m->name);
            ret->hit_address = address + (uint64_t)(at - data);
        }
        at++;
    }
}

// Reads a block of a mapping: the bytes had, 0 when its first page is refused.
static size_t read_block(attack_read_fn *read_fn, void *cls, uint64_t address,
                         unsigned char *buffer, size_t len, struct attack_scan *ret)
{
    ssize_t n = read_fn(cls, address, buffer, len);
    if (n <= 0 && len > PAGE) {
        n = read_fn(cls, address, buffer, PAGE);
    }
    if (n <= 0) {
        ret->refused_errno = n < 0 ? errno : EIO;
        return 0;
    }
    return (size_t)n;
}

static void scan_mapping(const struct attack_mapping *m, const struct attack_needle *needle,
                         attack_read_fn *read_fn, void *cls, struct attack_scan *ret)
{
    static unsigned char buffer[ATTACK_NEEDLE_MAX + BLOCK];
    size_t kept = 0; // the end of the last block, for a needle that lies across two
    unsigned long long had = 0, refused = 0;
    for (uint64_t at = m->start; at < m->end;) {
        size_t len = m->end - at < BLOCK ? (size_t)(m->end - at) : BLOCK;
        size_t n = read_block(read_fn, cls, at, buffer + kept, len, ret);
        if (n == 0) {
            refused += PAGE;
            at += PAGE;
            kept = 0;
            continue;
        }
        count_hits(m, needle, buffer, kept + n, at - kept, ret);
        had += n;
        at += n;
        size_t keep = kept + n < needle->len - 1 ? kept + n : needle->len - 1;
        memmove(buffer, buffer + kept + n - keep, keep);
        kept = keep;
    }
    ret->bytes += had;
    ret->mappings += had > 0;
    ret->refused_bytes += refused;
    if (refused > 0) {
        ret->refused_mappings++;
        snprintf(ret->refused_name, sizeof(ret->refused_name), "%s", m->name);
    }
    explicit_bzero(buffer, sizeof(buffer));
}

void attack_scan(const struct attack_map *map, const struct attack_needle *needle,
                 attack_read_fn *read_fn, void *cls, struct attack_scan *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < map->n; i++) {
        if (map->item[i].readable) {
            scan_mapping(&map->item[i], needle, read_fn, cls, ret);
        }
    }
}

enum attack_result attack_tell(const char *vector, const struct attack_scan *scan)
{
    if (scan->hits > 0) {
        printf("%s: LEAKED: found %zu times, first at %#" PRIx64 " in %s\n", vector, scan->hits,
               scan->hit_address, scan->hit_name);
        return ATTACK_LEAKED;
    }
    if (scan->refused_mappings > 0) {
        printf("%s: not found in %llu KiB of %zu mappings; %llu KiB of %zu refused (%s, %s)\n",
               vector, scan->bytes / 1024, scan->mappings, scan->refused_bytes / 1024,
               scan->refused_mappings, strerrorname_np(scan->refused_errno), scan->refused_name);
    } else {
        printf("%s: not found in %llu KiB of %zu mappings\n", vector, scan->bytes / 1024,
               scan->mappings);
    }
    return ATTACK_REFUSED;
}

enum attack_result attack_tell_refused(const char *vector, const char *what)
{
    int cause = errno;
    if (cause == ENOSYS || cause == ESRCH) {
        printf("%s: not applicable: %s: %s\n", vector, what, strerror(cause));
        return ATTACK_NOT_APPLICABLE;
    }
    printf("%s: refused: %s (%s)\n", vector, what, strerrorname_np(cause));
    return ATTACK_REFUSED;
}
