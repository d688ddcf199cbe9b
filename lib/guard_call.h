// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// How a wrapper speaks with the guard in the kernel: by prctl(2), prctl(CT_GUARD_MAGIC, operation, argument, 0, 0).
// The wrapper, the agent and the BPF programs include this file, so it holds numbers alone.
//
// Every answer is an errno of a failed call: no kernel knows the option, so that without a guard all
// operations fail with EINVAL. Where the guard cannot change what a call returns (tier `reactive`), prctl fails with
// EINVAL and the answer is a realtime signal of the kernel to the calling thread, number
// CT_GUARD_SIGNAL + (the answer's place in CT_GUARD_ANSWERS, from 0), si_code SI_KERNEL. No process can send a signal
// with that si_code. It is pending before prctl returns: a caller blocks signals
// CT_GUARD_SIGNAL .. CT_GUARD_SIGNAL + CT_GUARD_N_ANSWERS - 1 and takes it by rt_sigtimedwait(2) without waiting. These
// are the kernel's numbers; a libc may keep its own first ones, which begin at 32, to itself.
//
// To be protected:
//     QUERY -> ENOTCONN (guard here) or ESTALE: REGISTER with a fresh random nonce -> EINPROGRESS;
//     QUERY, up to 5 s, until it says something else than EINPROGRESS, after 2 ms and then an eighth of what it has
//     taken, 50 ms at most: hundreds of pods may start at once, and must leave the agent time to answer them;
//     EALREADY: marked. Everything that was opened, mapped or injected before has to go: execve("/proc/self/exe")
//     once, and begin anew. The guard then says ESTALE, so that the new image registers and is vetted again;
//     EISCONN: protected.
#ifndef CT_GUARD_CALL_H
#define CT_GUARD_CALL_H

// Option of prctl.
#define CT_GUARD_MAGIC 0x43544750

// Operations of it.
#define CT_GUARD_REGISTER 1 // argument: a random number of 64 bits, for the audit alone
#define CT_GUARD_QUERY 2
#define CT_GUARD_RELEASE 3 // argument: a held child's pid, as the caller's pid namespace counts
// Of a held child that is still the wrapper's own code; EPERM also where the operator exempts anybody.
#define CT_GUARD_LEAVE 4

// Answers, by their place: X(place, errno's name, value on Linux, meaning).
#define CT_GUARD_ANSWERS(X)                                                                        \
    X(0, ENOTCONN, 107, "the guard is here, and the caller is not registered")                     \
    X(1, EINPROGRESS, 115, "asked, and not answered yet")                                          \
    X(2, ECONNREFUSED, 111, "refused by the node's agent; its log says why")                       \
    X(3, EALREADY, 114, "marked: it has to execute itself again now")                              \
    X(4, ESTALE, 116, "has executed a program since it was marked: it has to register again")      \
    X(5, EISCONN, 106, "protected")                                                                \
    X(6, EPERM, 1, "not allowed: a foreign process, or one that is not held")                      \
    X(7, EHOSTDOWN, 112, "the node's agent takes no registrations at the moment")
#define CT_GUARD_N_ANSWERS 8

// The first answer's signal: SIGRTMIN as the kernel counts (32), and 8 for what a libc keeps.
#define CT_GUARD_SIGNAL 40

// REGISTER is refused with EHOSTDOWN when the agent was last heard of longer ago.
#define CT_GUARD_HEARTBEAT_SECONDS 5

#endif
