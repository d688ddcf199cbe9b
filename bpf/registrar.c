// SPDX-License-Identifier: Apache-2.0
#include "registrar.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "audit.h"
#include "pod_of.h"

#define SWEEP_SECONDS 60
#define REFUSALS_VETTED 10 // of a cgroup: what comes after them is refused unseen
#define REFUSALS_SLOTS 256
#define REFUSALS_TOLD 100 // one line for so many of them
#define UNPROTECT_ROUNDS 100
#define STEPS_MAX                                                                                  \
    (1U << 18) // over a map that changes meanwhile: then it may begin anew, again and again

// A container and where its cgroup is, to see when that has gone.
struct known {
    struct ct_registered container;
    char *folder; // owned
};

// How often somebody was refused. Another one of the same slot takes the place.
struct refusals {
    uint64_t asker;
    unsigned n;
};

struct ct_registrar {
    struct ct_registrar_options options;
    int requests;
    int open;
    int answers;
    int asks;
    int marks;
    int pids;
    int cgroups;
    int pods;
    int config;
    struct ring_buffer *ring;
    struct known *known;
    size_t n_known;
    struct refusals refusals[REFUSALS_SLOTS];
    struct ct_registrar_counts counts;
    time_t swept;
    struct ct_aside names;    // who look for a pod's name
    struct ct_aside programs; // who read programs
};

// ---- what is known ----

static struct known *known_of(const struct ct_registrar *r, uint64_t cgroup)
{
    for (size_t i = 0; i < r->n_known; i++) {
        if (r->known[i].container.cgroup == cgroup) {
            return &r->known[i];
        }
    }
    return NULL;
}

const struct ct_registered *ct_registrar_container(const struct ct_registrar *registrar,
                                                   uint64_t cgroup)
{
    const struct known *known = known_of(registrar, cgroup);
    return known != NULL ? &known->container : NULL;
}

// The name of its pod, where an agent has read it before.
static bool recall_name(const struct ct_registrar *r, struct known *known)
{
    struct ct_registered *container = &known->container;
    struct ct_pod_identity *pod = &container->pod;
    struct ct_pod_name name;
    __u64 key = container->cgroup;
    if (bpf_map_lookup_elem(r->pods, &key, &name) != 0) {
        return false;
    }
    (void)snprintf(pod->space, sizeof(pod->space), "%.*s", (int)sizeof(pod->space) - 1, name.space);
    (void)snprintf(pod->pod, sizeof(pod->pod), "%.*s", (int)sizeof(pod->pod) - 1, name.pod);
    (void)snprintf(pod->uid, sizeof(pod->uid), "%s", container->container.pod_uid);
    return true;
}

// For who comes after this agent. Without room for it, Events on the pod end with the agent.
static void keep_name(const struct ct_registrar *r, const struct known *known)
{
    const struct ct_pod_identity *pod = &known->container.pod;
    struct ct_pod_name name = {0};
    __u64 key = known->container.cgroup;
    if (pod->pod[0] != '\0') {
        (void)snprintf(name.space, sizeof(name.space), "%s", pod->space);
        (void)snprintf(name.pod, sizeof(name.pod), "%s", pod->pod);
        (void)bpf_map_update_elem(r->pods, &key, &name, BPF_ANY);
    }
}

static int remember(struct ct_registrar *r, pid_t pid, const struct ct_vetted *vetted,
                    struct ct_err *err)
{
    if (known_of(r, vetted->place.id) != NULL) {
        return 0;
    }
    struct known *grown = realloc(r->known, (r->n_known + 1) * sizeof(*grown));
    char *folder = strdup(vetted->place.folder);
    r->known = grown != NULL ? grown : r->known;
    if (grown == NULL || folder == NULL) {
        free(folder);
        return ct_err_set(err, CT_ENOMEM, "out of memory for a container");
    }
    struct known *known = &r->known[r->n_known++];
    *known =
        (struct known){.container = {.cgroup = vetted->place.id, .container = vetted->container},
                       .folder = folder};
    if (!recall_name(r, known)) {
        ct_pod_of(&r->names, pid, vetted->container.pod_uid, &known->container.pod);
        keep_name(r, known);
    }
    return 0;
}

static void forget(struct ct_registrar *r, struct known *known)
{
    free(known->folder);
    *known = r->known[--r->n_known];
}

// ---- refusals ----

// Who is refused: a cgroup, or a process of it that is marked, which others of it must not cost that.
static uint64_t asker_of(const struct ct_ask *ask, const struct ct_vetted *vetted)
{
    return ask->stage == CT_STAGE_NONE ? vetted->place.id : CT_ASKER_MARKED | ask->tgid;
}

static struct refusals *refusals_of(struct ct_registrar *r, uint64_t asker)
{
    struct refusals *slot = &r->refusals[asker % REFUSALS_SLOTS];
    if (slot->asker != asker) {
        *slot = (struct refusals){.asker = asker};
    }
    return slot;
}

// A line for each, but for what a cgroup keeps asking.
static bool is_told(struct refusals *refusals)
{
    refusals->n++;
    return refusals->n <= REFUSALS_VETTED || refusals->n % REFUSALS_TOLD == 0;
}

// ---- decisions ----

static void tell(struct ct_registrar *r, const struct ct_audit *audit)
{
    CT_AUTO_BUF line = {.max = 8192};
    ct_audit_json(audit, &line);
    if (!line.failed) {
        r->options.line(r->options.cls, line.data, line.len);
    }
}

static int check_not_registered(const struct ct_registrar *r, const struct ct_vetted *vetted,
                                struct ct_err *err)
{
    struct ct_cgroup entry;
    __u64 key = vetted->place.id;
    if (bpf_map_lookup_elem(r->cgroups, &key, &entry) == 0 && entry.root != 0) {
        return ct_err_set(err, CT_EDENIED, "its container has registered already, by process %u",
                          entry.root);
    }
    return 0;
}

// What the mark counts by, before it is there.
static int enter_cgroup(const struct ct_registrar *r, const struct ct_vetted *vetted,
                        struct ct_err *err)
{
    const struct ct_cgroup entry = {.limit = r->options.max_tasks};
    __u64 key = vetted->place.id;
    if (bpf_map_update_elem(r->cgroups, &key, &entry, BPF_NOEXIST) == 0 || errno == EEXIST) {
        return 0;
    }
    return errno == E2BIG || errno == ENOMEM
               ? ct_err_set(err, CT_EDENIED, "the node has no room for one more container")
               : ct_err_errno(err, "cannot write down its container");
}

static int vet(struct ct_registrar *r, const struct ct_ask *ask, struct ct_vetted *vetted,
               struct ct_err *err)
{
    pid_t pid = (pid_t)ask->tgid;
    bool first = ask->stage == CT_STAGE_NONE;
    int rc = ct_vet_place(&r->options.vet, pid, vetted, err);
    if (rc == 0 && refusals_of(r, asker_of(ask, vetted))->n >= REFUSALS_VETTED) {
        rc = ct_err_set(err, CT_EDENIED, "too many registrations from its cgroup were refused");
    }
    if (rc == 0 && first) {
        rc = check_not_registered(r, vetted, err);
    }
    if (rc == 0) {
        rc = ct_vet_program(&r->options.vet, &r->programs, pid, first, vetted, err);
    }
    if (rc == 0 && first) {
        rc = enter_cgroup(r, vetted, err);
    }
    return rc == 0 && first ? remember(r, pid, vetted, err) : rc;
}

// The answer goes again when the process has ended meanwhile, or has executed something: nobody will take it.
static int answer(const struct ct_registrar *r, const struct ct_ask *ask, bool accepted,
                  uint64_t cgroup, struct ct_err *err)
{
    const struct ct_answer value = {
        .serial = ask->serial, .cgroup = cgroup, .accepted = accepted ? 1 : 0};
    struct ct_request request;
    __u32 key = ask->tgid;
    if (bpf_map_update_elem(r->answers, &key, &value, BPF_ANY) != 0) {
        return ct_err_errno(err, "cannot answer process %u", ask->tgid);
    }
    if (bpf_map_lookup_elem(r->requests, &key, &request) != 0 || request.serial != ask->serial) {
        (void)bpf_map_delete_elem(r->answers, &key);
    }
    return 0;
}

static void beat(const struct ct_registrar *r)
{
    struct ct_guard_config config;
    struct timespec now;
    __u32 key = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (bpf_map_lookup_elem(r->config, &key, &config) == 0) {
        config.heartbeat_ns = (__u64)now.tv_sec * 1000000000ULL + (__u64)now.tv_nsec;
        (void)bpf_map_update_elem(r->config, &key, &config, BPF_ANY);
    }
}

static void decide(struct ct_registrar *r, const struct ct_ask *ask)
{
    struct ct_err err = {0};
    struct ct_vetted vetted;
    struct ct_audit audit = {.ask = ask, .vetted = &vetted, .decision = CT_AUDIT_ACCEPTED};
    beat(r);
    int rc = vet(r, ask, &vetted, &err);
    int sent = answer(r, ask, rc == 0, vetted.place.id, rc == 0 ? &err : NULL);
    struct refusals *refusals = refusals_of(r, asker_of(ask, &vetted));
    if (rc == 0 && sent == 0) {
        refusals->n = ask->stage == CT_STAGE_NONE ? refusals->n : 0;
        const struct known *known = known_of(r, vetted.place.id);
        r->counts.accepted += ask->stage == CT_STAGE_NONE;
        audit.pod = known != NULL ? &known->container.pod : NULL;
        tell(r, &audit);
        return;
    }
    r->counts.refused++;
    audit.decision = CT_AUDIT_REFUSED;
    audit.reason = err.msg;
    if (is_told(refusals)) {
        audit.refusals = refusals->n;
        tell(r, &audit);
    }
}

// What the kernel has done about an answer.
static void told(struct ct_registrar *r, const struct ct_ask *ask)
{
    static const struct {
        enum ct_audit_decision decision;
        const char *reason;
    } kinds[CT_ASK_COUNT] = {
        [CT_ASK_MARKED] = {CT_AUDIT_MARKED, ""},
        [CT_ASK_VETTED] = {CT_AUDIT_PROTECTED, ""},
        [CT_ASK_TRACED] = {CT_AUDIT_REFUSED, "it was traced when it took the answer"},
        [CT_ASK_THREADS] = {CT_AUDIT_REFUSED, "it had several threads when it took the answer"},
        [CT_ASK_NO_ROOM] = {CT_AUDIT_REFUSED, "the kernel's tables have no room for one more"},
        [CT_ASK_MEASURED] =
            {CT_AUDIT_REFUSED,
             "perf events follow it, which can sample its stack: of its own, or of "
             "the container runtime that started it (end perf, start the pod anew)"},
    };
    const struct ct_audit audit = {
        .ask = ask, .decision = kinds[ask->kind].decision, .reason = kinds[ask->kind].reason};
    r->counts.protected_ += ask->kind == CT_ASK_VETTED;
    r->counts.refused += audit.decision == CT_AUDIT_REFUSED;
    tell(r, &audit);
}

static int take(void *context, void *data, size_t size)
{
    struct ct_registrar *r = context;
    struct ct_ask ask;
    if (size < sizeof(ask)) {
        return 0;
    }
    memcpy(&ask, data, sizeof(ask));
    if (ask.kind == CT_ASK_REGISTER) {
        decide(r, &ask);
    } else if (ask.kind < CT_ASK_COUNT) {
        told(r, &ask);
    }
    return 0;
}

// ---- what is left behind ----

static bool has_ended(pid_t pid)
{
    return kill(pid, 0) != 0 && errno == ESRCH;
}

// How many processes of a cgroup are marked.
static unsigned marks_of(const struct ct_registrar *r, uint64_t cgroup)
{
    __u32 key;
    __u32 *before = NULL;
    unsigned n = 0;
    struct ct_mark mark;
    for (unsigned i = 0; i < STEPS_MAX && bpf_map_get_next_key(r->marks, before, &key) == 0; i++) {
        n += bpf_map_lookup_elem(r->marks, &key, &mark) == 0 && mark.cgroup == cgroup;
        before = &key;
    }
    return n;
}

// Numbers that nobody is protected by: of a thread that executed a program in a pid namespace within another, after its
// group's first one had ended.
static void sweep_pids(const struct ct_registrar *r)
{
    struct ct_pid_key key;
    struct ct_pid_key next;
    __u32 tgid;
    struct ct_mark mark;
    bool more = bpf_map_get_next_key(r->pids, NULL, &next) == 0;
    for (unsigned i = 0; more && i < STEPS_MAX; i++) {
        key = next;
        more = bpf_map_get_next_key(r->pids, &key, &next) == 0;
        if (bpf_map_lookup_elem(r->pids, &key, &tgid) == 0 &&
            bpf_map_lookup_elem(r->marks, &tgid, &mark) != 0) {
            (void)bpf_map_delete_elem(r->pids, &key);
        }
    }
}

static bool is_over(const struct ct_registrar *r, uint64_t cgroup, const struct ct_cgroup *entry)
{
    struct stat status;
    const struct known *known = known_of(r, cgroup);
    bool gone = known != NULL ? stat(known->folder, &status) != 0 && errno == ENOENT
                              : entry->root == 0 || has_ended((pid_t)entry->root);
    return gone && marks_of(r, cgroup) == 0;
}

static void sweep_cgroups(struct ct_registrar *r)
{
    __u64 key;
    __u64 next;
    struct ct_cgroup entry;
    bool more = bpf_map_get_next_key(r->cgroups, NULL, &next) == 0;
    for (unsigned i = 0; more && i < STEPS_MAX; i++) {
        key = next;
        more = bpf_map_get_next_key(r->cgroups, &key, &next) == 0;
        if (bpf_map_lookup_elem(r->cgroups, &key, &entry) == 0 && is_over(r, key, &entry)) {
            struct known *known = known_of(r, key);
            (void)bpf_map_delete_elem(r->cgroups, &key);
            (void)bpf_map_delete_elem(r->pods, &key);
            if (known != NULL) {
                forget(r, known);
            }
        }
    }
}

// Requests whose process has not come for the answer: it would keep others from theirs for as long as it lives. What is left
// is counted anew, since the kernel's own count may lose one where two threads of a process ask at a time; one that is asked
// meanwhile is not counted, and missing from nobody.
static void sweep_requests(const struct ct_registrar *r, time_t now)
{
    static __u32 keys[CT_SHELVES];
    static __u32 counts[CT_SHELVES];
    __u32 key;
    __u32 next;
    struct ct_request request;
    bool more = bpf_map_get_next_key(r->requests, NULL, &next) == 0;
    memset(counts, 0, sizeof(counts));
    for (unsigned i = 0; more && i < STEPS_MAX; i++) {
        key = next;
        more = bpf_map_get_next_key(r->requests, &key, &next) == 0;
        if (bpf_map_lookup_elem(r->requests, &key, &request) != 0) {
            continue;
        }
        if ((time_t)(request.serial / 1000000000ULL) + SWEEP_SECONDS < now) {
            (void)bpf_map_delete_elem(r->requests, &key);
            (void)bpf_map_delete_elem(r->answers, &key);
        } else if (request.shelf - 1 < CT_SHELVES) {
            counts[request.shelf - 1]++;
        }
    }
    for (__u32 i = 0; i < CT_SHELVES; i++) {
        keys[i] = i;
    }
    __u32 n = CT_SHELVES;
    (void)bpf_map_update_batch(r->open, keys, counts, &n, NULL);
}

static void sweep(struct ct_registrar *r)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec >= r->swept + SWEEP_SECONDS) {
        r->swept = now.tv_sec;
        sweep_requests(r, now.tv_sec);
        sweep_pids(r);
        sweep_cgroups(r);
    }
}

// ---- the operator's ----

static bool take_off(const struct ct_registrar *r, __u32 tgid)
{
    struct ct_pid_key key;
    struct ct_pid_key next;
    __u32 owner;
    bool was = bpf_map_delete_elem(r->marks, &tgid) == 0;
    bool more = was && bpf_map_get_next_key(r->pids, NULL, &next) == 0;
    for (unsigned i = 0; more && i < STEPS_MAX; i++) {
        key = next;
        more = bpf_map_get_next_key(r->pids, &key, &next) == 0;
        if (bpf_map_lookup_elem(r->pids, &key, &owner) == 0 && owner == tgid) {
            (void)bpf_map_delete_elem(r->pids, &key);
        }
    }
    return was;
}

static void tell_unprotected(struct ct_registrar *r, pid_t pid, uint64_t cgroup)
{
    const struct ct_ask ask = {.tgid = (__u32)pid, .cgroup = cgroup};
    tell(r, &(const struct ct_audit){.ask = &ask,
                                     .decision = CT_AUDIT_UNPROTECTED,
                                     .reason = "by the operator's order"});
}

int ct_registrar_unprotect_pid(struct ct_registrar *registrar, pid_t pid, unsigned *ret,
                               struct ct_err *err)
{
    struct ct_mark mark = {0};
    __u32 key = (__u32)pid;
    *ret = 0;
    if (bpf_map_lookup_elem(registrar->marks, &key, &mark) != 0 || !take_off(registrar, key)) {
        return ct_err_set(err, CT_ENOTFOUND, "process %d is not protected", (int)pid);
    }
    *ret = 1;
    tell_unprotected(registrar, pid, mark.cgroup);
    return 0;
}

// One of a cgroup's protected processes; 0 when there is none.
static __u32 any_of(const struct ct_registrar *r, uint64_t cgroup)
{
    __u32 key;
    __u32 *before = NULL;
    struct ct_mark mark;
    for (unsigned i = 0; i < STEPS_MAX && bpf_map_get_next_key(r->marks, before, &key) == 0; i++) {
        if (bpf_map_lookup_elem(r->marks, &key, &mark) == 0 && mark.cgroup == cgroup) {
            return key;
        }
        before = &key;
    }
    return 0;
}

int ct_registrar_unprotect_cgroup(struct ct_registrar *registrar, uint64_t cgroup, unsigned *ret,
                                  struct ct_err *err)
{
    __u32 tgid;
    *ret = 0;
    // What is forked meanwhile is found as well.
    while ((tgid = any_of(registrar, cgroup)) != 0 && *ret < CT_MAX_TASKS * UNPROTECT_ROUNDS) {
        *ret += take_off(registrar, tgid);
        tell_unprotected(registrar, (pid_t)tgid, cgroup);
    }
    return *ret > 0 ? 0
                    : ct_err_set(err, CT_ENOTFOUND, "no process of the cgroup %llu is protected",
                                 (unsigned long long)cgroup);
}

// ---- life ----

struct ct_registrar_counts ct_registrar_counts(const struct ct_registrar *registrar)
{
    return registrar->counts;
}

int ct_registrar_fd(const struct ct_registrar *registrar)
{
    return ring_buffer__epoll_fd(registrar->ring);
}

int ct_registrar_handle(struct ct_registrar *registrar, struct ct_err *err)
{
    beat(registrar);
    if (ring_buffer__consume(registrar->ring) < 0) {
        return ct_err_errno(err, "cannot read the registrations");
    }
    sweep(registrar);
    (void)ct_aside_hanging(&registrar->names);
    (void)ct_aside_hanging(&registrar->programs);
    return 0;
}

void ct_registrar_free(struct ct_registrar *registrar)
{
    if (registrar == NULL) {
        return;
    }
    ring_buffer__free(registrar->ring);
    for (size_t i = 0; i < registrar->n_known; i++) {
        free(registrar->known[i].folder);
    }
    free(registrar->known);
    free(registrar);
}

// What registered with an agent before this one.
static void recall(struct ct_registrar *r)
{
    __u64 key;
    __u64 *before = NULL;
    struct ct_cgroup entry;
    struct ct_vetted vetted;
    while (bpf_map_get_next_key(r->cgroups, before, &key) == 0) {
        before = &key;
        if (bpf_map_lookup_elem(r->cgroups, &key, &entry) == 0 && entry.root != 0 &&
            ct_vet_place(&r->options.vet, (pid_t)entry.root, &vetted, NULL) == 0 &&
            vetted.place.id == key) {
            (void)remember(r, (pid_t)entry.root, &vetted, NULL);
        }
    }
}

int ct_registrar_new(struct ct_guard *guard, const struct ct_registrar_options *options,
                     struct ct_registrar **ret, struct ct_err *err)
{
    CT_AUTO(ct_registrar) *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the registrar");
    }
    r->options = *options;
    r->requests = ct_guard_map(guard, "ct_requests");
    r->open = ct_guard_map(guard, "ct_open");
    r->answers = ct_guard_map(guard, "ct_answers");
    r->asks = ct_guard_map(guard, "ct_asks");
    r->marks = ct_guard_map(guard, "ct_marks");
    r->pids = ct_guard_map(guard, "ct_pids");
    r->cgroups = ct_guard_map(guard, "ct_cgroups");
    r->pods = ct_guard_map(guard, "ct_pods");
    r->config = ct_guard_map(guard, "ct_config");
    r->ring = ring_buffer__new(r->asks, take, r, NULL);
    if (r->ring == NULL) {
        return ct_err_errno(err, "cannot read the registrations");
    }
    recall(r);
    beat(r);
    *ret = ct_steal(&r);
    return 0;
}
