// SPDX-License-Identifier: Apache-2.0
#include "guard.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard.skel.h"
#include "override.skel.h"
#include "reactive.skel.h"
#include "vectors.h"

#define BIT(vector) (1ULL << (vector))
#define MAX_PROGRAMS 64
#define MAX_OBJECTS 64
#define EXIT_NOT_FOUND 127
#define CONTINUE_ROUNDS 10

// A program and what it can refuse, so that one that nothing needs is not attached.
struct use {
    const char *name; // of the hook or system call, behind the program's prefix
    __u64 vectors;
};

static const struct use hooks[] = {
    {"ptrace_access_check", BIT(CT_V_PTRACE) | BIT(CT_V_MEM_READ) | BIT(CT_V_MEM_WRITE) |
                                BIT(CT_V_VM_READV) | BIT(CT_V_VM_WRITEV) | BIT(CT_V_ENVIRON) |
                                BIT(CT_V_MAPS) | BIT(CT_V_LINKS) | BIT(CT_V_PIDFD_GETFD) |
                                BIT(CT_V_MEMORY_ADVICE) | BIT(CT_V_COMPARE) | BIT(CT_V_PERF) |
                                BIT(CT_V_IO_URING) | BIT(CT_V_SETNS)},
    {"ptrace_traceme", BIT(CT_V_TRACEME)},
    {"file_open", BIT(CT_V_MEM_READ) | BIT(CT_V_MEM_WRITE) | BIT(CT_V_ENVIRON) | BIT(CT_V_MAPS) |
                      BIT(CT_V_PROC_WRITE_NAME) | BIT(CT_V_PROC_WRITE) | BIT(CT_V_DEV_MEM) |
                      BIT(CT_V_KCORE) | BIT(CT_V_TRACEFS) | BIT(CT_V_DEBUGFS) | BIT(CT_V_BINFMT) |
                      BIT(CT_V_IO_PORTS)},
    {"locked_down", BIT(CT_V_IO_PORTS) | BIT(CT_V_KEXEC) | BIT(CT_V_DEV_MEM) | BIT(CT_V_KCORE)},
    {"kernel_load_data", BIT(CT_V_MODULE) | BIT(CT_V_KEXEC)},
    {"kernel_read_file", BIT(CT_V_MODULE) | BIT(CT_V_KEXEC_FILE)},
    {"bpf", BIT(CT_V_BPF_LOAD)},
    {"perf_event_alloc", BIT(CT_V_PERF)},
    {"task_prctl", BIT(CT_V_CALL)},
};

static const struct use calls[] = {
    {"ptrace", BIT(CT_V_PTRACE) | BIT(CT_V_TRACEME)},
    {"process_vm_readv", BIT(CT_V_VM_READV)},
    {"process_vm_writev", BIT(CT_V_VM_WRITEV)},
    {"pidfd_getfd", BIT(CT_V_PIDFD_GETFD)},
    {"process_madvise", BIT(CT_V_MEMORY_ADVICE)},
    {"move_pages", BIT(CT_V_MEMORY_ADVICE)},
    {"migrate_pages", BIT(CT_V_MEMORY_ADVICE)},
    {"kcmp", BIT(CT_V_COMPARE)},
    {"get_robust_list", BIT(CT_V_COMPARE)},
    {"perf_event_open", BIT(CT_V_PERF)},
    {"bpf", BIT(CT_V_BPF_LOAD)},
    {"setns", BIT(CT_V_SETNS)},
    {"io_uring_setup", BIT(CT_V_IO_URING)},
    {"kexec_load", BIT(CT_V_KEXEC)},
    {"kexec_file_load", BIT(CT_V_KEXEC_FILE)},
    {"init_module", BIT(CT_V_MODULE)},
    {"finit_module", BIT(CT_V_MODULE)},
    {"ioperm", BIT(CT_V_IO_PORTS)},
    {"iopl", BIT(CT_V_IO_PORTS)},
    {"prctl", BIT(CT_V_CALL)},
};

static const struct use points[] = {
    {"enter", BIT(CT_V_PTRACE) | BIT(CT_V_TRACEME) | BIT(CT_V_VM_READV) | BIT(CT_V_VM_WRITEV) |
                  BIT(CT_V_PIDFD_GETFD) | BIT(CT_V_MEMORY_ADVICE) | BIT(CT_V_COMPARE) |
                  BIT(CT_V_PERF) | BIT(CT_V_SETNS) | BIT(CT_V_CALL)},
    {"exit", BIT(CT_V_MEM_READ) | BIT(CT_V_MEM_WRITE) | BIT(CT_V_ENVIRON) | BIT(CT_V_MAPS) |
                 BIT(CT_V_PROC_WRITE_NAME) | BIT(CT_V_PROC_WRITE) | BIT(CT_V_DEV_MEM) |
                 BIT(CT_V_KCORE) | BIT(CT_V_TRACEFS) | BIT(CT_V_DEBUGFS) | BIT(CT_V_BINFMT)},
};

// A tier's programs are those of one object whose names begin with one of its prefixes.
struct tier_info {
    enum ct_tier tier;
    const char *prefixes[2]; // the second may be NULL
    const void *(*elf)(size_t *size);
    const struct use *uses;
    size_t n_uses;
};

static const struct tier_info tiers[] = {
    {CT_TIER_LSM, {"lsm_", NULL}, ct_guard_skel__elf_bytes, hooks, CT_ARRAY_LEN(hooks)},
    {CT_TIER_FMOD_RET, {"mod_", NULL}, ct_guard_skel__elf_bytes, hooks, CT_ARRAY_LEN(hooks)},
    {CT_TIER_KPROBE, {"kp_", "kp32_"}, ct_override_skel__elf_bytes, calls, CT_ARRAY_LEN(calls)},
    {CT_TIER_REACTIVE, {"rk_", NULL}, ct_reactive_skel__elf_bytes, points, CT_ARRAY_LEN(points)},
};

struct attached {
    struct bpf_link *link;
    enum ct_tier tier;
    __u64 vectors;
};

// A victim that a killed tracer may have left stopped.
struct stopped {
    pid_t victim;
    int rounds; // of polling, in which it is still sent on
};

struct ct_guard {
    struct ct_guard_options options;
    struct bpf_object *base; // the maps, and who is protected
    struct bpf_link *life[3];
    struct bpf_object *objects[MAX_OBJECTS]; // of the tiers; they use the base's maps
    size_t n_objects;
    struct attached attached[MAX_PROGRAMS];
    size_t n_attached;
    struct ct_result results[CT_V_COUNT];
    struct ring_buffer *events; // from the first poll on
    ct_guard_tell tell;         // of the poll under way, with its cls
    void *cls;
    struct stopped stopped;
    char trouble[CT_TIER_COUNT][256];
};

// ---- objects ----

// libbpf's own words of why something was not loaded: the last of them.
static char last_words[256];

static int keep_words(enum libbpf_print_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static int keep_words(enum libbpf_print_level level, const char *format, va_list args)
{
    char line[sizeof(last_words)];
    if (level != LIBBPF_WARN || vsnprintf(line, sizeof(line), format, args) <= 0) {
        return 0;
    }
    line[strcspn(line, "\n")] = '\0';
    // What follows from the first failure says less than it.
    if (last_words[0] == '\0') {
        memcpy(last_words, line, sizeof(last_words));
    }
    return 0;
}

static const struct use *use_of(const struct tier_info *info, const char *program)
{
    for (size_t p = 0; p < CT_ARRAY_LEN(info->prefixes) && info->prefixes[p] != NULL; p++) {
        size_t len = strlen(info->prefixes[p]);
        for (size_t i = 0; strncmp(program, info->prefixes[p], len) == 0 && i < info->n_uses; i++) {
            if (strcmp(program + len, info->uses[i].name) == 0) {
                return &info->uses[i];
            }
        }
    }
    return NULL;
}

static int share_maps(const struct ct_guard *guard, struct bpf_object *object)
{
    struct bpf_map *map;
    bpf_object__for_each_map(map, object)
    {
        const struct bpf_map *shared =
            bpf_object__find_map_by_name(guard->base, bpf_map__name(map));
        int rc = shared != NULL ? bpf_map__reuse_fd(map, bpf_map__fd(shared)) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

// Loads of a tier's programs those that can refuse one of `wanted`, or of these just `only`.
static int load(struct ct_guard *guard, const struct tier_info *info, __u64 wanted,
                const char *only)
{
    size_t size;
    const void *elf = info->elf(&size);
    struct bpf_program *program;
    if (guard->n_objects == MAX_OBJECTS) {
        return -E2BIG;
    }
    struct bpf_object *object = bpf_object__open_mem(elf, size, NULL);
    if (object == NULL) {
        return -errno;
    }
    bpf_object__for_each_program(program, object)
    {
        const char *name = bpf_program__name(program);
        const struct use *use = use_of(info, name);
        (void)bpf_program__set_autoload(program, use != NULL && (use->vectors & wanted) != 0 &&
                                                     (only == NULL || strcmp(only, name) == 0));
    }
    int rc = share_maps(guard, object);
    rc = rc == 0 ? bpf_object__load(object) : rc;
    if (rc != 0) {
        bpf_object__close(object);
        return rc;
    }
    guard->objects[guard->n_objects++] = object;
    return 0;
}

static void attach(struct ct_guard *guard, const struct tier_info *info, struct bpf_object *object)
{
    struct bpf_program *program;
    bpf_object__for_each_program(program, object)
    {
        if (!bpf_program__autoload(program) || guard->n_attached == MAX_PROGRAMS) {
            continue;
        }
        struct bpf_link *link = bpf_program__attach(program);
        if (link == NULL) {
            continue; // told by the self-test: its vectors stay open
        }
        guard->attached[guard->n_attached++] =
            (struct attached){.link = link,
                              .tier = info->tier,
                              .vectors = use_of(info, bpf_program__name(program))->vectors};
    }
}

static void load_each(struct ct_guard *guard, const struct tier_info *info, __u64 wanted)
{
    char name[64];
    for (size_t p = 0; p < CT_ARRAY_LEN(info->prefixes) && info->prefixes[p] != NULL; p++) {
        for (size_t i = 0; i < info->n_uses; i++) {
            (void)snprintf(name, sizeof(name), "%s%s", info->prefixes[p], info->uses[i].name);
            (void)((info->uses[i].vectors & wanted) != 0 && load(guard, info, wanted, name));
        }
    }
}

// One that a kernel does not have makes the whole object fail: then each for itself.
static void attach_tier(struct ct_guard *guard, const struct tier_info *info, __u64 wanted)
{
    size_t first = guard->n_objects;
    last_words[0] = '\0';
    if (load(guard, info, wanted, NULL) != 0) {
        char *trouble = guard->trouble[info->tier];
        (void)snprintf(trouble, sizeof(guard->trouble[0]), "%s", last_words);
        load_each(guard, info, wanted);
        trouble[0] = guard->n_objects > first ? '\0' : trouble[0];
    }
    for (size_t i = first; i < guard->n_objects; i++) {
        attach(guard, info, guard->objects[i]);
    }
}

// Takes off again what of a tier has refused nothing.
static void detach_idle(struct ct_guard *guard, enum ct_tier tier, __u64 proven)
{
    size_t kept = 0;
    for (size_t i = 0; i < guard->n_attached; i++) {
        struct attached *a = &guard->attached[i];
        if (a->tier == tier && (a->vectors & proven) == 0) {
            (void)bpf_link__destroy(a->link);
        } else {
            guard->attached[kept++] = *a;
        }
    }
    guard->n_attached = kept;
}

// ---- the base ----

int ct_guard_map(const struct ct_guard *guard, const char *name)
{
    return bpf_object__find_map_fd_by_name(guard->base, name);
}

static int load_base(struct ct_guard *guard, struct ct_err *err)
{
    static const char *const names[] = {"ct_fork", "ct_exec", "ct_exit"};
    size_t size;
    const void *elf = ct_guard_skel__elf_bytes(&size);
    struct bpf_program *program;
    last_words[0] = '\0';
    guard->base = bpf_object__open_mem(elf, size, NULL);
    if (guard->base == NULL) {
        return ct_err_errno(err, "cannot open the BPF programs");
    }
    bpf_object__for_each_program(program, guard->base)
    {
        (void)bpf_program__set_autoload(program,
                                        strncmp(bpf_program__name(program), "ct_", 3) == 0);
    }
    if (bpf_object__load(guard->base) != 0) {
        return ct_err_errno(err, "the kernel takes no BPF programs of ours (%s)", last_words);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(names); i++) {
        guard->life[i] =
            bpf_program__attach(bpf_object__find_program_by_name(guard->base, names[i]));
        if (guard->life[i] == NULL) {
            return ct_err_errno(err, "cannot attach %s (%s)", names[i], last_words);
        }
    }
    return 0;
}

static int configure(struct ct_guard *guard, struct ct_err *err)
{
    __u32 key = 0;
    const struct ct_guard_config config = {.layout = CT_GUARD_LAYOUT,
                                           .agent = (__u32)getpid(),
                                           .strict = guard->options.strict ? 1 : 0};
    return bpf_map_update_elem(ct_guard_map(guard, "ct_config"), &key, &config, BPF_ANY) == 0
               ? 0
               : ct_err_errno(err, "cannot write the guard's settings");
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

static int prove(struct ct_guard *guard, __u64 wanted, struct ct_err *err)
{
    const struct ct_selftest_maps maps = {.marks = ct_guard_map(guard, "ct_marks"),
                                          .config = ct_guard_map(guard, "ct_config"),
                                          .proofs = ct_guard_map(guard, "ct_proofs")};
    return ct_selftest(&maps, wanted, guard->results, err);
}

static __u64 proven(const struct ct_guard *guard)
{
    __u64 bits = 0;
    for (int v = 0; v < CT_V_COUNT; v++) {
        bits |= guard->results[v].outcome == CT_OUTCOME_REFUSED ? BIT(v) : 0;
    }
    return bits;
}

static int choose_tiers(struct ct_guard *guard, struct ct_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < CT_ARRAY_LEN(tiers); i++) {
        __u64 before = proven(guard);
        __u64 wanted = every_vector() & ~before;
        if ((guard->options.tiers >> tiers[i].tier & 1) == 0 || wanted == 0) {
            continue;
        }
        attach_tier(guard, &tiers[i], wanted);
        rc = prove(guard, wanted, err);
        detach_idle(guard, tiers[i].tier, proven(guard) & ~before);
    }
    return rc;
}

int ct_guard_prove(struct ct_guard *guard, struct ct_err *err)
{
    return prove(guard, every_vector(), err);
}

struct ct_result ct_guard_result(const struct ct_guard *guard, enum ct_vector vector)
{
    return guard->results[vector];
}

const char *ct_guard_tier_trouble(const struct ct_guard *guard, enum ct_tier tier)
{
    return guard->trouble[tier];
}

unsigned ct_guard_attached(const struct ct_guard *guard)
{
    return (unsigned)guard->n_attached;
}

// ---- what it protects, what it tells ----

// Runs in the process that is marked: what it forks inherits the mark and is numbered.
static _Noreturn void spawn(int ready, int answer, char *const argv[])
{
    char byte;
    pid_t pid = -1;
    int status = 0;
    if (read(ready, &byte, 1) == 1 && (pid = fork()) == 0) {
        (void)execvp(argv[0], argv);
        _exit(EXIT_NOT_FOUND);
    }
    if (write(answer, &pid, sizeof(pid)) != (ssize_t)sizeof(pid) ||
        waitpid(pid, &status, 0) != pid) {
        _exit(EXIT_NOT_FOUND);
    }
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static int mark(struct ct_guard *guard, pid_t pid, struct ct_err *err)
{
    __u32 key = (__u32)pid;
    const struct ct_mark value = {.root = key};
    return bpf_map_update_elem(ct_guard_map(guard, "ct_marks"), &key, &value, BPF_ANY) == 0
               ? 0
               : ct_err_errno(err, "cannot mark process %d", (int)pid);
}

int ct_guard_spawn(struct ct_guard *guard, char *const argv[], struct ct_spawned *ret,
                   struct ct_err *err)
{
    int ready[2];
    int answer[2];
    if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0) {
        return ct_err_errno(err, "cannot make a pipe");
    }
    pid_t parent = getpid();
    ret->keeper = fork();
    if (ret->keeper == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            _exit(EXIT_NOT_FOUND);
        }
        (void)close(ready[1]);
        (void)close(answer[0]);
        spawn(ready[0], answer[1], argv);
    }
    (void)close(ready[0]);
    (void)close(answer[1]);
    int rc = ret->keeper > 0 ? mark(guard, ret->keeper, err) : ct_err_errno(err, "cannot fork");
    if (rc == 0 && (write(ready[1], "", 1) != 1 ||
                    read(answer[0], &ret->pid, sizeof(ret->pid)) != (ssize_t)sizeof(ret->pid))) {
        rc = ct_err_errno(err, "cannot start %s", argv[0]);
    }
    (void)close(ready[1]);
    (void)close(answer[0]);
    return rc;
}

// The kill comes with the attach, whose stop the victim would be left in. The event is quicker than that
// stop: so it is sent on for some rounds.
static void send_on(struct stopped *stopped)
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
            guard->stopped = (struct stopped){(pid_t)event.victim, CONTINUE_ROUNDS};
        }
        guard->tell(guard->cls, &event);
    }
    return 0;
}

int ct_guard_poll(struct ct_guard *guard, int timeout_ms, ct_guard_tell tell, void *cls,
                  struct ct_err *err)
{
    guard->tell = tell;
    guard->cls = cls;
    if (guard->events == NULL) {
        guard->events = ring_buffer__new(ct_guard_map(guard, "ct_events"), tell_one, guard, NULL);
    }
    if (guard->events == NULL) {
        return ct_err_errno(err, "cannot read the guard's events");
    }
    int n = ring_buffer__poll(guard->events, timeout_ms);
    send_on(&guard->stopped);
    return n >= 0 || n == -EINTR ? 0 : ct_err_errno(err, "cannot read the guard's events");
}

void ct_guard_free(struct ct_guard *guard)
{
    if (guard == NULL) {
        return;
    }
    ring_buffer__free(guard->events);
    for (size_t i = 0; i < guard->n_attached; i++) {
        (void)bpf_link__destroy(guard->attached[i].link);
    }
    for (size_t i = 0; i < guard->n_objects; i++) {
        bpf_object__close(guard->objects[i]);
    }
    for (size_t i = 0; i < CT_ARRAY_LEN(guard->life); i++) {
        (void)bpf_link__destroy(guard->life[i]);
    }
    bpf_object__close(guard->base);
    free(guard);
}

int ct_guard_new(const struct ct_guard_options *options, struct ct_guard **ret, struct ct_err *err)
{
    CT_AUTO(ct_guard) *guard = calloc(1, sizeof(*guard));
    if (guard == NULL) {
        return ct_err_set(err, CT_ENOMEM, "out of memory for the guard");
    }
    guard->options = *options;
    (void)libbpf_set_print(keep_words);
    int rc = load_base(guard, err);
    rc = rc == 0 ? configure(guard, err) : rc;
    rc = rc == 0 ? choose_tiers(guard, err) : rc;
    rc = rc == 0 ? ct_guard_prove(guard, err) : rc;
    if (rc == 0) {
        *ret = ct_steal(&guard);
    }
    return rc;
}
