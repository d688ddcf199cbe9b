// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Registration: what a process says to the guard by prctl(2) (lib/guard_call.h), in every tier. Who may register
// is the agent's decision; that it is still the same program which takes the answer is seen to here, in the
// caller's own context: a process that has executed something else has no request any more.
#ifndef CT_REGISTER_BPF_H
#define CT_REGISTER_BPF_H

#include "../lib/guard_call.h"
#include "program.bpf.h"

#define CT_MAX_REQUESTS 4096
#define NS_PER_SECOND 1000000000ULL
#define PR_SET_MM 35
#define MAX_ANSWER 116 // ESTALE

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CT_MAX_REQUESTS);
    __type(key, __u32);
    __type(value, struct ct_request);
} ct_requests SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CT_MAX_REQUESTS);
    __type(key, __u32);
    __type(value, struct ct_answer);
} ct_answers SEC(".maps");

// How many requests of a cgroup there are, by its number: so that no container takes the others' room.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, CT_SHELVES);
    __type(key, __u32);
    __type(value, __u32);
} ct_open SEC(".maps");

// So that no container keeps the others' from being heard.
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1024);
    __type(key, __u64);
    __type(value, struct ct_rate);
} ct_rates SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 64 * 1024);
} ct_asks SEC(".maps");

// The errno of each answer.
enum answer {
#define CT_ANSWER(place, name, value, meaning) ANSWER_##name = value,
    CT_GUARD_ANSWERS(CT_ANSWER)
#undef CT_ANSWER
};

// An answer's place, by which the tier `reactive` gives it.
static __always_inline int place_of(int answer)
{
    switch (answer) {
#define CT_ANSWER(place, name, value, meaning)                                                     \
    case value:                                                                                    \
        return place;
        CT_GUARD_ANSWERS(CT_ANSWER)
#undef CT_ANSWER
    default:
        return 0;
    }
}

static __always_inline int tell_agent(enum ct_ask_kind kind, __u32 stage,
                                      const struct ct_request *request)
{
    struct ct_ask ask = {.serial = request->serial,
                         .nonce = request->nonce,
                         .cgroup = bpf_get_current_cgroup_id(),
                         .kind = kind,
                         .stage = stage,
                         .tgid = current_tgid(),
                         .uid = (__u32)bpf_get_current_uid_gid()};
    return bpf_ringbuf_output(&ct_asks, &ask, sizeof(ask), 0);
}

static __always_inline bool agent_listens(void)
{
    struct ct_guard_config *c = config();
    return c != NULL && c->heartbeat_ns != 0 &&
           bpf_ktime_get_ns() < c->heartbeat_ns + CT_GUARD_HEARTBEAT_SECONDS * NS_PER_SECOND;
}

// Whether this cgroup has asked too often within a second. On a node with cgroups of version 1 all are the root. Who is
// marked is counted by itself: others of its container must not cost it its mark.
static __always_inline bool asks_too_often(const struct ct_mark *mark, __u32 tgid)
{
    __u64 key = mark != NULL ? CT_ASKER_MARKED | tgid : bpf_get_current_cgroup_id();
    __u64 now = bpf_ktime_get_ns();
    struct ct_rate *rate = bpf_map_lookup_elem(&ct_rates, &key);
    if (key <= 1) {
        return false;
    }
    if (rate == NULL || now > rate->since_ns + NS_PER_SECOND) {
        struct ct_rate fresh = {.since_ns = now, .asked = 1};
        bpf_map_update_elem(&ct_rates, &key, &fresh, BPF_ANY);
        return false;
    }
    __sync_fetch_and_add(&rate->asked, 1);
    return rate->asked > CT_ASKS_PER_SECOND;
}

// ---- requests ----

// Of a process that has asked for the last time, executed something, or been marked.
static __always_inline void drop_request(__u32 tgid)
{
    struct ct_request *request = bpf_map_lookup_elem(&ct_requests, &tgid);
    if (request == NULL) {
        return;
    }
    __u32 shelf = request->shelf - 1;
    bpf_map_delete_elem(&ct_answers, &tgid);
    // Two of its threads may be here at once.
    if (bpf_map_delete_elem(&ct_requests, &tgid) != 0) {
        return;
    }
    __u32 *open = bpf_map_lookup_elem(&ct_open, &shelf);
    if (open != NULL && *open != 0) {
        __sync_fetch_and_add(open, -1);
    }
}

// 0, or the answer where its cgroup has too many open, or all have: then it is not there. On a node with cgroups of version 1
// all are the root. Who is marked is not counted: others of its container must not cost it its mark.
static __always_inline int add_request(__u32 tgid, const struct ct_mark *mark,
                                       struct ct_request *request)
{
    __u64 cgroup = bpf_get_current_cgroup_id();
    __u32 shelf = (__u32)cgroup % CT_SHELVES;
    bool counts = cgroup > 1 && mark == NULL;
    __u32 *open = counts ? bpf_map_lookup_elem(&ct_open, &shelf) : NULL;
    if (open != NULL && *open >= CT_MAX_OPEN) {
        return ANSWER_ECONNREFUSED;
    }
    request->shelf = open != NULL ? shelf + 1 : 0;
    if (bpf_map_update_elem(&ct_requests, &tgid, request, BPF_NOEXIST) != 0) {
        return ANSWER_EHOSTDOWN;
    }
    if (open != NULL) {
        __sync_fetch_and_add(open, 1);
    }
    return 0;
}

// ---- the state that an answer tells ----

static __always_inline int state_of_mark(const struct ct_mark *mark)
{
    if (mark == NULL) {
        return ANSWER_ENOTCONN;
    }
    if (mark->stage == CT_STAGE_MARKED) {
        return ANSWER_EALREADY;
    }
    return mark->stage == CT_STAGE_EXECUTED ? ANSWER_ESTALE : ANSWER_EISCONN;
}

static __always_inline bool has_threads(struct task_struct *task)
{
    return BPF_CORE_READ(task, signal, live.counter) != 1 ||
           BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid);
}

static __always_inline bool has_events_in(struct perf_event_context *context)
{
    return context != NULL && BPF_CORE_READ(context, nr_events) != 0;
}

// Whether perf events follow it: from before it was marked, or from what it was forked from.
static __always_inline bool is_measured(struct task_struct *task)
{
    if (bpf_core_field_exists(task->perf_event_ctxp)) {
        return has_events_in(BPF_CORE_READ(task, perf_event_ctxp));
    }
    struct task_struct___before_6_2 *older = (void *)task;
    return has_events_in(BPF_CORE_READ(older, perf_event_ctxp[0])) ||
           has_events_in(BPF_CORE_READ(older, perf_event_ctxp[1]));
}

static __always_inline int on_register(__u32 tgid, __u64 nonce)
{
    struct ct_mark *mark = mark_of(tgid);
    struct ct_request *old = bpf_map_lookup_elem(&ct_requests, &tgid);
    struct ct_request request = {.serial = bpf_ktime_get_ns(), .nonce = nonce};
    if (mark != NULL && mark->stage != CT_STAGE_EXECUTED) {
        return state_of_mark(mark);
    }
    if (!agent_listens()) {
        return ANSWER_EHOSTDOWN;
    }
    // One that an agent took and did not live to answer is asked anew.
    if (old != NULL && request.serial < old->serial + CT_GUARD_HEARTBEAT_SECONDS * NS_PER_SECOND) {
        return ANSWER_EINPROGRESS;
    }
    if (asks_too_often(mark, tgid)) {
        return ANSWER_ECONNREFUSED;
    }
    drop_request(tgid);
    int refused = add_request(tgid, mark, &request);
    if (refused != 0) {
        return refused;
    }
    if (tell_agent(CT_ASK_REGISTER, mark != NULL ? mark->stage : CT_STAGE_NONE, &request) != 0) {
        drop_request(tgid);
        return ANSWER_EHOSTDOWN;
    }
    return ANSWER_EINPROGRESS;
}

// Gives an accepted caller its first mark; what became of it.
static __always_inline enum ct_ask_kind mark_caller(__u32 tgid, const struct ct_answer *answer)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ct_mark mark = {
        .cgroup = answer->cgroup, .flags = CT_MARK_WRAPPER, .root = tgid, .stage = CT_STAGE_MARKED};
    struct ct_cgroup *cgroup = bpf_map_lookup_elem(&ct_cgroups, &mark.cgroup);
    if (cgroup == NULL || cgroup->root != 0 || !add_mark(tgid, &mark)) {
        return CT_ASK_NO_ROOM;
    }
    cgroup->root = tgid;
    number_thread(task, tgid, true);
    return CT_ASK_MARKED;
}

static __always_inline enum ct_ask_kind take_answer(__u32 tgid, struct ct_mark *mark,
                                                    const struct ct_answer *answer)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    if (BPF_CORE_READ(task, ptrace) != 0) {
        return CT_ASK_TRACED;
    }
    if (has_threads(task)) {
        return CT_ASK_THREADS;
    }
    if (is_measured(task)) {
        return CT_ASK_MEASURED;
    }
    if (mark == NULL) {
        return mark_caller(tgid, answer);
    }
    mark->stage = CT_STAGE_VETTED;
    return CT_ASK_VETTED;
}

static __always_inline int on_query(__u32 tgid)
{
    struct ct_mark *mark = mark_of(tgid);
    struct ct_request *request = bpf_map_lookup_elem(&ct_requests, &tgid);
    if (request == NULL) {
        return state_of_mark(mark);
    }
    struct ct_answer *answer = bpf_map_lookup_elem(&ct_answers, &tgid);
    if (answer == NULL || answer->serial != request->serial) {
        return ANSWER_EINPROGRESS;
    }
    if (answer->accepted == 0) {
        drop_request(tgid);
        return ANSWER_ECONNREFUSED;
    }
    __u32 stage = mark != NULL ? mark->stage : CT_STAGE_NONE;
    enum ct_ask_kind kind = take_answer(tgid, mark, answer);
    (void)tell_agent(kind, stage, request);
    drop_request(tgid);
    if (kind != CT_ASK_MARKED && kind != CT_ASK_VETTED) {
        return ANSWER_ECONNREFUSED;
    }
    return kind == CT_ASK_MARKED ? ANSWER_EALREADY : ANSWER_EISCONN;
}

// Once more is no error: it is released.
static __always_inline int on_release(__u32 tgid, __u32 number)
{
    struct ct_mark *own = mark_of(tgid);
    if (!is_vetted_wrapper(own)) {
        return own == NULL ? ANSWER_ENOTCONN : ANSWER_EPERM;
    }
    struct ct_mark *mark = mark_of(tgid_by_number(number));
    if (mark == NULL || mark == own || mark->root != tgid) {
        return ANSWER_EPERM;
    }
    mark->flags = 0;
    return ANSWER_EISCONN;
}

static __always_inline int on_leave(__u32 tgid)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ct_mark *mark = mark_of(tgid);
    if (mark == NULL) {
        return ANSWER_ENOTCONN;
    }
    // A wrapper that was not vetted after all goes on without: it may not deal with its own children.
    bool given_up = (mark->flags & CT_MARK_WRAPPER) != 0 && mark->stage != CT_STAGE_VETTED;
    // Where somebody is exempt, nothing is proven by who is refused: no canary.
    bool own_code = (mark->flags & CT_MARK_HELD) != 0 && mark->ran == 0 && !has_exempts();
    if ((!given_up && !own_code) || has_threads(task) || BPF_CORE_READ(task, ptrace) != 0) {
        return ANSWER_EPERM;
    }
    number_thread(task, tgid, false);
    if (given_up) {
        drop_mark(tgid, mark);
    } else {
        mark->flags = CT_MARK_LEFT;
    }
    return ANSWER_ENOTCONN;
}

// The answer to a prctl, as a positive errno; 0: it is none of ours. A protected process may not tell the kernel that
// it runs another program than it does (PR_SET_MM_EXE_FILE): that is what it is vetted by.
static __always_inline int on_prctl(enum ct_tier tier, int option, __u64 operation, __u64 argument)
{
    __u32 tgid = current_tgid();
    if (option == PR_SET_MM) {
        return mark_of(tgid) != NULL ? ANSWER_EPERM : 0;
    }
    if (option != CT_GUARD_MAGIC) {
        return 0;
    }
    // While one generation replaces another, each answers its own self-test, and one everybody else.
    struct ct_tester *t = tester();
    if (t != NULL ? t->generation != generation : !is_current_generation()) {
        return 0;
    }
    (void)is_proof(CT_V_CALL, tier);
    switch (operation) {
    case CT_GUARD_REGISTER:
        return on_register(tgid, argument);
    case CT_GUARD_QUERY:
        return on_query(tgid);
    case CT_GUARD_RELEASE:
        return on_release(tgid, (__u32)argument);
    case CT_GUARD_LEAVE:
        return on_leave(tgid);
    default:
        return 0;
    }
}

// What a tier that returns it says. The verifier wants to see that it is an errno and no other number, and follows a
// subtraction, where a compiler would negate.
static __always_inline int as_error(int answer)
{
    long number = answer;
    long error = 0;
    asm volatile("" : "+r"(number));
    if (number < 1 || number > MAX_ANSWER) {
        return 0;
    }
    asm volatile("%0 -= %1" : "+r"(error) : "r"(number));
    return error;
}

// ---- what becomes of marks ----

// A wrapper's child is held until it is released; what descends from others is as they are.
static __always_inline void on_fork(struct task_struct *parent, struct task_struct *child)
{
    struct ct_mark *mark = mark_of_task(parent);
    __u32 tgid = BPF_CORE_READ(child, tgid);
    bool is_process = tgid != (__u32)BPF_CORE_READ(parent, tgid);
    struct ct_mark *stale = is_process ? any_mark_of(tgid) : NULL;
    // Of one that had this number before, and that the kernel has not freed yet.
    if (stale != NULL) {
        drop_mark(tgid, stale);
    }
    if (mark == NULL) {
        return;
    }
    if (is_process) {
        if ((mark->flags & CT_MARK_AGENT) != 0) {
            return;
        }
        struct ct_mark copy = {.cgroup = mark->cgroup,
                               .flags = mark->flags & CT_MARK_HELD,
                               .root = mark->root,
                               .ran = mark->ran};
        if (is_vetted_wrapper(mark)) {
            copy.flags = CT_MARK_HELD;
            copy.ran = 0;
        }
        if (!add_mark(tgid, &copy)) {
            return;
        }
    }
    number_thread(child, tgid, true);
}

// A thread that executes a program takes the number of its group's first thread, and that one's exit comes before: then
// its own number is given up, for there is no other moment at which it can be seen.
static __always_inline void give_up_number(struct task_struct *task)
{
    struct signal_struct *signal = BPF_CORE_READ(task, signal);
    struct task_struct *executes =
        bpf_core_field_exists(signal->group_exec_task)
            ? BPF_CORE_READ(signal, group_exec_task)
            : BPF_CORE_READ((struct signal_struct___before_5_17 *)signal, group_exit_task);
    if (executes != NULL && executes != task) {
        number_thread(executes, 0, false);
    }
}

static __always_inline void forget_agent_task(void)
{
    __u32 key = 0;
    __u64 *task = bpf_map_lookup_elem(&ct_agent_task, &key);
    if (task != NULL) {
        *task = 0;
    }
}

// The last thread of a process ends. It has its descriptors yet, and from 6.16 on its memory: the mark stays until the
// kernel frees it. So does then its first number; those of other namespaces could not be found any more.
static __always_inline void end_mark(struct task_struct *task, __u32 tgid, struct ct_mark *mark)
{
    bool has_memory = BPF_CORE_READ(task, mm) != NULL;
    number_thread_from(BPF_CORE_READ(task, group_leader), tgid, false, has_memory ? 1 : 0);
    mark->stage = CT_STAGE_ENDED;
}

// In the context of whoever is there. A process is freed after all its threads have given up what they had.
static __always_inline void on_free(struct task_struct *task)
{
    struct task_struct *current = (struct task_struct *)bpf_get_current_task();
    __u32 tgid = BPF_CORE_READ(task, tgid);
    struct ct_mark *mark = any_mark_of(tgid);
    if (mark == NULL || mark->stage != CT_STAGE_ENDED || tgid != (__u32)BPF_CORE_READ(task, pid)) {
        return;
    }
    drop_mark(tgid, mark);
    struct ct_pid_key key = {.namespace = (__u64)BPF_CORE_READ(current, thread_pid, numbers[0].ns),
                             .number = tgid};
    __u32 *owner = bpf_map_lookup_elem(&ct_pids, &key);
    if (owner != NULL && *owner == tgid) {
        bpf_map_delete_elem(&ct_pids, &key);
    }
}

// The kernel has counted the exiting thread out already. A process keeps its first thread's number to its end.
static __always_inline void on_exit(struct task_struct *task, __u32 tgid)
{
    struct ct_mark *mark = any_mark_of(tgid);
    bool last = BPF_CORE_READ(task, signal, live.counter) == 0;
    struct ct_guard_config *c = config();
    if (last) {
        drop_request(tgid);
    }
    // Its number may be another's soon.
    if (last && c != NULL && c->agent == tgid) {
        c->agent = 0;
        c->heartbeat_ns = 0;
        forget_agent_task();
    }
    if (mark == NULL) {
        return;
    }
    if (last) {
        end_mark(task, tgid, mark);
    }
    if (tgid != (__u32)BPF_CORE_READ(task, pid)) {
        number_thread(task, tgid, false);
    } else if (!last) {
        give_up_number(task);
    }
}

// `old`: the number that the executing thread had, in the first pid namespace. Where its group's first one had ended
// before, that is all that is still known of it; numbers within other namespaces wait for the agent to sweep.
static __always_inline void give_up_old_number(struct task_struct *task, __u32 old)
{
    struct upid upid = {0};
    struct pid *pid = BPF_CORE_READ(task, thread_pid);
    if (old != (__u32)BPF_CORE_READ(task, pid) &&
        bpf_core_read(&upid, sizeof(upid), &pid->numbers[0]) == 0) {
        struct ct_pid_key key = {.namespace = (__u64)upid.ns, .number = old};
        bpf_map_delete_elem(&ct_pids, &key);
    }
}

static __always_inline void on_exec(struct task_struct *task, __u32 tgid, __u32 old)
{
    struct ct_mark *mark = any_mark_of(tgid);
    drop_request(tgid);
    if (mark == NULL) {
        return;
    }
    if ((mark->flags & CT_MARK_LEFT) != 0) {
        drop_mark(tgid, mark);
        return;
    }
    if ((mark->flags & CT_MARK_WRAPPER) != 0) {
        mark->stage = CT_STAGE_EXECUTED;
    }
    mark->ran = 1;
    note_program(BPF_CORE_READ(task, mm, exe_file));
    give_up_old_number(task, old);
}

#endif
