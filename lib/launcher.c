// SPDX-License-Identifier: Apache-2.0
#include "launcher.h"

#include <string.h>

#include "cleanup.h"
#include "text.h"

#define ONE CT_LAUNCHER_ONE
#define SHELL CT_LAUNCHER_SHELL
#define MANY CT_LAUNCHER_MANY

struct row {
    const char *name;
    enum ct_launcher_kind kind;
};

// clang-format off: one name a line, however short
static const struct row launchers[] = {
    // shells
    {"sh", SHELL},
    {"bash", SHELL},
    {"rbash", SHELL},
    {"dash", SHELL},
    {"ash", SHELL},
    {"hush", SHELL},
    {"zsh", SHELL},
    {"ksh", SHELL},
    {"mksh", SHELL},
    {"lksh", SHELL},
    {"oksh", SHELL},
    {"pdksh", SHELL},
    {"fish", MANY},
    {"csh", MANY},
    {"tcsh", MANY},
    {"yash", SHELL},
    {"posh", SHELL},
    {"elvish", MANY},
    {"pwsh", MANY},
    {"xonsh", MANY},
    {"osh", MANY},
    // PID 1 of containers
    {"tini", ONE},
    {"dumb-init", ONE},
    {"catatonit", ONE},
    {"docker-init", ONE},
    {"podman-init", ONE},
    {"minit", MANY},
    {"my_init", MANY},
    {"init", MANY},
    {"systemd", MANY},
    // another user, another root, other limits
    {"gosu", ONE},
    {"su-exec", ONE},
    {"su", ONE},
    {"sudo", MANY},
    {"doas", MANY},
    {"runuser", ONE},
    {"setpriv", ONE},
    {"setuidgid", ONE},
    {"chpst", ONE},
    {"capsh", ONE},
    {"chroot", ONE},
    {"unshare", MANY},
    {"nsenter", MANY},
    {"fakeroot", MANY},
    {"fakechroot", MANY},
    {"ip", MANY},
    {"sg", MANY},
    {"choom", ONE},
    {"runcon", ONE},
    {"aa-exec", ONE},
    {"cgexec", ONE},
    {"systemd-run", MANY},
    {"systemd-nspawn", MANY},
    {"proot", MANY},
    {"bwrap", MANY},
    {"firejail", MANY},
    {"setarch", ONE},
    {"linux32", ONE},
    {"linux64", ONE},
    {"prlimit", ONE},
    {"softlimit", ONE},
    {"pkexec", MANY},
    // environment, time, priority, descriptors
    {"env", ONE},
    {"envdir", ONE},
    {"envconsul", MANY},
    {"nohup", ONE},
    {"timeout", ONE},
    {"nice", ONE},
    {"ionice", ONE},
    {"chrt", ONE},
    {"taskset", ONE},
    {"numactl", ONE},
    {"setsid", ONE},
    {"stdbuf", ONE},
    {"time", ONE},
    {"flock", ONE},
    {"watch", MANY},
    {"script", MANY},
    {"unbuffer", MANY},
    {"expect", MANY},
    {"catchsegv", MANY},
    {"strace", MANY},
    {"ltrace", MANY},
    {"gdb", MANY},
    {"gdbserver", MANY},
    {"perf", MANY},
    {"valgrind", MANY},
    {"rlwrap", MANY},
    {"socat", MANY},
    {"dtach", MANY},
    {"screen", MANY},
    {"tmux", MANY},
    {"daemonize", MANY},
    {"entr", MANY},
    {"faketime", ONE},
    {"timelimit", ONE},
    {"cpulimit", MANY},
    {"proxychains", ONE},
    {"proxychains4", ONE},
    {"dbus-run-session", MANY},
    {"dbus-launch", MANY},
    {"ssh-agent", MANY},
    // settings and secrets of other kinds, for one program
    {"dockerize", MANY},
    {"chamber", MANY},
    {"doppler", MANY},
    {"infisical", MANY},
    {"aws-vault", MANY},
    {"vault-env", MANY},
    {"consul-template", MANY},
    // lists of commands
    {"xargs", MANY},
    {"parallel", MANY},
    {"find", MANY},
    {"make", MANY},
    {"run-parts", MANY},
    {"start-stop-daemon", MANY},
    {"openrc-run", MANY},
    {"direnv", MANY},
    // supervisors
    {"supervisord", MANY},
    {"circusd", MANY},
    {"honcho", MANY},
    {"foreman", MANY},
    {"goreman", MANY},
    {"hivemind", MANY},
    {"overmind", MANY},
    {"monit", MANY},
    {"runit", MANY},
    {"runit-init", MANY},
    {"runsv", MANY},
    {"runsvdir", MANY},
    {"runsvchdir", MANY},
    {"sv", MANY},
    {"svscan", MANY},
    {"supervise", MANY},
    {"s6-svscan", MANY},
    {"s6-supervise", MANY},
    {"s6-setuidgid", ONE},
    {"s6-envdir", ONE},
    {"s6-env", ONE},
    {"s6-rc", MANY},
    {"s6-overlay-suexec", MANY},
    {"s6-softlimit", ONE},
    {"s6-setsid", ONE},
    {"s6-applyuidgid", ONE},
    {"execlineb", MANY},
    {"dinit", MANY},
    {"pebble", MANY},
    {"watchexec", MANY},
    {"containerpilot", MANY},
    {"crond", MANY},
    {"cron", MANY},
    // scripts that start the program proper through a shell
    {"bundle", MANY},
    {"rake", MANY},
    {"cargo", MANY},
    // … of Python's, by exec
    {"ddtrace-run", MANY},
    {"newrelic-admin", MANY},
    {"opentelemetry-instrument", MANY},
    {"poetry", MANY},
    {"pipenv", MANY},
    {"pdm", MANY},
    {"uv", MANY},
    {"uvx", MANY},
    {"conda", MANY},
    {"mamba", MANY},
    {"micromamba", MANY},
    {"dotenv", MANY},
};
// clang-format on

// Of JavaScript's, which start the program proper through a shell or as a child. They are scripts whose
// names may end as such ("yarn.js", "npm-cli.js", "yarn-3.6.1.cjs").
static const struct row javascript[] = {
    {"npm", MANY},          {"npx", MANY},         {"yarn", MANY},        {"pnpm", MANY},
    {"pnpx", MANY},         {"pm2", MANY},         {"pm2-runtime", MANY}, {"nodemon", MANY},
    {"cross-env", MANY},    {"env-cmd", MANY},     {"dotenvx", MANY},     {"tsx", MANY},
    {"concurrently", MANY}, {"npm-run-all", MANY}, {"run-s", MANY},       {"run-p", MANY},
};

// Programs that are many programs: which one, their arguments say.
static const struct row multi_calls[] = {
    {"busybox", MANY}, {"toybox", MANY}, {"coreutils", MANY}, {"sbase-box", MANY}, {"uutils", MANY},
};

// Programs that run the script that their first argument names.
static const struct row interpreters[] = {
    {"python", MANY}, {"pypy", MANY}, {"perl", MANY},
    {"ruby", MANY},   {"node", MANY}, {"nodejs", MANY},
};

// Endings of builds for one machine ("gosu-amd64", "tini-static", "busybox.static"), and what /proc says of a
// program whose file is gone.
static const char *const endings[] = {"-static",  ".static", "-muslc",    "-musl",    "-amd64",
                                      "-x86_64",  "_x86_64", "-arm64",    "-aarch64", ".real",
                                      ".distrib", ".exe",    " (deleted)"};

// Options of the dynamic loader that take the next argument for themselves (ld.so(8)).
static const char *const loader_options[] = {
    "--library-path",         "--preload",          "--audit", "--argv0", "--inhibit-rpath",
    "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask"};

static const struct ct_launcher none = {NULL, MANY, 0};

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

static const struct row *look_up(struct name name, const struct row *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(table[i].name) == name.len && memcmp(table[i].name, name.s, name.len) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

static bool cut(struct name *name, const char *ending)
{
    size_t len = strlen(ending);
    bool found = name->len > len && memcmp(name->s + name->len - len, ending, len) == 0;
    name->len -= found ? len : 0;
    return found;
}

// Cuts one ending off: of endings[], or a version ("bash-5.2", "ksh93"). False when there is none.
static bool cut_ending(struct name *name)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(endings); i++) {
        if (cut(name, endings[i])) {
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
static const struct row *find(struct name name, const struct row *table, size_t n)
{
    const struct row *found = look_up(name, table, n);
    while (found == NULL && cut_ending(&name)) {
        found = look_up(name, table, n);
    }
    return found;
}

static const struct row *find_javascript(struct name name)
{
    static const char *const script_endings[] = {".js", ".cjs", ".mjs"};
    for (size_t i = 0; i < CT_ARRAY_LEN(script_endings); i++) {
        if (cut(&name, script_endings[i])) {
            (void)cut(&name, "-cli");
            break;
        }
    }
    return find(name, javascript, CT_ARRAY_LEN(javascript));
}

static struct ct_launcher find_launcher(const char *path, size_t skip)
{
    const struct row *found = find(base_name(path), launchers, CT_ARRAY_LEN(launchers));
    found = found != NULL ? found : find_javascript(base_name(path));
    return found != NULL ? (struct ct_launcher){found->name, found->kind, skip} : none;
}

// argv[0] names the applet, unless it is the multi-call program itself: then argv[1] does, which may
// be that once more. One that does not say which applet runs is taken for a launcher: nothing shows
// that it is none.
static struct ct_launcher find_applet(const char *program, const char *const *argv, size_t argc)
{
    static const char coreutils_option[] = "--coreutils-prog";
    size_t i = 0;
    while (i < argc && find(base_name(argv[i]), multi_calls, CT_ARRAY_LEN(multi_calls)) != NULL) {
        i++;
    }
    if (i >= argc) {
        return (struct ct_launcher){program, MANY, 0};
    }
    const char *applet = argv[i];
    if (strncmp(applet, coreutils_option, sizeof(coreutils_option) - 1) == 0) {
        const char *equals = strchr(applet, '=');
        applet = equals != NULL ? equals + 1 : applet;
    }
    return find_launcher(applet, i);
}

// musl's is a C library as well, and its usual name a link to that.
static bool is_loader(struct name name)
{
    static const char *const beginnings[] = {"ld-", "ld.so", "libc.so", "libc.musl-"};
    for (size_t i = 0; i < CT_ARRAY_LEN(beginnings); i++) {
        if (strncmp(name.s, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool takes_next(const char *option)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(loader_options); i++) {
        if (strcmp(option, loader_options[i]) == 0) {
            return true;
        }
    }
    return false;
}

// Index of the first argument behind argv[0] that is no option.
static size_t first_operand(const char *const *argv, size_t argc, bool loader)
{
    size_t i = 1;
    while (i < argc && argv[i][0] == '-') {
        i += loader && takes_next(argv[i]) ? 2 : 1;
    }
    return i;
}

struct ct_launcher ct_launcher_find(const char *exe_path, const char *const *argv, size_t argc)
{
    struct name exe = base_name(exe_path);
    if (is_loader(exe)) {
        size_t i = first_operand(argv, argc, true);
        if (i >= argc || is_loader(base_name(argv[i]))) {
            return none;
        }
        struct ct_launcher loaded = ct_launcher_find(argv[i], argv + i, argc - i);
        loaded.skip += i;
        return loaded;
    }
    const struct row *multi = find(exe, multi_calls, CT_ARRAY_LEN(multi_calls));
    if (multi != NULL) {
        return find_applet(multi->name, argv, argc);
    }
    if (find(exe, interpreters, CT_ARRAY_LEN(interpreters)) != NULL) {
        size_t i = first_operand(argv, argc, false);
        struct ct_launcher script = i < argc ? find_launcher(argv[i], i) : none;
        script.kind = MANY; // whatever it does, it is not the program of that name
        return script;
    }
    return find_launcher(exe_path, 0);
}

const char *ct_launcher_name(const char *exe_path, const char *const *argv, size_t argc)
{
    return ct_launcher_find(exe_path, argv, argc).name;
}

const char *const ct_launcher_mode_names[CT_LAUNCHER_MODES + 1] = {
    [CT_LAUNCHER_AUTO] = "auto",
    [CT_LAUNCHER_FOLLOW] = "follow",
    [CT_LAUNCHER_DELIVER] = "deliver",
};

const char *ct_launcher_mode_name(enum ct_launcher_mode mode)
{
    return ct_launcher_mode_names[mode];
}

int ct_launcher_mode_from_name(const char *name)
{
    for (int i = 0; i < CT_LAUNCHER_MODES; i++) {
        if (strcmp(ct_launcher_mode_names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}
