// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// What the programs in the kernel and the agent tell each other: the layout of maps and events. Both
// sides compile this file; all padding is explicit. CT_GUARD_LAYOUT is raised with every change, so that an
// agent never takes pinned maps of another layout for its own.
#ifndef CT_BPF_SHARED_H
#define CT_BPF_SHARED_H

#ifndef CT_BPF_KERNEL_H
#include <linux/types.h>
#endif

#define CT_GUARD_LAYOUT 3

// The attacks, numbered as in docs/threat-model.md and bpf/vectors.c.
enum ct_vector {
    CT_V_CALL = 0, // no attack: the wrapper's call of the guard, which a tier has to prove as well
    CT_V_PTRACE = 1,
    CT_V_TRACEME = 2,
    CT_V_MEM_READ = 3,
    CT_V_MEM_WRITE = 4,
    CT_V_VM_READV = 5,
    CT_V_VM_WRITEV = 6,
    CT_V_ENVIRON = 7,
    CT_V_MAPS = 8,
    CT_V_PROC_WRITE_NAME = 9,
    CT_V_FD_REOPEN = 10,
    CT_V_LINKS = 11,
    CT_V_PIDFD_GETFD = 12,
    CT_V_MEMORY_ADVICE = 13,
    CT_V_COMPARE = 14,
    CT_V_PERF = 15,
    CT_V_TRACEFS = 16,
    CT_V_BPF_LOAD = 17,
    CT_V_ITERATOR = 18,
    CT_V_IO_URING = 19,
    CT_V_CORE_PATTERN = 20,
    CT_V_HIBERNATION = 24,
    CT_V_DEV_MEM = 25,
    CT_V_KCORE = 26,
    CT_V_KEXEC = 27,
    CT_V_KEXEC_FILE = 28,
    CT_V_CRASH = 29,
    CT_V_MODULE = 30,
    CT_V_IO_PORTS = 31,
    CT_V_PCI = 32,
    CT_V_DEBUGFS = 33,
    CT_V_SETNS = 34,
    CT_V_PROGRAM = 36,
    CT_V_PROC_WRITE = 37,
    CT_V_KILL = 39,
    CT_V_CGROUP = 40,
    CT_V_UNPIN = 41,
    CT_V_OBJECTS = 42,
    CT_V_FTRACE = 43,
    CT_V_BINFMT = 47,
    CT_V_BLOCK_DEVICE = 48,
    CT_V_COUNT = 49,
};

// Helpers by which programs read memory, at most.
#define CT_READING_CALLS 12

// How a program acts: which of them are attached is the loader's choice for each vector.
enum ct_tier {
    CT_TIER_NONE,
    CT_TIER_REACTIVE,
    CT_TIER_KPROBE,
    CT_TIER_FMOD_RET,
    CT_TIER_LSM,
    CT_TIER_CGROUP, // a program of the root cgroup, which needs no ftrace
    CT_TIER_COUNT,
};

enum ct_action { CT_ACTION_DENIED, CT_ACTION_KILLED, CT_ACTION_COUNT };

// A protected process, by its thread group's id in the first pid namespace. Its members are written from different
// contexts, so that none is lost: `flags` by whoever holds it, `stage` and `ran` by itself.
struct ct_mark {
    __u64 cgroup;
    __u32 flags; // CT_MARK_*
    __u32 root;  // thread group that registered, from which this one descends
    __u32 stage; // enum ct_stage
    __u32 ran; // it, or what it was forked from, has executed a program since the wrapper forked it
};

// It registered: all others are its descendants.
#define CT_MARK_WRAPPER 1U
// Its wrapper may still deal with it: a descendant that it has not released yet.
#define CT_MARK_HELD 2U
// A process of the agent's own. What it forks is not.
#define CT_MARK_AGENT 4U
// It was, and gave its protection up: as if there were no mark, but what it attacks among its former fellows is a
// trial (the wrapper's canary), which nobody need be told of. Kept until it ends or executes a program.
#define CT_MARK_LEFT 8U

// How far a wrapper has come. Only one that is vetted has a wrapper's rights.
enum ct_stage {
    CT_STAGE_NONE,     // no wrapper
    CT_STAGE_MARKED,   // vetted once: it has to execute itself
    CT_STAGE_EXECUTED, // has executed a program since: it has to be vetted again
    CT_STAGE_VETTED,
    CT_STAGE_ENDED, // whichever it was: its descriptors, or its memory, are still there until the kernel frees it
};

struct ct_guard_config {
    __u32 layout;
    __u32 agent;  // thread group of the agent; 0: none
    __u32 strict; // no exemptions at all
    __u32 pad;
    __u64 heartbeat_ns; // CLOCK_MONOTONIC, when the agent last read registrations
};

// ---- registration ----

// By thread group. It is gone once the process has the answer, executes another program, or ends; and after a minute or two.
struct ct_request {
    __u64 serial; // when it was asked, by CLOCK_MONOTONIC in ns
    __u64 nonce;
    __u32 shelf; // 1 + the place in ct_open where it is counted; 0: it is not
    __u32 pad;
};

// The agent's, by thread group: it holds for the request of that serial alone.
struct ct_answer {
    __u64 serial;
    __u64 cgroup; // by which the process is marked
    __u32 accepted;
    __u32 pad;
};

// A container that has registered, or may; by the number of its cgroup.
struct ct_cgroup {
    __u32 root;  // thread group that is marked; 0: none yet
    __u32 tasks; // marks that there are
    __u32 limit; // of them
    __u32 over;  // processes that were not marked for that
};

// What the pod of such a container is called, for who reads of attacks: each text with its end. Only the agent deals with
// it, and finds it again after its own end: once a process is protected, its environment tells nobody.
struct ct_pod_name {
    char space[64];
    char pod[256];
};

// Registrations that a cgroup has asked for since a moment.
struct ct_rate {
    __u64 since_ns;
    __u64 asked;
};

#define CT_ASKS_PER_SECOND 20
#define CT_ASKER_MARKED                                                                            \
    (1ULL << 63) // with the process it is: who asks is counted by that and not by its cgroup

// Requests that processes of one cgroup may have open: a container has one wrapper. They are counted by shelves, on which few
// cgroups are together, and which need not be given back.
#define CT_MAX_OPEN 16
#define CT_SHELVES 4096

enum ct_ask_kind {
    CT_ASK_REGISTER, // vet it
    CT_ASK_MARKED,   // told: it has taken the answer, and is marked
    CT_ASK_VETTED,   // told: vetted twice
    CT_ASK_TRACED,   // told: accepted, and refused at the last moment
    CT_ASK_THREADS,
    CT_ASK_NO_ROOM,
    CT_ASK_MEASURED,
    CT_ASK_COUNT,
};

// What the kernel tells the agent of registrations.
struct ct_ask {
    __u64 serial;
    __u64 nonce;
    __u64 cgroup; // of the caller, in the unified hierarchy
    __u32 kind;   // enum ct_ask_kind
    __u32 stage;  // enum ct_stage, before what is asked for
    __u32 tgid;
    __u32 uid;
};

// A thread as one pid namespace numbers it.
struct ct_pid_key {
    __u64 namespace; // the kernel's address of it
    __u32 number;
    __u32 pad;
};

// An executable that some vectors are open to, by file. That of no file says that there are others.
struct ct_exempt_key {
    __u64 inode;
    __u32 device; // as the kernel writes it: major << 20 | minor
    __u32 pad;
};

struct ct_exempt {
    __u64 vectors; // bit N: vector N is open to it
    __u64 cgroup;  // in which it has to be; 0: any
};

// A file that a protected process runs or has mapped to run: the file itself, below an overlay. The generation tells it
// from one that has had its inode's number before.
struct ct_program_key {
    __u64 inode;
    __u32 device; // as the kernel writes it
    __u32 generation;
};

#define CT_PROGRAM_SHARED (~0ULL)
#define CT_PROGRAM_MANY (~0U)

// Who runs it: the first protected process of each container that does.
struct ct_program {
    __u64 cgroup; // CT_PROGRAM_SHARED: several have run it at a time
    __u32 tgid;   // of the container that mapped it last
    __u32 other;  // of another one; 0: none; CT_PROGRAM_MANY: more than two have at a time
};

// Drivers that hand devices, and by them all of memory, to programs: their major numbers; 0: there is none, or it may.
struct ct_majors {
    __u32 uio;
    __u32 vfio;
};

struct ct_event {
    __u64 time_ns; // CLOCK_MONOTONIC
    __u32 vector;
    __u32 action;
    __u32 tier;
    __u32 uid;
    __u32 pid;
    __u32 tgid;
    __u32 parent;
    __u32 victim; // thread group; 0: a kernel-wide vector
    __u64 cgroup;
    __u64 victim_cgroup;
    char comm[16];
    char exe[64]; // the file's own name, without folders
};

struct ct_count {
    __u64 actions[CT_ACTION_COUNT];
    __u64 lost[CT_ACTION_COUNT]; // events that found no room; they are counted above all the same
};

_Static_assert(sizeof(struct ct_mark) == 24, "no hidden padding");
_Static_assert(sizeof(struct ct_guard_config) == 24, "no hidden padding");
_Static_assert(sizeof(struct ct_request) == 24, "no hidden padding");
_Static_assert(sizeof(struct ct_answer) == 24, "no hidden padding");
_Static_assert(sizeof(struct ct_ask) == 40, "no hidden padding");
_Static_assert(sizeof(struct ct_pid_key) == 16, "no hidden padding");
_Static_assert(sizeof(struct ct_exempt_key) == 16, "no hidden padding");
_Static_assert(sizeof(struct ct_program_key) == 16, "no hidden padding");
_Static_assert(sizeof(struct ct_program) == 16, "no hidden padding");
_Static_assert(sizeof(struct ct_event) == 136, "no hidden padding");

#endif
