// SPDX-License-Identifier: Apache-2.0
#include "peek.h"

#include <string.h>

#include "cleanup.h"

// In the annotations' keys, and in the names of what is injected.
#define OURS "cloudtaser"
#define MAX_DEPTH 48
#define MAX_NUMBER 15 // characters; as many digits fit whatever type a number is read into

// Where in the document an object stands.
enum place { ELSEWHERE, ROOT, REQUEST, USER, OBJECT, METADATA };

struct scanner {
    const char *p;
    const char *end;
    unsigned seen; // bits of enum place: objects that were met
    struct ct_peek *found;
};

static const struct {
    enum place place;
    const char *key;
    size_t offset; // of the slice that takes the value
} texts[] = {
    {ROOT, "apiVersion", offsetof(struct ct_peek, api_version)},
    {ROOT, "kind", offsetof(struct ct_peek, kind)},
    {REQUEST, "uid", offsetof(struct ct_peek, uid)},
    {REQUEST, "namespace", offsetof(struct ct_peek, namespace)},
    {REQUEST, "subResource", offsetof(struct ct_peek, subresource)},
    {REQUEST, "operation", offsetof(struct ct_peek, operation)},
    {USER, "username", offsetof(struct ct_peek, user)},
    {METADATA, "name", offsetof(struct ct_peek, name)},
    {METADATA, "generateName", offsetof(struct ct_peek, generate_name)},
};

static const struct {
    enum place place;
    const char *key;
    enum place inner;
} objects[] = {
    {ROOT, "request", REQUEST},
    {REQUEST, "userInfo", USER},
    {REQUEST, "object", OBJECT},
    {OBJECT, "metadata", METADATA},
};

static bool slice_is(const struct ct_slice *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->text, text, s->len) == 0;
}

static bool take(struct scanner *s, char c)
{
    if (s->p < s->end && *s->p == c) {
        s->p++;
        return true;
    }
    return false;
}

static void skip_space(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r')) {
        s->p++;
    }
}

// Behind a backslash: the short escapes, and the three that Go's encoder writes for < > &. Others
// might spell the annotation's key.
static bool scan_escape(struct scanner *s)
{
    static const char *const html[] = {"u003c", "u003e", "u0026"};
    if (s->p < s->end && *s->p != '\0' && strchr("\"\\bfnrt", *s->p) != NULL) {
        s->p++;
        return true;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(html); i++) {
        if (s->end - s->p >= 5 && memcmp(s->p, html[i], 5) == 0) {
            s->p += 5;
            return true;
        }
    }
    return false;
}

static bool scan_string(struct scanner *s, struct ct_slice *ret, bool *ret_plain)
{
    if (!take(s, '"')) {
        return false;
    }
    ret->text = s->p;
    *ret_plain = true;
    for (; s->p < s->end && *s->p != '"'; s->p++) {
        unsigned char c = (unsigned char)*s->p;
        if (c < 0x20 || c >= 0x7f) {
            return false;
        }
        if (c == '\\') {
            s->p++;
            *ret_plain = false;
            if (!scan_escape(s)) {
                return false;
            }
            s->p--;
        }
    }
    ret->len = (size_t)(s->p - ret->text);
    return take(s, '"');
}

static bool scan_digits(struct scanner *s)
{
    const char *start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        s->p++;
    }
    return s->p > start;
}

// Whole numbers and plain fractions; exponents are rare.
static bool scan_number(struct scanner *s)
{
    const char *start = s->p;
    (void)take(s, '-');
    if (!take(s, '0') && !scan_digits(s)) {
        return false;
    }
    if (take(s, '.') && !scan_digits(s)) {
        return false;
    }
    bool ended = s->p == s->end || strchr(",]} \n\t\r", *s->p) != NULL;
    return ended && s->p - start <= MAX_NUMBER;
}

static bool scan_word(struct scanner *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < CT_ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= len && memcmp(s->p, words[i], len) == 0) {
            s->p += len;
            return true;
        }
    }
    return false;
}

static bool scan_value(struct scanner *s, enum place place, int depth);

// The slice of ret->found that takes this member, NULL for most.
static struct ct_slice *slot_of(struct scanner *s, enum place place, const struct ct_slice *key)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(texts); i++) {
        if (texts[i].place == place && slice_is(key, texts[i].key)) {
            return (struct ct_slice *)(void *)((char *)s->found + texts[i].offset);
        }
    }
    return NULL;
}

static enum place place_of(enum place place, const struct ct_slice *key)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(objects); i++) {
        if (objects[i].place == place && slice_is(key, objects[i].key)) {
            return objects[i].inner;
        }
    }
    return ELSEWHERE;
}

static bool scan_known_member(struct scanner *s, enum place place, const struct ct_slice *key,
                              int depth)
{
    struct ct_slice *slot = slot_of(s, place, key);
    if (slot != NULL) {
        bool plain = false;
        return slot->text == NULL && scan_string(s, slot, &plain) && plain;
    }
    if (place == REQUEST && slice_is(key, "dryRun")) {
        s->found->dry_run = s->p < s->end && *s->p == 't';
    }
    enum place inner = place_of(place, key);
    if (inner != ELSEWHERE && ((s->seen & (1U << inner)) != 0 || s->p == s->end || *s->p != '{')) {
        return false;
    }
    s->seen |= 1U << inner;
    return scan_value(s, inner, depth);
}

static bool scan_member(struct scanner *s, enum place place, int depth)
{
    struct ct_slice key;
    bool plain = false;
    skip_space(s);
    if (!scan_string(s, &key, &plain)) {
        return false;
    }
    skip_space(s);
    if (!take(s, ':')) {
        return false;
    }
    skip_space(s);
    if (place == ELSEWHERE) {
        return scan_value(s, ELSEWHERE, depth);
    }
    return plain && scan_known_member(s, place, &key, depth);
}

// From behind the opening bracket to behind the closing one.
static bool scan_list(struct scanner *s, enum place place, int depth, char close)
{
    skip_space(s);
    if (take(s, close)) {
        return true;
    }
    do {
        skip_space(s);
        bool good = close == '}' ? scan_member(s, place, depth) : scan_value(s, ELSEWHERE, depth);
        if (!good) {
            return false;
        }
        skip_space(s);
    } while (take(s, ','));
    return take(s, close);
}

static bool scan_value(struct scanner *s, enum place place, int depth)
{
    struct ct_slice ignored;
    bool plain;
    if (depth >= MAX_DEPTH || s->p == s->end) {
        return false;
    }
    switch (*s->p) {
    case '{':
        s->p++;
        return scan_list(s, place, depth + 1, '}');
    case '[':
        s->p++;
        return scan_list(s, ELSEWHERE, depth + 1, ']');
    case '"':
        return scan_string(s, &ignored, &plain);
    case 't':
    case 'f':
    case 'n':
        return scan_word(s);
    default:
        return scan_number(s);
    }
}

bool ct_peek_skippable(const char *body, size_t len, struct ct_peek *ret)
{
    struct scanner s = {.p = body, .end = body + len, .found = ret};
    memset(ret, 0, sizeof(*ret));
    if (len == 0 || memmem(body, len, OURS, strlen(OURS)) != NULL) {
        return false;
    }
    skip_space(&s);
    if (s.p == s.end || *s.p != '{' || !scan_value(&s, ROOT, 0)) {
        return false;
    }
    skip_space(&s);
    ret->object = (s.seen & (1U << OBJECT)) != 0;
    return s.p == s.end && ret->object && ret->uid.len > 0 && ret->subresource.len == 0 &&
           slice_is(&ret->api_version, "admission.k8s.io/v1") &&
           slice_is(&ret->kind, "AdmissionReview");
}

// From behind the opening quote to behind the closing one, whatever stands between.
static bool skip_string(struct scanner *s, struct ct_slice *ret, bool *ret_plain)
{
    ret->text = s->p;
    *ret_plain = true;
    while (s->p < s->end && *s->p != '"') {
        unsigned char c = (unsigned char)*s->p;
        *ret_plain = *ret_plain && c >= 0x20 && c < 0x7f && c != '\\';
        s->p += c == '\\' && s->end - s->p > 1 ? 2 : 1;
    }
    ret->len = (size_t)(s->p - ret->text);
    return take(s, '"');
}

bool ct_peek_uid(const char *body, size_t len, struct ct_slice *ret)
{
    struct scanner s = {.p = body, .end = body + len};
    int depth = 0;
    bool request = false; // is the member of depth 1 that we are in the request?
    bool wanted = false;  // is the next value the uid?
    for (skip_space(&s); s.p < s.end; skip_space(&s)) {
        bool plain;
        char c = *s.p++;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (c != '"') {
            wanted = wanted && c == ':';
            continue;
        }
        if (!skip_string(&s, ret, &plain)) {
            return false;
        }
        if (wanted) {
            return plain && ret->len > 0;
        }
        skip_space(&s);
        bool key = s.p < s.end && *s.p == ':';
        request = depth == 1 && key ? slice_is(ret, "request") : request;
        wanted = depth == 2 && key && request && slice_is(ret, "uid");
    }
    return false;
}
