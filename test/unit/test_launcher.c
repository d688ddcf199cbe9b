// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "launcher.h"

struct launcher_case {
    const char *exe;
    const char *argv[6];
    const char *expected; // NULL: no launcher
};

static const struct launcher_case cases[] = {
    {"/bin/sh", {"sh", "-c", "app"}, "sh"},
    {"/usr/bin/dash", {"/bin/sh"}, "dash"},
    {"/bin/bash", {"-bash"}, "bash"},
    {"bash", {"bash"}, "bash"},
    {"/bin/bash-5.2", {"bash"}, "bash"},
    {"/usr/bin/ksh93", {"ksh"}, "ksh"},
    {"/tmp/dash (deleted)", {"x"}, "dash"},
    {"/bin/zsh-5.9", {"zsh"}, "zsh"},
    {"/usr/bin/env", {"env", "A=b", "app"}, "env"},
    {"/sbin/tini", {"tini", "--", "app"}, "tini"},
    {"/tini-static", {"/tini-static"}, "tini"},
    {"/tini-static-amd64", {"tini"}, "tini"},
    {"/usr/bin/dumb-init_1.2.5_x86_64", {"dumb-init"}, "dumb-init"},
    {"/usr/local/bin/gosu-amd64", {"gosu", "app"}, "gosu"},
    {"/usr/bin/setpriv", {"setpriv"}, "setpriv"},
    {"/usr/sbin/chroot", {"chroot"}, "chroot"},
    {"/usr/bin/xargs", {"xargs"}, "xargs"},
    {"/command/s6-svscan", {"s6-svscan"}, "s6-svscan"},
    // multi-call programs: the applet counts
    {"/bin/busybox", {"sh", "-c", "x"}, "sh"},
    {"/bin/busybox", {"-sh"}, "sh"},
    {"/bin/busybox", {"/bin/busybox", "ash"}, "ash"},
    {"/bin/busybox.static", {"busybox", "env", "x"}, "env"},
    {"/bin/busybox", {"sleep", "5"}, NULL},
    {"/bin/busybox", {"busybox", "httpd"}, NULL},
    {"/bin/busybox", {"busybox"}, "busybox"},
    {"/bin/busybox", {"busybox", "busybox", "/bin/busybox", "sh", "-c", "x"}, "sh"},
    {"/bin/busybox", {"busybox", "busybox"}, "busybox"},
    {"/bin/busybox", {NULL}, "busybox"},
    {"/bin/toybox", {"toybox", "timeout", "5", "app"}, "timeout"},
    {"/usr/bin/coreutils", {"nohup", "app"}, "nohup"},
    {"/usr/bin/coreutils", {"coreutils", "--coreutils-prog=env", "app"}, "env"},
    {"/usr/bin/coreutils", {"coreutils", "--coreutils-prog=cat"}, NULL},
    // interpreters: the script counts
    {"/usr/bin/python3.11", {"python3", "-u", "/usr/bin/supervisord", "-n"}, "supervisord"},
    {"/usr/bin/python3", {"python3", "/srv/app.py"}, NULL},
    {"/usr/local/bin/node", {"node", "/usr/local/bin/npm", "start"}, "npm"},
    {"/usr/local/bin/node", {"node", "server.js"}, NULL},
    {"/usr/local/bin/node", {"node", "/opt/yarn-v1.22.22/bin/yarn.js", "start"}, "yarn"},
    {"/usr/local/bin/node", {"node", ".yarn/releases/yarn-3.6.1.cjs", "start"}, "yarn"},
    {"/usr/bin/node", {"node", "/usr/lib/node_modules/npm/bin/npm-cli.js", "start"}, "npm"},
    {"/usr/bin/node", {"node", "/srv/node_modules/.bin/pm2-runtime", "app.js"}, "pm2-runtime"},
    {"/usr/bin/node", {"node", "/srv/time.js"}, NULL},
    {"/usr/bin/node", {"node", "/srv/shop-cli.js"}, NULL},
    {"/usr/bin/python3.11", {"python3", "/usr/local/bin/ddtrace-run", "app"}, "ddtrace-run"},
    {"/usr/bin/python3", {"python3", "/srv/script.py"}, NULL},
    {"/usr/bin/python3", {"python3"}, NULL},
    // the dynamic loader: what it loads counts
    {"/lib64/ld-linux-x86-64.so.2", {"ld.so", "--library-path", "/lib", "/bin/sh"}, "sh"},
    {"/lib/ld-musl-x86_64.so.1", {"ld", "/srv/app"}, NULL},
    {"/usr/lib/x86_64-linux-musl/libc.so", {"ld", "/bin/sh"}, "sh"},
    {"/lib/libc.musl-x86_64.so.1", {"ld", "--preload", "x", "/bin/sh"}, "sh"},
    {"/lib64/ld-linux-x86-64.so.2", {"ld.so"}, NULL},
    {"/lib64/ld-linux-x86-64.so.2", {"ld.so", "/lib64/ld-linux-x86-64.so.2", "x"}, NULL},
    // programs whose names only look alike
    {"/srv/shell", {"shell"}, NULL},
    {"/srv/mysh", {"mysh"}, NULL},
    {"/srv/sh/app", {"sh"}, NULL},
    {"/srv/environment", {"x"}, NULL},
    {"/srv/123", {"x"}, NULL},
    {"/srv/", {"x"}, NULL},
    {"", {NULL}, NULL},
    {"/usr/sbin/nginx", {"nginx", "-g", "sh"}, NULL},
};

static void judges_programs(void **state)
{
    (void)state;
    for (size_t i = 0; i < CT_ARRAY_LEN(cases); i++) {
        size_t argc = 0;
        while (argc < CT_ARRAY_LEN(cases[i].argv) && cases[i].argv[argc] != NULL) {
            argc++;
        }
        const char *name = ct_launcher_name(cases[i].exe, cases[i].argv, argc);
        const char *expected = cases[i].expected;
        if ((name == NULL) != (expected == NULL) || (name != NULL && strcmp(name, expected) != 0)) {
            fail_msg("case %zu, %s: expected %s, got %s", i, cases[i].exe,
                     expected != NULL ? expected : "none", name != NULL ? name : "none");
        }
    }
}

// Those that the documents name.
static void knows_the_usual_ones(void **state)
{
    (void)state;
    static const char *const names[] = {
        "sh",          "bash",      "dash",
        "ash",         "zsh",       "ksh",
        "mksh",        "fish",      "tini",
        "tini-static", "dumb-init", "catatonit",
        "gosu",        "su-exec",   "su",
        "sudo",        "runuser",   "setpriv",
        "env",         "nohup",     "timeout",
        "nice",        "ionice",    "chrt",
        "taskset",     "setsid",    "stdbuf",
        "time",        "xargs",     "chroot",
        "unshare",     "nsenter",   "start-stop-daemon",
        "supervisord", "s6-svscan", "runsv",
        "runit",       "script",    "flock",
        "watch",       "parallel",  "numactl",
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        const char *argv[] = {names[i]};
        if (ct_launcher_name(names[i], argv, 1) == NULL) {
            fail_msg("%s is not known", names[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_programs),
        cmocka_unit_test(knows_the_usual_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
