#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that runs out beside the app ends nothing: each allocation of a renewal, a login and a read fails
in turn, in the libraries that the wrapper ships with."""
import os
import subprocess
import unittest

import harness

FAULTS = harness.BUILD / "static/test/static/renewal-faults"


class MemoryFaults(harness.RigCase):
    def torture(self, *arguments, address=None):
        settings = self.rig.settings(retry_budget_ms=0, address=address or self.rig.vault.address)
        done = subprocess.run([FAULTS, *arguments], env=self.rig.environment(settings), text=True,
                              capture_output=True, timeout=110, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 4, done.stdout)
        print(done.stdout, end="")

    def test_one_allocation_fails(self):
        self.torture("one")

    def test_all_allocations_fail_from_one_on(self):
        self.torture("from")


if __name__ == "__main__":
    harness.require_wrapper()
    assert os.access(FAULTS, os.X_OK), f"{FAULTS} is missing: build the target `static`"
    unittest.main()
