// SPDX-License-Identifier: Apache-2.0
//
// ct-fault NAME[,NAME…] -- COMMAND…: runs a command in which the named system calls fail, for itself
// and for everything that it starts.
#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cleanup.h"

#define ANY (-1)
#define EXIT_USAGE 2
#define EXIT_OWN 125

struct fault {
    const char *name;
    const char *call;
    int errno_value;
    int argument; // which argument must be `value` for the call to fail; ANY: it always fails
    unsigned long value;
};

static const struct fault faults[] = {
    {"memfd_secret", "memfd_secret", ENOSYS, ANY, 0},
    {"mlock", "mlock", EPERM, ANY, 0},
    {"mlock", "mlock2", EPERM, ANY, 0},
    {"madvise", "madvise", EPERM, 2, MADV_DONTDUMP},
    {"ptrace", "ptrace", EPERM, ANY, 0},
    {"prctl", "prctl", EPERM, 0, PR_SET_DUMPABLE},
    {"process_vm", "process_vm_readv", EPERM, ANY, 0},
    {"process_vm", "process_vm_writev", EPERM, ANY, 0},
};

static int usage(void)
{
    (void)fputs("usage: ct-fault NAME[,NAME...] -- COMMAND [ARGUMENT...]\n"
                "NAME: memfd_secret (ENOSYS), mlock (mlock and mlock2), madvise (MADV_DONTDUMP),\n"
                "      ptrace, prctl (PR_SET_DUMPABLE), process_vm (readv and writev) (EPERM)\n",
                stderr);
    return EXIT_USAGE;
}

static int add_rule(scmp_filter_ctx filter, const struct fault *f)
{
    int number = seccomp_syscall_resolve_name(f->call);
    uint32_t action = SCMP_ACT_ERRNO((unsigned)f->errno_value);
    if (f->argument == ANY) {
        return seccomp_rule_add(filter, action, number, 0);
    }
    struct scmp_arg_cmp when = SCMP_CMP((unsigned)f->argument, SCMP_CMP_EQ, f->value);
    return seccomp_rule_add_array(filter, action, number, 1, &when);
}

static int add_name(scmp_filter_ctx filter, const char *name)
{
    int added = 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(faults); i++) {
        if (strcmp(faults[i].name, name) != 0) {
            continue;
        }
        int status = add_rule(filter, &faults[i]);
        if (status != 0) {
            (void)fprintf(stderr, "ct-fault: no rule for %s: %s\n", faults[i].call,
                          strerror(-status));
            return EXIT_OWN;
        }
        added++;
    }
    return added > 0 ? 0 : usage();
}

// no_new_privs would be a fault of its own: it is set only where the kernel insists on it.
static int load(scmp_filter_ctx filter)
{
    if (seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) == 0 && seccomp_load(filter) == 0) {
        return 0;
    }
    int status = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
    status = status == 0 ? seccomp_load(filter) : status;
    if (status != 0) {
        (void)fprintf(stderr, "ct-fault: no filter: %s\n", strerror(-status));
        return EXIT_OWN;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4 || strcmp(argv[2], "--") != 0) {
        return usage();
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL) {
        return EXIT_OWN;
    }
    int status = 0;
    for (char *name = strtok(argv[1], ","); status == 0 && name != NULL; name = strtok(NULL, ",")) {
        status = add_name(filter, name);
    }
    status = status == 0 ? load(filter) : status;
    seccomp_release(filter);
    if (status != 0) {
        return status;
    }
    (void)execvp(argv[3], argv + 3);
    (void)fprintf(stderr, "ct-fault: %s: %s\n", argv[3], strerror(errno));
    return EXIT_OWN;
}
