// SPDX-License-Identifier: Apache-2.0
#include "learn.h"

#include <bpf/bpf.h>

#define LEAST 5 // that each kernel has

// What instruction `i` of a program calls; 0: nothing.
static int look(int looker, int program, __u32 i, __s32 *ret, struct ct_err *err)
{
    const __u64 context[] = {(__u64)program, i, 0, 0};
    LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = context, .ctx_size_in = sizeof(context));
    if (bpf_prog_test_run_opts(looker, &run) != 0) {
        return ct_err_errno(err, "cannot look at how this kernel writes BPF programs");
    }
    *ret = (__s32)run.retval;
    return 0;
}

int ct_learn_reading(struct bpf_object *base, __s32 ret[CT_READING_CALLS], struct ct_err *err)
{
    const struct bpf_program *looker = bpf_object__find_program_by_name(base, "ct_look");
    const struct bpf_program *reading = bpf_object__find_program_by_name(base, "ct_reading");
    struct bpf_prog_info info = {0};
    __u32 size = sizeof(info);
    __s32 call = 0;
    int n = 0;
    int fd = bpf_program__fd(reading);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) {
        return ct_err_errno(err, "cannot ask for a BPF program's length");
    }
    for (__u32 i = 0; i < info.xlated_prog_len / sizeof(__u64); i++) {
        int rc = look(bpf_program__fd(looker), fd, i, &call, err);
        if (rc < 0) {
            return rc;
        }
        if (call != 0 && n < CT_READING_CALLS) {
            ret[n++] = call;
        }
    }
    return n >= LEAST ? 0
                      : ct_err_set(err, CT_ESYSTEM,
                                   "%d of at least %d ways in which BPF programs read memory are "
                                   "known on this kernel",
                                   n, LEAST);
}
