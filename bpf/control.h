// SPDX-License-Identifier: Apache-2.0
//
// How an operator speaks with a running agent: a socket without a file, in the network namespace of both, for root in the
// agent's own cgroup, which is where `kubectl exec` puts a command.
#ifndef CT_CONTROL_H
#define CT_CONTROL_H

#include "registrar.h"

// The name, unless the options say otherwise.
#define CT_CONTROL_NAME "cloudtaser-agent"

struct ct_control;

// Listens. Errors: CT_ESYSTEM; CT_EINVAL when the name is too long; CT_EUNAVAIL when another process has it.
CT_CHECKED int ct_control_new(const char *name, struct ct_control **ret, struct ct_err *err);
void ct_control_free(struct ct_control *control); // takes NULL
CT_DEFINE_AUTO(ct_control, ct_control_free);

// Readable when somebody has come. Borrowed.
int ct_control_fd(const struct ct_control *control);
// Does what one caller asks for, if there is one; waits 100 ms at most, for those that are allowed to ask.
void ct_control_handle(struct ct_control *control, struct ct_registrar *registrar);

// The other side. One of pid and cgroup is not 0; *ret is how many processes lost their protection. Errors: CT_EUNAVAIL
// when no agent answers, else the agent's.
CT_CHECKED int ct_control_unprotect(const char *name, pid_t pid, uint64_t cgroup, unsigned *ret,
                                    struct ct_err *err);

// `cloudtaser-agent unprotect`: returns its exit status.
int ct_unprotect_main(int argc, char **argv);

#endif
