// SPDX-License-Identifier: Apache-2.0
#include "run_main.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "advertise.h"
#include "command.h"
#include "control.h"
#include "event.h"
#include "guard_settings.h"
#include "probe.h"
#include "registrar_settings.h"
#include "rights.h"
#include "run.h"
#include "standby.h"

struct settings {
    struct ct_guard_settings guard;
    struct ct_registrar_settings registrar;
    char *control;
    char *pin_dir;
    bool allow_downgrade;
    char *node_name;
    char *metrics_listen;
    unsigned prove_ms;
    bool advertise;
    unsigned label_hold_ms;
};

static const struct ct_option run_options[] = {
    CT_GUARD_OPTIONS(struct settings, guard),
    {.name = "pin-dir",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, pin_dir),
     .fallback = CT_GUARD_PINS,
     .argument = "FOLDER",
     .help =
         "Where what enforces is pinned: a folder, made when it is missing, in a BPF file system."},
    {.name = "allow-downgrade",
     .kind = CT_OPTION_BOOL,
     .offset = offsetof(struct settings, allow_downgrade),
     .fallback = "false",
     .help = "Replace what a later version has pinned, or what refuses more."},
    {.name = "node-name",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, node_name),
     .argument = "NAME",
     .help = "The node's name in what is written; the host's without it."},
    {.name = "metrics-listen",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, metrics_listen),
     .argument = "HOST:PORT",
     .help = "Answer scrapes of /metrics there, without TLS; nowhere without it."},
    {.name = "self-test-interval",
     .kind = CT_OPTION_DURATION,
     .offset = offsetof(struct settings, prove_ms),
     .fallback = "1m",
     .argument = "TIME",
     .help = "How often each attack is tried anew; SIGUSR1 asks for it at once.",
     .min = 1000,
     .max = 3600000},
    {.name = "advertise",
     .kind = CT_OPTION_BOOL,
     .offset = offsetof(struct settings, advertise),
     .fallback = "false",
     .help = "Label the node --node-name in the cluster, and write Events on pods that are "
             "attacked, by "
             "the pod's service account."},
    {.name = "label-hold",
     .kind = CT_OPTION_DURATION,
     .offset = offsetof(struct settings, label_hold_ms),
     .fallback = "10m",
     .argument = "TIME",
     .help = "For how long a loss must last until the labels that affinity uses tell of it.",
     .max = 86400000},
    {.name = "control",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, control),
     .fallback = CT_CONTROL_NAME,
     .argument = "NAME",
     .help = "Take the orders of `cloudtaser-agent unprotect` at this control socket."},
    CT_REGISTRAR_OPTIONS(struct settings, registrar),
};

const struct ct_option_table ct_agent_options = {
    .program = "cloudtaser-agent run",
    .summary = "Enforce on this node: pin the programs, prove them again and again, register "
               "wrappers, and write a line of JSON for what happens.",
    .env_prefix = "CLOUDTASER_AGENT",
    .options = run_options,
    .n = CT_ARRAY_LEN(run_options),
};

static const struct ct_option uninstall_options[] = {
    {.name = "pin-dir",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, pin_dir),
     .fallback = CT_GUARD_PINS,
     .argument = "FOLDER",
     .help = "Where what enforces is pinned."},
    {.name = "node-name",
     .kind = CT_OPTION_STRING,
     .offset = offsetof(struct settings, node_name),
     .argument = "NAME",
     .help = "Take away this node's labels in the cluster too, by the pod's service account."},
};

static const struct ct_option_table uninstall_table = {
    .program = "cloudtaser-agent uninstall",
    .summary = "End enforcement on this node: remove all that is pinned. The agent itself must "
               "have ended.",
    .options = uninstall_options,
    .n = CT_ARRAY_LEN(uninstall_options),
};

// "1.2.3" as a number that grows with it.
static unsigned version_number(const char *text)
{
    unsigned part[3] = {0};
    (void)sscanf(text, "%u.%u.%u", &part[0], &part[1], &part[2]);
    return part[0] << 16 | (part[1] & 0xff) << 8 | (part[2] & 0xff);
}

// ---- registration, as parts of the daemon ----

struct registration {
    struct ct_registrar_options options;
    struct ct_registrar *registrar;
    struct ct_control *control;
    struct ct_advertise *advertise;                  // NULL: nobody is told
    char trouble[sizeof(((struct ct_err *)0)->msg)]; // why nothing can be enforced, as it was told
};

static void write_line(void *cls, const char *line, size_t len)
{
    (void)ct_lines_put(cls, line, len);
}

static int registrar_fd(void *cls)
{
    const struct registration *registration = cls;
    return ct_registrar_fd(registration->registrar);
}

static void registrar_turn(void *cls)
{
    const struct registration *registration = cls;
    struct ct_err err = {0};
    if (ct_registrar_handle(registration->registrar, &err) < 0) {
        (void)fprintf(stderr, "cloudtaser-agent: %s\n", err.msg);
    }
}

static void registrar_metrics(void *cls, struct ct_buf *out)
{
    const struct registration *registration = cls;
    struct ct_registrar_counts counts = ct_registrar_counts(registration->registrar);
    ct_buf_addf(out,
                "# HELP cloudtaser_agent_registrations_total Decisions on wrappers that asked.\n"
                "# TYPE cloudtaser_agent_registrations_total counter\n"
                "cloudtaser_agent_registrations_total{decision=\"accepted\"} %llu\n"
                "cloudtaser_agent_registrations_total{decision=\"protected\"} %llu\n"
                "cloudtaser_agent_registrations_total{decision=\"refused\"} %llu\n",
                (unsigned long long)counts.accepted, (unsigned long long)counts.protected_,
                (unsigned long long)counts.refused);
}

static int control_fd(void *cls)
{
    const struct registration *registration = cls;
    return ct_control_fd(registration->control);
}

static void control_turn(void *cls)
{
    const struct registration *registration = cls;
    ct_control_handle(registration->control, registration->registrar);
}

// Outside of a pod whoever comes first may have that name, and must not keep the agent from starting by it: that there is
// one agent is seen to by its pins.
static int add_control(const struct settings *settings, struct registration *registration,
                       struct ct_err *err)
{
    int rc = ct_control_new(settings->control, &registration->control, err);
    if (rc == -CT_EUNAVAIL) {
        (void)fprintf(stderr,
                      "cloudtaser-agent: %s: `unprotect` is not heard until the agent is started "
                      "again\n",
                      err->msg);
        *err = (struct ct_err){0};
        rc = 0;
    }
    return rc;
}

static int add_registration(const struct settings *settings, struct ct_run *run,
                            struct registration *registration, struct ct_err *err)
{
    const struct ct_run_part parts[] = {
        {.cls = registration,
         .fd = registrar_fd,
         .turn = registrar_turn,
         .metrics = registrar_metrics},
        {.cls = registration, .fd = control_fd, .turn = control_turn},
    };
    registration->options.line = write_line;
    registration->options.cls = ct_run_lines(run);
    int rc =
        ct_registrar_new(ct_run_guard(run), &registration->options, &registration->registrar, err);
    rc = rc == 0 ? add_control(settings, registration, err) : rc;
    const size_t n = CT_ARRAY_LEN(parts) - (registration->control == NULL ? 1 : 0);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = ct_run_add(run, &parts[i], err);
    }
    return rc;
}

// ---- what the cluster is told ----

static void advertise_turn(void *cls)
{
    const struct registration *registration = cls;
    ct_advertise_tick(registration->advertise);
}

static void advertise_proven(void *cls, const struct ct_guard *guard)
{
    const struct registration *registration = cls;
    struct ct_node_facts facts;
    ct_probe_facts(guard, &facts);
    ct_advertise_facts(registration->advertise, &facts);
}

// On pods that have registered alone: of others no name is known.
static void advertise_attacked(void *cls, const struct ct_event *event)
{
    const struct registration *registration = cls;
    const struct ct_registered *known =
        ct_registrar_container(registration->registrar, event->victim_cgroup);
    struct ct_pod_ref pod = {0};
    if (known == NULL || known->pod.pod[0] == '\0' || known->pod.space[0] == '\0') {
        return;
    }
    (void)snprintf(pod.namespace, sizeof(pod.namespace), "%s", known->pod.space);
    (void)snprintf(pod.name, sizeof(pod.name), "%s", known->pod.pod);
    (void)snprintf(pod.uid, sizeof(pod.uid), "%s", known->container.pod_uid);
    ct_pod_event(registration->advertise, &pod, event);
}

static void advertise_metrics(void *cls, struct ct_buf *out)
{
    const struct registration *registration = cls;
    ct_buf_addf(
        out,
        "# HELP cloudtaser_agent_pod_events_lost_total Attacks on pods that no Event tells of, for "
        "want of room.\n"
        "# TYPE cloudtaser_agent_pod_events_lost_total counter\n"
        "cloudtaser_agent_pod_events_lost_total %llu\n",
        (unsigned long long)ct_advertise_lost(registration->advertise));
}

static int open_advertising(const struct settings *settings, struct registration *registration,
                            struct ct_err *err)
{
    const struct ct_advertise_options options = {.node = settings->node_name,
                                                 .hold_ms = settings->label_hold_ms};
    if (settings->node_name == NULL) {
        return ct_err_set(err, CT_EINVAL, "--advertise needs --node-name");
    }
    return ct_advertise_start(&options, &registration->advertise, err);
}

static int add_advertising(const struct settings *settings, struct ct_run *run,
                           struct registration *registration, struct ct_err *err)
{
    const struct ct_run_part part = {.cls = registration,
                                     .turn = advertise_turn,
                                     .attacked = advertise_attacked,
                                     .proven = advertise_proven,
                                     .metrics = advertise_metrics};
    struct ct_node_facts facts;
    if (!settings->advertise) {
        return 0;
    }
    // One from before this process was the agent is not protected as the agent's own are.
    ct_advertise_free(registration->advertise);
    registration->advertise = NULL;
    int rc = open_advertising(settings, registration, err);
    if (rc == 0) {
        ct_probe_facts(ct_run_guard(run), &facts);
        facts.first = ct_guard_pinned(ct_run_guard(run)).replaced == 0;
        ct_advertise_facts(registration->advertise, &facts);
        rc = ct_run_add(run, &part, err);
    }
    return rc;
}

// ---- where nothing can be enforced ----

static void tell_trouble(const struct settings *settings, struct registration *registration,
                         const struct ct_err *why)
{
    CT_AUTO_BUF line = {.max = 2048};
    if (strcmp(registration->trouble, why->msg) != 0) {
        (void)snprintf(registration->trouble, sizeof(registration->trouble), "%s", why->msg);
        ct_line_begin(&line, "standby", settings->node_name);
        ct_line_add(&line, "message", why->msg);
        struct ct_lines out = {.fd = STDOUT_FILENO};
        (void)ct_line_write(&line, &out);
    }
}

// The cluster is told that nothing is enforced here, until that is tried again. False: the end.
static bool stand_by(const struct settings *settings, struct registration *registration,
                     const struct ct_err *why)
{
    const struct ct_standby_options options = {.metrics_listen = settings->metrics_listen,
                                               .wait_ms = settings->prove_ms,
                                               .turn = advertise_turn,
                                               .cls = registration};
    struct ct_node_facts facts;
    struct ct_err err = {0};
    // What an agent before this one has pinned goes on, and so does what was told of it.
    if (!settings->advertise || ct_guard_may_enforce(settings->pin_dir)) {
        return false;
    }
    if (registration->advertise == NULL && open_advertising(settings, registration, &err) < 0) {
        (void)fprintf(stderr, "cloudtaser-agent: %s\n", err.msg);
        return false;
    }
    tell_trouble(settings, registration, why);
    ct_probe_nothing(&facts);
    ct_advertise_facts(registration->advertise, &facts);
    return ct_standby_wait(&options);
}

// ---- the commands ----

static void end_registration(struct registration *registration)
{
    ct_control_free(registration->control);
    ct_registrar_free(registration->registrar);
    registration->control = NULL;
    registration->registrar = NULL;
}

static int begin(const struct settings *settings, const char *version,
                 struct registration *registration, struct ct_run **ret, struct ct_err *err)
{
    CT_AUTO(ct_run) *run = NULL;
    struct ct_run_options options = {
        .guard = ct_guard_settle(&settings->guard),
        .node = settings->node_name,
        .metrics_listen = settings->metrics_listen,
        .prove_ms = settings->prove_ms,
        .hold_ms = settings->advertise ? settings->label_hold_ms : 0,
    };
    options.guard.cgroup_root = settings->registrar.cgroup_root;
    options.guard.pin_dir = settings->pin_dir;
    options.guard.version = version_number(version);
    options.guard.allow_downgrade = settings->allow_downgrade;
    // Of these nothing must be left to learn once it enforces.
    int rc = ct_registrar_settle(&settings->registrar, &registration->options, err);
    rc = rc == 0 ? ct_run_new(&options, &run, err) : rc;
    rc = rc == 0 ? add_registration(settings, run, registration, err) : rc;
    if (rc < 0) {
        end_registration(registration);
        return rc;
    }
    *ret = ct_steal(&run);
    return 0;
}

static int run_agent(const struct settings *settings, const char *version)
{
    struct ct_err err = {0};
    CT_AUTO(ct_run) *run = NULL;
    struct registration registration = {0};
    int rc = begin(settings, version, &registration, &run, &err);
    while (rc < 0 && stand_by(settings, &registration, &err)) {
        err = (struct ct_err){0};
        rc = begin(settings, version, &registration, &run, &err);
    }
    rc = rc == 0 ? add_advertising(settings, run, &registration, &err) : rc;
    rc = rc == 0 ? ct_run_loop(run, &err) : rc;
    ct_advertise_free(registration.advertise);
    end_registration(&registration);
    if (rc < 0) {
        (void)fprintf(stderr, "cloudtaser-agent: %s\n", err.msg);
    }
    return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}

int ct_run_main(int argc, char **argv, const char *version)
{
    struct settings settings = {0};
    int status;
    if (ct_agent_begin(&ct_agent_options, argc, argv, version, &settings, &status)) {
        status = run_agent(&settings, version);
        ct_option_free(&ct_agent_options, &settings);
    }
    return status;
}

// The labels last: that they are gone says that all is.
static int uninstall(const struct settings *settings)
{
    struct ct_err err = {0};
    struct ct_removed removed = {0};
    const char *pin_dir = settings->pin_dir;
    int rc = ct_rights_see_cgroups(&err);
    rc = rc == 0 ? ct_guard_uninstall(pin_dir, &removed, &err) : rc;
    if (removed.links + removed.programs + removed.maps > 0) {
        (void)printf(
            "removed from %s: %u pinned programs, %u programs of the root cgroup, %u maps\n",
            pin_dir, removed.links, removed.programs, removed.maps);
    }
    if (rc == 0) {
        (void)puts(removed.links + removed.maps == 0 ? "there was nothing to remove"
                   : removed.over
                       ? "nothing enforces on this node any more"
                       : "the kernel has not freed all of it yet: it enforces until then");
        rc = settings->node_name != NULL ? ct_advertise_withdraw(settings->node_name, &err) : 0;
    }
    if (rc < 0) {
        (void)fprintf(stderr, "cloudtaser-agent: %s\n", err.msg);
    }
    return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}

int ct_uninstall_main(int argc, char **argv, const char *version)
{
    struct settings settings = {0};
    int status;
    if (ct_agent_begin(&uninstall_table, argc, argv, version, &settings, &status)) {
        status = uninstall(&settings);
        ct_option_free(&uninstall_table, &settings);
    }
    return status;
}
