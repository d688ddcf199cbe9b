// SPDX-License-Identifier: Apache-2.0
//
// From jansson's values to libyaml's emitter.
#include <stdint.h>
#include <string.h>
#include <yaml.h>

#include "yaml_doc.h"

struct writer {
    yaml_emitter_t emitter;
    struct ct_buf *out;
    bool failed;
};

static int append(void *cls, unsigned char *data, size_t len)
{
    struct ct_buf *out = cls;
    ct_buf_add(out, data, len);
    return out->failed ? 0 : 1;
}

// libyaml's emitter takes over the event, whatever becomes of it.
static void emit(struct writer *w, int made, yaml_event_t *event)
{
    if (made != 1 || w->failed) {
        w->failed = true;
        if (made == 1) {
            yaml_event_delete(event);
        }
        return;
    }
    w->failed = yaml_emitter_emit(&w->emitter, event) != 1;
}

static void write_text(struct writer *w, const char *text, size_t len, yaml_scalar_style_t style)
{
    yaml_event_t event;
    int made = yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len,
                                            1, 1, style);
    emit(w, made, &event);
}

// U+0080 to U+009F, the line breaks U+2028 and U+2029, the byte order mark: characters that readers
// treat in ways of their own.
static bool is_odd(const char *text)
{
    return text[0] == '\xc2' || strncmp(text, "\xe2\x80\xa8", 3) == 0 ||
           strncmp(text, "\xe2\x80\xa9", 3) == 0 || strncmp(text, "\xef\xbb\xbf", 3) == 0;
}

// Texts of several lines, as scripts and configuration files are, in the style that shows them as they
// are - if they are such that every reader gives them back.
static bool fits_literal(const char *text, size_t len)
{
    bool lines = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < ' ' && c != '\n') || c == 0x7f || is_odd(text + i) ||
            (c == '\n' && i > 0 && text[i - 1] == ' ')) {
            return false;
        }
        lines = lines || c == '\n';
    }
    return lines && text[0] != ' ' && text[0] != '\n' && text[len - 1] != ' ';
}

static void write_string(struct writer *w, const char *text, size_t len, bool key)
{
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
    if (!key && fits_literal(text, len)) {
        style = YAML_LITERAL_SCALAR_STYLE;
    } else if (ct_yaml_ambiguous(text, len) || memchr(text, '\n', len) != NULL) {
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    }
    write_text(w, text, len, style);
}

// The shortest decimal that is read back as the same number; always with a point, which YAML 1.1 wants.
static void write_real(struct writer *w, double value)
{
    char text[64];
    double back = 0;
    int digits = 15;
    do {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        back = strtod(text, NULL);
        digits++;
    } while (digits <= 17 && (back < value || back > value));
    if (strchr(text, '.') == NULL) {
        char exponent[16];
        size_t whole = strcspn(text, "e");
        (void)snprintf(exponent, sizeof(exponent), "%s", text + whole);
        (void)snprintf(text + whole, sizeof(text) - whole, ".0%s", exponent);
    }
    write_text(w, text, strlen(text), YAML_PLAIN_SCALAR_STYLE);
}

static void write_value(struct writer *w, const json_t *value);

static void write_array(struct writer *w, const json_t *list)
{
    yaml_event_t event;
    size_t i;
    json_t *each;
    emit(w, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE),
         &event);
    json_array_foreach(list, i, each)
    {
        write_value(w, each);
    }
    emit(w, yaml_sequence_end_event_initialize(&event), &event);
}

static void write_object(struct writer *w, const json_t *object)
{
    yaml_event_t event;
    const char *key;
    json_t *value;
    emit(w, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE),
         &event);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        write_string(w, key, strlen(key), true);
        write_value(w, value);
    }
    emit(w, yaml_mapping_end_event_initialize(&event), &event);
}

static void write_value(struct writer *w, const json_t *value)
{
    char number[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(w, value);
        break;
    case JSON_ARRAY:
        write_array(w, value);
        break;
    case JSON_STRING:
        write_string(w, json_string_value(value), json_string_length(value), false);
        break;
    case JSON_INTEGER:
        (void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
        write_text(w, number, strlen(number), YAML_PLAIN_SCALAR_STYLE);
        break;
    case JSON_REAL:
        write_real(w, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        write_text(w, json_is_true(value) ? "true" : "false", json_is_true(value) ? 4 : 5,
                   YAML_PLAIN_SCALAR_STYLE);
        break;
    case JSON_NULL:
        write_text(w, "null", 4, YAML_PLAIN_SCALAR_STYLE);
        break;
    }
}

static void write_document(struct writer *w, const json_t *value, bool first)
{
    yaml_event_t event;
    emit(w, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, first), &event);
    write_value(w, value);
    emit(w, yaml_document_end_event_initialize(&event, 1), &event);
}

int ct_yaml_write(const struct ct_yaml *yaml, struct ct_buf *out, struct ct_err *err)
{
    struct writer w = {.out = out};
    yaml_event_t event;
    bool first = true;
    if (yaml_emitter_initialize(&w.emitter) != 1) {
        return ct_err_set(err, CT_ENOMEM, "out of memory while writing YAML");
    }
    yaml_emitter_set_output(&w.emitter, append, out);
    yaml_emitter_set_unicode(&w.emitter, 1);
    yaml_emitter_set_width(&w.emitter, -1); // a folded line is one that diffs badly
    emit(&w, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event);
    for (size_t i = 0; i < yaml->n; i++) {
        if (!json_is_null(yaml->documents[i].value)) {
            write_document(&w, yaml->documents[i].value, first);
            first = false;
        }
    }
    emit(&w, yaml_stream_end_event_initialize(&event), &event);
    yaml_emitter_delete(&w.emitter);
    return w.failed || out->failed ? ct_err_set(err, CT_ENOMEM, "out of memory while writing YAML")
                                   : 0;
}
