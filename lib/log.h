// SPDX-License-Identifier: Apache-2.0
//
// Logging for programs; libraries never log. One line an entry on stderr, written by a single
// write(2) so that lines of several processes do not mix. No allocation.
#ifndef CT_LOG_H
#define CT_LOG_H

#include <stdbool.h>

#include "cleanup.h"

enum ct_log_format {
    CT_LOG_TEXT, // "[program] message"
    CT_LOG_JSON, // {"time":"…","program":"…","level":"info","msg":"…"}
};

enum ct_log_level { CT_LOG_ERROR, CT_LOG_WARN, CT_LOG_INFO, CT_LOG_DEBUG };

// Sets name and format for the process; call once, before threads. `program` is kept, not copied.
void ct_log_init(const char *program, enum ct_log_format format);

// Leaves out what is less urgent than `level`; all is written without it. Before threads as well.
void ct_log_set_level(enum ct_log_level level);

// Writes one line; control characters in the message are shown as '?' so that input cannot forge
// lines. CT_LOG_ERROR and CT_LOG_WARN are prefixed "error: " / "warning: " in text. Thread-safe.
void ct_log(enum ct_log_level level, const char *fmt, ...) CT_PRINTF(2, 3);

// One more fact of a line, for JSON alone: a text, or (text is NULL) a number, or (flag) true or false.
struct ct_log_field {
    const char *name; // plain: it is written as it is
    const char *text; // cut at CT_LOG_FIELD_MAX bytes
    long long number;
    bool flag;
};
#define CT_LOG_FIELDS 16
#define CT_LOG_FIELD_MAX 256

// As ct_log(), with at most CT_LOG_FIELDS facts behind the message in JSON. In text the message must tell
// them itself. Texts are made as harmless as messages are.
void ct_log_record(enum ct_log_level level, const struct ct_log_field *fields, size_t n,
                   const char *fmt, ...) CT_PRINTF(4, 5);

// From now on no line waits for a reader: what stderr does not take at once is dropped. For a pipe or
// a terminal through a description of this process's own, since others may share the one there is.
// Call once; may be called while other threads log.
void ct_log_never_block(void);
// Lines that were dropped. Thread-safe.
unsigned long ct_log_dropped(void);

// The format that ct_log_init() set.
enum ct_log_format ct_log_format(void);

#endif
