// SPDX-License-Identifier: Apache-2.0
#include "quantity.h"

#include <ctype.h>
#include <string.h>

static const struct {
    const char *suffix;
    double factor;
} suffixes[] = {
    {"", 1},        {"n", 1e-9},     {"u", 1e-6},        {"m", 1e-3},    {"k", 1e3},
    {"M", 1e6},     {"G", 1e9},      {"T", 1e12},        {"P", 1e15},    {"E", 1e18},
    {"Ki", 1024},   {"Mi", 1048576}, {"Gi", 1073741824}, {"Ti", 0x1p40}, {"Pi", 0x1p50},
    {"Ei", 0x1p60},
};

// Digits, at most one point. Not strtod(): it follows the locale and reads hex, "inf" and "nan".
static const char *read_number(const char *text, double *ret)
{
    const char *p = text;
    double value = 0;
    double scale = 1;
    bool fraction = false;
    size_t digits = 0;
    for (; isdigit((unsigned char)*p) || (*p == '.' && !fraction); p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        value = value * 10 + (*p - '0');
        scale *= fraction ? 10 : 1;
        digits++;
    }
    *ret = value / scale;
    return digits > 0 && digits <= 18 ? p : NULL;
}

// "e3", "E+6", "e-3": the factor, or 0 when the text is no exponent.
static double read_exponent(const char *text)
{
    if (*text != 'e' && *text != 'E') {
        return 0;
    }
    const char *p = text + 1;
    bool negative = *p == '-';
    p += *p == '-' || *p == '+';
    if (!isdigit((unsigned char)p[0]) || (p[1] != '\0' && !isdigit((unsigned char)p[1])) ||
        (p[1] != '\0' && p[2] != '\0')) {
        return 0;
    }
    int n = p[0] - '0';
    n = p[1] != '\0' ? n * 10 + (p[1] - '0') : n;
    double factor = 1;
    for (; n > 0; n--) {
        factor *= 10;
    }
    return negative ? 1 / factor : factor;
}

int ct_quantity_parse(const char *text, double *ret, struct ct_err *err)
{
    double value;
    const char *suffix = read_number(text, &value);
    for (size_t i = 0; suffix != NULL && i < CT_ARRAY_LEN(suffixes); i++) {
        if (strcmp(suffix, suffixes[i].suffix) == 0) {
            *ret = value * suffixes[i].factor;
            return 0;
        }
    }
    double factor = suffix != NULL ? read_exponent(suffix) : 0;
    if (factor > 0) {
        *ret = value * factor;
        return 0;
    }
    return ct_err_set(err, CT_EINVAL, "\"%s\" is no quantity such as 100m, 0.5 or 32Mi", text);
}

bool ct_quantity_equal(const char *a, const char *b)
{
    double x;
    double y;
    if (ct_quantity_parse(a, &x, NULL) != 0 || ct_quantity_parse(b, &y, NULL) != 0) {
        return false;
    }
    double difference = x > y ? x - y : y - x;
    return difference <= (x + y) * 1e-12;
}
