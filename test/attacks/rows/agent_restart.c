// SPDX-License-Identifier: Apache-2.0
// Take hold of one of the agent's programs while it starts: from now on until a file is there (UNTIL), whatever program is
// loaded is asked for by its number, again and again.
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "row.h"

#define PROGRAMS_MAX 1024

static bool is_of_agent(int program)
{
    static const char *const prefixes[] = {"ct_", "cg_", "lsm_", "mod_"};
    struct bpf_prog_info info = {0};
    union bpf_attr ask = {.info = {.bpf_fd = (unsigned)program,
                                   .info_len = sizeof(info),
                                   .info = (unsigned long)&info}};
    bool is = false;
    if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &ask, sizeof(ask)) == 0) {
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
            is = is || strncmp(info.name, prefixes[i], strlen(prefixes[i])) == 0;
        }
    }
    if (is) {
        printf("taken: %s\n", info.name);
    }
    return is;
}

// 0: there is none behind it.
static unsigned next_program(unsigned id)
{
    union bpf_attr attr = {.start_id = id};
    return syscall(SYS_bpf, BPF_PROG_GET_NEXT_ID, &attr, sizeof(attr)) == 0 ? attr.next_id : 0;
}

// Whether it was one of the agent's, and is in hand; *refused: it is not to be had.
static bool take(unsigned id, bool *refused)
{
    union bpf_attr get = {.prog_id = id};
    int fd = (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &get, sizeof(get));
    *refused = fd < 0 && errno == EPERM;
    bool taken = fd >= 0 && is_of_agent(fd);
    if (fd >= 0) {
        close(fd);
    }
    return taken;
}

enum row_result row_attack(const struct row_victim *victim)
{
    static unsigned ids[PROGRAMS_MAX];
    static bool was_refused[PROGRAMS_MAX];
    const struct timespec step = {.tv_nsec = 1000000L};
    const char *until = getenv("UNTIL");
    unsigned n = 0;
    unsigned refused = 0;
    unsigned taken = 0;
    unsigned last = 0;
    (void)victim;
    for (unsigned id; (id = next_program(last)) != 0;) {
        last = id;
    }
    puts("begins");
    fflush(stdout);
    while (until != NULL && access(until, F_OK) != 0) {
        for (unsigned id; n < PROGRAMS_MAX && (id = next_program(last)) != 0; last = id) {
            ids[n++] = id;
        }
        for (unsigned i = 0; i < n; i++) {
            bool is_refused = false;
            taken += take(ids[i], &is_refused) ? 1 : 0;
            refused += is_refused && !was_refused[i] ? 1 : 0;
            was_refused[i] = was_refused[i] || is_refused;
        }
        nanosleep(&step, NULL);
    }
    printf("%u programs were refused, %u taken\n", refused, taken);
    return taken > 0 ? ROW_LEAKED : ROW_REFUSED;
}
