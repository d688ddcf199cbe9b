#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the wrapper leaves behind: nothing that a variable could make a library write, nothing in its
memory once the app has its secrets; and how it ends when injection is not to be had."""
import os
import pathlib
import subprocess
import unittest

import bad_vault
import harness

FAULT = harness.BUILD / "test/fault/ct-fault"
REFERENCE = "vault:secret/data/fine#password"
CLIENT = """
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as plain:
    context.wrap_socket(plain, server_hostname="127.0.0.1").close()
"""


def memory_of(pid):
    """All that can be read of a process."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            limits, rights = line.split()[:2]
            start, end = (int(text, 16) for text in limits.split("-"))
            if rights[0] == "r" and "[v" not in line:
                mem.seek(start)
                try:
                    found.append(mem.read(end - start))
                except OSError:
                    continue  # a secret page
    return b"\0".join(found)


class Traces(harness.RigCase):
    def start_with_fault(self, fault, command, **settings):
        return subprocess.Popen(
            [FAULT, fault, "--", harness.WRAPPER, "--", *command], text=True,
            env=self.rig.environment(self.rig.settings(**settings), S=REFERENCE),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE)

    def test_no_variable_has_the_keys_of_the_connection_written(self):
        keys = self.rig.folder / "keys"
        command = [harness.PYTHON, "-c", CLIENT, str(self.rig.vault.port), str(self.rig.folder / "ca.pem")]
        subprocess.run(command, env={"SSLKEYLOGFILE": str(keys)}, check=True)
        self.assertIn("SECRET", keys.read_text(), "the control must have written them")
        keys.unlink()
        result = self.rig.run(["/bin/sh", "-c", "echo $SSLKEYLOGFILE"],
                              variables={"SSLKEYLOGFILE": str(keys), "S": REFERENCE})
        self.assertEqual(result.stdout, f"{keys}\n", result.stderr)
        self.assertFalse(keys.exists())

    @unittest.skipIf(os.geteuid() != 0, "only root can look")
    def test_secrets_are_wiped_once_the_app_has_them(self):
        """In ordinary memory, where root can see them."""
        process = self.start_with_fault("memfd_secret", ["/bin/cat"])
        try:
            process.stdin.write("started\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), "started\n")
            # The wrapper tells that it supervises after it has wiped.
            for line in process.stderr:
                if "started /bin/cat" in line:
                    break
            (app,) = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            # No assertIn: it would print all of the memory.
            self.assertTrue(bad_vault.VALUE.encode() in memory_of(app), "the control: the app has it")
            found = memory_of(process.pid)
            self.assertTrue(REFERENCE.encode() in found, "the control: what must be there is seen")
            # The token stays, to be renewed.
            for hidden in set(bad_vault.HIDDEN) - {bad_vault.TOKEN}:
                self.assertFalse(hidden.encode() in found, hidden[:3])
        finally:
            _, err = process.communicate("", timeout=20)
        self.assertEqual(process.returncode, 0, err)

    def test_a_plain_delivery_whose_exec_fails(self):
        cases = [("x", 126, "neither a program for this machine"),
                 ("#!/no/such/thing\n", 127, "interpreter that it names"),
                 ("#!/bin/sh\nexit 7\n", 7, "")]
        for text, code, words in cases:
            with self.subTest(text=text):
                path = self.rig.folder / "program"
                path.write_text(text)
                path.chmod(0o755)
                process = self.start_with_fault("ptrace", [str(path)], plain_environment=True)
                out, err = process.communicate(timeout=20)
                self.assertEqual((process.returncode, out), (code, ""), err)
                self.assertIn("Protection score: 10/75\n", err)
                self.assertIn(f"{path} cannot be started: " if words else "started ", err)
                self.assertIn(words, err)


if __name__ == "__main__":
    harness.require_wrapper()
    unittest.main()
