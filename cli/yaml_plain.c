// SPDX-License-Identifier: Apache-2.0
//
// What a plain scalar means, by YAML 1.1 as the Kubernetes clients read it.
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "text.h"
#include "yaml_doc.h"

#define DIGITS "0123456789"
#define NUMBER_MAX 400 // characters; nothing longer is a number

static const struct {
    const char *text;
    enum ct_yaml_kind kind;
    bool truth;
} words[] = {
    {"", CT_YAML_NULL, false},         {"~", CT_YAML_NULL, false},
    {"null", CT_YAML_NULL, false},     {"Null", CT_YAML_NULL, false},
    {"NULL", CT_YAML_NULL, false},     {"true", CT_YAML_BOOL, true},
    {"True", CT_YAML_BOOL, true},      {"TRUE", CT_YAML_BOOL, true},
    {"yes", CT_YAML_BOOL, true},       {"Yes", CT_YAML_BOOL, true},
    {"YES", CT_YAML_BOOL, true},       {"y", CT_YAML_BOOL, true},
    {"Y", CT_YAML_BOOL, true},         {"on", CT_YAML_BOOL, true},
    {"On", CT_YAML_BOOL, true},        {"ON", CT_YAML_BOOL, true},
    {"false", CT_YAML_BOOL, false},    {"False", CT_YAML_BOOL, false},
    {"FALSE", CT_YAML_BOOL, false},    {"no", CT_YAML_BOOL, false},
    {"No", CT_YAML_BOOL, false},       {"NO", CT_YAML_BOOL, false},
    {"n", CT_YAML_BOOL, false},        {"N", CT_YAML_BOOL, false},
    {"off", CT_YAML_BOOL, false},      {"Off", CT_YAML_BOOL, false},
    {"OFF", CT_YAML_BOOL, false},      {".nan", CT_YAML_NO_JSON, false},
    {".NaN", CT_YAML_NO_JSON, false},  {".NAN", CT_YAML_NO_JSON, false},
    {".inf", CT_YAML_NO_JSON, false},  {".Inf", CT_YAML_NO_JSON, false},
    {".INF", CT_YAML_NO_JSON, false},  {"+.inf", CT_YAML_NO_JSON, false},
    {"+.Inf", CT_YAML_NO_JSON, false}, {"+.INF", CT_YAML_NO_JSON, false},
    {"-.inf", CT_YAML_NO_JSON, false}, {"-.Inf", CT_YAML_NO_JSON, false},
    {"-.INF", CT_YAML_NO_JSON, false},
};

// Bases of whole numbers by what stands behind the sign, the longest first.
static const struct {
    const char *prefix;
    const char *digits;
    int base;
} bases[] = {
    {"0x", "0123456789abcdefABCDEF", 16},
    {"0X", "0123456789abcdefABCDEF", 16},
    {"0o", "01234567", 8},
    {"0O", "01234567", 8},
    {"0b", "01", 2},
    {"0B", "01", 2},
    {"0", "01234567", 8},
    {"", DIGITS, 10},
};

static bool resolve_word(const char *text, size_t len, struct ct_yaml_plain *ret)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(words); i++) {
        if (strlen(words[i].text) == len && memcmp(words[i].text, text, len) == 0) {
            ret->kind = words[i].kind;
            ret->truth = words[i].truth;
            return true;
        }
    }
    return false;
}

// [sign] digits [. digits] [exponent], one digit at least before the exponent.
static bool is_real(const char *text)
{
    text += *text == '-' || *text == '+';
    size_t whole = strspn(text, DIGITS);
    text += whole;
    size_t part = 0;
    if (*text == '.') {
        text++;
        part = strspn(text, DIGITS);
        text += part;
    }
    if (whole + part == 0) {
        return false;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = strspn(text, DIGITS);
        text += exponent;
        return exponent > 0 && *text == '\0';
    }
    return *text == '\0';
}

// What a double cannot hold stays a text: "12e4567" is the short name of a commit.
static void set_real(double value, struct ct_yaml_plain *ret)
{
    if (isfinite(value)) {
        ret->kind = CT_YAML_REAL;
        ret->real = value;
    }
}

// `sign` points at the sign or the first digit, `digits` behind the prefix of the base.
static void set_integer(const char *sign, const char *digits, int base, struct ct_yaml_plain *ret)
{
    bool negative = *sign == '-';
    errno = 0;
    unsigned long long size = strtoull(digits, NULL, base);
    unsigned long long max = (unsigned long long)INT64_MAX + negative;
    if (errno == ERANGE || size > max) {
        // Beyond 64 bits: kept as a real, as JSON's reader does it.
        double value = base == 10 ? strtod(digits, NULL) : (double)size;
        if (errno == ERANGE && base != 10) {
            value = INFINITY;
        }
        set_real(negative ? -value : value, ret);
        return;
    }
    ret->kind = CT_YAML_INTEGER;
    ret->integer = negative ? (json_int_t)(0 - size) : (json_int_t)size;
}

static bool resolve_integer(const char *text, struct ct_yaml_plain *ret)
{
    const char *number = text + (*text == '-' || *text == '+');
    for (size_t i = 0; i < CT_ARRAY_LEN(bases); i++) {
        size_t prefix = strlen(bases[i].prefix);
        const char *digits = number + prefix;
        if (strncmp(number, bases[i].prefix, prefix) == 0 && *digits != '\0' &&
            digits[strspn(digits, bases[i].digits)] == '\0') {
            set_integer(text, digits, bases[i].base, ret);
            return true;
        }
    }
    return false;
}

// Underscores divide digits in YAML 1.1: "1_000". Only behind a first digit.
static bool copy_number(const char *text, size_t len, char *out)
{
    size_t n = 0;
    bool digit = false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '_' && digit) {
            continue;
        }
        if (text[i] == '\0' || text[i] == '_') {
            return false;
        }
        digit = digit || ct_text_is_digit(text[i]);
        out[n++] = text[i];
    }
    out[n] = '\0';
    return digit;
}

void ct_yaml_resolve(const char *text, size_t len, struct ct_yaml_plain *ret)
{
    char number[NUMBER_MAX + 1];
    *ret = (struct ct_yaml_plain){.kind = CT_YAML_STRING};
    if (resolve_word(text, len, ret) || len > NUMBER_MAX || !copy_number(text, len, number)) {
        return;
    }
    if (!resolve_integer(number, ret) && is_real(number)) {
        set_real(strtod(number, NULL), ret);
    }
}

bool ct_yaml_ambiguous(const char *text, size_t len)
{
    struct ct_yaml_plain plain;
    ct_yaml_resolve(text, len, &plain);
    if (plain.kind != CT_YAML_STRING || (len == 1 && *text == '=') ||
        (len == 2 && memcmp(text, "<<", 2) == 0)) {
        return true;
    }
    // Numbers of any notation, times and dates are made of these alone.
    bool starts = ct_text_is_digit(*text) || strchr("+-.", *text) != NULL;
    for (size_t i = 0; i < len && starts; i++) {
        starts = text[i] != '\0' && strchr(DIGITS "abcdefABCDEFxXoO_:+-.TtZz ", text[i]) != NULL;
    }
    return starts;
}
