// SPDX-License-Identifier: Apache-2.0
#include "lack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "guard.h"
#include "rights.h"

#define BTF "/sys/kernel/btf/vmlinux"

static bool has_btf(void)
{
    struct stat st;
    return stat(BTF, &st) == 0 && st.st_size > 0;
}

// kernel_lockdown(7): the choice in brackets. False where securityfs is not to be seen.
static bool is_confidential(void)
{
    char line[128] = "";
    CT_AUTO_FILE file = fopen("/sys/kernel/security/lockdown", "re");
    return file != NULL && fgets(line, sizeof(line), file) != NULL &&
           strstr(line, "[confidentiality]") != NULL;
}

int ct_lack_tell(const char *words, bool beside, struct ct_err *err)
{
    int number = errno;
    if (ct_rights_check_capabilities(err) < 0) {
        return ct_err_wrap(err, "the kernel takes no BPF programs of ours");
    }
    if (!has_btf()) {
        return ct_err_set(err, CT_ESYSTEM,
                          "this kernel has no BTF at " BTF ", by which programs are fitted to it: "
                          "it has to be built with CONFIG_DEBUG_INFO_BTF=y, and nothing is "
                          "enforced here");
    }
    if (is_confidential()) {
        return ct_err_set(err, CT_ESYSTEM,
                          "this kernel is locked down (lockdown=confidentiality) and lets no BPF "
                          "program read it: boot with lockdown=integrity or less, and nothing is "
                          "enforced here until then");
    }
    if (number == EPERM && beside && access(CT_GUARD_PINS, F_OK) == 0) {
        return ct_err_set(
            err, CT_EDENIED,
            "the kernel takes no BPF programs of ours (EPERM): this node's agent runs, and lets "
            "nobody else load any; ask it, by its log or its metrics");
    }
    errno = number;
    return ct_err_errno(err, "the kernel takes no BPF programs of ours (%s)", words);
}
