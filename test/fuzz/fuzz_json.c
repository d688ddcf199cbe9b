// SPDX-License-Identifier: Apache-2.0
//
// JSON documents: parsing gives a document or a sentence, what is written parses back, and a bound of
// their depth lets none in that is deeper.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "json.h"

#define DEPTH 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

// Every string of the document, written by ct_buf_add_json(), is read back as it was.
static void check_string(const json_t *value)
{
    CT_AUTO_BUF out = {.max = (size_t)1 << 24};
    CT_AUTO_JSON back = NULL;
    struct ct_err err = {0};
    ct_buf_add_str(&out, "[");
    ct_buf_add_json(&out, json_string_value(value), json_string_length(value));
    ct_buf_add_str(&out, "]");
    must(!out.failed);
    must(ct_json_parse(out.data, out.len, "what was written", &back, &err) == 0);
    must(json_equal(json_array_get(back, 0), value));
}

static void walk(json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_string(value)) {
        check_string(value);
    }
    json_object_foreach(value, key, member)
    {
        const char *s = ct_json_str(value, key);
        must(s == NULL || json_is_string(member));
        must(ct_json_at(value, key, NULL) == member);
        walk(member);
    }
    json_array_foreach(value, i, member)
    {
        walk(member);
    }
}

static size_t depth_of(json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    size_t below = 0;
    json_object_foreach(value, key, member)
    {
        size_t depth = depth_of(member);
        below = depth > below ? depth : below;
    }
    json_array_foreach(value, i, member)
    {
        size_t depth = depth_of(member);
        below = depth > below ? depth : below;
    }
    return json_is_object(value) || json_is_array(value) ? below + 1 : 0;
}

static void check_bound(const uint8_t *data, size_t size, json_t *whole)
{
    CT_AUTO_JSON doc = NULL;
    ct_json_set_depth(DEPTH);
    int rc = ct_json_parse((const char *)data, size, "the input", &doc, NULL);
    ct_json_set_depth(JSON_PARSER_MAX_DEPTH);
    must(rc != 0 || (whole != NULL && depth_of(whole) <= DEPTH));
    must(doc == NULL || json_equal(doc, whole));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CT_AUTO_JSON doc = NULL;
    struct ct_err err = {0};
    int rc = ct_json_parse((const char *)data, size, "the input", &doc, &err);
    must(rc == -err.code && (rc == 0) == (doc != NULL));
    must(rc == 0 || err.msg[0] != '\0');
    walk(doc);
    check_bound(data, size, doc);
    return 0;
}
