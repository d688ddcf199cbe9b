// SPDX-License-Identifier: Apache-2.0
//
// Every library allocates in the arena. Overriding malloc, as the static program does too, covers
// what has no hook; the hooks cover what would not go through malloc.
#ifndef CT_LIBRARY_MEMORY_H
#define CT_LIBRARY_MEMORY_H

#include "err.h"

// Gives OpenSSL, libcurl and jansson the arena. Call first in the program. CT_ESYSTEM, CT_ENOMEM.
CT_CHECKED int ct_library_memory_take(struct ct_err *err);

#endif
