// SPDX-License-Identifier: Apache-2.0
//
// Memory for one request: a bump allocator of the calling thread, emptied all at once. While it is
// open, jansson allocates from it; the rest of the time, and in other threads, from malloc.
#ifndef CT_WEBHOOK_SCRATCH_H
#define CT_WEBHOOK_SCRATCH_H

#include <jansson.h>
#include <stddef.h>

#define CT_SCRATCH_MAX ((size_t)96 << 20) // bytes that one request may take

// Gives jansson these functions. Once a process, before jansson is used and before threads.
void ct_scratch_install(void);

// Between open and close the thread's jansson objects live in the scratch; none may outlive close,
// which frees them all. Does not nest. Under AddressSanitizer every object is malloc's instead, so
// that its overflows and leaks are seen.
void ct_scratch_open(void);
// Drops the request's document (may be NULL) and all else: no walk through the document is needed.
void ct_scratch_close_json(json_t *document);

// 16-byte aligned; NULL when CT_SCRATCH_MAX is used up or memory is out. Zeroed. While no scratch is
// open this is calloc, and ct_scratch_free() must be called.
void *ct_scratch_calloc(size_t n, size_t size);
void ct_scratch_free(void *p);

// Has an allocation of this thread been refused since open, or since forgotten? 0, -CT_ETOOBIG
// (CT_SCRATCH_MAX) or -CT_ENOMEM. To be asked after every parse: a jansson that cannot grow its buffer
// drops a character of a string and goes on (2.14), without an error.
int ct_scratch_failure(void);
void ct_scratch_forget_failure(void);

#endif
