// SPDX-License-Identifier: Apache-2.0
#include "patch.h"

#include <stdarg.h>
#include <stdio.h>

void ct_patch_done(struct ct_patch *p)
{
    ct_buf_done(&p->text);
}

static void begin(struct ct_patch *p, const char *op, const char *path)
{
    ct_buf_add_str(&p->text, p->n == 0 ? "[{\"op\":\"" : ",{\"op\":\"");
    ct_buf_add_str(&p->text, op);
    ct_buf_add_str(&p->text, "\",\"path\":\"");
    ct_buf_add_str(&p->text, path);
    p->n++;
}

void ct_patch_begin(struct ct_patch *p, const char *op, const char *path_fmt, ...)
{
    char path[256];
    va_list args;
    va_start(args, path_fmt);
    (void)vsnprintf(path, sizeof(path), path_fmt, args);
    va_end(args);
    begin(p, op, path);
    ct_buf_add_str(&p->text, "\",\"value\":");
}

void ct_patch_end(struct ct_patch *p)
{
    ct_buf_add(&p->text, "}", 1);
}

void ct_patch_add(struct ct_patch *p, const char *value, const char *path_fmt, ...)
{
    char path[256];
    va_list args;
    va_start(args, path_fmt);
    (void)vsnprintf(path, sizeof(path), path_fmt, args);
    va_end(args);
    begin(p, "add", path);
    ct_buf_add_str(&p->text, "\",\"value\":");
    ct_buf_add_str(&p->text, value);
    ct_patch_end(p);
}

void ct_patch_move(struct ct_patch *p, const char *from, const char *path)
{
    begin(p, "move", path);
    ct_buf_add_str(&p->text, "\",\"from\":\"");
    ct_buf_add_str(&p->text, from);
    ct_buf_add_str(&p->text, "\"}");
}

void ct_patch_finish(struct ct_patch *p)
{
    if (p->n > 0) {
        ct_buf_add(&p->text, "]", 1);
    }
}
