// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "script.h"

static const char *const names[] = {"one", "exec", "children"};

static const struct {
    const char *text;
    enum ct_script_kind expected;
} scripts[] = {
    // one program, whoever's process it runs in
    {"app", CT_SCRIPT_ONE},
    {"app --flag \"$X\" 'a; b' >log 2>&1", CT_SCRIPT_ONE},
    {"cd /srv && app", CT_SCRIPT_ONE},
    {"export A=b; umask 022\napp -x # and no more", CT_SCRIPT_ONE},
    {"A=b B=\"$C\" app", CT_SCRIPT_ONE},
    {"set -e\n\n  app \\\n  --more\n", CT_SCRIPT_ONE},
    {"${APP:-app} x", CT_SCRIPT_ONE},
    {"app &>log", CT_SCRIPT_ONE},
    {"app <<< word", CT_SCRIPT_ONE},
    {"app <<END\nother; exec other\nEND\n", CT_SCRIPT_ONE},
    {"app; echo done", CT_SCRIPT_ONE},
    // its own process becomes a program
    {"exec app", CT_SCRIPT_EXEC},
    {"mkdir -p /x; exec app", CT_SCRIPT_EXEC},
    {"#!/bin/sh\nset -e\nif [ \"$1\" = x ]; then\n\tchown x .\n\texec gosu x \"$@\"\nfi\nexec "
     "\"$@\"\n",
     CT_SCRIPT_EXEC},
    {"_main() {\n  setup | sed s/a/b/\n  exec \"$@\"\n}\n_main \"$@\"\n", CT_SCRIPT_EXEC},
    {"case $1 in a|b) exec app;; *) other;; esac", CT_SCRIPT_EXEC},
    {"until ready; do sleep 1; done; A=b exec app", CT_SCRIPT_EXEC},
    {"x=$(date); exec app", CT_SCRIPT_EXEC},
    {"exec -a name app", CT_SCRIPT_EXEC},
    {"psql <<-'SQL'\n\tselect 'it;\n\tSQL\nexec app", CT_SCRIPT_EXEC},
    {"cat > f <<END\ntext\nEND\nexec app", CT_SCRIPT_EXEC},
    {"test -f x || exec app", CT_SCRIPT_EXEC},
    // programs as children
    {"", CT_SCRIPT_CHILDREN},
    {"exit 3", CT_SCRIPT_CHILDREN},
    {"echo only; cd /", CT_SCRIPT_CHILDREN},
    {"mkdir x; app", CT_SCRIPT_CHILDREN},
    {"app & wait", CT_SCRIPT_CHILDREN},
    {"app | tee log", CT_SCRIPT_CHILDREN},
    {"app || exit 1", CT_SCRIPT_CHILDREN},
    {"app $(cat options)", CT_SCRIPT_CHILDREN},
    {"app \"$(cat options)\"", CT_SCRIPT_CHILDREN},
    {"app `cat options`", CT_SCRIPT_CHILDREN},
    {"app \"`cat options`\"", CT_SCRIPT_CHILDREN},
    {"app ${A:-$(cat options)}", CT_SCRIPT_CHILDREN},
    {"app <(cat options)", CT_SCRIPT_CHILDREN},
    {"while :; do app; done", CT_SCRIPT_CHILDREN},
    {". ./environment; app", CT_SCRIPT_CHILDREN},
    {"eval app", CT_SCRIPT_CHILDREN},
    {"trap 'rm x' EXIT; app", CT_SCRIPT_CHILDREN},
    // what is no exec of a program by the shell itself
    {"exec >log 2>&1; mkdir x; app", CT_SCRIPT_CHILDREN},
    {"exec 3<>file\nmkdir x\napp", CT_SCRIPT_CHILDREN},
    {"exec {fd}>file; mkdir x; app", CT_SCRIPT_CHILDREN},
    {"(exec app); other", CT_SCRIPT_CHILDREN},
    {"$(exec app); other", CT_SCRIPT_CHILDREN},
    {"\"$(echo \"a; exec app\")\"; other", CT_SCRIPT_CHILDREN},
    {"exec app & other", CT_SCRIPT_CHILDREN},
    {"x | exec app", CT_SCRIPT_CHILDREN},
    {"exec app | x", CT_SCRIPT_CHILDREN},
    {"echo 'exec app'; a; b", CT_SCRIPT_CHILDREN},
    {"echo exec app; a; b", CT_SCRIPT_CHILDREN},
    {"# exec app\na; b", CT_SCRIPT_CHILDREN},
    {"cat <<END\nexec app\nEND\na; b", CT_SCRIPT_CHILDREN},
    {"a \"unclosed; exec app", CT_SCRIPT_ONE},
    {"executor app; b", CT_SCRIPT_CHILDREN},
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(scripts); i++) {
        enum ct_script_kind kind = ct_script_judge(scripts[i].text, strlen(scripts[i].text));
        if (kind != scripts[i].expected) {
            fail_msg("%s: %s instead of %s", scripts[i].text, names[kind],
                     names[scripts[i].expected]);
        }
    }
    assert_int_equal(ct_script_judge("exec app\0", 9), CT_SCRIPT_CHILDREN); // a binary
}

static void test_nesting_is_bounded(void **state)
{
    (void)state;
    static char deep[CT_SCRIPT_MAX];
    for (size_t i = 0; i + 3 <= sizeof(deep); i += 3) {
        memcpy(deep + i, "\"$(", 3);
    }
    assert_int_equal(ct_script_judge(deep, sizeof(deep) - sizeof(deep) % 3), CT_SCRIPT_CHILDREN);
}

static void test_uses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool expected;
    } cases[] = {
        {"psql \"$URL\"", true},
        {"psql ${URL}", true},
        {"psql ${URL:-x}", true},
        {"echo ${#URL}", true},
        {"echo ${!URL}", true},
        {"echo '$URL'", true},
        {"x$URL", true},
        {"$URL", true},
        {"psql $URLS $URL_ ${URLS}", false},
        {"URL=x", false},
        {"psql URL {URL}", false},
        {"$", false},
        {"${", false},
        {"", false},
        {"$$URL", true},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        if (ct_script_uses(cases[i].text, strlen(cases[i].text), "URL") != cases[i].expected) {
            fail_msg("%s", cases[i].text);
        }
    }
}

static void test_shell_line(void **state)
{
    (void)state;
    static const struct {
        const char *argv[8];
        const char *text;
        const char *file;
        bool startup;
    } cases[] = {
        {{"sh", "-c", "app", "name"}, "app", NULL, false},
        {{"sh", "-ec", "app"}, "app", NULL, false},
        {{"sh", "-c", "-e", "--", "app"}, "app", NULL, false},
        {{"bash", "-euo", "pipefail", "-c", "app"}, "app", NULL, false},
        {{"bash", "--norc", "--rcfile", "f", "+x", "-c", "app"}, "app", NULL, false},
        {{"bash", "-lc", "app"}, "app", NULL, true},
        {{"-sh", "-c", "app"}, "app", NULL, true},
        {{"bash", "-ic", "app"}, "app", NULL, true},
        {{"bash", "+l", "-c", "app"}, "app", NULL, false},
        {{"bash", "--login", "script"}, NULL, "script", true},
        {{"/bin/sh", "/entry.sh", "-c", "x"}, NULL, "/entry.sh", false},
        {{"sh", "-e", "/entry.sh"}, NULL, "/entry.sh", false},
        {{"sh", "-", "/entry.sh"}, NULL, "/entry.sh", false},
        {{"sh", "-s", "argument"}, NULL, NULL, false},
        {{"sh"}, NULL, NULL, false},
        {{"sh", "-c"}, NULL, NULL, false},
        {{"sh", "-o"}, NULL, NULL, false},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        size_t argc = 0;
        while (argc < CT_ARRAY_LEN(cases[i].argv) && cases[i].argv[argc] != NULL) {
            argc++;
        }
        struct ct_shell_line line;
        ct_shell_parse(cases[i].argv, argc, &line);
        const char *found[] = {line.text, line.file};
        const char *expected[] = {cases[i].text, cases[i].file};
        for (size_t j = 0; j < CT_ARRAY_LEN(found); j++) {
            if (expected[j] == NULL ? found[j] != NULL
                                    : found[j] == NULL || strcmp(found[j], expected[j]) != 0) {
                fail_msg("case %zu: %s", i, found[j] != NULL ? found[j] : "nothing");
            }
        }
        assert_int_equal(line.startup, cases[i].startup);
    }
    struct ct_shell_line line;
    ct_shell_parse(NULL, 0, &line);
    assert_null(line.file);
}

static void test_startup_variable(void **state)
{
    (void)state;
    assert_string_equal(ct_shell_startup_variable("bash"), "BASH_ENV");
    assert_string_equal(ct_shell_startup_variable("mksh"), "ENV");
    assert_null(ct_shell_startup_variable("dash"));
    assert_null(ct_shell_startup_variable("sh"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_uses),
        cmocka_unit_test(test_shell_line),
        cmocka_unit_test(test_startup_variable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
