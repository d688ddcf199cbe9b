// SPDX-License-Identifier: Apache-2.0
#include "json.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "text.h"

// jansson's own texts quote the document ("near '…'"), which may be a secret: never shown.
static const char *const causes[] = {
    [json_error_stack_overflow] = "it is nested too deeply",
    [json_error_invalid_utf8] = "it is not UTF-8",
    [json_error_premature_end_of_input] = "it ends too early",
    [json_error_end_of_input_expected] = "something follows its end",
    [json_error_invalid_syntax] = "invalid syntax",
    [json_error_null_byte_in_key] = "a key holds a NUL character",
    [json_error_numeric_overflow] = "a number is out of range",
};

static const char *cause_of(enum json_error_code code)
{
    if ((size_t)code < CT_ARRAY_LEN(causes) && causes[code] != NULL) {
        return causes[code];
    }
    return "invalid syntax";
}

static void *(*take_memory)(size_t) = malloc;

static size_t depth_max = JSON_PARSER_MAX_DEPTH;

// Of the parse under way, one a thread.
static _Thread_local struct {
    bool parsing;
    bool starved;
} state;

static void *take(size_t size)
{
    void *p = state.parsing && state.starved ? NULL : take_memory(size);
    state.starved = state.starved || p == NULL;
    return p;
}

void ct_json_set_memory(void *(*alloc)(size_t), void (*give_back)(void *))
{
    take_memory = alloc;
    json_set_alloc_funcs(take, give_back);
}

void ct_json_set_depth(size_t max)
{
    depth_max = max;
}

// Shows the key whose closing quote is the last of these bytes.
static void show_key(const char *data, size_t end, struct ct_shown *ret)
{
    size_t last = end - 1;
    size_t start = last;
    for (bool open = false; start > 0 && !open;) {
        size_t escapes = 0;
        start--;
        while (escapes < start && data[start - escapes - 1] == '\\') {
            escapes++;
        }
        open = data[start] == '"' && escapes % 2 == 0;
    }
    (void)ct_text_show(ret, data + start + 1, last - start - 1);
}

// What jansson made of a text that it could not keep is never used. *ret_key is for the key that stands
// twice.
static json_t *load(const char *data, size_t len, struct ct_shown *ret_key, json_error_t *error)
{
    state.starved = false;
    state.parsing = true;
    json_t *doc = json_loadb(data, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, error);
    state.parsing = false;
    if (state.starved) {
        json_decref(doc);
        doc = NULL;
        error->line = -1; // out of memory, as ct_json_parse() takes it
    } else if (doc == NULL && json_error_code(error) == json_error_duplicate_key &&
               error->position > 1) {
        show_key(data, (size_t)error->position, ret_key);
    }
    return doc;
}

// Length of the string literal that starts at `s` with its quote.
static size_t string_literal(const char *s, size_t len)
{
    size_t i = 1;
    while (i < len && s[i] != '"') {
        i += s[i] == '\\' ? 2 : 1;
    }
    return i < len ? i + 1 : len;
}

static size_t number_literal(const char *s, size_t len)
{
    size_t i = 0;
    while (i < len && (ct_text_is_alnum(s[i]) || (s[i] != '\0' && strchr("+-.", s[i]) != NULL))) {
        i++;
    }
    return i;
}

// Is this a whole number that 64 bits do not hold?
static bool is_huge_integer(const char *s, size_t len)
{
    static const char limits[][20] = {"9223372036854775807", "9223372036854775808"};
    size_t sign = len > 0 && s[0] == '-';
    size_t digits = len - sign;
    if (digits < 19 || (digits == 19 && memcmp(s + sign, limits[sign], 19) <= 0)) {
        return false;
    }
    for (size_t i = sign; i < len; i++) {
        if (!ct_text_is_digit(s[i])) {
            return false;
        }
    }
    return true;
}

// Copies the document, ".0" behind each huge integer, which makes it a real to jansson.
static void mark_huge_integers(const char *data, size_t len, struct ct_buf *out)
{
    size_t i = 0;
    while (i < len && !out->failed) {
        size_t n = 1;
        if (data[i] == '"') {
            n = string_literal(data + i, len - i);
        } else if (data[i] == '-' || ct_text_is_digit(data[i])) {
            n = number_literal(data + i, len - i);
        }
        ct_buf_add(out, data + i, n);
        if (is_huge_integer(data + i, n)) {
            ct_buf_add(out, ".0", 2);
        }
        i += n;
    }
}

// Is it nested more deeply than it may be? What is no JSON is told by the parser, which goes no further
// than its first mistake.
static bool is_too_deep(const char *data, size_t len)
{
    size_t depth = 0;
    for (size_t i = 0; i < len && depth <= depth_max; i++) {
        if (data[i] == '"') {
            i += string_literal(data + i, len - i) - 1;
        } else if (data[i] == '[' || data[i] == '{') {
            depth++;
        } else if ((data[i] == ']' || data[i] == '}') && depth > 0) {
            depth--;
        }
    }
    return depth > depth_max;
}

int ct_json_parse(const char *data, size_t len, const char *what, json_t **ret, struct ct_err *err)
{
    json_error_t error;
    struct ct_shown key;
    *ret = NULL;
    if (len == 0) {
        return ct_err_set(err, CT_EINVAL, "%s is empty, and JSON is expected", what);
    }
    if (depth_max < JSON_PARSER_MAX_DEPTH && is_too_deep(data, len)) {
        return ct_err_set(err, CT_EINVAL, "%s is not valid JSON here: %s", what,
                          causes[json_error_stack_overflow]);
    }
    json_t *doc = load(data, len, &key, &error);
    enum json_error_code code = doc == NULL ? json_error_code(&error) : json_error_unknown;
    if (doc == NULL && error.line >= 0 && code == json_error_numeric_overflow) {
        CT_AUTO_SECRET_BUF marked = {.max = len * 2, .secret = true};
        mark_huge_integers(data, len, &marked);
        if (!marked.failed) {
            doc = load(marked.data, marked.len, &key, &error);
        }
        code = doc != NULL     ? json_error_unknown
               : marked.failed ? json_error_out_of_memory
                               : json_error_code(&error);
    }
    int line = error.line;
    int column = error.column;
    explicit_bzero(&error, sizeof(error));
    // Before its first token jansson runs out of memory without a word: no line, no cause.
    if (doc == NULL && (code == json_error_out_of_memory || line < 0)) {
        return ct_err_set(err, CT_ENOMEM, "out of memory while parsing %s", what);
    }
    if (doc == NULL && code == json_error_duplicate_key) {
        return ct_err_set(
            err, CT_EINVAL,
            "%s is not valid JSON (line %d, column %d): the key \"%s\" stands twice in "
            "one object",
            what, line, column, key.text);
    }
    if (doc == NULL) {
        return ct_err_set(err, CT_EINVAL, "%s is not valid JSON (line %d, column %d): %s", what,
                          line, column, cause_of(code));
    }
    *ret = doc;
    return 0;
}

const char *ct_json_str(const json_t *obj, const char *key)
{
    const json_t *value = json_object_get(obj, key);
    const char *s = json_string_value(value);
    return s != NULL && strlen(s) == json_string_length(value) ? s : NULL;
}

json_t *ct_json_at(const json_t *obj, ...)
{
    // jansson's look-up takes a const object and gives a mutable member; one cast stays here for
    // the case that the list is empty.
    json_t *at = (json_t *)(uintptr_t)obj;
    va_list args;
    va_start(args, obj);
    const char *key = va_arg(args, const char *);
    while (key != NULL && at != NULL) {
        at = json_object_get(at, key);
        key = va_arg(args, const char *);
    }
    va_end(args);
    return at;
}
