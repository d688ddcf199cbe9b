// SPDX-License-Identifier: Apache-2.0
//
// cloudtaser-wrapper: fetches secrets into secret memory, proves how well they are protected, starts
// the app with them and stays as its PID 1. Until the app is released any step may fail and end
// this; from then on nothing but the app's end does.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "beside.h"
#include "config.h"
#include "ct_version.h"
#include "enforcement.h"
#include "exit_code.h"
#include "guard_call.h"
#include "http.h"
#include "launch.h"
#include "library_memory.h"
#include "log.h"
#include "lookup.h"
#include "metrics_server.h"
#include "proof.h"
#include "resolve.h"
#include "score_log.h"
#include "secmem.h"
#include "supervise.h"
#include "tally.h"
#include "termination.h"
#include "vault.h"

#define LATE_MS 30000u // without a program, before that is worth a line
#define HOW_TO_LAUNCH "Start the program by exec, or set cloudtaser.io/launcher to \"deliver\""

static const char usage[] =
    "usage: cloudtaser-wrapper -- PROGRAM [ARGUMENT...]\n"
    "       cloudtaser-wrapper --version | --help\n"
    "\n"
    "Reads its settings from the variable " CT_CONFIG_VARIABLE
    ", which CloudTaser's webhook writes.\n"
    "Variables whose values hold references (vault:PATH#KEY, ${vault:PATH#KEY}) are resolved for "
    "the\n"
    "program and kept in secret memory.\n"
    "\n"
    "Exit codes: the program's own, 128+n when signal n ended it; before it is started\n"
    "  100 protection score below the minimum     103 Vault not reachable\n"
    "  101 login refused                          104 bad configuration\n"
    "  102 secret missing or denied               125 anything else\n"
    "  126 program cannot be executed             127 program not found\n";

// Set by this program when it executes itself, which it does once at most.
#define EXECUTED_VARIABLE "CLOUDTASER_EXECUTED"

// Variables lead libraries astray: proxies, other CAs, SSLKEYLOGFILE, which has the keys of the
// connection to Vault written to a file. While the wrapper works for itself it has none.
static char *no_environment[] = {NULL};

// Everything that lives from start to end.
struct wrapper {
    char **self;        // this program's command line
    char **argv;        // the app's
    char **environment; // likewise, with references
    struct ct_config config;
    sigset_t app_mask;
    bool child_ignored; // SIGCHLD was, when this was started
    struct rlimit core; // as it was before, for the app
    struct ct_facts facts;
    struct ct_score score;
    struct ct_vault *vault;
    struct ct_plan *plan;
    struct ct_secrets secrets;
    struct ct_launched app;
    struct ct_beside beside;
    const char *executed; // by itself, and what it was called then; NULL: not yet
    struct ct_enforcement enforcement;
    struct ct_supervise_chore chore;
};

// ---- before the settings are known

static int fail(int code, const char *sentence)
{
    ct_log(CT_LOG_ERROR, "%s", sentence);
    ct_termination_write(CT_TERMINATION_PATH, sentence);
    return code;
}

static int harden(struct wrapper *w, struct ct_err *err)
{
    if (getrlimit(RLIMIT_CORE, &w->core) != 0) {
        return ct_err_errno(err, "cannot read RLIMIT_CORE");
    }
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = w->core.rlim_max};
    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        return ct_err_errno(err, "cannot set RLIMIT_CORE to 0");
    }
    // A refusal costs pr_set_dumpable's points, with the reason: ct_proof_wrapper() looks.
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return 0;
}

// ---- what the libraries tell

static void tell_retry(void *cls, const struct ct_err *why, unsigned delay_ms)
{
    (void)cls;
    ct_log(CT_LOG_WARN, "%s; trying again in %u ms", why->msg, delay_ms);
}

static bool is_ignored(int signal)
{
    struct sigaction action;
    return sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

// A signal that asks to end waits, blocked, for the app to be started. While Vault cannot be reached
// that may be long, and there is nothing yet that deserves to be kept running. 0 for none.
static int ending_signal(void)
{
    static const int ending[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    sigset_t pending;
    if (sigpending(&pending) != 0) {
        return 0;
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(ending); i++) {
        if (sigismember(&pending, ending[i]) == 1 && !is_ignored(ending[i])) {
            return ending[i];
        }
    }
    return 0;
}

static bool must_stop(void *cls)
{
    (void)cls;
    return ending_signal() != 0;
}

static int stopped(struct ct_err *err)
{
    int signal = ending_signal();
    (void)ct_err_set(err, CT_EUNAVAIL, "stopped by signal %d before the app was started", signal);
    return CT_EXIT_SIGNAL + signal;
}

static int look_up(void *cls, const char *host, char *ret, size_t size, struct ct_err *err)
{
    (void)cls;
    return ct_lookup(host, ret, size, err);
}

static const struct ct_vault_hooks hooks = {
    .look_up = look_up, .retry = tell_retry, .stop = must_stop};

static int read_secret(void *cls, const char *path, unsigned version, json_t **ret,
                       struct ct_err *err)
{
    return ct_vault_read(cls, path, version, ret, err);
}

// ---- the steps; each returns 0 or the exit code, with the sentence in err

static int read_settings(struct wrapper *w, struct ct_err *err)
{
    const char *text = NULL;
    for (char **e = w->environment; *e != NULL && text == NULL; e++) {
        if (strncmp(*e, CT_CONFIG_VARIABLE "=", sizeof(CT_CONFIG_VARIABLE)) == 0) {
            text = *e + sizeof(CT_CONFIG_VARIABLE);
        }
    }
    if (text == NULL) {
        (void)ct_err_set(err, CT_EINVAL,
                         "the variable " CT_CONFIG_VARIABLE
                         " is missing: CloudTaser's webhook writes "
                         "it into pods that opt in");
        return CT_EXIT_CONFIGURATION;
    }
    if (ct_config_parse(text, &w->config, err) < 0) {
        return CT_EXIT_CONFIGURATION;
    }
    if (w->config.json_log) {
        ct_log_init("cloudtaser-wrapper", CT_LOG_JSON);
    }
    return 0;
}

// What it was told before, and by whom, goes with the program that is replaced: descriptors to its memory, code
// put into it. argv, environment and whatever else was inherited stay; nothing has been opened or changed yet.
static void execute_again(struct wrapper *w)
{
    char marker[sizeof(EXECUTED_VARIABLE) + 16] = EXECUTED_VARIABLE "=";
    size_t n = 0;
    while (w->environment[n] != NULL) {
        n++;
    }
    char **environment = ct_arena_calloc(n + 2, sizeof(*environment));
    if (environment != NULL) {
        // A program executed by this name is called "exe".
        (void)prctl(PR_GET_NAME, marker + sizeof(EXECUTED_VARIABLE), 0, 0, 0);
        memcpy(environment, w->environment, n * sizeof(*environment));
        environment[n] = marker;
        (void)execve("/proc/self/exe", w->self, environment);
        // Without /proc, by the path that it was executed by; whatever is there, the agent looks at it.
        (void)execve((const char *)getauxval(AT_EXECFN), w->self, environment);
    }
    ct_arena_free(environment);
    w->enforcement.standing = (struct ct_guard_standing){
        CT_GUARD_WITHOUT, "the wrapper cannot execute itself again (/proc/self/exe)"};
    (void)ct_guard_ask(CT_GUARD_LEAVE, 0); // as ct_guard_enter() does
}

// Nothing is fetched, and no thread made, before this.
static int seek_protection(struct wrapper *w, struct ct_err *err)
{
    struct ct_guard_standing *standing = &w->enforcement.standing;
    ct_guard_enter(w->executed != NULL, must_stop, NULL, standing);
    if (standing->state == CT_GUARD_EXECUTE) {
        execute_again(w);
    }
    return standing->state == CT_GUARD_STOPPED ? stopped(err) : 0;
}

static void prove_own_memory(struct wrapper *w)
{
    ct_enforcement_prove(&w->enforcement, &w->facts);
    if (w->config.auth == CT_AUTH_TOKEN) {
        // The specification of the score: "not on disk or in env". A token that was handed over comes
        // from the environment or the memory of a process that may well have the app's user.
        ct_fact_failed(&w->facts, CT_CHECK_TOKEN_PROTECTED, CT_HOLDER_WRAPPER, "%s%.100s",
                       w->config.token_fd != 0
                           ? "the Vault token was handed over: who did that has it too"
                           : "the Vault token is in a file too, ",
                       w->config.token_file);
    }
    ct_proof_wrapper(&w->facts);
}

static int vault_failure(const struct wrapper *w, struct ct_err *err)
{
    return ending_signal() != 0 ? stopped(err) : (int)ct_vault_exit_code(w->vault);
}

// Once, where the container's log is read; the points do not tell of the way from Vault.
static void warn_of_transport(const struct ct_config *config)
{
    if (strncmp(config->vault_address, "http://", strlen("http://")) == 0) {
        ct_log(CT_LOG_WARN,
               "%s is asked without TLS: token and secrets cross the network in the clear",
               config->vault_address);
    } else if (config->skip_verify) {
        ct_log(CT_LOG_WARN, "the certificate of %s is not verified (skip-verify)",
               config->vault_address);
    }
}

static int fetch(struct wrapper *w, const struct ct_plan *plan, struct ct_err *err)
{
    warn_of_transport(&w->config);
    if (ct_vault_new(&w->config, &hooks, &w->vault, err) < 0) {
        return CT_EXIT_OTHER;
    }
    if (ct_vault_login(w->vault, err) < 0) {
        return vault_failure(w, err);
    }
    const struct ct_secret_source source = {.read = read_secret, .cls = w->vault};
    int rc = ct_plan_resolve(plan, &source, &w->secrets, err);
    if (rc == -CT_ENOMEM) {
        return CT_EXIT_OTHER;
    }
    if (rc < 0) {
        // What was read and is unfit (no such key, no string) is no failure of the client's.
        int code = vault_failure(w, err);
        return code == CT_EXIT_OTHER ? CT_EXIT_SECRET : code;
    }
    ct_vault_disconnect(w->vault);
    const char *token = ct_vault_token(w->vault);
    ct_proof_token(&w->facts, token, strlen(token));
    return 0;
}

static int launch_failure(int rc)
{
    static const struct {
        enum ct_code code;
        enum ct_exit_code exit_code;
    } codes[] = {
        {CT_ENOTFOUND, CT_EXIT_NOT_FOUND},
        {CT_ENOEXEC, CT_EXIT_NOT_EXECUTABLE},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(codes); i++) {
        if (rc == -(int)codes[i].code) {
            return codes[i].exit_code;
        }
    }
    return CT_EXIT_OTHER;
}

static void tell_followed(void *cls, const char *launcher, pid_t pid)
{
    const struct wrapper *w = cls;
    const struct ct_secret_variable *first = &w->secrets.item[0];
    char more[32] = "";
    if (w->secrets.n > 1) {
        (void)snprintf(more, sizeof(more), " and %zu more", w->secrets.n - 1);
    }
    ct_log(CT_LOG_INFO,
           "following %s (pid %d) to the program that it starts: until then %.64s%s hold%s the "
           "placeholder " CT_LAUNCH_PLACEHOLDER ":…",
           launcher, (int)pid, first->name, more, w->secrets.n > 1 ? "" : "s");
}

// A script may have passed its `exec` by: then its programs run on with placeholders, and only its end
// would tell.
static void tell_late(void *cls)
{
    (void)cls;
    ct_log(CT_LOG_WARN,
           "no program has come of the launcher for %u s: whatever it has started meanwhile holds "
           "placeholders instead of secrets. " HOW_TO_LAUNCH,
           LATE_MS / 1000);
}

static void warn_withheld(const struct wrapper *w)
{
    if (w->app.withheld > 0) {
        ct_log(CT_LOG_WARN,
               "%zu of %zu secrets were not delivered: the launcher removed or changed their "
               "variables before it started the program",
               w->app.withheld, w->secrets.n);
    }
}

static int launch(struct wrapper *w, struct ct_err *err)
{
    const struct ct_launch_spec spec = {
        .argv = w->argv,
        .environment = w->environment,
        .secrets = &w->secrets,
        .plain_environment = w->config.plain_environment,
        .signal_mask = &w->app_mask,
        .ignore_child = w->child_ignored,
        .core = &w->core,
        .launcher = w->config.launcher,
        .guarded = w->enforcement.standing.state == CT_GUARD_PROTECTED,
        .followed = tell_followed,
        .late = tell_late,
        .cls = w,
        .late_ms = LATE_MS,
    };
    ct_supervise_fork_follows();
    int rc = ct_launch_prepare(&spec, &w->facts, &w->app, err);
    if (rc < 0) {
        return launch_failure(rc);
    }
    if (w->app.over) {
        return 0; // nobody was given a secret: there is nothing to judge
    }
    warn_withheld(w);
    ct_score_compute(&w->facts, &w->score);
    ct_score_log(&w->score);
    ct_metrics_set_score(&w->score);
    if (ct_score_reached(&w->score, w->config.min_score, w->config.require, err) < 0) {
        ct_launch_abandon(&w->app);
        return CT_EXIT_SCORE;
    }
    ct_tally_begin(&w->facts, w->config.min_score, w->config.require);
    rc = ct_launch_release(&w->app, err);
    if (rc < 0) {
        ct_launch_abandon(&w->app);
        return launch_failure(rc);
    }
    // Not before: where the guard knows system calls alone, it would refuse the tracer's last one.
    ct_enforcement_released(&w->enforcement, w->app.pid, w->app.child);
    ct_enforcement_follow(&w->enforcement, &w->facts, &w->chore);
    return 0;
}

static int watch_secrets(struct wrapper *w, struct ct_err *err)
{
    const struct ct_secret_source source = {.read = read_secret, .cls = w->vault};
    const char *reaction = w->config.on_change[0] != '\0' ? w->config.on_change : "keep";
    struct ct_on_change on_change;
    struct ct_refresh *refresh = NULL;
    if (w->config.refresh_ms == 0) {
        return 0;
    }
    if (ct_on_change_parse("on-change", reaction, &on_change, err) < 0) {
        return CT_EXIT_CONFIGURATION;
    }
    if (on_change.reaction == CT_REACTION_RESTART &&
        (w->config.token_fd != 0 || w->config.secret_id_wrapped)) {
        (void)ct_err_set(err, CT_EINVAL,
                         "on-change \"restart\" needs a login that can be repeated, and this one "
                         "works once");
        return CT_EXIT_CONFIGURATION;
    }
    if (ct_refresh_new(w->plan, &source, &w->secrets, &refresh, err) < 0) {
        return CT_EXIT_OTHER;
    }
    ct_beside_watch(&w->beside, refresh, &on_change, w->config.refresh_ms);
    return 0;
}

static int serve_metrics(struct wrapper *w, struct ct_err *err)
{
    struct ct_pod_identity id;
    if (w->config.metrics_port == 0) {
        return 0;
    }
    ct_pod_identity_find(w->config.identity_file, &id);
    return ct_metrics_serve(w->config.metrics_port, &id, err) < 0 ? CT_EXIT_CONFIGURATION : 0;
}

// Everything up to the app's first instruction.
static int start(struct wrapper *w, struct ct_err *err)
{
    w->child_ignored = is_ignored(SIGCHLD);
    int code = seek_protection(w, err);
    if (code != 0) {
        return code;
    }
    if (ct_library_memory_take(err) < 0 || harden(w, err) < 0 ||
        ct_beside_start(&w->beside, err) < 0 || ct_supervise_prepare(&w->app_mask, err) < 0) {
        return CT_EXIT_OTHER;
    }
    code = read_settings(w, err);
    if (code != 0) {
        return code;
    }
    int rc = ct_plan_make((const char *const *)w->environment, w->config.paths, &w->plan, err);
    if (rc < 0) {
        return rc == -CT_ENOMEM ? CT_EXIT_OTHER : CT_EXIT_CONFIGURATION;
    }
    prove_own_memory(w);
    if (ct_score_reachable(&w->facts, w->config.min_score, w->config.require, err) < 0) {
        return CT_EXIT_SCORE;
    }
    code = fetch(w, w->plan, err);
    if (code == 0) {
        code = watch_secrets(w, err);
    }
    if (code == 0) {
        code = serve_metrics(w, err);
    }
    return code != 0 ? code : launch(w, err);
}

// The app was ended, with this code, to be started again: by this program anew, in the same process, so
// that every proof is made again and nothing of the old values is left. What the app left running would
// hold its ports and files. Returns the exit code when it is not to be, or fails.
static int start_again(struct wrapper *w, int code)
{
    if (ct_supervise_asked_to_end()) {
        return code;
    }
    if (!ct_supervise_end_rest()) {
        return fail(CT_EXIT_OTHER,
                    "the app cannot be started again: what it left running does not end");
    }
    if (ct_supervise_asked_to_end()) {
        return code;
    }
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (w->child_ignored) {
        (void)sigaction(SIGCHLD, &ignore, NULL);
    }
    (void)setrlimit(RLIMIT_CORE, &w->core);
    ct_supervise_restore(&w->app_mask);
    (void)execve("/proc/self/exe", w->self, w->environment);
    struct ct_err err;
    (void)ct_err_errno(&err, "the app cannot be started again: /proc/self/exe");
    return fail(CT_EXIT_OTHER, err.msg);
}

// Nothing but the app's end ends it from here on.
_Noreturn static void run(struct wrapper *w)
{
    ct_log_never_block();
    ct_secrets_done(&w->secrets); // nobody needs them once the app has its own
    // Open since it could still be attacked; nobody looks at it through these again.
    ct_close_fd(&w->app.mem_fd);
    ct_close_fd(&w->app.maps_fd);
    if (w->app.over) {
        ct_log(CT_LOG_WARN,
               "no program came of %s: whatever it ran got placeholders instead of "
               "secrets. " HOW_TO_LAUNCH,
               w->argv[0]);
    } else {
        ct_log(CT_LOG_INFO, "started %s (pid %d)", w->argv[0], (int)w->app.pid);
        ct_beside_released(&w->beside, w->vault, &w->config, w->app.pid, w->app.child);
    }
    int code = w->app.ended ? w->app.exit_code : ct_supervise(w->app.child, &w->chore);
    if (ct_beside_wants_restart(&w->beside)) {
        code = start_again(w, code);
    }
    if (ct_beside_end(&w->beside)) {
        ct_vault_free(w->vault);
    }
    // No clean-up of a library's: it would meet the other thread.
    _exit(code);
}

// Takes the marker of execute_again() out of the environment, which the app shall not see, and goes by the old name.
static const char *take_marker(char **environment)
{
    const char *executed = NULL;
    size_t kept = 0;
    for (size_t i = 0; environment[i] != NULL; i++) {
        if (strncmp(environment[i], EXECUTED_VARIABLE "=", sizeof(EXECUTED_VARIABLE)) == 0) {
            executed = environment[i] + sizeof(EXECUTED_VARIABLE);
            (void)prctl(PR_SET_NAME, executed, 0, 0, 0);
        } else {
            environment[kept++] = environment[i];
        }
    }
    environment[kept] = NULL;
    return executed;
}

// -1: no such option, go on.
static int answer_option(int argc, char **argv)
{
    static const struct {
        const char *option;
        const char *text;
    } answers[] = {
        {"--version", "cloudtaser-wrapper " CT_VERSION "\n"},
        {"--help", usage},
    };
    for (size_t i = 0; argc == 2 && i < CT_ARRAY_LEN(answers); i++) {
        if (strcmp(argv[1], answers[i].option) == 0) {
            size_t len = strlen(answers[i].text);
            return write(STDOUT_FILENO, answers[i].text, len) == (ssize_t)len ? 0 : CT_EXIT_OTHER;
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct ct_err err = {0};
    int code = answer_option(argc, argv);
    if (code >= 0) {
        return code;
    }
    ct_log_init("cloudtaser-wrapper", CT_LOG_TEXT);
    if (argc < 3 || strcmp(argv[1], "--") != 0) {
        (void)ct_err_set(&err, CT_EINVAL,
                         "no program to start: the command line must be "
                         "cloudtaser-wrapper -- PROGRAM [ARGUMENT...]");
        return fail(CT_EXIT_CONFIGURATION, err.msg);
    }
    static struct wrapper w;
    w.self = argv;
    w.argv = argv + 2;
    w.environment = environ;
    environ = no_environment;
    w.executed = take_marker(w.environment);
    code = start(&w, &err);
    if (code == 0) {
        run(&w);
    }
    ct_secrets_done(&w.secrets);
    ct_plan_free(w.plan);
    ct_vault_free(w.vault);
    return fail(code, err.msg);
}
