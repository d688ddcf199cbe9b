// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "chaos.h"
#include "json.h"
#include "yaml_doc.h"

static void free_string(char **text)
{
    free(*text);
}

// The documents as one line of JSON, divided by " | ".
static char *json_of(const struct ct_yaml *yaml)
{
    char *all = strdup("");
    for (size_t i = 0; i < yaml->n && all != NULL; i++) {
        __attribute__((cleanup(free_string))) char *before = all;
        __attribute__((cleanup(free_string))) char *one =
            json_dumps(yaml->documents[i].value, JSON_COMPACT | JSON_ENCODE_ANY);
        assert_true(asprintf(&all, "%s%s%s", before, i > 0 ? " | " : "", one) >= 0);
    }
    return all;
}

static void understands_plain_scalars(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum ct_yaml_kind kind;
        json_int_t integer;
        double real;
    } cases[] = {
        {"", CT_YAML_NULL, 0, 0},
        {"~", CT_YAML_NULL, 0, 0},
        {"NULL", CT_YAML_NULL, 0, 0},
        {"nULL", CT_YAML_STRING, 0, 0},
        {"yes", CT_YAML_BOOL, 0, 0},
        {"Off", CT_YAML_BOOL, 0, 0},
        {"oFF", CT_YAML_STRING, 0, 0},
        {"0", CT_YAML_INTEGER, 0, 0},
        {"-0", CT_YAML_INTEGER, 0, 0},
        {"0644", CT_YAML_INTEGER, 420, 0},
        {"0o644", CT_YAML_INTEGER, 420, 0},
        {"0x1F", CT_YAML_INTEGER, 31, 0},
        {"-0b101", CT_YAML_INTEGER, -5, 0},
        {"089", CT_YAML_INTEGER, 89, 0},
        {"1_000", CT_YAML_INTEGER, 1000, 0},
        {"_1", CT_YAML_STRING, 0, 0},
        {"0x", CT_YAML_STRING, 0, 0},
        {"9223372036854775807", CT_YAML_INTEGER, INT64_MAX, 0},
        {"-9223372036854775808", CT_YAML_INTEGER, INT64_MIN, 0},
        {"9223372036854775808", CT_YAML_REAL, 0, 9223372036854775808.0},
        {"-99999999999999999999", CT_YAML_REAL, 0, -1e20},
        {"1.5", CT_YAML_REAL, 0, 1.5},
        {"1.", CT_YAML_REAL, 0, 1.0},
        {".5", CT_YAML_REAL, 0, 0.5},
        {"+1e3", CT_YAML_REAL, 0, 1000.0},
        {"1e999", CT_YAML_STRING, 0, 0},
        {"0xffffffffffffffffff", CT_YAML_STRING, 0, 0},
        {"0XfF", CT_YAML_INTEGER, 255, 0},
        {"n", CT_YAML_BOOL, 0, 0},
        {"-.Inf", CT_YAML_NO_JSON, 0, 0},
        {".nan", CT_YAML_NO_JSON, 0, 0},
        {".", CT_YAML_STRING, 0, 0},
        {"e5", CT_YAML_STRING, 0, 0},
        {"1e", CT_YAML_STRING, 0, 0},
        {"1.2.3", CT_YAML_STRING, 0, 0},
        {"100m", CT_YAML_STRING, 0, 0},
        {"12:30", CT_YAML_STRING, 0, 0},
        {"2001-01-01", CT_YAML_STRING, 0, 0},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct ct_yaml_plain got;
        ct_yaml_resolve(cases[i].text, strlen(cases[i].text), &got);
        if (got.kind != cases[i].kind || got.integer != cases[i].integer ||
            memcmp(&got.real, &cases[i].real, sizeof(got.real)) != 0) {
            fail_msg("\"%s\": kind %d, %lld, %g", cases[i].text, (int)got.kind,
                     (long long)got.integer, got.real);
        }
    }
}

// What is read, and how it is written again. The same text twice: it is read back as it was.
static void goes_round(void **state)
{
    (void)state;
    const struct {
        const char *text, *json, *written;
    } cases[] = {
        {"a: b\n", "{\"a\":\"b\"}", "a: b\n"},
        {"z: 1\na: 2\nm: 3\n", "{\"z\":1,\"a\":2,\"m\":3}", "z: 1\na: 2\nm: 3\n"},
        {"[true, \"true\", 'no', no, ~, 'null', \"\", \"~\"]",
         "[true,\"true\",\"no\",false,null,\"null\",\"\",\"~\"]",
         "- true\n- \"true\"\n- \"no\"\n- false\n- null\n- \"null\"\n- \"\"\n- \"~\"\n"},
        {"[1, '1', 0x10, '0x10', '1e3', 1e999, '1_0', '.5', '+1', '-', '.']",
         "[1,\"1\",16,\"0x10\",\"1e3\",\"1e999\",\"1_0\",\".5\",\"+1\",\"-\",\".\"]",
         "- 1\n- \"1\"\n- 16\n- \"0x10\"\n- \"1e3\"\n- \"1e999\"\n- \"1_0\"\n- \".5\"\n- \"+1\"\n- "
         "\"-\"\n- "
         "\".\"\n"},
        {"['2001-01-01', '12:30:45', '=', '<<', 100m, 'a: b', '# c', 'k #e', ' f', '*g']",
         "[\"2001-01-01\",\"12:30:45\",\"=\",\"<<\",\"100m\",\"a: b\",\"# c\",\"k #e\",\" "
         "f\",\"*g\"]",
         "- \"2001-01-01\"\n- \"12:30:45\"\n- \"=\"\n- \"<<\"\n- 100m\n- 'a: b'\n- '# c'\n- 'k "
         "#e'\n- ' f'\n- '*g'\n"},
        {"[0.1, 1e21, 1.0, -2.5e-7, 99999999999999999999]",
         "[0.10000000000000001,1e21,1.0,-2.4999999999999999e-7,1e20]",
         "- 0.1\n- 1.0e+21\n- 1.0\n- -2.5e-07\n- 1.0e+20\n"},
        {"s: |\n  one\n    two\n\n  three\n", "{\"s\":\"one\\n  two\\n\\nthree\\n\"}",
         "s: |\n  one\n    two\n\n  three\n"},
        {"s: |-\n  one\n  two\n", "{\"s\":\"one\\ntwo\"}", "s: |-\n  one\n  two\n"},
        {"s: \"one \\ntwo\"\n", "{\"s\":\"one \\ntwo\"}", "s: \"one \\ntwo\"\n"},
        {"s: \"\\n\\tx\\0y\\u0085\"\n", "{\"s\":\"\\n\\tx\\u0000y\xc2\x85\"}",
         "s: \"\\n\\tx\\0y\\N\"\n"},
        {"s: >\n  one\n  two\n", "{\"s\":\"one two\\n\"}", "s: |\n  one two\n"},
        {"s: gr\xc3\xbc\xc3\x9f\x65\n", "{\"s\":\"gr\xc3\xbc\xc3\x9f\x65\"}",
         "s: gr\xc3\xbc\xc3\x9f\x65\n"},
        {"a: &x {b: [1, 2]}\nc: *x\n", "{\"a\":{\"b\":[1,2]},\"c\":{\"b\":[1,2]}}",
         "a:\n  b:\n  - 1\n  - 2\nc:\n  b:\n  - 1\n  - 2\n"},
        {"base: &b {x: 1, w: 2}\nk: {<<: *b, w: 3, z: 4}\n",
         "{\"base\":{\"x\":1,\"w\":2},\"k\":{\"w\":3,\"z\":4,\"x\":1}}",
         "base:\n  x: 1\n  w: 2\nk:\n  w: 3\n  z: 4\n  x: 1\n"},
        {"p: &p {x: 1}\nq: &q {x: 2, z: 5}\nr: {<<: [*p, *q]}\n",
         "{\"p\":{\"x\":1},\"q\":{\"x\":2,\"z\":5},\"r\":{\"x\":1,\"z\":5}}",
         "p:\n  x: 1\nq:\n  x: 2\n  z: 5\nr:\n  x: 1\n  z: 5\n"},
        {"'<<': 1\n", "{\"<<\":1}", "\"<<\": 1\n"},
        {"1: a\non: b\n\"off\": c\n", "{\"1\":\"a\",\"true\":\"b\",\"off\":\"c\"}",
         "\"1\": a\n\"true\": b\n\"off\": c\n"},
        {"[!!str 5, !!int \"5\", !!float 5, ! 5, !!bool 'yes', !!null '']",
         "[\"5\",5,5.0,\"5\",true,null]", "- \"5\"\n- 5\n- 5.0\n- \"5\"\n- true\n- null\n"},
        {"e: {}\nl: []\nv:\n", "{\"e\":{},\"l\":[],\"v\":null}", "e: {}\nl: []\nv: null\n"},
        {"a: 1\n---\n# nothing\n---\nb: 2\n...\n", "{\"a\":1} | null | {\"b\":2}",
         "a: 1\n---\nb: 2\n"},
        {"", "", ""},
        {"# only a comment\n", "", ""},
        {" {\"s\": \"\\ud83d\\ude00\", \"t\":\"a\\/b\"}",
         "{\"s\":\"\xf0\x9f\x98\x80\",\"t\":\"a/b\"}", "s: \"\\U0001F600\"\nt: a/b\n"},
        {"{a: 1, b: [x, 'y', y]}", "{\"a\":1,\"b\":[\"x\",\"y\",true]}",
         "a: 1\nb:\n- x\n- \"y\"\n- true\n"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_YAML yaml = {.n = 0};
        CT_AUTO_YAML again = {.n = 0};
        CT_AUTO_BUF out = {.max = 4096};
        CT_AUTO_BUF twice = {.max = 4096};
        struct ct_err err = {0};
        expect_ok(ct_yaml_read(cases[i].text, strlen(cases[i].text), "m", &yaml, &err), &err);
        __attribute__((cleanup(free_string))) char *json = json_of(&yaml);
        assert_string_equal(json, cases[i].json);
        expect_ok(ct_yaml_write(&yaml, &out, &err), &err);
        const char *written = out.data != NULL ? out.data : "";
        assert_string_equal(written, cases[i].written);
        expect_ok(ct_yaml_read(written, out.len, "m", &again, &err), &err);
        expect_ok(ct_yaml_write(&again, &twice, &err), &err);
        assert_string_equal(twice.data != NULL ? twice.data : "", written);
    }
}

static void refuses(void **state)
{
    (void)state;
    const struct {
        const char *text, *part;
    } cases[] = {
        {"a: [1,\nb: 2", "m, line 3, column 1: did not find expected ',' or ']' while parsing"},
        {"a: b: c\n", "m, line 1, column 5: mapping values are not allowed in this context"},
        {"a:\n\tb: 1\n", "line 2, column 1: found character that cannot start any token"},
        {"a: \xff\n", "m, line 1, column 4: "},
        {"ok: 1\nb: \"\x01\"\n", "m, line 2, column "},
        {"a: 1\nb: 2\na: 3\n", "m, line 3, column 1: a key stands twice in one object: \"a\""},
        {"? [1]\n: 2\n", "line 1, column 3: a key must be a text"},
        {"~: 2\n", "a key must be a text, and this one is null"},
        {"\"a\\0b\": 2\n", "a key holds a NUL character"},
        {"a: *b\n", "line 1, column 4: no complete value stands before this alias of \"b\""},
        {"a: &b [*b]\n", "no complete value stands before this alias of \"b\""},
        {"a: &b 1\n---\nc: *b\n", "line 3, column 4: no complete value"},
        {"a: .inf\n", "infinity and not-a-number have no place in a manifest"},
        {"a: !!binary aGk=\n", "cannot have a value of the type \"tag:yaml.org,2002:binary\""},
        {"a: !mine {}\n", "cannot have a value of the type \"!mine\""},
        {"a: !!set [1]\n", "cannot have a value of the type \"tag:yaml.org,2002:set\""},
        {"a: !!int x\n", "not of the type that its tag says: \"tag:yaml.org,2002:int\""},
        {"<<: 1\n", "the merge key << takes an object or a list of them"},
        {"<<: [{a: 1}, 2]\n", "the merge key << takes an object or a list of them"},
        {"%YAML 3.0\n---\na\n", "found incompatible YAML document"},
        {"{\"a\": 1,,}", "m, line 1, column "},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        CT_AUTO_YAML yaml = {.n = 0};
        struct ct_err err = {0};
        int rc = ct_yaml_read(cases[i].text, strlen(cases[i].text), "m", &yaml, &err);
        expect_error(rc, &err, CT_EINVAL, cases[i].part);
    }
}

static void nested(struct ct_buf *out, const char *open, const char *close, int depth)
{
    ct_buf_reset(out);
    for (int i = 0; i < depth; i++) {
        ct_buf_add_str(out, open);
    }
    ct_buf_add_str(out, "1");
    for (int i = 0; i < depth; i++) {
        ct_buf_add_str(out, close);
    }
}

static void bounds_depth(void **state)
{
    (void)state;
    CT_AUTO_BUF text = {.max = 1 << 20};
    struct ct_err err = {0};
    const char *const shapes[][2] = {{"[", "]"}, {"{a: ", "}"}, {"{\"a\":", "}"}, {"- ", ""}};
    for (size_t i = 0; i < CT_ARRAY_LEN(shapes); i++) {
        CT_AUTO_YAML fits = {.n = 0};
        CT_AUTO_YAML too_deep = {.n = 0};
        nested(&text, shapes[i][0], shapes[i][1], CT_YAML_MAX_DEPTH);
        expect_ok(ct_yaml_read(text.data, text.len, "m", &fits, &err), &err);
        nested(&text, shapes[i][0], shapes[i][1], CT_YAML_MAX_DEPTH + 1);
        expect_error(ct_yaml_read(text.data, text.len, "m", &too_deep, &err), &err, CT_EINVAL,
                     "m is nested too deeply; 200 lists and objects within each other are allowed");
        err = (struct ct_err){0};
    }
    // An alias brings its own depth along.
    CT_AUTO_YAML alias = {.n = 0};
    ct_buf_reset(&text);
    ct_buf_add_str(&text, "a: &a ");
    CT_AUTO_BUF half = {.max = 1 << 20};
    nested(&half, "[", "]", 150);
    ct_buf_add(&text, half.data, half.len);
    ct_buf_add_str(&text, "\nb: ");
    nested(&half, "[", "]", 150);
    *strchr(half.data, '1') = ' ';
    char *middle = strchr(half.data, ' ');
    ct_buf_add(&text, half.data, (size_t)(middle - half.data));
    ct_buf_add_str(&text, "*a ");
    ct_buf_add_str(&text, middle);
    expect_error(ct_yaml_read(text.data, text.len, "m", &alias, &err), &err, CT_EINVAL,
                 "nested too deeply");
}

// "Billion laughs": each line names the one before nine times.
static void bounds_aliases(void **state)
{
    (void)state;
    CT_AUTO_YAML yaml = {.n = 0};
    CT_AUTO_BUF text = {.max = 1 << 20};
    struct ct_err err = {0};
    ct_buf_add_str(&text, "a0: &a0 [lol]\n");
    for (int i = 1; i < 30; i++) {
        ct_buf_addf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i,
                    i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    int rc = ct_yaml_read(text.data, text.len, "m", &yaml, &err);
    expect_error(rc, &err, CT_ETOOBIG,
                 "m holds too much: its values, aliases expanded, take more than 128 MiB");
}

static void bounds_size(void **state)
{
    (void)state;
    CT_AUTO_BUF text = {.max = CT_YAML_MAX_BYTES + 16};
    CT_AUTO_YAML fits = {.n = 0};
    CT_AUTO_YAML too_large = {.n = 0};
    CT_AUTO_BUF small = {.max = 100};
    struct ct_err err = {0};
    char *room = ct_buf_reserve(&text, CT_YAML_MAX_BYTES + 1);
    assert_non_null(room);
    memset(room, 'x', CT_YAML_MAX_BYTES + 1);
    memcpy(room, "a: ", 3);
    text.len = CT_YAML_MAX_BYTES;
    expect_ok(ct_yaml_read(text.data, text.len, "m", &fits, &err), &err);
    assert_int_equal(json_string_length(json_object_get(fits.documents[0].value, "a")),
                     CT_YAML_MAX_BYTES - 3);
    expect_error(ct_yaml_write(&fits, &small, &err), &err, CT_ENOMEM,
                 "out of memory while writing");
    err = (struct ct_err){0};
    expect_error(ct_yaml_read(text.data, text.len + 1, "m", &too_large, &err), &err, CT_ETOOBIG,
                 "m is larger than 10 MiB");
}

static void tells_lines(void **state)
{
    (void)state;
    CT_AUTO_YAML yaml = {.n = 0};
    CT_AUTO_YAML json = {.n = 0};
    static const char text[] = "# head\na: 1\n---\n\nb: 2\n--- {c: 3}\n";
    static const char flow[] = "\n\n{\"a\": 1}";
    struct ct_err err = {0};
    expect_ok(ct_yaml_read(text, strlen(text), "m", &yaml, &err), &err);
    assert_int_equal(yaml.n, 3);
    assert_int_equal(yaml.documents[0].line, 2);
    assert_int_equal(yaml.documents[1].line, 3);
    assert_int_equal(yaml.documents[2].line, 6);
    expect_ok(ct_yaml_read(flow, strlen(flow), "m", &json, &err), &err);
    assert_int_equal(json.documents[0].line, 3);
}

// Copies of an anchor are values of their own: changing one leaves the others.
static void copies_aliases(void **state)
{
    (void)state;
    CT_AUTO_YAML yaml = {.n = 0};
    static const char text[] = "a: &x {k: 1}\nb: *x\nc: {<<: *x, m: *x}\n";
    struct ct_err err = {0};
    expect_ok(ct_yaml_read(text, strlen(text), "m", &yaml, &err), &err);
    json_t *value = yaml.documents[0].value;
    assert_int_equal(json_object_set_new(json_object_get(value, "b"), "k", json_integer(2)), 0);
    assert_int_equal(json_integer_value(ct_json_at(value, "a", "k", NULL)), 1);
    assert_int_equal(json_integer_value(ct_json_at(value, "c", "k", NULL)), 1);
    assert_int_equal(json_integer_value(ct_json_at(value, "c", "m", "k", NULL)), 1);
}

// libyaml's own allocations are out of reach; those of this layer and of jansson are not.
static void survives_lack_of_memory(void **state)
{
    (void)state;
    static const char text[] = "a: &x {n: 1, l: [s, 2.5]}\nb: {<<: *x}\n---\nc: 1\n";
    bool struck = true;
    size_t nth = 0;
    while (struck) {
        CT_AUTO_YAML yaml = {.n = 0};
        CT_AUTO_BUF out = {.max = 4096};
        struct ct_err err = {0};
        chaos_start(++nth);
        int rc = ct_yaml_read(text, strlen(text), "m", &yaml, &err);
        if (rc == 0) {
            rc = ct_yaml_write(&yaml, &out, &err);
        }
        struck = chaos_stop();
        if (struck) {
            expect_error(rc, &err, CT_ENOMEM, "out of memory");
        } else {
            expect_ok(rc, &err);
        }
    }
    assert_true(nth > 20);
}

int main(void)
{
    chaos_join_jansson();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(understands_plain_scalars),
        cmocka_unit_test(goes_round),
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_depth),
        cmocka_unit_test(bounds_aliases),
        cmocka_unit_test(bounds_size),
        cmocka_unit_test(tells_lines),
        cmocka_unit_test(copies_aliases),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
