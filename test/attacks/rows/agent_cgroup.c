// SPDX-License-Identifier: Apache-2.0
// Freeze the agent's cgroup, which is /agent.
#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    enum row_result result = row_write("/sys/fs/cgroup/agent/cgroup.freeze", "1");
    if (result == ROW_LEAKED) {
        (void)row_write("/sys/fs/cgroup/agent/cgroup.freeze", "0");
    }
    return result;
}
