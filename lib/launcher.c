// SPDX-License-Identifier: Apache-2.0
#include "launcher.h"

#include <string.h>

#include "cleanup.h"
#include "text.h"

// clang-format off: one name a line would be a long way to read
static const char *const launchers[] = {
    // shells
    "sh",
    "bash",
    "rbash",
    "dash",
    "ash",
    "hush",
    "zsh",
    "ksh",
    "mksh",
    "lksh",
    "oksh",
    "pdksh",
    "fish",
    "csh",
    "tcsh",
    "yash",
    "posh",
    "elvish",
    "pwsh",
    "xonsh",
    "osh",
    // PID 1 of containers
    "tini",
    "dumb-init",
    "catatonit",
    "docker-init",
    "podman-init",
    "minit",
    "my_init",
    "init",
    "systemd",
    // another user, another root, other limits
    "gosu",
    "su-exec",
    "su",
    "sudo",
    "doas",
    "runuser",
    "setpriv",
    "setuidgid",
    "chpst",
    "capsh",
    "chroot",
    "unshare",
    "nsenter",
    "fakeroot",
    "fakechroot",
    "proot",
    "bwrap",
    "firejail",
    "setarch",
    "linux32",
    "linux64",
    "prlimit",
    "softlimit",
    "pkexec",
    // environment, time, priority, descriptors
    "env",
    "envdir",
    "envconsul",
    "nohup",
    "timeout",
    "nice",
    "ionice",
    "chrt",
    "taskset",
    "numactl",
    "setsid",
    "stdbuf",
    "time",
    "flock",
    "watch",
    "script",
    "unbuffer",
    "expect",
    "catchsegv",
    "strace",
    "ltrace",
    "gdb",
    "gdbserver",
    "perf",
    "valgrind",
    "rlwrap",
    "socat",
    "dtach",
    "screen",
    "tmux",
    "daemonize",
    "entr",
    // lists of commands
    "xargs",
    "parallel",
    "make",
    "run-parts",
    "start-stop-daemon",
    "openrc-run",
    "direnv",
    // supervisors
    "supervisord",
    "circusd",
    "honcho",
    "foreman",
    "goreman",
    "hivemind",
    "overmind",
    "pm2",
    "pm2-runtime",
    "monit",
    "runit",
    "runit-init",
    "runsv",
    "runsvdir",
    "runsvchdir",
    "sv",
    "svscan",
    "supervise",
    "s6-svscan",
    "s6-supervise",
    "s6-setuidgid",
    "s6-envdir",
    "s6-env",
    "s6-rc",
    "s6-overlay-suexec",
    "s6-softlimit",
    "s6-setsid",
    "s6-applyuidgid",
    "execlineb",
    "dinit",
    "pebble",
    "watchexec",
    "nodemon",
    "containerpilot",
    "crond",
    "cron",
    // scripts that start the program proper through a shell
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "bundle",
    "rake",
};
// clang-format on

// Programs that are many programs: which one, their arguments say.
static const char *const multi_calls[] = {"busybox", "toybox", "coreutils", "sbase-box", "uutils"};

// Programs that run the script that their first argument names.
static const char *const interpreters[] = {"python", "pypy", "perl", "ruby", "node", "nodejs"};

// Endings of builds for one machine ("gosu-amd64", "tini-static", "busybox.static").
static const char *const endings[] = {"-static",  ".static", "-muslc",   "-musl",
                                      "-amd64",   "-x86_64", "_x86_64",  "-arm64",
                                      "-aarch64", ".real",   ".distrib", ".exe"};

// Options of the dynamic loader that take the next argument for themselves (ld.so(8)).
static const char *const loader_options[] = {
    "--library-path",         "--preload",          "--audit", "--argv0", "--inhibit-rpath",
    "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask"};

struct name {
    const char *s;
    size_t len;
};

static struct name base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    base += base[0] == '-' ? 1 : 0; // a login shell is called "-sh"
    return (struct name){base, strlen(base)};
}

static const char *look_up(struct name name, const char *const *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(table[i]) == name.len && memcmp(table[i], name.s, name.len) == 0) {
            return table[i];
        }
    }
    return NULL;
}

// Cuts one ending off: of endings[], or a version ("bash-5.2", "ksh93"). False when there is none.
static bool cut_ending(struct name *name)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(endings); i++) {
        size_t len = strlen(endings[i]);
        if (name->len > len && memcmp(name->s + name->len - len, endings[i], len) == 0) {
            name->len -= len;
            return true;
        }
    }
    size_t len = name->len;
    while (len > 0 && (ct_text_is_digit(name->s[len - 1]) || name->s[len - 1] == '.')) {
        len--;
    }
    if (len == name->len) {
        return false;
    }
    while (len > 0 && memchr("-_.v", name->s[len - 1], 4) != NULL) {
        len--;
    }
    name->len = len;
    return len > 0;
}

// As look_up(), endings cut off one by one ("dumb-init_1.2.5_x86_64").
static const char *find(struct name name, const char *const *table, size_t n)
{
    const char *found = look_up(name, table, n);
    while (found == NULL && cut_ending(&name)) {
        found = look_up(name, table, n);
    }
    return found;
}

static const char *find_launcher(const char *path)
{
    return find(base_name(path), launchers, CT_ARRAY_LEN(launchers));
}

// argv[0] names the applet, unless it is the multi-call program itself: then argv[1] does. One that
// does not say which applet runs is taken for a launcher: nothing shows that it is none.
static const char *find_applet(const char *program, const char *const *argv, size_t argc)
{
    static const char coreutils_option[] = "--coreutils-prog";
    size_t i = 0;
    if (argc > 0 && find(base_name(argv[0]), multi_calls, CT_ARRAY_LEN(multi_calls)) != NULL) {
        i = 1;
    }
    if (i >= argc) {
        return program;
    }
    const char *applet = argv[i];
    if (strncmp(applet, coreutils_option, sizeof(coreutils_option) - 1) == 0) {
        const char *equals = strchr(applet, '=');
        applet = equals != NULL ? equals + 1 : applet;
    }
    return find_launcher(applet);
}

static bool is_loader(struct name name)
{
    return (name.len >= 3 && memcmp(name.s, "ld-", 3) == 0) ||
           (name.len == 5 && memcmp(name.s, "ld.so", 5) == 0);
}

// Index of the first argument behind argv[0] that is no option.
static size_t first_operand(const char *const *argv, size_t argc, bool loader)
{
    size_t i = 1;
    while (i < argc && argv[i][0] == '-') {
        struct name option = {argv[i], strlen(argv[i])};
        bool takes_next =
            loader && look_up(option, loader_options, CT_ARRAY_LEN(loader_options)) != NULL;
        i += takes_next ? 2 : 1;
    }
    return i;
}

const char *ct_launcher_name(const char *exe_path, const char *const *argv, size_t argc)
{
    struct name exe = base_name(exe_path);
    if (is_loader(exe)) {
        size_t i = first_operand(argv, argc, true);
        if (i >= argc || is_loader(base_name(argv[i]))) {
            return NULL;
        }
        return ct_launcher_name(argv[i], argv + i, argc - i);
    }
    const char *multi = find(exe, multi_calls, CT_ARRAY_LEN(multi_calls));
    if (multi != NULL) {
        return find_applet(multi, argv, argc);
    }
    const char *found = find(exe, launchers, CT_ARRAY_LEN(launchers));
    if (found == NULL && find(exe, interpreters, CT_ARRAY_LEN(interpreters)) != NULL) {
        size_t i = first_operand(argv, argc, false);
        found = i < argc ? find_launcher(argv[i]) : NULL;
    }
    return found;
}
