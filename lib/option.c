// SPDX-License-Identifier: Apache-2.0
#include "option.h"

#include <limits.h>
#include <string.h>

#include "file.h"
#include "json.h"
#include "option_internal.h"
#include "text.h"

#define FILE_MAX ((size_t)1 << 20)

// One run of the parser. `given` has a flag for each option that already has its value.
struct parser {
    const struct ct_option_table *table;
    char *settings;
    bool *given;
    const char *config; // path of the file, or how its text is called; borrowed
    struct ct_err all;  // every problem so far
};

static void add_problem(struct parser *p, const struct ct_err *one)
{
    if (one->code == CT_ENOMEM && p->all.code != CT_ENOMEM) {
        p->all = *one;
        return;
    }
    (void)ct_err_add(&p->all, "\n", (enum ct_code)one->code, "%s", one->msg);
}

static int no_memory(struct ct_err *err)
{
    return ct_err_set(err, CT_ENOMEM, "out of memory while reading options");
}

static int set_string(const struct ct_option *o, const char *text, void *to, struct ct_err *err)
{
    (void)o;
    char *copy = strdup(text);
    if (copy == NULL) {
        return no_memory(err);
    }
    *(char **)to = copy;
    return 0;
}

static int set_bool(const struct ct_option *o, const char *text, void *to, struct ct_err *err)
{
    (void)o;
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0) {
        return ct_err_set(err, CT_EINVAL, "true or false is allowed");
    }
    *(bool *)to = yes;
    return 0;
}

static int set_int(const struct ct_option *o, const char *text, void *to, struct ct_err *err)
{
    bool bounded = o->max != 0;
    int min = bounded ? o->min : INT_MIN;
    int max = bounded ? o->max : INT_MAX;
    bool negative = text[0] == '-';
    const char *digits = text + negative;
    unsigned long size = 0;
    long value = -1;
    bool ok = ct_text_number(digits, strlen(digits), (unsigned long)INT_MAX + negative, &size);
    if (ok) {
        value = negative ? -(long)size : (long)size;
    }
    if (!ok || value < min || value > max) {
        return ct_err_set(err, CT_EINVAL, "a whole number from %d to %d is allowed", min, max);
    }
    *(int *)to = (int)value;
    return 0;
}

static const struct {
    const char *name;
    unsigned long ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};

static bool read_duration(const char *text, unsigned long *ret_ms)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long number = 0;
    for (size_t i = 0; i < CT_ARRAY_LEN(units); i++) {
        if (strcmp(text + digits, units[i].name) == 0) {
            bool ok = ct_text_number(text, digits, INT_MAX / units[i].ms, &number);
            *ret_ms = number * units[i].ms;
            return ok;
        }
    }
    *ret_ms = 0;
    return strcmp(text, "0") == 0;
}

void ct_option_duration_text(int ms, char *out, size_t size)
{
    size_t i = CT_ARRAY_LEN(units) - 1;
    while (i > 0 && (ms == 0 || (unsigned long)ms % units[i].ms != 0)) {
        i--;
    }
    (void)snprintf(out, size, "%lu%s", (unsigned long)ms / units[i].ms, units[i].name);
}

static int set_duration(const struct ct_option *o, const char *text, void *to, struct ct_err *err)
{
    unsigned long ms = 0;
    unsigned long max = o->max != 0 ? (unsigned long)o->max : INT_MAX;
    if (!read_duration(text, &ms)) {
        return ct_err_set(err, CT_EINVAL, "a number with ms, s, m or h behind it is allowed");
    }
    if (ms < (unsigned long)o->min || ms > max) {
        char low[32];
        char high[32];
        ct_option_duration_text(o->min, low, sizeof(low));
        ct_option_duration_text((int)max, high, sizeof(high));
        return ct_err_set(err, CT_EINVAL, "%s to %s is allowed", low, high);
    }
    *(unsigned *)to = (unsigned)ms;
    return 0;
}

static int add_to_list(const struct ct_option *o, const char *text, void *to, struct ct_err *err)
{
    struct ct_option_list *list = to;
    (void)o;
    char **more = realloc(list->item, (list->n + 2) * sizeof(*more));
    if (more == NULL) {
        return no_memory(err);
    }
    list->item = more;
    more[list->n] = strdup(text);
    if (more[list->n] == NULL) {
        return no_memory(err);
    }
    list->n++;
    more[list->n] = NULL;
    return 0;
}

static int set_choice(const struct ct_option *o, const char *text, void *to, struct ct_err *err)
{
    (void)ct_err_set(err, CT_EINVAL, "allowed: ");
    for (int i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(o->choices[i], text) == 0) {
            *(int *)to = i;
            return 0;
        }
        (void)ct_err_add(err, i == 0 ? "" : ", ", CT_EINVAL, "%s", o->choices[i]);
    }
    return -CT_EINVAL;
}

static int (*const setters[])(const struct ct_option *, const char *, void *, struct ct_err *) = {
    [CT_OPTION_STRING] = set_string, [CT_OPTION_BOOL] = set_bool,
    [CT_OPTION_INT] = set_int,       [CT_OPTION_DURATION] = set_duration,
    [CT_OPTION_LIST] = add_to_list,  [CT_OPTION_CHOICE] = set_choice,
};

// Takes one value in its text form; `where` names its place in the sentence.
static void set_text(struct parser *p, size_t i, const char *text, const char *where)
{
    const struct ct_option *o = &p->table->options[i];
    struct ct_err one = {0};
    int rc = o->check != NULL ? o->check(text, &one) : 0;
    if (rc == 0) {
        rc = setters[o->kind](o, text, p->settings + o->offset, &one);
    }
    p->given[i] = true;
    if (rc == -CT_ENOMEM) {
        add_problem(p, &one);
    } else if (rc < 0) {
        struct ct_shown shown;
        (void)ct_err_add(&p->all, "\n", (enum ct_code)one.code, "%s \"%s\": %s", where,
                         ct_text_show(&shown, text, strlen(text)), one.msg);
    }
}

// Takes a list's entries, which commas divide.
static void set_list(struct parser *p, size_t i, const char *text, const char *where)
{
    const char *entry;
    size_t len;
    while (ct_text_next(&text, &entry, &len)) {
        CT_AUTO_STR copy = strndup(entry, len);
        if (copy == NULL) {
            struct ct_err one = {0};
            (void)no_memory(&one);
            add_problem(p, &one);
            return;
        }
        set_text(p, i, copy, where);
    }
}

static void set_any(struct parser *p, size_t i, const char *text, const char *where)
{
    if (p->table->options[i].kind == CT_OPTION_LIST) {
        set_list(p, i, text, where);
    } else {
        set_text(p, i, text, where);
    }
}

// Index of the option of that name; table->n when there is none.
static size_t find_option(const struct ct_option_table *table, const char *name, size_t len)
{
    size_t i = 0;
    while (i < table->n && (strlen(table->options[i].name) != len ||
                            memcmp(table->options[i].name, name, len) != 0)) {
        i++;
    }
    return i;
}

static const char *visible_name(const void *cls, size_t i)
{
    const struct ct_option_table *table = cls;
    static const struct ct_option common[] = {
        {.name = "config"}, {.name = "help"}, {.name = "version"}};
    if (i < table->n) {
        return table->options[i].hidden ? NULL : table->options[i].name;
    }
    const char *name = common[i - table->n].name;
    return i == table->n && !table->file ? NULL : name;
}

static const char *nearest_name(const struct parser *p, const char *name, size_t len)
{
    return ct_text_nearest(name, len, visible_name, p->table, p->table->n + 3);
}

// The value behind '=', or the next argument; NULL when there is neither. A missing value must not
// swallow the next flag.
static const char *flag_value(const char *equals, bool is_bool, char **argv, int argc, int *at)
{
    if (equals != NULL) {
        return equals + 1;
    }
    if (is_bool) {
        return "true";
    }
    if (*at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0) {
        (*at)++;
        return argv[*at];
    }
    return NULL;
}

// `i` is the option's index, or the table's n for --config.
static void take_flag(struct parser *p, size_t i, const char *value, const char *flag)
{
    const struct ct_option *o = i < p->table->n ? &p->table->options[i] : NULL;
    bool repeated = o == NULL ? p->config != NULL : p->given[i] && o->kind != CT_OPTION_LIST;
    if (value == NULL) {
        (void)ct_err_add(&p->all, "\n", CT_EINVAL, "%s needs a value", flag);
    } else if (repeated) {
        (void)ct_err_add(&p->all, "\n", CT_EINVAL, "%s is given twice", flag);
    } else if (o == NULL) {
        p->config = value;
    } else {
        set_text(p, i, value, flag);
    }
    if (o != NULL) {
        p->given[i] = true;
    }
}

// The value behind a misspelt flag goes with it: it would only be refused once more.
static void refuse_flag(struct parser *p, char **argv, int argc, int *at, const char *flag)
{
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "=");
    const char *nearest = nearest_name(p, name, len);
    size_t i = nearest != NULL ? find_option(p->table, nearest, strlen(nearest)) : p->table->n;
    (void)ct_err_add(&p->all, "\n", CT_EINVAL, "unknown option %s%s%s%s", flag,
                     nearest != NULL ? "; did you mean --" : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "?" : "");
    if (name[len] != '=' && i < p->table->n && p->table->options[i].kind != CT_OPTION_BOOL) {
        p->given[i] = true;
        (void)flag_value(NULL, false, argv, argc, at);
    }
}

static void read_flag(struct parser *p, char **argv, int argc, int *at)
{
    struct ct_shown shown;
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "=");
    const char *equals = name[len] == '=' ? name + len : NULL;
    const char *flag = ct_text_show(&shown, argv[*at], len + 2);
    size_t i = find_option(p->table, name, len);
    bool is_config = p->table->file && len == strlen("config") && strncmp(name, "config", len) == 0;
    if (i == p->table->n && !is_config) {
        refuse_flag(p, argv, argc, at, flag);
        return;
    }
    bool is_bool = i < p->table->n && p->table->options[i].kind == CT_OPTION_BOOL;
    take_flag(p, i, flag_value(equals, is_bool, argv, argc, at), flag);
}

// "-f VALUE" or "-fVALUE"; a switch takes no value.
static void read_letter(struct parser *p, char **argv, int argc, int *at)
{
    struct ct_shown shown;
    const char *arg = argv[*at];
    const char *flag = ct_text_show(&shown, arg, 2);
    size_t i = 0;
    while (i < p->table->n && p->table->options[i].letter != arg[1]) {
        i++;
    }
    bool is_bool = i < p->table->n && p->table->options[i].kind == CT_OPTION_BOOL;
    if (i == p->table->n || (is_bool && arg[2] != '\0')) {
        (void)ct_err_add(&p->all, "\n", CT_EINVAL, "unknown option %s",
                         ct_text_show(&shown, arg, strlen(arg)));
        return;
    }
    const char *equals = arg[2] != '\0' ? arg + 1 : NULL;
    take_flag(p, i, flag_value(equals, is_bool, argv, argc, at), flag);
}

// An argument without a flag. "-" is none: it would be taken for one that was forgotten. False where all
// that follows would be refused for the same reason.
static bool read_operand(struct parser *p, const char *arg)
{
    struct ct_shown shown;
    size_t i = 0;
    while (i < p->table->n && !p->table->options[i].operand) {
        i++;
    }
    const char *text = ct_text_show(&shown, arg, strlen(arg));
    if (i < p->table->n && arg[0] != '-' && arg[0] != '\0') {
        take_flag(p, i, arg, p->table->options[i].argument);
        return true;
    }
    const char *operands = p->table->operands;
    (void)ct_err_add(&p->all, "\n", CT_EINVAL, "unexpected argument \"%s\"%s%s", text,
                     operands != NULL ? "; behind the options stands " : "",
                     operands != NULL ? operands : "");
    return operands == NULL;
}

static void read_flags(struct parser *p, int argc, char **argv)
{
    for (int at = 1; at < argc; at++) {
        const char *arg = argv[at];
        if (strncmp(arg, "--", 2) == 0 && arg[2] != '\0') {
            read_flag(p, argv, argc, &at);
        } else if (arg[0] == '-' && arg[1] != '-' && arg[1] != '\0') {
            read_letter(p, argv, argc, &at);
        } else if (!read_operand(p, arg)) {
            return;
        }
    }
}

// "PREFIX_VAULT_ALLOW" of "vault-allow".
static void environment_name(const struct ct_option_table *table, const char *name, char *out,
                             size_t size)
{
    (void)snprintf(out, size, "%s_%s", table->env_prefix, name);
    for (char *c = out + strnlen(table->env_prefix, size - 1); *c != '\0'; c++) {
        if (*c == '-') {
            *c = '_';
        } else if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - 'a' + 'A');
        }
    }
}

static void read_environment(struct parser *p)
{
    char name[128];
    if (p->table->env_prefix == NULL) {
        return;
    }
    for (size_t i = 0; i < p->table->n; i++) {
        environment_name(p->table, p->table->options[i].name, name, sizeof(name));
        const char *value = getenv(name);
        if (!p->given[i] && value != NULL && value[0] != '\0') {
            set_any(p, i, value, name);
        }
    }
    environment_name(p->table, "config", name, sizeof(name));
    const char *config = getenv(name);
    if (p->table->file && p->config == NULL && config != NULL && config[0] != '\0') {
        p->config = config;
    }
}

static const char *const json_forms[] = {
    [CT_OPTION_STRING] = "a string",          [CT_OPTION_BOOL] = "true or false",
    [CT_OPTION_INT] = "a whole number",       [CT_OPTION_DURATION] = "a string such as \"10s\"",
    [CT_OPTION_LIST] = "an array of strings", [CT_OPTION_CHOICE] = "a string",
};

static const char *plain_string(const json_t *value)
{
    const char *s = json_string_value(value);
    return s != NULL && strlen(s) == json_string_length(value) ? s : NULL;
}

// The text form of a scalar of the right type; NULL for another type. `room` holds what is made.
static const char *scalar_text(const struct ct_option *o, const json_t *value, char *room,
                               size_t size)
{
    if (o->kind == CT_OPTION_BOOL) {
        return !json_is_boolean(value) ? NULL : json_is_true(value) ? "true" : "false";
    }
    if (o->kind == CT_OPTION_INT) {
        (void)snprintf(room, size, "%lld", (long long)json_integer_value(value));
        return json_is_integer(value) ? room : NULL;
    }
    return plain_string(value);
}

// False when the value is of another type.
static bool set_json(struct parser *p, size_t i, const json_t *value)
{
    const struct ct_option *o = &p->table->options[i];
    char room[32];
    char where[192];
    (void)snprintf(where, sizeof(where), "%s in %s", o->name, p->config);
    if (o->kind != CT_OPTION_LIST) {
        const char *text = scalar_text(o, value, room, sizeof(room));
        if (text != NULL) {
            set_text(p, i, text, where);
        }
        return text != NULL;
    }
    if (!json_is_array(value)) {
        return false;
    }
    p->given[i] = true;
    for (size_t k = 0; k < json_array_size(value); k++) {
        const char *text = plain_string(json_array_get(value, k));
        if (text == NULL) {
            return false;
        }
        set_text(p, i, text, where);
    }
    return true;
}

static void read_members(struct parser *p, json_t *doc)
{
    const char *key;
    json_t *value;
    json_object_foreach(doc, key, value)
    {
        size_t i = find_option(p->table, key, strlen(key));
        struct ct_shown shown;
        const char *name = ct_text_show(&shown, key, strlen(key));
        if (i == p->table->n) {
            const char *nearest = nearest_name(p, key, strlen(key));
            (void)ct_err_add(&p->all, "\n", CT_EINVAL, "%s: unknown key \"%s\"%s%s%s", p->config,
                             name, nearest != NULL ? "; did you mean \"" : "",
                             nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "");
        } else if (!p->given[i] && !set_json(p, i, value)) {
            (void)ct_err_add(&p->all, "\n", CT_EINVAL, "%s: \"%s\" must be %s", p->config, name,
                             json_forms[p->table->options[i].kind]);
            p->given[i] = true;
        }
    }
}

static void read_file(struct parser *p)
{
    CT_AUTO_BUF text = {.max = FILE_MAX};
    CT_AUTO_JSON doc = NULL;
    struct ct_err one = {0};
    const char *given = p->table->file_text;
    int rc = 0;
    if (given != NULL && p->config != NULL) {
        (void)ct_err_add(&p->all, "\n", CT_EINVAL, "--config cannot be given beside %s",
                         p->table->file_name);
        return;
    }
    if (given != NULL) {
        p->config = p->table->file_name;
        rc = ct_json_parse(given, strlen(given), p->config, &doc, &one);
    } else if (p->config != NULL) {
        rc = ct_file_read(p->config, &text, &one);
        rc = rc < 0 ? rc : ct_json_parse(text.data, text.len, p->config, &doc, &one);
    } else {
        return;
    }
    if (rc == 0 && !json_is_object(doc)) {
        rc = ct_err_set(&one, CT_EINVAL, "%s must hold a JSON object", p->config);
    }
    if (rc < 0) {
        add_problem(p, &one);
    } else {
        read_members(p, doc);
    }
}

static void read_defaults(struct parser *p)
{
    for (size_t i = 0; i < p->table->n; i++) {
        const struct ct_option *o = &p->table->options[i];
        if (!p->given[i] && o->fallback != NULL) {
            set_any(p, i, o->fallback, o->name);
        }
        if (!p->given[i] && o->required) {
            (void)ct_err_add(&p->all, "\n", CT_EINVAL, "--%s is required", o->name);
        }
    }
}

// Asked for help or version, nothing else matters.
static enum ct_option_result find_request(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return CT_OPTION_HELP;
        }
        if (strcmp(argv[i], "--version") == 0) {
            return CT_OPTION_VERSION;
        }
    }
    return CT_OPTION_RUN;
}

int ct_option_parse(const struct ct_option_table *table, int argc, char **argv, void *settings,
                    struct ct_err *err)
{
    enum ct_option_result request = find_request(argc, argv);
    if (request != CT_OPTION_RUN) {
        return (int)request;
    }
    bool *given = calloc(table->n + 1, sizeof(*given));
    if (given == NULL) {
        return no_memory(err);
    }
    struct parser p = {.table = table, .settings = settings, .given = given};
    read_flags(&p, argc, argv);
    read_environment(&p);
    read_file(&p);
    read_defaults(&p);
    free(given);
    if (p.all.code == CT_OK) {
        return CT_OPTION_RUN;
    }
    ct_option_free(table, settings);
    return ct_err_set(err, p.all.code == CT_ENOMEM ? CT_ENOMEM : CT_EINVAL, "%s", p.all.msg);
}

void ct_option_free(const struct ct_option_table *table, void *settings)
{
    for (size_t i = 0; i < table->n; i++) {
        void *field = (char *)settings + table->options[i].offset;
        if (table->options[i].kind == CT_OPTION_STRING) {
            char **string = field;
            free(*string);
            *string = NULL;
        } else if (table->options[i].kind == CT_OPTION_LIST) {
            struct ct_option_list *list = field;
            for (size_t k = 0; k < list->n; k++) {
                free(list->item[k]);
            }
            free(list->item);
            *list = (struct ct_option_list){0};
        }
    }
}
