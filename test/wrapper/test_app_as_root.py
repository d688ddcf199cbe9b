#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An app that runs as root owns /etc in its container: hosts, resolv.conf, the certificate authorities. What
it does with them beside a running wrapper leads no token astray and keeps no renewal away. That each
of these tricks works on a program that looks there is shown by a wrapper that is only just started."""
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import bad_vault
import harness

LEASE = 3
PATIENCE = 30  # within which a renewal must have found its way again
until = functools.partial(harness.until, seconds=PATIENCE)
APP = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
print("ready", flush=True)
while signal.sigwait({signal.SIGUSR1, signal.SIGTERM}) != signal.SIGTERM:
    print("told", flush=True)
"""
RENEW, LOGIN = "/v1/auth/token/renew-self", "/v1/auth/kubernetes/login"
TRUE, FALSE = "127.0.0.1", "127.0.0.2"


class AppAsRoot(harness.RigCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="ct-etc-")
        self.addCleanup(temporary.cleanup)
        self.etc = pathlib.Path(temporary.name)
        shutil.copy("/etc/ld.so.cache", self.etc)
        shutil.copy(self.rig.folder / "ca.pem", self.etc / "ca.pem")
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.name_points_to(TRUE)

    def name_points_to(self, address):
        (self.etc / "hosts").write_text(f"{address} vault.test\n")

    def vaults(self, tls):
        """The true one and, at the same port of another address, the app's."""
        pairs = (("server", TRUE), ("false", FALSE))
        made, port = [], 0
        for name, address in pairs:
            files = [self.rig.folder / f"{name}.pem", self.rig.folder / f"{name}.key"] if tls else []
            made.append(bad_vault.BadVault(*files, at=(address, port)))
            self.addCleanup(made[-1].close)
            made[-1].lease = LEASE
            port = made[0].port
        return made

    def again(self, vault, tls):
        """The true Vault after a time away."""
        files = [self.rig.folder / "server.pem", self.rig.folder / "server.key"] if tls else []
        back = bad_vault.BadVault(*files, at=(TRUE, vault.port))
        self.addCleanup(back.close)
        back.lease = LEASE
        return back

    def start(self, vault, tls, **changes):
        """The wrapper in a mount namespace where this test's folder is /etc."""
        settings = self.rig.settings(**{
            "address": f"{'https' if tls else 'http'}://vault.test:{vault.port}",
            "ca_file": "/etc/ca.pem" if tls else None, "retry_budget_ms": 0, **changes})
        process = subprocess.Popen(
            ["/usr/bin/unshare", "--mount", "/bin/sh", "-c",
             'mount --bind "$1" /etc && shift && exec "$@"', "sh", self.etc, harness.WRAPPER, "--",
             harness.PYTHON, "-c", APP], env=self.rig.environment(settings), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(harness.put_down, process)
        return process

    def running(self, vault, tls):
        process = self.start(vault, tls)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def asked(self, vault, path):
        return len([r for r in list(vault.requests) if r[1] == path])

    def renews(self, vault):
        before = self.asked(vault, RENEW) + self.asked(vault, LOGIN)
        until(lambda: self.asked(vault, RENEW) + self.asked(vault, LOGIN) > before, "a renewal")

    def ends(self, process):
        begin = time.monotonic()
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.stdout.readline(), "told\n")
        process.terminate()
        self.assertEqual(process.wait(10), 0)
        self.assertLess(time.monotonic() - begin, 1)
        harness.assert_nothing_leaks(self, process.stderr.read())

    def test_another_address_without_tls(self):
        true, false = self.vaults(False)
        process = self.running(true, False)
        self.name_points_to(FALSE)
        control = self.running(true, False)
        self.assertEqual(self.asked(false, LOGIN), 1, "the control: who looks there goes there")
        harness.put_down(control)
        del false.requests[:]
        self.renews(true)
        # Not even while the true one is away.
        true.close()
        time.sleep(2 * LEASE)
        true = self.again(true, False)
        self.renews(true)
        self.assertEqual(false.requests, [])
        self.ends(process)

    def test_another_address_and_authority(self):
        true, false = self.vaults(True)
        process = self.running(true, True)
        self.name_points_to(FALSE)
        shutil.copy(self.rig.folder / "other-ca.pem", self.etc / "ca.pem")
        control = self.running(true, True)
        self.assertEqual(self.asked(false, LOGIN), 1, "the control: who looks there goes there")
        harness.put_down(control)
        del false.requests[:]
        self.renews(true)
        true.close()
        connections = false.connections
        until(lambda: false.connections > connections,
                   "the name to be looked up again, and the false Vault to be met")
        true = self.again(true, True)
        self.renews(true)
        self.assertEqual(false.requests, [], "met, and told nothing")
        self.ends(process)

    def test_fifos_in_the_place_of_files(self):
        true, _ = self.vaults(True)
        process = self.running(true, True)
        for name in "hosts", "resolv.conf", "ca.pem":
            (self.etc / name).unlink()
            os.mkfifo(self.etc / name)
        control = self.start(true, True)
        time.sleep(1)
        self.assertIsNone(control.poll(), "the control: who reads hosts waits for its writer")
        harness.put_down(control)
        self.renews(true)
        true.close()
        time.sleep(LEASE)
        true = self.again(true, True)
        self.renews(true)
        self.ends(process)

    def test_files_that_are_gone_or_huge(self):
        true, _ = self.vaults(True)
        process = self.running(true, True)
        (self.etc / "hosts").unlink()
        with open(self.etc / "ca.pem", "ab") as ca:
            ca.truncate(1 << 40)
        control = self.start(true, True, address=f"https://{TRUE}:{true.port}")
        self.assertEqual(control.wait(10), 104)
        self.assertIn("/etc/ca.pem is larger than", control.stderr.read())
        self.renews(true)
        (self.etc / "ca.pem").unlink()
        self.renews(true)
        self.ends(process)

    def test_a_vault_that_moves_is_followed_where_it_is_verified(self):
        for tls in True, False:
            with self.subTest(tls=tls):
                self.name_points_to(TRUE)
                true, false = self.vaults(tls)
                process = self.running(true, tls)
                false.close()
                files = [self.rig.folder / "server.pem", self.rig.folder / "server.key"] if tls else []
                moved = bad_vault.BadVault(*files, at=(FALSE, true.port))
                self.addCleanup(moved.close)
                moved.lease = LEASE
                self.name_points_to(FALSE)
                true.close()
                if tls:
                    self.renews(moved)
                else:
                    time.sleep(2 * LEASE)
                    self.assertEqual(moved.requests, [])
                self.ends(process)


if __name__ == "__main__":
    harness.require_wrapper()
    if os.geteuid() != 0:
        print("needs root, to make mount namespaces", file=sys.stderr)
        sys.exit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    unittest.main()
