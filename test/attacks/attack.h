// SPDX-License-Identifier: Apache-2.0
//
// What the attack programs share: a needle that they look for in another process's memory, the map
// of that memory, and one way to tell what came of it. Each program reads by one vector only.
//
// usage: attack_NAME PID NEEDLEFILE    exit 0: refused or not found, 1: leaked, 2: not applicable
#ifndef CT_ATTACK_H
#define CT_ATTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum attack_result {
    ATTACK_REFUSED = 0,
    ATTACK_LEAKED = 1,
    ATTACK_NOT_APPLICABLE = 2,
};

#define ATTACK_NEEDLE_MAX 4096
#define ATTACK_MIN_NEEDLE 6 // shorter ones are found by chance

struct attack_needle {
    unsigned char data[ATTACK_NEEDLE_MAX];
    size_t len;
};

// One line of /proc/PID/maps.
struct attack_mapping {
    uint64_t start, end;
    bool readable;
    char name[96];
};

struct attack_map {
    struct attack_mapping *item;
    size_t n;
};

// Reads bytes of the victim at an address: how many, or -1 with errno. A short read is allowed.
typedef ssize_t attack_read_fn(void *cls, uint64_t address, void *buffer, size_t len);

struct attack_scan {
    unsigned long long bytes; // that could be read
    size_t mappings;          // of which something could be read
    size_t refused_mappings;  // of which nothing or not all could be read
    unsigned long long refused_bytes;
    int refused_errno;     // of the last refusal
    char refused_name[96]; // of the last mapping refused
    size_t hits;
    char hit_name[96]; // the first hit's mapping
    uint64_t hit_address;
};

// argv[1] and argv[2] of every attack program. False, with a sentence, when they make no sense.
bool attack_arguments(int argc, char **argv, pid_t *ret_pid, struct attack_needle *ret_needle);
// One trailing newline of the file is not part of the needle.
bool attack_needle_load(const char *path, struct attack_needle *ret);

// Reads /proc/PID/maps. False with errno. Free with attack_map_done().
bool attack_map_load(pid_t pid, struct attack_map *ret);
void attack_map_done(struct attack_map *map);

// Looks for the needle in every readable mapping; what cannot be read is counted and passed over,
// page by page. The kernel's own pages ([vvar], [vsyscall], …) hold nothing and are left out.
void attack_scan(const struct attack_map *map, const struct attack_needle *needle,
                 attack_read_fn *read_fn, void *cls, struct attack_scan *ret);
// The needle's first place in a buffer, or NULL.
const void *attack_find(const struct attack_needle *needle, const void *data, size_t len);

// Prints what came of a scan, as one sentence on stdout.
enum attack_result attack_tell(const char *vector, const struct attack_scan *scan);
// Prints "vector: refused: what (ERRNO)" for one step that failed as a whole.
enum attack_result attack_tell_refused(const char *vector, const char *what);

#endif
