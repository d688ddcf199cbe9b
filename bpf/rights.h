// SPDX-License-Identifier: Apache-2.0
//
// The process's capabilities: what is not needed any more is given up for good.
#ifndef CT_RIGHTS_H
#define CT_RIGHTS_H

#include "err.h"

// The sentence about the capability that the process would need to be the agent and has not; 0 when it has all.
// Errors: -CT_EDENIED, -CT_ESYSTEM.
CT_CHECKED int ct_rights_check_capabilities(struct ct_err *err);

// The sentence about what a process lacks to be the agent at all; 0 when it lacks nothing. Errors: -CT_EDENIED.
CT_CHECKED int ct_rights_check(struct ct_err *err);

// Enters the first cgroup namespace: paths of cgroups are then told from the hierarchy's root, and its root is where
// programs are attached. Errors: -CT_ESYSTEM, -CT_EDENIED: this is another one, of whose root a program says nothing about
// the node.
CT_CHECKED int ct_rights_see_cgroups(struct ct_err *err);

// Keeps CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_KILL of what the process
// has, and gives up all others, also for programs that it might execute. Errors: -CT_ESYSTEM.
CT_CHECKED int ct_rights_drop(struct ct_err *err);

// Gives up every capability of the process, also for programs that it might execute. Errors: -CT_ESYSTEM.
CT_CHECKED int ct_rights_drop_all(struct ct_err *err);

#endif
