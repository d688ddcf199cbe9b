// SPDX-License-Identifier: Apache-2.0
#include "kube_yaml.h"

#include <stdbool.h>
#include <string.h>
#include <yaml.h>

#define MAX_DEPTH 32
#define MAX_VALUES 20000            // aliases may multiply what a short text holds
#define MAX_BYTES ((size_t)8 << 20) // of all texts and keys, for the same reason

struct reader {
    yaml_document_t *document;
    const char *what;
    size_t values;
    size_t bytes;
    struct ct_err *err;
    int rc;
};

static json_t *convert(struct reader *r, int id, int depth);

static json_t *fail(struct reader *r, enum ct_code code, const char *sentence)
{
    if (r->rc == 0) {
        r->rc = ct_err_set(r->err, code, "%s: %s", r->what, sentence);
    }
    return NULL;
}

static bool is_too_much(struct reader *r, size_t len)
{
    r->bytes += len;
    if (r->bytes > MAX_BYTES) {
        (void)fail(r, CT_ETOOBIG, "aliases make more than 8 MiB of it");
    }
    return r->rc != 0;
}

static json_t *convert_scalar(struct reader *r, const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    size_t len = node->data.scalar.length;
    if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
            return json_boolean(text[0] == 't');
        }
        if (strcmp(text, "null") == 0 || strcmp(text, "~") == 0 || len == 0) {
            return json_null();
        }
    }
    if (is_too_much(r, len)) {
        return NULL;
    }
    json_t *value = json_stringn(text, len);
    return value != NULL ? value : fail(r, CT_ENOMEM, "out of memory, or a text is no UTF-8");
}

static json_t *convert_sequence(struct reader *r, const yaml_node_t *node, int depth)
{
    CT_AUTO_JSON array = json_array();
    const yaml_node_item_t *item = node->data.sequence.items.start;
    for (; item < node->data.sequence.items.top && r->rc == 0; item++) {
        json_t *value = convert(r, *item, depth + 1);
        if (value != NULL && json_array_append_new(array, value) != 0) {
            (void)fail(r, CT_ENOMEM, "out of memory");
        }
    }
    return r->rc == 0 ? ct_steal(&array) : NULL;
}

static json_t *convert_mapping(struct reader *r, const yaml_node_t *node, int depth)
{
    CT_AUTO_JSON object = json_object();
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top && r->rc == 0; pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
        if (key == NULL || key->type != YAML_SCALAR_NODE) {
            return fail(r, CT_EINVAL, "a key is no plain text");
        }
        if (is_too_much(r, key->data.scalar.length)) {
            return NULL;
        }
        json_t *value = convert(r, pair->value, depth + 1);
        if (value != NULL &&
            json_object_set_new(object, (const char *)key->data.scalar.value, value) != 0) {
            (void)fail(r, CT_ENOMEM, "out of memory, or a key is no UTF-8");
        }
    }
    return r->rc == 0 ? ct_steal(&object) : NULL;
}

static json_t *convert(struct reader *r, int id, int depth)
{
    const yaml_node_t *node = yaml_document_get_node(r->document, id);
    if (depth > MAX_DEPTH || ++r->values > MAX_VALUES) {
        return fail(r, CT_ETOOBIG, "nested too deeply, or too many values");
    }
    if (node != NULL && node->type == YAML_SCALAR_NODE) {
        return convert_scalar(r, node);
    }
    if (node != NULL && node->type == YAML_SEQUENCE_NODE) {
        return convert_sequence(r, node, depth);
    }
    if (node != NULL && node->type == YAML_MAPPING_NODE) {
        return convert_mapping(r, node, depth);
    }
    return fail(r, CT_EINVAL, "a value is missing");
}

int ct_kube_yaml_parse(const char *data, size_t len, const char *what, json_t **ret,
                       struct ct_err *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (yaml_parser_initialize(&parser) == 0) {
        return ct_err_set(err, CT_ENOMEM, "%s: out of memory", what);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
    if (yaml_parser_load(&parser, &document) == 0) {
        int rc = ct_err_set(err, parser.error == YAML_MEMORY_ERROR ? CT_ENOMEM : CT_EINVAL,
                            "%s is no YAML: %s in line %zu", what,
                            parser.problem != NULL ? parser.problem : "unreadable",
                            parser.problem_mark.line + 1);
        yaml_parser_delete(&parser);
        return rc;
    }
    struct reader r = {.document = &document, .what = what, .err = err};
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    json_t *value = root != NULL ? convert(&r, 1, 0) : fail(&r, CT_EINVAL, "the document is empty");
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    if (value == NULL) {
        return r.rc < 0 ? r.rc : ct_err_set(err, CT_ENOMEM, "%s: out of memory", what);
    }
    *ret = value;
    return 0;
}
