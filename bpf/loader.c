// SPDX-License-Identifier: Apache-2.0
#include "loader.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "fs.h"
#include "guard.skel.h"
#include "override.skel.h"
#include "reactive.skel.h"
#include "ring.h"
#include "vectors.h"

#define BIT(vector) (1ULL << (vector))
#define CGROUP_PROGRAMS_MAX 64
#define TRIED_FIRST 2
#define DESCRIPTORS 4096 // of this process, as far as it is let

// A program and what it can refuse, so that one that nothing needs is not attached.
struct use {
    const char *name; // of the hook or system call, behind the program's prefix
    __u64 vectors;
};

// The first of each table are there wherever the tier is.
static const struct use hooks[] = {
    {"ptrace_access_check", BIT(CT_V_PTRACE) | BIT(CT_V_MEM_READ) | BIT(CT_V_MEM_WRITE) |
                                BIT(CT_V_VM_READV) | BIT(CT_V_VM_WRITEV) | BIT(CT_V_ENVIRON) |
                                BIT(CT_V_MAPS) | BIT(CT_V_LINKS) | BIT(CT_V_PIDFD_GETFD) |
                                BIT(CT_V_MEMORY_ADVICE) | BIT(CT_V_COMPARE) | BIT(CT_V_PERF) |
                                BIT(CT_V_IO_URING) | BIT(CT_V_SETNS)},
    {"ptrace_traceme", BIT(CT_V_TRACEME)},
    {"task_kill", BIT(CT_V_KILL)},
    {"file_send_sigiotask", BIT(CT_V_KILL)},
    {"task_setrlimit", BIT(CT_V_KILL)},
    {"inode_unlink", BIT(CT_V_UNPIN)},
    {"inode_rmdir", BIT(CT_V_UNPIN)},
    {"inode_rename", BIT(CT_V_UNPIN)},
    {"sb_umount", BIT(CT_V_UNPIN)},
    {"bpf_map", BIT(CT_V_OBJECTS)},
    {"bpf_prog", BIT(CT_V_OBJECTS) | BIT(CT_V_BPF_LOAD)},
    {"file_open", BIT(CT_V_MEM_READ) | BIT(CT_V_MEM_WRITE) | BIT(CT_V_ENVIRON) | BIT(CT_V_MAPS) |
                      BIT(CT_V_PROC_WRITE_NAME) | BIT(CT_V_PROC_WRITE) | BIT(CT_V_DEV_MEM) |
                      BIT(CT_V_KCORE) | BIT(CT_V_TRACEFS) | BIT(CT_V_DEBUGFS) | BIT(CT_V_BINFMT) |
                      BIT(CT_V_IO_PORTS) | BIT(CT_V_CGROUP) | BIT(CT_V_CORE_PATTERN) |
                      BIT(CT_V_CRASH) | BIT(CT_V_HIBERNATION) | BIT(CT_V_PCI) | BIT(CT_V_PROGRAM) |
                      BIT(CT_V_BLOCK_DEVICE)},
    {"mmap_file", BIT(CT_V_PROGRAM)},
    {"locked_down", BIT(CT_V_IO_PORTS) | BIT(CT_V_KEXEC) | BIT(CT_V_DEV_MEM) | BIT(CT_V_KCORE) |
                        BIT(CT_V_HIBERNATION) | BIT(CT_V_PCI)},
    {"kernel_load_data", BIT(CT_V_MODULE) | BIT(CT_V_KEXEC)},
    {"kernel_read_file", BIT(CT_V_MODULE) | BIT(CT_V_KEXEC_FILE)},
    {"bpf", BIT(CT_V_BPF_LOAD) | BIT(CT_V_ITERATOR) | BIT(CT_V_OBJECTS)},
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
    {"bpf", BIT(CT_V_BPF_LOAD) | BIT(CT_V_ITERATOR) | BIT(CT_V_OBJECTS)},
    {"security_bpf", BIT(CT_V_BPF_LOAD) | BIT(CT_V_ITERATOR)},
    {"security_bpf_prog", BIT(CT_V_BPF_LOAD)},
    {"security_perf_event_alloc", BIT(CT_V_PERF)},
    {"kill", BIT(CT_V_KILL)},
    {"tkill", BIT(CT_V_KILL)},
    {"tgkill", BIT(CT_V_KILL)},
    {"rt_sigqueueinfo", BIT(CT_V_KILL)},
    {"rt_tgsigqueueinfo", BIT(CT_V_KILL)},
    {"pidfd_send_signal", BIT(CT_V_KILL)},
    {"prlimit64", BIT(CT_V_KILL)},
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
                  BIT(CT_V_PERF) | BIT(CT_V_SETNS) | BIT(CT_V_PROGRAM) | BIT(CT_V_CALL)},
    {"exit", BIT(CT_V_PERF) | BIT(CT_V_MEM_READ) | BIT(CT_V_MEM_WRITE) | BIT(CT_V_ENVIRON) |
                 BIT(CT_V_MAPS) | BIT(CT_V_PROC_WRITE_NAME) | BIT(CT_V_PROC_WRITE) |
                 BIT(CT_V_DEV_MEM) | BIT(CT_V_KCORE) | BIT(CT_V_TRACEFS) | BIT(CT_V_DEBUGFS) |
                 BIT(CT_V_BINFMT) | BIT(CT_V_CGROUP) | BIT(CT_V_CORE_PATTERN) | BIT(CT_V_CRASH) |
                 BIT(CT_V_HIBERNATION) | BIT(CT_V_PCI) | BIT(CT_V_PROGRAM) |
                 BIT(CT_V_BLOCK_DEVICE)},
};

static const struct use cgroup_programs[] = {
    {"sysctl", BIT(CT_V_FTRACE) | BIT(CT_V_CORE_PATTERN)},
};

// A tier's programs are those of one object whose names begin with one of its prefixes.
struct tier_info {
    enum ct_tier tier;
    const char *prefixes[4]; // those after the first may be NULL
    const void *(*elf)(size_t *size);
    const struct use *uses;
    size_t n_uses;
};

// From the best to the last.
static const struct tier_info tiers[] = {
    {CT_TIER_CGROUP,
     {"cg_", NULL},
     ct_guard_skel__elf_bytes,
     cgroup_programs,
     CT_ARRAY_LEN(cgroup_programs)},
    {CT_TIER_LSM, {"lsm_", NULL}, ct_guard_skel__elf_bytes, hooks, CT_ARRAY_LEN(hooks)},
    {CT_TIER_FMOD_RET, {"mod_", NULL}, ct_guard_skel__elf_bytes, hooks, CT_ARRAY_LEN(hooks)},
    {CT_TIER_KPROBE,
     {"kp_", "kp32_", "kpc_", "kpx_"},
     ct_override_skel__elf_bytes,
     calls,
     CT_ARRAY_LEN(calls)},
    {CT_TIER_REACTIVE, {"rk_", NULL}, ct_reactive_skel__elf_bytes, points, CT_ARRAY_LEN(points)},
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

static int share_maps(const struct ct_loader *loader, struct bpf_object *object)
{
    struct bpf_map *map;
    bpf_object__for_each_map(map, object)
    {
        const struct bpf_map *shared =
            bpf_object__find_map_by_name(loader->base, bpf_map__name(map));
        // The constants of a program are each object's own.
        bool shares = shared != NULL && strncmp(bpf_map__name(map), "ct_", 3) == 0;
        int rc = shares ? bpf_map__reuse_fd(map, bpf_map__fd(shared)) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int set_generation(struct bpf_object *object, __u32 generation)
{
    struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata.generation");
    return map != NULL ? bpf_map__set_initial_value(map, &generation, sizeof(generation)) : -ENOENT;
}

// Not every object looks for them.
static int set_reading(struct bpf_object *object, const struct ct_loader *loader)
{
    struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata.reading");
    return map != NULL ? bpf_map__set_initial_value(map, loader->reading, sizeof(loader->reading))
                       : 0;
}

void ct_loader_keep_words(void)
{
    (void)libbpf_set_print(keep_words);
}

void ct_loader_forget_words(void)
{
    last_words[0] = '\0';
}

const char *ct_loader_words(void)
{
    return last_words;
}

static struct bpf_object *open_object(const void *elf, size_t size, __u32 generation)
{
    struct bpf_object *object = bpf_object__open_mem(elf, size, NULL);
    int rc = object != NULL ? set_generation(object, generation) : 0;
    if (rc != 0) {
        bpf_object__close(object);
        errno = -rc;
        return NULL;
    }
    return object;
}

// Where programs have to be loaded one by one, each object has descriptors of all maps: a thousand together, which is
// what many systems give.
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS) {
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct bpf_object *ct_loader_open_base(__u32 generation)
{
    size_t size;
    const void *elf = ct_guard_skel__elf_bytes(&size);
    raise_descriptors();
    struct bpf_object *base = open_object(elf, size, generation);
    struct bpf_program *program;
    if (base == NULL) {
        return NULL;
    }
    bpf_object__for_each_program(program, base)
    {
        (void)bpf_program__set_autoload(program,
                                        strncmp(bpf_program__name(program), "ct_", 3) == 0);
    }
    return base;
}

// Loads of a tier's programs those that can refuse one of `wanted`, or of these just `only`.
static int load(struct ct_loader *loader, const struct tier_info *info, __u64 wanted,
                const char *only)
{
    size_t size;
    const void *elf = info->elf(&size);
    struct bpf_program *program;
    if (loader->n_objects == CT_LOADER_OBJECTS) {
        return -E2BIG;
    }
    struct bpf_object *object = open_object(elf, size, loader->generation);
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
    int rc = share_maps(loader, object);
    rc = rc == 0 ? set_reading(object, loader) : rc;
    rc = rc == 0 ? bpf_object__load(object) : rc;
    if (rc != 0) {
        bpf_object__close(object);
        return rc;
    }
    loader->objects[loader->n_objects++] = object;
    return 0;
}

bool ct_loader_own(int own, enum ct_own_kind kind, int fd)
{
    // All kinds' structures begin with what counts: type and id.
    static const __u32 sizes[] = {[CT_OWN_MAP] = sizeof(struct bpf_map_info),
                                  [CT_OWN_PROGRAM] = sizeof(struct bpf_prog_info),
                                  [CT_OWN_LINK] = sizeof(struct bpf_link_info)};
    union {
        struct bpf_map_info map;
        struct bpf_prog_info program;
        struct bpf_link_info link;
    } info = {0};
    __u32 size = sizes[kind];
    const __u32 value = 1;
    if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) {
        return false;
    }
    const struct ct_own_key key = {.kind = kind, .id = info.map.id};
    return bpf_map_update_elem(own, &key, &value, BPF_ANY) == 0;
}

// What stays goes onto the root cgroup by itself, and so needs no pin that could be detached by its descriptor. Whose
// it is is written down before: should this process be killed, nobody else could tell.
static struct bpf_link *attach_to_root(const struct ct_loader *loader, struct bpf_program *program,
                                       bool *ret_ok)
{
    CT_AUTO_FD root = ct_fs_open("cgroup2");
    struct bpf_link *link = NULL;
    if (root < 0) {
        *ret_ok = false;
    } else if (loader->stays) {
        int own = bpf_object__find_map_fd_by_name(loader->base, "ct_own");
        *ret_ok = ct_loader_own(own, CT_OWN_PROGRAM, bpf_program__fd(program)) &&
                  bpf_prog_attach(bpf_program__fd(program), root, BPF_CGROUP_SYSCTL,
                                  BPF_F_ALLOW_MULTI) == 0;
    } else {
        link = bpf_program__attach_cgroup(program, root);
        *ret_ok = link != NULL;
    }
    return link;
}

static void attach(struct ct_loader *loader, const struct tier_info *info,
                   struct bpf_object *object)
{
    struct bpf_program *program;
    bpf_object__for_each_program(program, object)
    {
        if (!bpf_program__autoload(program) || loader->n_attached == CT_LOADER_PROGRAMS) {
            continue;
        }
        bool ok = true;
        struct bpf_link *link = NULL;
        if (info->tier == CT_TIER_CGROUP) {
            link = attach_to_root(loader, program, &ok);
        } else {
            link = bpf_program__attach(program);
            ok = link != NULL;
        }
        if (!ok) {
            continue; // told by the self-test: its vectors stay open
        }
        const char *name = bpf_program__name(program);
        loader->attached[loader->n_attached++] =
            (struct ct_attached){.link = link,
                                 .tier = info->tier,
                                 .vectors = use_of(info, name)->vectors,
                                 .program = bpf_program__fd(program),
                                 .name = name};
    }
}

// Whether this kernel has the tier at all: its first programs are for what every kernel has. Each load reads the
// kernel's types anew, and of a tier that is not there a hundred would be tried.
static bool is_there(struct ct_loader *loader, const struct tier_info *info)
{
    char name[64];
    for (size_t i = 0; i < TRIED_FIRST && i < info->n_uses; i++) {
        (void)snprintf(name, sizeof(name), "%s%s", info->prefixes[0], info->uses[i].name);
        if (load(loader, info, ~0ULL, name) == 0) {
            bpf_object__close(loader->objects[--loader->n_objects]);
            return true;
        }
    }
    return false;
}

static void load_each(struct ct_loader *loader, const struct tier_info *info, __u64 wanted)
{
    char name[64];
    if (!is_there(loader, info)) {
        return;
    }
    for (size_t p = 0; p < CT_ARRAY_LEN(info->prefixes) && info->prefixes[p] != NULL; p++) {
        for (size_t i = 0; i < info->n_uses; i++) {
            (void)snprintf(name, sizeof(name), "%s%s", info->prefixes[p], info->uses[i].name);
            (void)((info->uses[i].vectors & wanted) != 0 && load(loader, info, wanted, name));
        }
    }
}

static const struct tier_info *info_of(enum ct_tier tier)
{
    for (size_t i = 0; i < CT_ARRAY_LEN(tiers); i++) {
        if (tiers[i].tier == tier) {
            return &tiers[i];
        }
    }
    return NULL;
}

enum ct_tier ct_loader_tier(size_t rank)
{
    return rank < CT_ARRAY_LEN(tiers) ? tiers[rank].tier : CT_TIER_NONE;
}

// One that a kernel does not have makes the whole object fail: then each for itself.
void ct_loader_attach_tier(struct ct_loader *loader, enum ct_tier tier, __u64 wanted)
{
    const struct tier_info *info = info_of(tier);
    size_t first = loader->n_objects;
    if (info == NULL) {
        return;
    }
    last_words[0] = '\0';
    if (load(loader, info, wanted, NULL) != 0) {
        char *trouble = loader->trouble[tier];
        (void)snprintf(trouble, sizeof(loader->trouble[0]), "%s", last_words);
        load_each(loader, info, wanted);
        trouble[0] = loader->n_objects > first ? '\0' : trouble[0];
    }
    for (size_t i = first; i < loader->n_objects; i++) {
        attach(loader, info, loader->objects[i]);
    }
}

static void detach(const struct ct_attached *attached)
{
    if (attached->link != NULL) {
        (void)bpf_link__destroy(attached->link);
        return;
    }
    CT_AUTO_FD root = ct_fs_open("cgroup2");
    (void)(root >= 0 && bpf_prog_detach2(attached->program, root, BPF_CGROUP_SYSCTL));
}

static bool is_in_use(const struct ct_loader *loader, struct bpf_object *object)
{
    struct bpf_program *program;
    bpf_object__for_each_program(program, object)
    {
        for (size_t i = 0; i < loader->n_attached; i++) {
            if (loader->attached[i].program == bpf_program__fd(program)) {
                return true;
            }
        }
    }
    return false;
}

static void close_idle(struct ct_loader *loader)
{
    size_t kept = 0;
    for (size_t i = 0; i < loader->n_objects; i++) {
        if (is_in_use(loader, loader->objects[i])) {
            loader->objects[kept++] = loader->objects[i];
        } else {
            bpf_object__close(loader->objects[i]);
        }
    }
    loader->n_objects = kept;
}

void ct_loader_detach_idle(struct ct_loader *loader, enum ct_tier tier, __u64 proven)
{
    size_t kept = 0;
    for (size_t i = 0; i < loader->n_attached; i++) {
        struct ct_attached *a = &loader->attached[i];
        if (a->tier == tier && (a->vectors & proven) == 0) {
            detach(a);
        } else {
            loader->attached[kept++] = *a;
        }
    }
    loader->n_attached = kept;
    close_idle(loader);
}

void ct_loader_close_objects(struct ct_loader *loader)
{
    loader->n_attached = 0;
    close_idle(loader);
}

void ct_loader_done(struct ct_loader *loader)
{
    for (size_t i = 0; i < loader->n_attached; i++) {
        (void)bpf_link__destroy(loader->attached[i].link);
    }
    for (size_t i = 0; i < loader->n_objects; i++) {
        bpf_object__close(loader->objects[i]);
    }
    loader->n_attached = 0;
    loader->n_objects = 0;
}

void ct_loader_take_back(struct ct_loader *loader)
{
    for (size_t i = 0; i < loader->n_attached; i++) {
        if (loader->attached[i].link == NULL) {
            detach(&loader->attached[i]);
        }
    }
}

// ---- the root cgroup ----

static bool is_of(const struct ct_loader *loader, __u32 id)
{
    for (size_t i = 0; loader != NULL && i < loader->n_attached; i++) {
        struct bpf_prog_info info = {0};
        __u32 size = sizeof(info);
        if (loader->attached[i].link == NULL &&
            bpf_obj_get_info_by_fd(loader->attached[i].program, &info, &size) == 0 &&
            info.id == id) {
            return true;
        }
    }
    return false;
}

unsigned ct_loader_detach_cgroup(const struct ct_loader *loader, int own)
{
    __u32 ids[CGROUP_PROGRAMS_MAX];
    __u32 n = CT_ARRAY_LEN(ids);
    unsigned gone = 0;
    CT_AUTO_FD root = ct_fs_open("cgroup2");
    if (root < 0 || bpf_prog_query(root, BPF_CGROUP_SYSCTL, 0, NULL, ids, &n) != 0) {
        return 0;
    }
    for (__u32 i = 0; i < n; i++) {
        const struct ct_own_key key = {.kind = CT_OWN_PROGRAM, .id = ids[i]};
        __u32 value;
        if (is_of(loader, ids[i]) || bpf_map_lookup_elem(own, &key, &value) != 0) {
            continue;
        }
        CT_AUTO_FD program = bpf_prog_get_fd_by_id(ids[i]);
        gone += program >= 0 && bpf_prog_detach2(program, root, BPF_CGROUP_SYSCTL) == 0 ? 1 : 0;
    }
    return gone;
}
