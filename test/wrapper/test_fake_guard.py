#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody answers in the place of the guard in the kernel: a filter of system calls, as whoever starts the container can
set one up. It earns nothing, and whatever it answers, the app runs or is refused by its score."""
import ctypes
import errno
import os
import signal
import struct
import subprocess
import time
import unittest

from harness import RigCase, children, is_program, require_wrapper, status, until

MAGIC = 0x43544750
REGISTER, QUERY, RELEASE, LEAVE = 1, 2, 3, 4
SYS_PRCTL = 157  # of x86-64
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
LOAD, JUMP_UNLESS, ANSWER = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER, FIRST, SECOND = 0, 16, 24  # where a filter finds them
SHOW = ["/usr/bin/python3", "-c", "import os; print(sorted(os.environ)); print(os.environ['SECRET'])"]


def answering(answers):
    """What a child does before its exec so that prctl(MAGIC, OPERATION) gives these errnos from then on."""
    code = []
    for operation, number in answers.items():
        code += [(JUMP_UNLESS, 0, 1, operation), (ANSWER, 0, 0, ERRNO | number)]
    code = [(LOAD, 0, 0, NUMBER), (JUMP_UNLESS, 0, len(code) + 3, SYS_PRCTL), (LOAD, 0, 0, FIRST),
            (JUMP_UNLESS, 0, len(code) + 1, MAGIC), (LOAD, 0, 0, SECOND), *code, (ANSWER, 0, 0, ALLOW)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    filter_ = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None)

    def install():
        _ = program
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0) != 0:
            os._exit(120)
    return install


OBLIGING = {REGISTER: errno.EISCONN, QUERY: errno.EISCONN, RELEASE: errno.EISCONN, LEAVE: errno.ENOTCONN}


class FakeGuard(RigCase):
    def run_with(self, answers, settings=None, command=None):
        return self.rig.run(command or SHOW, settings=settings, variables={"SECRET": "vault:secret/data/fine#password"},
                            preexec_fn=answering(answers))

    def expect_no_points(self, done, reason):
        self.assertEqual(done.returncode, 0, done.stderr)
        for check in ("ebpf_connected", "kprobes_active"):
            self.assertIn(f"{check}: FAIL (+0) {reason}\n", done.stderr)
        self.assertNotIn("CLOUDTASER_", done.stdout)

    def test_a_guard_that_only_answers_is_found_out(self):
        self.expect_no_points(self.run_with(OBLIGING), "the guard answers, and a protected process is attacked by "
                                                       "process_vm_readv all the same")

    def test_one_that_lets_nobody_go_is_none(self):
        self.expect_no_points(self.run_with({**OBLIGING, LEAVE: errno.EISCONN}), "the guard does not answer")

    def test_the_minimum_is_held_against_it(self):
        done = self.run_with(OBLIGING, settings=self.rig.settings(min_score=70))
        self.assertEqual(done.returncode, 100, done.stderr)
        self.assertIn("below the minimum of 70", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_an_agent_that_is_away_costs_its_points_and_no_more(self):
        self.expect_no_points(self.run_with({QUERY: errno.ENOTCONN, REGISTER: errno.EHOSTDOWN}),
                              "the node's agent takes no registrations at the moment")
        self.expect_no_points(self.run_with({QUERY: errno.ENOTCONN, REGISTER: errno.ECONNREFUSED}),
                              "the node's agent refused to protect this container: its log says why")

    def test_it_executes_itself_once_and_keeps_what_it_was_given(self):
        marked = {QUERY: errno.EALREADY, LEAVE: errno.ENOTCONN}
        done = self.run_with(marked)
        self.expect_no_points(done, "the guard did not see that the wrapper executed itself")
        plain = self.rig.run(SHOW, variables={"SECRET": "vault:secret/data/fine#password"})
        self.assertEqual(done.stdout, plain.stdout)
        process = self.rig.start(["sleep", "60"], preexec_fn=answering(marked), stderr=subprocess.DEVNULL)
        try:
            until(lambda: any(is_program(pid, "sleep") for pid in children(process.pid)), "the app", 20)
            self.assertEqual(status(process.pid, "Name"), "cloudtaser-wrap")
            with open(f"/proc/{process.pid}/cmdline", encoding="ascii") as f:
                self.assertEqual(f.read().split("\0")[1:-1], ["--", "sleep", "60"])
        finally:
            process.terminate()
            self.assertEqual(process.wait(20), 128 + signal.SIGTERM)

    def test_a_signal_ends_the_wait_for_an_answer(self):
        begin = time.monotonic()
        process = self.rig.start(["sleep", "60"], preexec_fn=answering({QUERY: errno.EINPROGRESS}),
                                 stderr=subprocess.PIPE, text=True)
        until(lambda: status(process.pid, "SigBlk") != "0" * 16, "it to ask", 20)
        process.terminate()
        _, said = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertIn("stopped by signal 15 before the app was started", said)
        self.assertLess(time.monotonic() - begin, 4)


if __name__ == "__main__":
    require_wrapper()
    unittest.main()
