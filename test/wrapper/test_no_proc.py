#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A container without /proc: the wrapper says which checks need it, they cost their points and nothing else, and the app
has its secret. Needs root for a mount namespace."""
import ctypes
import os
import sys
import unittest

import harness
from bad_vault import VALUE

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MNT_DETACH = 2
NEEDS = {"memfd_secret": "/proc/APP/fd", "mlock": "/proc/self/smaps", "madv_dontdump": "/proc/self/smaps",
         "pr_set_dumpable": "/proc/PID/environ", "token_protected": "/proc/self/smaps"}
LIBC = ctypes.CDLL(None, use_errno=True)
# Has it its secret, and really no /proc?
APP = [harness.PYTHON, "-c", f"import os; os._exit(7 if os.environ['S'] == '{VALUE}' and not os.listdir('/proc') else 1)"]


def without_proc():
    """Of a child, before it executes."""
    if (LIBC.unshare(CLONE_NEWNS) != 0 or LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0 or
            LIBC.umount2(b"/proc", MNT_DETACH) != 0):
        raise OSError(ctypes.get_errno(), "a mount namespace without /proc")


class NoProc(harness.RigCase):
    def wrap(self, command, hidden=True, **settings):
        done = self.rig.run(command, self.rig.settings(**settings), {"S": "vault:secret/data/fine#password"},
                            preexec_fn=without_proc if hidden else None)
        harness.assert_nothing_leaks(self, done.stdout, done.stderr)
        return done

    def test_each_check_says_that_it_needs_it(self):
        done = self.wrap(APP)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("Protection score: 0/75", done.stderr)
        for check, file in NEEDS.items():
            self.assertIn(f"{check}: FAIL (+0) needs /proc: {file} cannot be read", done.stderr)

    def test_with_it_nothing_is_missed(self):
        done = self.wrap([harness.PYTHON, "-c", "import os; os._exit(7 if os.listdir('/proc') else 1)"], hidden=False)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertNotIn("needs /proc", done.stderr)

    def test_a_minimum_refuses_the_app(self):
        done = self.wrap(APP, min_score=10)
        self.assertEqual(done.returncode, 100, done.stderr)
        self.assertIn("is below the minimum", done.stderr)

    def test_a_launcher_is_not_followed_blindly(self):
        done = self.wrap(["/bin/sh", "-c", 'exec "$0" "$@"', *APP])
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("Protection score: 0/75", done.stderr)


if __name__ == "__main__":
    harness.require_wrapper()
    if os.geteuid() != 0:
        print("only root can take /proc away", file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    unittest.main()
