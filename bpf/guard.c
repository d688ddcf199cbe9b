// SPDX-License-Identifier: Apache-2.0
#include "guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "devices.h"
#include "exempt.h"
#include "fs.h"
#include "guard_internal.h"
#include "lack.h"
#include "learn.h"
#include "own.h"
#include "vectors.h"

#define BIT(vector) (1ULL << (vector))
#define CONTINUE_ROUNDS 10
#define FREE_MS 60000 // for the kernel to free what was taken off
#define POLL_MAX 4096 // events at a time: more may come as quickly as they are read

int ct_guard_map(const struct ct_guard *guard, const char *name)
{
    int fd = bpf_object__find_map_fd_by_name(guard->base, name);
    return fd >= 0 ? fd : -1;
}

// ---- the base ----

// What keeps the marks, by programs whose names say so; they are attached as they are loaded.
static bool is_attached(const char *program)
{
    return strncmp(program, "ct_", 3) == 0 && strcmp(program, "ct_claim") != 0 &&
           strcmp(program, "ct_look") != 0 && strcmp(program, "ct_reading") != 0;
}

static int attach_life(struct ct_guard *guard, struct ct_err *err)
{
    struct bpf_program *program;
    bpf_object__for_each_program(program, guard->base)
    {
        const char *name = bpf_program__name(program);
        if (!bpf_program__autoload(program) || !is_attached(name)) {
            continue;
        }
        struct bpf_link *link = guard->n_life < CT_GUARD_LIFE ? bpf_program__attach(program) : NULL;
        if (link == NULL) {
            return ct_err_errno(err, "cannot attach %s (%s)", name, ct_loader_words());
        }
        guard->life[guard->n_life++] =
            (struct ct_attached){.link = link, .program = bpf_program__fd(program), .name = name};
    }
    return 0;
}

// Whether another may be the node's agent: not where this one is it, by its pins.
static bool is_beside(const struct ct_guard *guard)
{
    const char *dir = guard->options.pin_dir;
    return dir == NULL || strcmp(dir, CT_GUARD_PINS) != 0;
}

static int load_base(struct ct_guard *guard, struct ct_err *err)
{
    ct_loader_forget_words();
    guard->base = ct_loader_open_base(guard->loader.generation);
    if (guard->base == NULL) {
        return ct_err_errno(err, "cannot open the BPF programs");
    }
    int rc = guard->pins.found ? ct_pins_reuse(&guard->pins, guard->base, err) : 0;
    if (rc == 0 && bpf_object__load(guard->base) != 0) {
        rc = ct_lack_tell(ct_loader_words(), is_beside(guard), err);
    }
    guard->loader.base = guard->base;
    return rc;
}

static int write_first(const struct ct_guard *guard, const char *map, const void *value,
                       struct ct_err *err)
{
    __u32 key = 0;
    return bpf_map_update_elem(ct_guard_map(guard, map), &key, value, BPF_ANY) == 0
               ? 0
               : ct_err_errno(err, "cannot write the guard's settings (%s)", map);
}

static int configure(struct ct_guard *guard, struct ct_err *err)
{
    guard->config = (struct ct_guard_config){.layout = CT_GUARD_LAYOUT,
                                             .agent = (__u32)getpid(),
                                             .strict = guard->options.strict ? 1 : 0};
    return write_first(guard, "ct_config", &guard->config, err);
}

// Of these alone: what an agent before this one let pass is over.
static int write_exempts(struct ct_guard *guard, struct ct_err *err)
{
    const struct ct_option_list none = {0};
    const struct ct_option_list *exempts =
        guard->options.exempts != NULL ? guard->options.exempts : &none;
    if (guard->options.strict && exempts->n > 0) {
        return ct_err_set(err, CT_EINVAL, "--strict knows no exemptions: leave --exempt out");
    }
    return ct_exempt_write(ct_guard_map(guard, "ct_exempts"), exempts, guard->options.cgroup_root,
                           &guard->exempt, err);
}

// Where the pins are, and whose turn it is.
static int tell_ring(struct ct_guard *guard, __u32 generation, __u32 version, struct ct_err *err)
{
    struct stat st;
    struct ct_ring ring = {.generation = generation, .version = version};
    if (guard->den >= 0 && fstat(guard->den, &st) == 0) {
        ring.pins_inode = st.st_ino;
        ring.pins_device = major(st.st_dev) << 20 | minor(st.st_dev);
    }
    if (stat("/proc/1/ns/mnt", &st) == 0) {
        ring.first_mounts = (__u32)st.st_ino;
    }
    return write_first(guard, "ct_ring", &ring, err);
}

int ct_guard_claim(const struct ct_guard *guard, enum ct_claim claim, struct ct_err *err)
{
    const __u64 context[] = {claim, 0, 0, 0};
    struct bpf_program *program = bpf_object__find_program_by_name(guard->base, "ct_claim");
    LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = context, .ctx_size_in = sizeof(context));
    if (program == NULL || bpf_prog_test_run_opts(bpf_program__fd(program), &run) != 0) {
        return ct_err_errno(err, "cannot make this process the agent");
    }
    if (run.retval == CT_CLAIM_DONE) {
        return 0;
    }
    return run.retval == CT_CLAIM_NO_ROOM
               ? ct_err_set(
                     err, CT_ETOOBIG,
                     "the map of protected processes is full: the agent itself finds no room")
               : ct_err_set(err, CT_EDENIED,
                            "another process is this node's agent: there is one on a node");
}

// ---- proofs ----

static __u64 every_vector(void)
{
    size_t n;
    const struct ct_vector_info *vectors = ct_vectors(&n);
    __u64 all = BIT(CT_V_CALL);
    for (size_t i = 0; i < n; i++) {
        all |= BIT(vectors[i].vector);
    }
    return all;
}

static int prove(const struct ct_guard *guard, __u64 wanted, __u32 generation,
                 struct ct_result *results, struct ct_err *err)
{
    if (guard->den >= 0) {
        ct_pins_put_bait(guard->den, ct_guard_map(guard, "ct_unmarked"));
    }
    ct_devices_watch(ct_guard_map(guard, "ct_majors"), guard->options.strict);
    const struct ct_selftest_ground ground = {.marks = ct_guard_map(guard, "ct_marks"),
                                              .tester = ct_guard_map(guard, "ct_tester"),
                                              .proofs = ct_guard_map(guard, "ct_proofs"),
                                              .den = guard->den,
                                              .agent = (pid_t)guard->config.agent,
                                              .generation = generation};
    return ct_selftest(&ground, wanted, results, err);
}

static __u64 proven(const struct ct_result *results)
{
    __u64 bits = 0;
    for (int v = 0; v < CT_V_COUNT; v++) {
        bits |= results[v].outcome == CT_OUTCOME_REFUSED ? BIT(v) : 0;
    }
    return bits;
}

static int choose_tiers(struct ct_guard *guard, struct ct_err *err)
{
    enum ct_tier tier;
    int rc = 0;
    for (size_t rank = 0; rc == 0 && (tier = ct_loader_tier(rank)) != CT_TIER_NONE; rank++) {
        __u64 before = proven(guard->results);
        __u64 wanted = every_vector() & ~before;
        if ((guard->options.tiers >> tier & 1) == 0 || wanted == 0) {
            continue;
        }
        ct_loader_attach_tier(&guard->loader, tier, wanted);
        rc = prove(guard, wanted, guard->loader.generation, guard->results, err);
        ct_loader_detach_idle(&guard->loader, tier, proven(guard->results) & ~before);
    }
    return rc;
}

int ct_guard_try(const struct ct_guard *guard, struct ct_result ret[CT_V_COUNT], struct ct_err *err)
{
    return prove(guard, every_vector(), guard->loader.generation, ret, err);
}

int ct_guard_prove(struct ct_guard *guard, struct ct_err *err)
{
    return ct_guard_try(guard, guard->results, err);
}

void ct_guard_lighten(struct ct_guard *guard)
{
    ct_loader_close_objects(&guard->loader);
}

void ct_guard_take_results(struct ct_guard *guard, const struct ct_result results[CT_V_COUNT])
{
    memcpy(guard->results, results, sizeof(guard->results));
}

struct ct_result ct_guard_result(const struct ct_guard *guard, enum ct_vector vector)
{
    struct ct_result result = guard->results[vector];
    if (result.outcome == CT_OUTCOME_REFUSED && (guard->exempt >> vector & 1) != 0) {
        result = (struct ct_result){.outcome = CT_OUTCOME_EXEMPT};
    }
    return result;
}

__u64 ct_guard_exempt(const struct ct_guard *guard)
{
    return guard->exempt;
}

unsigned ct_guard_tiers(const struct ct_guard *guard)
{
    return guard->options.tiers;
}

const char *ct_guard_tier_trouble(const struct ct_guard *guard, enum ct_tier tier)
{
    return guard->loader.trouble[tier];
}

unsigned ct_guard_attached(const struct ct_guard *guard)
{
    return (unsigned)guard->loader.n_attached;
}

// ---- what is the agent's own ----

// What is at the root cgroup for good has no link, and what older kernels attach by perf has none that the kernel numbers.
static void own_attached(int map, const struct ct_attached *attached, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)ct_loader_own(map, CT_OWN_PROGRAM, attached[i].program);
        if (attached[i].link != NULL) {
            (void)ct_loader_own(map, CT_OWN_LINK, bpf_link__fd(attached[i].link));
        }
    }
}

static void own_all(const struct ct_guard *guard)
{
    int map = ct_guard_map(guard, "ct_own");
    struct bpf_map *each;
    bpf_object__for_each_map(each, guard->base)
    {
        (void)ct_loader_own(map, CT_OWN_MAP, bpf_map__fd(each));
    }
    // Those that are never attached too.
    struct bpf_program *program;
    bpf_object__for_each_program(program, guard->base)
    {
        (void)ct_loader_own(map, CT_OWN_PROGRAM, bpf_program__fd(program));
    }
    own_attached(map, guard->life, guard->n_life);
    own_attached(map, guard->loader.attached, guard->loader.n_attached);
}

// Numbers of programs and links are not given twice before the kernel has counted through 2^31 of them; still, those of a
// generation that has gone have no business here.
static void disown_generations(const struct ct_guard *guard)
{
    int map = ct_guard_map(guard, "ct_own");
    struct ct_own_key keys[512];
    struct ct_own_key key;
    size_t n = 0;
    for (const void *last = NULL; n < CT_ARRAY_LEN(keys); last = &keys[n - 1]) {
        if (bpf_map_get_next_key(map, last, &key) != 0) {
            break;
        }
        keys[n++] = key;
    }
    for (size_t i = 0; i < n; i++) {
        if (keys[i].kind != CT_OWN_MAP) {
            (void)bpf_map_delete_elem(map, &keys[i]);
        }
    }
}

// ---- pins ----

static const char *name_list(__u64 vectors, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (int v = 0; v < CT_V_COUNT && len < size; v++) {
        const struct ct_vector_info *info = ct_vector_info((enum ct_vector)v);
        if (info != NULL && (vectors >> v & 1) != 0) {
            len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? ", " : "", info->name);
        }
    }
    return out;
}

static int check_version(const struct ct_guard *guard, struct ct_err *err)
{
    unsigned there = guard->pins.ring.version;
    unsigned here = guard->options.version;
    if (!guard->pins.enforcing || here >= there || guard->options.allow_downgrade) {
        return 0;
    }
    return ct_err_set(
        err, CT_EDENIED,
        "what enforces on this node was put there by version %u.%u.%u, later than this "
        "%u.%u.%u: it stays, and --allow-downgrade replaces it",
        there >> 16, there >> 8 & 0xff, there & 0xff, here >> 16, here >> 8 & 0xff, here & 0xff);
}

// Takes every program that an agent has ever put onto the root cgroup off. Returns how many there were.
// Closes `own`, of ct_own_open().
static unsigned detach_all(int own)
{
    CT_AUTO_FD map = own;
    return map >= 0 ? ct_loader_detach_cgroup(NULL, map) : 0;
}

static int open_pins(struct ct_guard *guard, struct ct_err *err)
{
    int rc = ct_pins_open(guard->options.pin_dir, false, &guard->pins, err);
    rc = rc == 0 ? check_version(guard, err) : rc;
    // Maps without pinned programs: the first start was cut short. What stays by itself is all that it may have left.
    if (rc == 0 && guard->pins.found && !guard->pins.enforcing && guard->pins.last == 0) {
        struct ct_removed removed;
        (void)detach_all(ct_own_open(guard->options.pin_dir));
        ct_pins_drop_maps(&guard->pins, &removed);
        ct_pins_close(&guard->pins);
        rc = ct_pins_open(guard->options.pin_dir, false, &guard->pins, err);
    }
    rc = rc == 0 && guard->pins.found ? ct_pins_claim(&guard->pins, err) : rc;
    if (rc == 0) {
        guard->den = guard->pins.fd;
        guard->loader.generation =
            (guard->pins.last > guard->pins.ring.generation ? guard->pins.last
                                                            : guard->pins.ring.generation) +
            1;
        guard->loader.stays = true;
    }
    return rc;
}

static void keep_links(struct ct_guard *guard, struct ct_attached *attached, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool kept =
            attached[i].link == NULL || ct_pins_keep_link(&guard->pins, guard->pinned.generation,
                                                          attached[i].name, attached[i].link);
        guard->pinned.links += kept ? 1 : 0;
        guard->pinned.unpinned += kept ? 0 : 1;
    }
}

// The new programs are proven: pins them, gives them the turn, and takes the old ones off.
static int switch_over(struct ct_guard *guard, struct ct_err *err)
{
    guard->pinned.generation = guard->loader.generation;
    int rc = ct_pins_make_generation(&guard->pins, guard->loader.generation, err);
    if (rc < 0) {
        return rc;
    }
    keep_links(guard, guard->life, guard->n_life);
    keep_links(guard, guard->loader.attached, guard->loader.n_attached);
    rc = tell_ring(guard, guard->loader.generation, guard->options.version, err);
    if (rc < 0) {
        return rc;
    }
    (void)ct_loader_detach_cgroup(&guard->loader, ct_guard_map(guard, "ct_own"));
    (void)ct_pins_drop_generations(&guard->pins, guard->loader.generation);
    disown_generations(guard);
    own_all(guard);
    return 0;
}

// What the generation at work refuses and this one would not is a reason to leave it there.
static int compare(const struct ct_guard *guard, const struct ct_result *old, struct ct_err *err)
{
    __u64 missing = proven(old) & ~proven(guard->results);
    char names[256];
    if (missing == 0 || guard->options.allow_downgrade) {
        return 0;
    }
    return ct_err_set(
        err, CT_EDENIED,
        "what enforces on this node refuses more than these programs would (%s): it stays, "
        "and --allow-downgrade replaces it",
        name_list(missing, names, sizeof(names)));
}

static int replace(struct ct_guard *guard, struct ct_err *err)
{
    struct ct_result old[CT_V_COUNT] = {0};
    int rc = 0;
    if (guard->pins.enforcing) {
        guard->pinned.replaced = guard->pins.ring.generation;
        guard->pinned.version = guard->pins.ring.version;
        rc = prove(guard, every_vector(), guard->pins.ring.generation, old, err);
    }
    rc = rc == 0 ? choose_tiers(guard, err) : rc;
    rc = rc == 0 ? compare(guard, old, err) : rc;
    return rc == 0 ? switch_over(guard, err) : rc;
}

struct ct_guard_pinned ct_guard_pinned(const struct ct_guard *guard)
{
    return guard->pinned;
}

bool ct_guard_may_enforce(const char *pin_dir)
{
    // By the usual ones the node's agent enforces, where this is another.
    return ct_pins_may_enforce(pin_dir) || ct_pins_may_enforce(CT_GUARD_PINS);
}

int ct_guard_uninstall(const char *pin_dir, struct ct_removed *ret, struct ct_err *err)
{
    struct ct_pins pins;
    *ret = (struct ct_removed){0};
    if (access(pin_dir, F_OK) != 0 && errno == ENOENT) {
        return 0;
    }
    int rc = ct_pins_open(pin_dir, true, &pins, err);
    if (rc < 0) {
        return rc;
    }
    rc = pins.found ? ct_pins_claim(&pins, err) : 0;
    if (rc == 0) {
        struct ct_own_programs programs;
        int own = ct_own_open(pin_dir);
        ct_own_list(own, &programs);
        ret->programs = detach_all(own);
        ret->links = ct_pins_drop_generations(&pins, 0);
        ct_pins_drop_maps(&pins, ret);
        ret->over = ct_own_wait(&programs, FREE_MS);
    }
    ct_pins_close(&pins);
    if (rc == 0 && !ret->folder) {
        rc = ct_err_set(
            err, CT_ESYSTEM,
            "%s could not be removed altogether: something foreign is in it, or programs that "
            "are still attached keep it, and only a restart of the node ends those",
            pin_dir);
    }
    return rc;
}

// ---- what it tells ----

// The kill comes with the attach, whose stop the victim would be left in. The event is quicker than that
// stop: so it is sent on for some rounds.
static void send_on(struct ct_stopped *stopped)
{
    if (stopped->rounds > 0) {
        stopped->rounds--;
        (void)kill(stopped->victim, SIGCONT);
    }
}

static int tell_one(void *context, void *data, size_t size)
{
    struct ct_guard *guard = context;
    struct ct_event event;
    if (size >= sizeof(event)) {
        memcpy(&event, data, sizeof(event));
        if (event.action == CT_ACTION_KILLED && event.vector == CT_V_PTRACE && event.victim != 0) {
            guard->stopped = (struct ct_stopped){(pid_t)event.victim, CONTINUE_ROUNDS};
        }
        guard->tell(guard->cls, &event);
    }
    return ++guard->polled < POLL_MAX ? 0 : -EAGAIN;
}

static bool open_events(struct ct_guard *guard)
{
    if (guard->events == NULL) {
        guard->events = ring_buffer__new(ct_guard_map(guard, "ct_events"), tell_one, guard, NULL);
    }
    return guard->events != NULL;
}

int ct_guard_events_fd(struct ct_guard *guard)
{
    return open_events(guard) ? ring_buffer__epoll_fd(guard->events) : -1;
}

int ct_guard_poll(struct ct_guard *guard, int timeout_ms, ct_guard_tell tell, void *cls,
                  struct ct_err *err)
{
    guard->tell = tell;
    guard->cls = cls;
    guard->polled = 0;
    if (!open_events(guard)) {
        return ct_err_errno(err, "cannot read the guard's events");
    }
    int n = ring_buffer__poll(guard->events, timeout_ms);
    send_on(&guard->stopped);
    return n >= 0 || n == -EINTR || n == -EAGAIN
               ? 0
               : ct_err_errno(err, "cannot read the guard's events");
}

void ct_guard_free(struct ct_guard *guard)
{
    if (guard == NULL) {
        return;
    }
    const __u32 self = (__u32)getpid();
    ring_buffer__free(guard->events);
    // Programs run on for a moment after they were detached, and this process's own are no attackers any more: the
    // sanitizers look for leaks at the end, by a tracer.
    if (guard->base != NULL) {
        (void)bpf_map_delete_elem(ct_guard_map(guard, "ct_marks"), &self);
    }
    if (guard->loader.stays && guard->pinned.links == 0) {
        ct_loader_take_back(&guard->loader);
    }
    ct_loader_done(&guard->loader);
    for (size_t i = 0; i < guard->n_life; i++) {
        (void)bpf_link__destroy(guard->life[i].link);
    }
    bpf_object__close(guard->base);
    if (guard->den >= 0 && guard->den != guard->pins.fd) {
        (void)close(guard->den);
    }
    ct_pins_close(&guard->pins);
    free(guard);
}

static int begin(struct ct_guard *guard, struct ct_err *err)
{
    __u32 turn = 0;
    int rc = 0;
    if (guard->options.pin_dir != NULL) {
        rc = open_pins(guard, err);
        turn = guard->pins.enforcing ? guard->pins.ring.generation : guard->loader.generation;
    } else {
        // Seen by nobody else, and gone with the process.
        guard->den = ct_fs_open("bpf");
    }
    rc = rc == 0 ? load_base(guard, err) : rc;
    rc = rc == 0 ? (own_all(guard), 0) : rc;
    rc = rc == 0 && guard->options.pin_dir != NULL
             ? ct_pins_keep_maps(&guard->pins, guard->base, err)
             : rc;
    rc = rc == 0 ? tell_ring(guard, turn, guard->pins.ring.version, err) : rc;
    rc = rc == 0 ? configure(guard, err) : rc;
    rc = rc == 0 ? write_exempts(guard, err) : rc;
    rc = rc == 0 ? attach_life(guard, err) : rc;
    rc = rc == 0 ? ct_guard_claim(guard, CT_CLAIM_AGENT, err) : rc;
    return rc == 0 ? ct_learn_reading(guard->base, guard->loader.reading, err) : rc;
}

int ct_guard_new(const struct ct_guard_options *options, struct ct_guard **ret, struct ct_err *err)
{
    CT_AUTO(ct_guard) *guard = calloc(1, sizeof(*guard));
    if (guard == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the guard");
    }
    guard->options = *options;
    guard->den = -1;
    guard->pins.fd = -1;
    ct_loader_keep_words();
    int rc = begin(guard, err);
    if (rc == 0) {
        rc = options->pin_dir != NULL ? replace(guard, err) : choose_tiers(guard, err);
    }
    rc = rc == 0 && options->pin_dir == NULL ? (own_all(guard), 0) : rc;
    rc = rc == 0 ? ct_guard_prove(guard, err) : rc;
    if (rc == 0) {
        *ret = ct_steal(&guard);
    }
    return rc;
}
