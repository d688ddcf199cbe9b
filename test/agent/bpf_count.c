// SPDX-License-Identifier: Apache-2.0
// How many BPF objects the kernel has, whoever's they are, as lines `KIND NUMBER`. It asks for their numbers alone: those of
// the agent's it would not get hold of.
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    int next; // command of bpf(2)
} kinds[] = {
    {"programs", BPF_PROG_GET_NEXT_ID},
    {"maps", BPF_MAP_GET_NEXT_ID},
    {"links", BPF_LINK_GET_NEXT_ID},
    {"btfs", BPF_BTF_GET_NEXT_ID},
};

static unsigned count(int command)
{
    union bpf_attr attr;
    unsigned n = 0;
    memset(&attr, 0, sizeof(attr));
    while (syscall(SYS_bpf, command, &attr, sizeof(attr)) == 0) {
        attr.start_id = attr.next_id;
        n++;
    }
    return n;
}

int main(void)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        printf("%s %u\n", kinds[i].name, count(kinds[i].next));
    }
    return 0;
}
