// SPDX-License-Identifier: Apache-2.0
// Have the kernel run a program of ours in place of every other.
#include <sys/mount.h>
#include <sys/stat.h>

#include "row.h"

enum row_result row_attack(const struct row_victim *victim)
{
    const char *folder = "/tmp/row-binfmt";
    (void)victim;
    mkdir(folder, 0700);
    if (mount("binfmt_misc", folder, "binfmt_misc", 0, NULL) != 0) {
        return row_from_errno("mount");
    }
    // What begins with letters that nothing begins with.
    enum row_result result =
        row_write("/tmp/row-binfmt/register", ":row:M::no-program-begins-so::/tmp/row:");
    if (result == ROW_LEAKED) {
        (void)row_write("/tmp/row-binfmt/row", "-1");
    }
    umount(folder);
    return result;
}
