// SPDX-License-Identifier: Apache-2.0
//
// Why a kernel takes no BPF programs of ours, in a sentence that says what to change.
#ifndef CT_LACK_H
#define CT_LACK_H

#include <stdbool.h>

#include "err.h"

// Right after the load that failed, by errno. `words` are libbpf's own, told where nothing better is known; `beside`: this
// is not the node's agent, which would keep others from loading. Always fails.
CT_CHECKED int ct_lack_tell(const char *words, bool beside, struct ct_err *err);

#endif
