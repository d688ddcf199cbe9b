// SPDX-License-Identifier: Apache-2.0
// Stands for the agent where there is none, so that the attacks on it are seen to succeed: pins two maps into a folder
// of that form (usage: row_stand_in FOLDER), and sleeps.
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int pin(const char *folder, const char *name)
{
    char path[256];
    union bpf_attr map = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    memcpy(map.map_name, name, strlen(name));
    long fd = syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map));
    snprintf(path, sizeof(path), "%s/maps/%s", folder, name);
    union bpf_attr attr = {.pathname = (unsigned long)path, .bpf_fd = (unsigned)fd};
    return fd >= 0 && syscall(SYS_bpf, BPF_OBJ_PIN, &attr, sizeof(attr)) == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    char path[256];
    if (argc != 2) {
        return 64;
    }
    snprintf(path, sizeof(path), "%s/maps", argv[1]);
    (void)mkdir(argv[1], 0700);
    (void)mkdir(path, 0700);
    if (pin(argv[1], "ct_pids") != 0 || pin(argv[1], "ct_marks") != 0 ||
        pin(argv[1], "ct_config") != 0) {
        perror("row_stand_in");
        return 1;
    }
    for (;;) {
        pause();
    }
}
