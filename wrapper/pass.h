// SPDX-License-Identifier: Apache-2.0
//
// A descriptor for a program that is stopped at its exec and did not inherit it: what its launcher had
// held, its helpers would have too. The program is made to connect to a socket of this process, which
// sends the descriptor to it and to nobody else (unix(7), SCM_RIGHTS).
#ifndef CT_PASS_H
#define CT_PASS_H

#include "err.h"
#include "inject.h"

// *ret_fd is the descriptor's number in the program. What is written below its stack pointer for this
// is put back.
CT_CHECKED int ct_pass_fd(struct ct_inject *in, int fd, int *ret_fd, struct ct_err *err);

#endif
