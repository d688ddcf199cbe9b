// SPDX-License-Identifier: Apache-2.0
// Take I/O ports by ioperm(2) and iopl(2).
#include <sys/io.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    (void)victim;
    if (ioperm(0x80, 1, 1) == 0) {
        return ROW_LEAKED;
    }
    enum row_result ports = row_from_errno("ioperm");
    return iopl(3) == 0 ? ROW_LEAKED : ports;
}
