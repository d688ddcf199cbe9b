// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "buf.h"
#include "chaos.h"
#include "option.h"

struct settings {
    char *name;
    char *key;
    bool on;
    int number;
    unsigned wait;
    struct ct_option_list list;
    int mode;
};

static const char *const modes[] = {"enforce", "warn", NULL};

static int check_no_x(const char *value, struct ct_err *err)
{
    return strchr(value, 'x') != NULL ? ct_err_set(err, CT_EINVAL, "no x is allowed") : 0;
}

#define AT(field) offsetof(struct settings, field)

static const struct ct_option options[] = {
    {.name = "name",
     .kind = CT_OPTION_STRING,
     .offset = AT(name),
     .fallback = "nobody",
     .argument = "NAME",
     .check = check_no_x,
     .help = "Whom to greet, by a name that is long enough for this help text to be broken into "
             "several lines."},
    {.name = "the-key",
     .kind = CT_OPTION_STRING,
     .offset = AT(key),
     .required = true,
     .argument = "A-VERY-LONG-ARGUMENT",
     .help = "One | other."},
    {.name = "on", .kind = CT_OPTION_BOOL, .offset = AT(on), .fallback = "false", .help = "On."},
    {.name = "number",
     .kind = CT_OPTION_INT,
     .offset = AT(number),
     .min = -3,
     .max = 64,
     .fallback = "5",
     .argument = "N",
     .help = "How many."},
    {.name = "wait",
     .kind = CT_OPTION_DURATION,
     .offset = AT(wait),
     .min = 100,
     .max = 3600000,
     .fallback = "10s",
     .argument = "DURATION",
     .help = "How long."},
    {.name = "allow",
     .kind = CT_OPTION_LIST,
     .offset = AT(list),
     .argument = "URL",
     .check = check_no_x,
     .help = "What is allowed."},
    {.name = "mode",
     .kind = CT_OPTION_CHOICE,
     .offset = AT(mode),
     .choices = modes,
     .fallback = "enforce",
     .argument = "MODE",
     .help = "How strict."},
};

static const struct ct_option_table table = {
    .program = "prog",
    .summary = "Greets.",
    .env_prefix = "CT_TEST_PROG",
    .file = true,
    .options = options,
    .n = CT_ARRAY_LEN(options),
};

static char file_path[] = "/tmp/test_option.XXXXXX";

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(file_path);
    if (fd < 0) {
        return -1;
    }
    return close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(file_path);
}

static void put_file(const char *text)
{
    CT_AUTO_FILE file = fopen(file_path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
}

static int clear_environment(void **state)
{
    static const char *const names[] = {"NAME", "THE_KEY", "ON",   "NUMBER",
                                        "WAIT", "ALLOW",   "MODE", "CONFIG"};
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "CT_TEST_PROG_%s", names[i]);
        (void)unsetenv(name);
    }
    return 0;
}

#define PARSE(s, err, ...) parse(s, err, (const char *[]){"prog", __VA_ARGS__, NULL})

static int parse(struct settings *s, struct ct_err *err, const char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    memset(s, 0, sizeof(*s));
    return ct_option_parse(&table, argc, (char **)(uintptr_t)argv, s, err);
}

static void takes_defaults(void **state)
{
    (void)state;
    struct settings s;
    struct ct_err err = {0};
    expect_ok(PARSE(&s, &err, "--the-key", "k"), &err);
    assert_string_equal(s.name, "nobody");
    assert_string_equal(s.key, "k");
    assert_false(s.on);
    assert_int_equal(s.number, 5);
    assert_int_equal(s.wait, 10000);
    assert_int_equal(s.list.n, 0);
    assert_null(s.list.item);
    assert_int_equal(s.mode, 0);
    ct_option_free(&table, &s);
    assert_null(s.name);
}

static void takes_flags(void **state)
{
    (void)state;
    struct settings s;
    struct ct_err err = {0};
    expect_ok(PARSE(&s, &err, "--the-key=a=b", "--name", "", "--on", "--number", "-3",
                    "--wait=250ms", "--allow", "one", "--allow=two,three", "--mode", "warn"),
              &err);
    assert_string_equal(s.key, "a=b");
    assert_string_equal(s.name, "");
    assert_true(s.on);
    assert_int_equal(s.number, -3);
    assert_int_equal(s.wait, 250);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(s.list.item[0], "one");
    assert_string_equal(s.list.item[1], "two,three");
    assert_null(s.list.item[2]);
    assert_int_equal(s.mode, 1);
    ct_option_free(&table, &s);
}

static void keeps_the_precedence(void **state)
{
    (void)state;
    struct settings s;
    struct ct_err err = {0};
    put_file("{\"name\":\"file\",\"the-key\":\"file\",\"number\":7,\"on\":true,"
             "\"allow\":[\"f1\",\"f2\"],\"wait\":\"5m\",\"mode\":\"warn\"}");
    assert_int_equal(setenv("CT_TEST_PROG_CONFIG", file_path, 1), 0);
    expect_ok(PARSE(&s, &err, "--name=flag"), &err);
    assert_string_equal(s.name, "flag");
    assert_string_equal(s.key, "file");
    assert_int_equal(s.number, 7);
    assert_int_equal(s.wait, 300000);
    assert_int_equal(s.list.n, 2);
    assert_true(s.on);
    assert_int_equal(s.mode, 1);
    ct_option_free(&table, &s);
    assert_int_equal(setenv("CT_TEST_PROG_THE_KEY", "environment", 1), 0);
    assert_int_equal(setenv("CT_TEST_PROG_NAME", "environment", 1), 0);
    assert_int_equal(setenv("CT_TEST_PROG_ALLOW", "e1, e2,e3", 1), 0);
    assert_int_equal(setenv("CT_TEST_PROG_ON", "false", 1), 0);
    assert_int_equal(setenv("CT_TEST_PROG_NUMBER", "", 1), 0);
    expect_ok(PARSE(&s, &err, "--name=flag"), &err);
    assert_string_equal(s.name, "flag");
    assert_string_equal(s.key, "environment");
    assert_int_equal(s.number, 7);
    assert_int_equal(s.list.n, 3);
    assert_string_equal(s.list.item[1], "e2");
    assert_false(s.on);
    ct_option_free(&table, &s);
    // A flag names another file than the environment does.
    assert_int_equal(setenv("CT_TEST_PROG_CONFIG", "/no/such", 1), 0);
    expect_ok(PARSE(&s, &err, "--config", file_path), &err);
    ct_option_free(&table, &s);
}

static void refuses_flags(void **state)
{
    (void)state;
    const struct {
        const char *argument;
        const char *part;
    } cases[] = {
        {"--nmae=x", "unknown option --nmae; did you mean --name?"},
        {"--confg=x", "unknown option --confg; did you mean --config?"},
        {"--hepl", "unknown option --hepl; did you mean --help?"},
        {"--name", "--name needs a value"},
        {"--name=x", "--name \"x\": no x is allowed"},
        {"--allow=x", "--allow \"x\": no x is allowed"},
        {"-n", "unknown option -n"},
        {"-", "unexpected argument \"-\""},

        {"pos\n", "unexpected argument \"pos?\""},
        {"--", "unexpected argument \"--\""},
        {"--=1", "unknown option --"},
        {"--on=yes", "--on \"yes\": true or false is allowed"},
        {"--number=65", "--number \"65\": a whole number from -3 to 64 is allowed"},
        {"--number=-4", "from -3 to 64"},
        {"--number=1.5", "from -3 to 64"},
        {"--number=", "from -3 to 64"},
        {"--number=-", "from -3 to 64"},
        {"--number=99999999999999999999", "from -3 to 64"},
        {"--wait=10", "a number with ms, s, m or h behind it is allowed"},
        {"--wait=s", "a number with ms"},
        {"--wait=1d", "a number with ms"},
        {"--wait=99999999999h", "a number with ms"},
        {"--wait=99ms", "100ms to 1h is allowed"},
        {"--wait=0", "100ms to 1h is allowed"},
        {"--wait=2h", "100ms to 1h is allowed"},
        {"--mode=audit", "--mode \"audit\": allowed: enforce, warn"},
        {"--the-key=again", "--the-key is given twice"},
        {"--config=/no/such", "/no/such does not exist"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct settings s;
        struct ct_err err = {0};
        int rc = PARSE(&s, &err, "--the-key=k", cases[i].argument);
        expect_error(rc, &err, CT_EINVAL, cases[i].part);
        assert_null(s.name);
        assert_null(s.list.item);
    }
}

// A forgotten value does not swallow the next flag.
static void takes_operands(void **state)
{
    (void)state;
    static const struct ct_option with[] = {
        {.name = "name",
         .kind = CT_OPTION_STRING,
         .offset = AT(name),
         .argument = "NAME",
         .operand = true,
         .help = "Whom to greet."},
        {.name = "number", .kind = CT_OPTION_INT, .offset = AT(number), .letter = 'n'},
    };
    static const struct ct_option_table t = {.program = "prog",
                                             .summary = "Greets.",
                                             .operands = "[NAME]",
                                             .options = with,
                                             .n = CT_ARRAY_LEN(with)};
    const char *const lines[][4] = {
        {"prog", "-n", "7", "you"}, {"prog", "you", "-n", "7"}, {"prog", "--name", "you", "-n7"}};
    for (size_t i = 0; i < CT_ARRAY_LEN(lines); i++) {
        struct settings s = {0};
        struct ct_err err = {0};
        expect_ok(ct_option_parse(&t, 4, (char **)(uintptr_t)lines[i], &s, &err), &err);
        assert_string_equal(s.name, "you");
        assert_int_equal(s.number, 7);
        ct_option_free(&t, &s);
    }
    const char *const bad[][3] = {{"prog", "one", "two"}, {"prog", "", NULL}, {"prog", "--", NULL}};
    const char *parts[] = {"NAME is given twice", "unexpected argument \"\"",
                           "unexpected argument \"--\""};
    for (size_t i = 0; i < CT_ARRAY_LEN(bad); i++) {
        struct settings s = {0};
        struct ct_err err = {0};
        int argc = bad[i][2] != NULL ? 3 : 2;
        expect_error(ct_option_parse(&t, argc, (char **)(uintptr_t)bad[i], &s, &err), &err,
                     CT_EINVAL, parts[i]);
    }
}

static void refuses_missing_values(void **state)
{
    (void)state;
    struct settings s;
    struct ct_err err = {0};
    int rc = PARSE(&s, &err, "--the-key", "--on");
    expect_error(rc, &err, CT_EINVAL, "--the-key needs a value");
    assert_null(strstr(err.msg, "required"));
}

// The value of a misspelt flag is no argument of its own, and what was misspelt is not missing.
static void proposes_what_is_near(void **state)
{
    (void)state;
    struct settings s;
    struct ct_err err = {0};
    assert_int_equal(PARSE(&s, &err, "--the-kye", "k", "--onn", "x"), -CT_EINVAL);
    assert_string_equal(err.msg, "unknown option --the-kye; did you mean --the-key?\n"
                                 "unknown option --onn; did you mean --on?\n"
                                 "unexpected argument \"x\"");
    put_file("{\"waot\":\"1s\"}");
    assert_int_equal(PARSE(&s, &err, "--the-key=k", "--config", file_path), -CT_EINVAL);
    assert_non_null(strstr(err.msg, ": unknown key \"waot\"; did you mean \"wait\"?"));
}

static void tells_all_problems(void **state)
{
    (void)state;
    struct settings s;
    struct ct_err err = {0};
    assert_int_equal(setenv("CT_TEST_PROG_MODE", "lax", 1), 0);
    put_file("{\"wait\":\"x\",\"frob\":1,\"number\":\"7\"}");
    int rc = PARSE(&s, &err, "--config", file_path, "--bad", "--name=x");
    assert_int_equal(rc, -CT_EINVAL);
    char expected[400];
    (void)snprintf(expected, sizeof(expected),
                   "unknown option --bad\n"
                   "--name \"x\": no x is allowed\n"
                   "CT_TEST_PROG_MODE \"lax\": allowed: enforce, warn\n"
                   "wait in %s \"x\": a number with ms, s, m or h behind it is allowed\n"
                   "%s: unknown key \"frob\"\n"
                   "%s: \"number\" must be a whole number\n"
                   "--the-key is required",
                   file_path, file_path, file_path);
    assert_string_equal(err.msg, expected);
}

static void refuses_files(void **state)
{
    (void)state;
    const struct {
        const char *text, *part;
    } cases[] = {
        {"", "is empty"},
        {"[]", "must hold a JSON object"},
        {"{", "is not valid JSON"},
        {"{\"name\":1}", "\"name\" must be a string"},
        {"{\"name\":\"a\\u0000\"}", "\"name\" must be a string"},
        {"{\"on\":\"true\"}", "\"on\" must be true or false"},
        {"{\"number\":1.5}", "\"number\" must be a whole number"},
        {"{\"wait\":10}", "\"wait\" must be a string such as \"10s\""},
        {"{\"allow\":\"a\"}", "\"allow\" must be an array of strings"},
        {"{\"allow\":[\"a\",1]}", "\"allow\" must be an array of strings"},
        {"{\"allow\":[\"a\",\"x\"]}", "\"x\": no x is allowed"},
        {"{\"mode\":0}", "\"mode\" must be a string"},
        {"{\"config\":\"/x\"}", "unknown key \"config\""},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct settings s;
        struct ct_err err = {0};
        put_file(cases[i].text);
        int rc = PARSE(&s, &err, "--the-key=k", "--config", file_path);
        expect_error(rc, &err, CT_EINVAL, cases[i].part);
        assert_non_null(strstr(err.msg, file_path));
        assert_null(s.key);
    }
}

static void answers_requests(void **state)
{
    (void)state;
    struct settings s;
    struct ct_err err = {0};
    assert_int_equal(PARSE(&s, &err, "--help"), CT_OPTION_HELP);
    assert_int_equal(PARSE(&s, &err, "--bad", "-h"), CT_OPTION_HELP);
    assert_int_equal(PARSE(&s, &err, "--version"), CT_OPTION_VERSION);
    assert_null(s.name);
}

static void print(void (*how)(const struct ct_option_table *, FILE *), char *out, size_t size)
{
    CT_AUTO_FILE file = fmemopen(out, size, "w");
    assert_non_null(file);
    how(&table, file);
}

static void prints_help(void **state)
{
    (void)state;
    char text[4096] = "";
    print(ct_option_help, text, sizeof(text));
    assert_non_null(strstr(text, "Usage: prog [OPTION]...\n\nGreets.\n\nOptions:\n"));
    assert_non_null(strstr(
        text, "  --name NAME      Whom to greet, by a name that is long enough for this "
              "help\n"
              "                   text to be broken into several lines. Default: nobody.\n"));
    assert_non_null(strstr(text, "  --the-key A-VERY-LONG-ARGUMENT\n"
                                 "                   One | other. Required.\n"));
    assert_non_null(strstr(text, "  --on             On. Default: false.\n"));
    assert_non_null(strstr(text, "  --wait DURATION  How long. From 100ms to 1h. Default: 10s.\n"));
    assert_non_null(
        strstr(text, "  --mode MODE      How strict. One of: enforce, warn. Default: enforce.\n"));
    assert_non_null(strstr(text, "  --allow URL      What is allowed. Repeatable.\n"));
    assert_non_null(strstr(text, "  --config FILE    "));
    assert_non_null(strstr(text, "CT_TEST_PROG_"));
    assert_non_null(strstr(text, "first to last: flag, environment, file, default.\n"));
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 80);
        assert_true(strcspn(line, "\n") == 0 || line[strcspn(line, "\n") - 1] != ' ');
    }
}

static void prints_markdown(void **state)
{
    (void)state;
    char text[4096] = "";
    print(ct_option_markdown, text, sizeof(text));
    assert_non_null(
        strstr(text, "| Option | Meaning | Values |\n|---|---|---|\n| `--name NAME` |"));
    assert_non_null(
        strstr(text, "| `--the-key A-VERY-LONG-ARGUMENT` | One \\| other. | Required. |\n"));
    assert_non_null(strstr(text, "| `--allow URL` | What is allowed. | Repeatable. |\n"));
    assert_non_null(strstr(text, "| `--config FILE` |"));
}

static const struct ct_option short_options[] = {
    {.name = "name",
     .letter = 'n',
     .kind = CT_OPTION_STRING,
     .offset = AT(name),
     .argument = "NAME",
     .help = "Whom."},
    {.name = "on", .letter = 'o', .kind = CT_OPTION_BOOL, .offset = AT(on), .help = "On."},
    {.name = "mode",
     .hidden = true,
     .kind = CT_OPTION_CHOICE,
     .offset = AT(mode),
     .choices = modes,
     .help = "How strict."},
};

static const struct ct_option_table short_table = {
    .program = "prog",
    .summary = "Greets.",
    .options = short_options,
    .n = CT_ARRAY_LEN(short_options),
};

static int parse_short(struct settings *s, struct ct_err *err, const char *one, const char *two)
{
    const char *argv[] = {"prog", one, two, NULL};
    memset(s, 0, sizeof(*s));
    return ct_option_parse(&short_table, two != NULL ? 3 : 2, (char **)(uintptr_t)argv, s, err);
}

static void takes_letters(void **state)
{
    (void)state;
    const struct {
        const char *one, *two;
        const char *name; // NULL: not given
        bool on;
        int mode;
        const char *part; // of the refusal
    } cases[] = {
        {"-n", "ann", "ann", false, 0, NULL},
        {"-nann", NULL, "ann", false, 0, NULL},
        {"-n", "-", "-", false, 0, NULL},
        {"-n=", NULL, "=", false, 0, NULL},
        {"-o", "-nx", "x", true, 0, NULL},
        {"--mode", "warn", NULL, false, 1, NULL}, // hidden, and understood all the same
        {"-n", NULL, NULL, false, 0, "-n needs a value"},
        {"-n", "--on", NULL, false, 0, "-n needs a value"},
        {"-na", "--name=b", NULL, false, 0, "--name is given twice"},
        {"-on", NULL, NULL, false, 0, "unknown option -on"},
        {"-m", "warn", NULL, false, 0, "unknown option -m"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        struct settings s;
        struct ct_err err = {0};
        int rc = parse_short(&s, &err, cases[i].one, cases[i].two);
        if (cases[i].part != NULL) {
            expect_error(rc, &err, CT_EINVAL, cases[i].part);
            continue;
        }
        expect_ok(rc, &err);
        assert_int_equal(s.name != NULL, cases[i].name != NULL);
        assert_string_equal(s.name != NULL ? s.name : "",
                            cases[i].name != NULL ? cases[i].name : "");
        assert_int_equal(s.on, cases[i].on);
        assert_int_equal(s.mode, cases[i].mode);
        ct_option_free(&short_table, &s);
    }
}

static void shows_letters_and_hides_the_hidden(void **state)
{
    (void)state;
    char text[1024] = "";
    CT_AUTO_FILE file = fmemopen(text, sizeof(text), "w");
    assert_non_null(file);
    ct_option_help(&short_table, file);
    ct_option_markdown(&short_table, file);
    assert_int_equal(fflush(file), 0);
    assert_non_null(strstr(text, "  -n, --name NAME  Whom.\n  -o, --on         On.\n  --help  "));
    assert_null(strstr(text, "mode"));
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    put_file("{\"allow\":[\"a\",\"b\"]}");
    bool struck = true;
    size_t nth = 0;
    while (struck) {
        struct settings s;
        struct ct_err err = {0};
        chaos_start(++nth);
        int rc = PARSE(&s, &err, "--the-key=k", "--config", file_path);
        struck = chaos_stop();
        if (!struck) {
            expect_ok(rc, &err);
            ct_option_free(&table, &s);
        } else {
            expect_error(rc, &err, CT_ENOMEM, "out of memory");
            assert_null(s.key);
        }
    }
    assert_true(nth > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_defaults, clear_environment),
        cmocka_unit_test_setup(takes_flags, clear_environment),
        cmocka_unit_test_setup(keeps_the_precedence, clear_environment),
        cmocka_unit_test_setup(refuses_flags, clear_environment),
        cmocka_unit_test(takes_operands),
        cmocka_unit_test_setup(refuses_missing_values, clear_environment),
        cmocka_unit_test_setup(proposes_what_is_near, clear_environment),
        cmocka_unit_test_setup(tells_all_problems, clear_environment),
        cmocka_unit_test_setup(refuses_files, clear_environment),
        cmocka_unit_test_setup(answers_requests, clear_environment),
        cmocka_unit_test_setup(prints_help, clear_environment),
        cmocka_unit_test_setup(prints_markdown, clear_environment),
        cmocka_unit_test(takes_letters),
        cmocka_unit_test(shows_letters_and_hides_the_hidden),
        cmocka_unit_test_setup(survives_lack_of_memory, clear_environment),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
