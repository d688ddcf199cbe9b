// SPDX-License-Identifier: Apache-2.0
//
// cmocka with what it needs included before it, the assertion about errors (code and sentence), and what a test that cannot
// be done here ends with.
#ifndef CT_TEST_EXPECT_H
#define CT_TEST_EXPECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"

// The call gave -code, err says so too, and its sentence holds `part`.
static inline void expect_error(int rc, const struct ct_err *err, int code, const char *part)
{
    if (rc != -code || err->code != code || strstr(err->msg, part) == NULL) {
        fail_msg("expected code %d with \"%s\", got %d (%d) with \"%s\"", code, part, -rc,
                 err->code, err->msg);
    }
}

// The call succeeded; otherwise its sentence is shown.
static inline void expect_ok(int rc, const struct ct_err *err)
{
    if (rc < 0) {
        fail_msg("expected success, got %d: %s", rc, err->msg);
    }
}

// Where everything must run (CT_MUST_RUN), a test that does not has failed: ctest counts no skipped part of a program.
static inline void skip_for(const char *lack)
{
    if (getenv("CT_MUST_RUN") != NULL) {
        fail_msg("not done here, for want of %s", lack);
    }
    skip();
}

#endif
