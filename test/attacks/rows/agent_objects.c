// SPDX-License-Identifier: Apache-2.0
// Take hold of one of the agent's maps, by its pin and by its number.
#include <errno.h>

#include "ring.h"
#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    if (row_open_pin(row_pin("maps/ct_marks")) >= 0) {
        return ROW_LEAKED;
    }
    int number = errno;
    if (row_find_map("ct_marks") != 0) {
        return ROW_LEAKED;
    }
    errno = number;
    return row_from_errno("bpf");
}
