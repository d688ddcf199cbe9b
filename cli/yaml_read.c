// SPDX-License-Identifier: Apache-2.0
//
// From libyaml's events to jansson's values.
#include <stdint.h>
#include <string.h>
#include <yaml.h>

#include "yaml_doc.h"
#include "json.h"
#include "text.h"

#define TAG "tag:yaml.org,2002:"
#define NODE_COST 64 // bytes that a value takes at least, its text aside

struct reader {
    yaml_parser_t parser;
    const char *data;
    size_t len;
    const char *what;
    json_t *anchors; // of the document: name to value
    size_t expanded; // bytes of values so far, by estimate
    size_t capacity; // of ret->documents
    struct ct_yaml *ret;
    struct ct_err *err;
};

static void delete_event(yaml_event_t *event)
{
    yaml_event_delete(event);
}

#define AUTO_EVENT __attribute__((cleanup(delete_event))) yaml_event_t

static int fail_at(struct reader *r, const yaml_mark_t *mark, const char *problem, const char *name)
{
    struct ct_shown shown;
    return ct_err_set(r->err, CT_EINVAL, "%s, line %zu, column %zu: %s%s%s%s", r->what,
                      mark->line + 1, mark->column + 1, problem, name != NULL ? " \"" : "",
                      name != NULL ? ct_text_show(&shown, name, strlen(name)) : "",
                      name != NULL ? "\"" : "");
}

static int no_memory(struct reader *r)
{
    return ct_err_set(r->err, CT_ENOMEM, "out of memory while reading %s", r->what);
}

// Bytes that are no text have no mark, only an offset.
static yaml_mark_t mark_of_offset(const struct reader *r)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < r->parser.problem_offset && i < r->len; i++) {
        bool newline = r->data[i] == '\n';
        mark.line += newline;
        mark.column = newline ? 0 : mark.column + 1;
    }
    return mark;
}

static int next(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event) == 1) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    if (r->parser.error == YAML_MEMORY_ERROR) {
        return no_memory(r);
    }
    bool reader = r->parser.error == YAML_READER_ERROR;
    yaml_mark_t mark = reader ? mark_of_offset(r) : r->parser.problem_mark;
    const char *problem = r->parser.problem != NULL ? r->parser.problem : "invalid YAML";
    if (!reader && r->parser.context != NULL) {
        char both[200];
        (void)snprintf(both, sizeof(both), "%s %s", problem, r->parser.context);
        return fail_at(r, &mark, both, NULL);
    }
    return fail_at(r, &mark, problem, NULL);
}

static int charge(struct reader *r, size_t bytes)
{
    r->expanded += NODE_COST + bytes;
    if (r->expanded > CT_YAML_MAX_EXPANDED) {
        return ct_err_set(r->err, CT_ETOOBIG,
                          "%s holds too much: its values, aliases expanded, take more than %zu MiB",
                          r->what, CT_YAML_MAX_EXPANDED >> 20);
    }
    return 0;
}

static int check_depth(struct reader *r, size_t depth)
{
    if (depth > CT_YAML_MAX_DEPTH) {
        return ct_err_set(r->err, CT_EINVAL,
                          "%s is nested too deeply; %d lists and objects within each other are "
                          "allowed",
                          r->what, CT_YAML_MAX_DEPTH);
    }
    return 0;
}

// Charges for a value that is there already: an alias' copy, or a JSON document.
static int charge_value(struct reader *r, const json_t *value, size_t depth)
{
    size_t i;
    json_t *each;
    const char *key;
    int rc = charge(r, json_string_length(value));
    if (rc == 0 && (json_is_array(value) || json_is_object(value))) {
        rc = check_depth(r, depth + 1);
    }
    json_array_foreach(value, i, each)
    {
        rc = rc == 0 ? charge_value(r, each, depth + 1) : rc;
        if (rc != 0) {
            return rc;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, each)
    {
        rc = rc == 0 ? charge(r, strlen(key)) : rc;
        rc = rc == 0 ? charge_value(r, each, depth + 1) : rc;
        if (rc != 0) {
            return rc;
        }
    }
    return rc;
}

static json_t *value_of(const struct ct_yaml_plain *plain, const char *text, size_t len)
{
    switch (plain->kind) {
    case CT_YAML_NULL:
        return json_null();
    case CT_YAML_BOOL:
        return json_boolean(plain->truth);
    case CT_YAML_INTEGER:
        return json_integer(plain->integer);
    case CT_YAML_REAL:
        return json_real(plain->real);
    default:
        return json_stringn(text, len);
    }
}

static const struct {
    const char *tag;
    enum ct_yaml_kind kind;
} scalar_tags[] = {
    {TAG "str", CT_YAML_STRING},  {TAG "null", CT_YAML_NULL},  {TAG "bool", CT_YAML_BOOL},
    {TAG "int", CT_YAML_INTEGER}, {TAG "float", CT_YAML_REAL}, {"!", CT_YAML_STRING},
};

// The text of a scalar under a tag: what it then means must be of the tag's type.
static int resolve_tagged(struct reader *r, const yaml_event_t *event, struct ct_yaml_plain *ret)
{
    const char *tag = (const char *)event->data.scalar.tag;
    size_t i = 0;
    while (i < CT_ARRAY_LEN(scalar_tags) && strcmp(scalar_tags[i].tag, tag) != 0) {
        i++;
    }
    if (i == CT_ARRAY_LEN(scalar_tags)) {
        return fail_at(r, &event->start_mark, "a manifest cannot have a value of the type", tag);
    }
    enum ct_yaml_kind wanted = scalar_tags[i].kind;
    if (wanted == CT_YAML_STRING) {
        *ret = (struct ct_yaml_plain){.kind = CT_YAML_STRING};
        return 0;
    }
    ct_yaml_resolve((const char *)event->data.scalar.value, event->data.scalar.length, ret);
    if (wanted == CT_YAML_REAL && ret->kind == CT_YAML_INTEGER) {
        ret->kind = CT_YAML_REAL;
        ret->real = (double)ret->integer;
    }
    if (ret->kind != wanted) {
        return fail_at(r, &event->start_mark,
                       "the value is not of the type that its tag says:", tag);
    }
    return 0;
}

static int resolve_scalar(struct reader *r, const yaml_event_t *event, struct ct_yaml_plain *ret)
{
    *ret = (struct ct_yaml_plain){.kind = CT_YAML_STRING};
    if (event->data.scalar.tag != NULL) {
        return resolve_tagged(r, event, ret);
    }
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        ct_yaml_resolve((const char *)event->data.scalar.value, event->data.scalar.length, ret);
    }
    return 0;
}

static int read_scalar(struct reader *r, const yaml_event_t *event, json_t **ret)
{
    struct ct_yaml_plain plain;
    int rc = resolve_scalar(r, event, &plain);
    if (rc == 0 && plain.kind == CT_YAML_NO_JSON) {
        return fail_at(r, &event->start_mark,
                       "infinity and not-a-number have no place in a manifest", NULL);
    }
    rc = rc == 0 ? charge(r, event->data.scalar.length) : rc;
    if (rc == 0) {
        *ret = value_of(&plain, (const char *)event->data.scalar.value, event->data.scalar.length);
        rc = *ret != NULL ? 0 : no_memory(r);
    }
    return rc;
}

static int read_alias(struct reader *r, const yaml_event_t *event, size_t depth, json_t **ret)
{
    const char *name = (const char *)event->data.alias.anchor;
    const json_t *named = json_object_get(r->anchors, name);
    if (named == NULL) {
        return fail_at(r, &event->start_mark, "no complete value stands before this alias of",
                       name);
    }
    int rc = charge_value(r, named, depth);
    if (rc == 0) {
        *ret = json_deep_copy(named);
        rc = *ret != NULL ? 0 : no_memory(r);
    }
    return rc;
}

static int read_node(struct reader *r, const yaml_event_t *event, size_t depth, json_t **ret);

static int check_tag(struct reader *r, const yaml_event_t *event, const yaml_char_t *tag,
                     const char *allowed)
{
    const char *text = (const char *)tag;
    if (text == NULL || strcmp(text, allowed) == 0 || strcmp(text, "!") == 0) {
        return 0;
    }
    return fail_at(r, &event->start_mark, "a manifest cannot have a value of the type", text);
}

static int read_sequence(struct reader *r, const yaml_event_t *start, size_t depth, json_t **ret)
{
    CT_AUTO_JSON list = json_array();
    int rc = list != NULL ? charge(r, 0) : no_memory(r);
    rc = rc == 0 ? check_depth(r, depth + 1) : rc;
    rc = rc == 0 ? check_tag(r, start, start->data.sequence_start.tag, TAG "seq") : rc;
    while (rc == 0) {
        AUTO_EVENT event = {0};
        json_t *value = NULL;
        rc = next(r, &event);
        if (rc == 0 && event.type == YAML_SEQUENCE_END_EVENT) {
            *ret = ct_steal(&list);
            return 0;
        }
        rc = rc == 0 ? read_node(r, &event, depth + 1, &value) : rc;
        if (rc == 0 && json_array_append_new(list, value) != 0) {
            rc = no_memory(r);
        }
    }
    return rc;
}

static bool is_merge(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT && event->data.scalar.tag == NULL &&
           event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           strcmp((const char *)event->data.scalar.value, "<<") == 0;
}

// A key is a string in JSON, whatever it looks like: numbers and truths in their plain spelling.
static int read_key(struct reader *r, const yaml_event_t *event, char **ret)
{
    struct ct_yaml_plain plain;
    char number[32];
    if (event->type != YAML_SCALAR_EVENT) {
        return fail_at(r, &event->start_mark, "a key must be a text", NULL);
    }
    int rc = resolve_scalar(r, event, &plain);
    const char *text = (const char *)event->data.scalar.value;
    if (rc != 0) {
        return rc;
    }
    if (plain.kind == CT_YAML_NULL) {
        return fail_at(r, &event->start_mark, "a key must be a text, and this one is null", NULL);
    }
    if (strlen(text) != event->data.scalar.length) {
        return fail_at(r, &event->start_mark, "a key holds a NUL character", NULL);
    }
    if (plain.kind == CT_YAML_INTEGER) {
        (void)snprintf(number, sizeof(number), "%lld", (long long)plain.integer);
        text = number;
    } else if (plain.kind == CT_YAML_BOOL) {
        text = plain.truth ? "true" : "false";
    }
    rc = charge(r, strlen(text));
    if (rc == 0) {
        *ret = strdup(text);
        rc = *ret != NULL ? 0 : no_memory(r);
    }
    return rc;
}

// As json_object_update_missing(), which says nothing when memory is out.
static bool add_missing(json_t *object, const json_t *more)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)more, key, value)
    {
        if (json_object_get(object, key) == NULL && json_object_set(object, key, value) != 0) {
            return false;
        }
    }
    return true;
}

// What "<<" names: an object, or a list of objects of which the first that has a key wins.
static int gather_merge(struct reader *r, const yaml_event_t *at, const json_t *value,
                        json_t *merged)
{
    size_t i;
    json_t *each;
    bool good = json_is_object(value) || json_is_array(value);
    json_array_foreach(value, i, each)
    {
        good = good && json_is_object(each);
    }
    if (!good) {
        return fail_at(r, &at->start_mark, "the merge key << takes an object or a list of them",
                       NULL);
    }
    json_array_foreach(value, i, each)
    {
        good = good && add_missing(merged, each);
    }
    if (json_is_object(value)) {
        good = add_missing(merged, value);
    }
    return good ? 0 : no_memory(r);
}

// One key and its value; `event` is the key's.
static int read_member(struct reader *r, const yaml_event_t *event, size_t depth, json_t *object,
                       json_t *merged)
{
    CT_AUTO_STR key = NULL;
    CT_AUTO_JSON value = NULL;
    AUTO_EVENT at = {0};
    bool merge = is_merge(event);
    int rc = merge ? 0 : read_key(r, event, &key);
    if (rc == 0 && !merge && json_object_get(object, key) != NULL) {
        return fail_at(r, &event->start_mark, "a key stands twice in one object:", key);
    }
    rc = rc == 0 ? next(r, &at) : rc;
    rc = rc == 0 ? read_node(r, &at, depth, &value) : rc;
    if (rc == 0 && merge) {
        rc = gather_merge(r, &at, value, merged);
    } else if (rc == 0 && json_object_set_new(object, key, ct_steal(&value)) != 0) {
        rc = no_memory(r);
    }
    return rc;
}

static int read_mapping(struct reader *r, const yaml_event_t *start, size_t depth, json_t **ret)
{
    CT_AUTO_JSON object = json_object();
    CT_AUTO_JSON merged = json_object();
    int rc = object != NULL && merged != NULL ? charge(r, 0) : no_memory(r);
    rc = rc == 0 ? check_depth(r, depth + 1) : rc;
    rc = rc == 0 ? check_tag(r, start, start->data.mapping_start.tag, TAG "map") : rc;
    while (rc == 0) {
        AUTO_EVENT event = {0};
        rc = next(r, &event);
        if (rc == 0 && event.type == YAML_MAPPING_END_EVENT) {
            // The object's own keys win, wherever the merge key stands.
            rc = add_missing(object, merged) ? 0 : no_memory(r);
            *ret = rc == 0 ? ct_steal(&object) : NULL;
            return rc;
        }
        rc = rc == 0 ? read_member(r, &event, depth + 1, object, merged) : rc;
    }
    return rc;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static int read_node(struct reader *r, const yaml_event_t *event, size_t depth, json_t **ret)
{
    int rc;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return read_alias(r, event, depth, ret);
    case YAML_SCALAR_EVENT:
        rc = read_scalar(r, event, ret);
        break;
    case YAML_SEQUENCE_START_EVENT:
        rc = read_sequence(r, event, depth, ret);
        break;
    case YAML_MAPPING_START_EVENT:
        rc = read_mapping(r, event, depth, ret);
        break;
    default:
        return fail_at(r, &event->start_mark, "a value is expected", NULL);
    }
    const yaml_char_t *anchor = anchor_of(event);
    if (rc == 0 && anchor != NULL && json_object_set(r->anchors, (const char *)anchor, *ret) != 0) {
        json_decref(ct_steal(ret));
        rc = no_memory(r);
    }
    return rc;
}

// Takes the reference.
static int add_document(struct reader *r, json_t *value, size_t line)
{
    struct ct_yaml *ret = r->ret;
    if (ret->n == r->capacity) {
        size_t capacity = r->capacity == 0 ? 8 : r->capacity * 2;
        struct ct_yaml_document *more = realloc(ret->documents, capacity * sizeof(*more));
        if (more == NULL) {
            json_decref(value);
            return no_memory(r);
        }
        ret->documents = more;
        r->capacity = capacity;
    }
    ret->documents[ret->n++] = (struct ct_yaml_document){.value = value, .line = line};
    return 0;
}

static int read_document(struct reader *r, const yaml_event_t *start)
{
    AUTO_EVENT node = {0};
    AUTO_EVENT end = {0};
    CT_AUTO_JSON value = NULL;
    (void)json_object_clear(r->anchors);
    int rc = next(r, &node);
    rc = rc == 0 ? read_node(r, &node, 0, &value) : rc;
    rc = rc == 0 ? next(r, &end) : rc;
    return rc == 0 ? add_document(r, ct_steal(&value), start->start_mark.line + 1) : rc;
}

static int read_stream(struct reader *r)
{
    int rc = 0;
    bool more = true;
    while (rc == 0 && more) {
        AUTO_EVENT event = {0};
        rc = next(r, &event);
        if (rc == 0 && event.type == YAML_DOCUMENT_START_EVENT) {
            rc = read_document(r, &event);
        } else if (rc == 0) {
            more = event.type != YAML_STREAM_END_EVENT;
        }
    }
    return rc;
}

static int read_yaml(struct reader *r)
{
    if (yaml_parser_initialize(&r->parser) != 1) {
        return no_memory(r);
    }
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->data, r->len);
    r->anchors = json_object();
    int rc = r->anchors != NULL ? read_stream(r) : no_memory(r);
    json_decref(r->anchors);
    yaml_parser_delete(&r->parser);
    return rc;
}

// JSON is nearly YAML: libyaml knows no surrogate pairs, for one. What JSON's reader takes is taken;
// what it refuses may be YAML in flow style still.
static bool read_json(struct reader *r, int *rc)
{
    CT_AUTO_JSON value = NULL;
    size_t blanks = 0;
    while (blanks < r->len && memchr(" \t\r\n", r->data[blanks], 4) != NULL) {
        blanks++;
    }
    if (blanks == r->len || r->data[blanks] != '{' ||
        ct_json_parse(r->data, r->len, r->what, &value, NULL) < 0) {
        return false;
    }
    size_t line = 1;
    for (size_t i = 0; i < blanks; i++) {
        line += r->data[i] == '\n';
    }
    *rc = charge_value(r, value, 0);
    *rc = *rc == 0 ? add_document(r, ct_steal(&value), line) : *rc;
    return true;
}

int ct_yaml_read(const char *data, size_t len, const char *what, struct ct_yaml *ret,
                 struct ct_err *err)
{
    struct reader r = {.data = data, .len = len, .what = what, .ret = ret, .err = err};
    int rc = 0;
    if (len > CT_YAML_MAX_BYTES) {
        return ct_err_set(err, CT_ETOOBIG, "%s is larger than %zu MiB", what,
                          CT_YAML_MAX_BYTES >> 20);
    }
    return read_json(&r, &rc) ? rc : read_yaml(&r);
}

void ct_yaml_done(struct ct_yaml *yaml)
{
    for (size_t i = 0; i < yaml->n; i++) {
        json_decref(yaml->documents[i].value);
    }
    free(yaml->documents);
    *yaml = (struct ct_yaml){0};
}
