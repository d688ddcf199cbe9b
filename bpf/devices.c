// SPDX-License-Identifier: Apache-2.0
#include "devices.h"

#include <bpf/bpf.h>
#include <string.h>

#include "cleanup.h"

#define UNSAFE_VFIO "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

__u32 ct_devices_major(FILE *devices, const char *driver)
{
    char line[128];
    while (fgets(line, sizeof(line), devices) != NULL && strncmp(line, "Block", 5) != 0) {
        unsigned major;
        char name[64];
        if (sscanf(line, "%u %63s", &major, name) == 2 && strcmp(name, driver) == 0) {
            return major;
        }
    }
    return 0;
}

static __u32 major_of(const char *driver)
{
    CT_AUTO_FILE devices = fopen("/proc/devices", "re");
    return devices != NULL ? ct_devices_major(devices, driver) : 0;
}

static bool begins_with(const char *path, int letter)
{
    CT_AUTO_FILE file = fopen(path, "re");
    return file != NULL && fgetc(file) == letter;
}

bool ct_devices_has_crash_kernel(void)
{
    return begins_with("/sys/kernel/kexec_crash_loaded", '1');
}

void ct_devices_watch(int map, bool strict)
{
    const __u32 key = 0;
    const struct ct_majors majors = {
        .uio = major_of("uio"),
        .vfio = strict || begins_with(UNSAFE_VFIO, 'Y') ? major_of("vfio") : 0};
    (void)bpf_map_update_elem(map, &key, &majors, BPF_ANY);
}
