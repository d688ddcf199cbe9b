#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Vault token's life beside a running app: whatever Vault does, the app and its signals come first."""
import functools
import os
import signal
import subprocess
import time
import unittest

import bad_vault
import harness

until = functools.partial(harness.until, seconds=15)
LEASE = 3
# Tells each signal at once, ends by SIGTERM.
LISTENER = """
import os, signal
all = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, all)
print("ready", flush=True)
while True:
    n = signal.sigwait(all)
    print(int(n), flush=True)
    if n == signal.SIGTERM:
        os._exit(7)
"""
RENEW, LOOKUP = "/v1/auth/token/renew-self", "/v1/auth/token/lookup-self"
LOGIN = "/v1/auth/kubernetes/login"
# What a renewal may be answered with; the token lives on, so it is tried again, told once.
TROUBLE = ["sealed", "broken", "standby", "overloaded", "wrong-door", "deep-lists", "deep-objects", "cut", "hang-up", "garbage", "huge", "bloated-small", "not-json",
           "empty", "no-token", "no-content", "redirect", "long-header"]
# What a lease may be that is none; the token is asked for its life then.
ODD_LEASES = ["-1", "-9223372036854775808", "99999999999999999999", "1e300", "3600.5", '"3600"', "null",
              "true", "[]", "{}"]


class Renewal(harness.RigCase):
    def setUp(self):
        self.vault = bad_vault.BadVault(self.rig.folder / "server.pem",
                                        self.rig.folder / "server.key")
        self.vault.lease = LEASE
        self.addCleanup(self.vault.close)

    def start(self, **changes):
        settings = self.rig.settings(**{"address": self.vault.address, **changes})
        process = self.rig.start([harness.PYTHON, "-c", LISTENER], settings, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.terminate)  # forwarded: it ends the app
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def asked(self, path):
        return [r for r in list(self.vault.requests) if r[1] == path]

    def signal_is_prompt(self, process, number=signal.SIGUSR1):
        begin = time.monotonic()
        process.send_signal(number)
        self.assertEqual(process.stdout.readline(), f"{int(number)}\n")
        self.assertLess(time.monotonic() - begin, 0.5)

    def end(self, process):
        """Ends it and returns what it said since the app was started."""
        begin = time.monotonic()
        self.signal_is_prompt(process, signal.SIGTERM)
        self.assertEqual(process.wait(10), 7)
        self.assertLess(time.monotonic() - begin, 2)
        said = process.stderr.read()
        process.stdout.close()
        process.stderr.close()
        harness.assert_nothing_leaks(self, said)
        return [line for line in said.split("started ", 1)[1].splitlines()[1:] if line]

    def test_renews_at_two_thirds_in_silence(self):
        begin = time.monotonic()
        process = self.start()
        until(lambda: self.asked(RENEW), "a renewal")
        self.assertGreater(time.monotonic() - begin, LEASE * 0.5)
        until(lambda: len(self.asked(RENEW)) >= 3, "more renewals")
        self.assertGreater(time.monotonic() - begin, LEASE * 1.6)
        for _, _, headers in self.asked(RENEW):
            self.assertEqual(headers["x-vault-token"], bad_vault.TOKEN)
        self.assertEqual(len(self.asked(LOGIN)), 1)
        self.signal_is_prompt(process)
        self.assertEqual(self.end(process), [])

    def test_logs_in_again_when_the_token_is_void(self):
        self.vault.renewal = self.vault.lookup = "denied"
        process = self.start()
        until(lambda: len(self.asked(LOGIN)) >= 2, "a login again")
        self.vault.renewal = self.vault.lookup = None
        until(lambda: len(self.asked(RENEW)) >= 2, "its renewal")
        said = self.end(process)
        self.assertEqual(len(said), 2, said)
        self.assertIn("the Vault token is void; logging in again: renewing the token: ", said[0])
        self.assertIn("the Vault token is good again", said[1])

    def test_a_refusal_alone_does_not_make_a_token_void(self):
        """Its policies may keep it from renewing itself: it is used on, and replaced before its end."""
        self.vault.renewal = "denied"
        process = self.start()
        until(lambda: len(self.asked(LOGIN)) >= 4, "logins again")
        logins = self.asked(LOGIN)
        self.assertEqual(len(self.asked(RENEW)), 1, "asked once, and believed")
        self.assertEqual(len(self.asked(LOOKUP)), 1)
        self.assertGreater(len(logins), 0)
        said = self.end(process)
        self.assertEqual(len(said), 1, said)
        self.assertIn("Vault refuses to renew the token; logging in again before it ends", said[0])

    def test_a_token_that_may_neither_be_renewed_nor_looked_up(self):
        self.vault.renewal = self.vault.lookup = "denied"
        process = self.start()
        until(lambda: len(self.asked(LOGIN)) >= 5, "logins again", seconds=30)
        self.assertLessEqual(len(self.asked(RENEW)), 2, "the second fresh token's refusal tells")
        said = self.end(process)
        self.assertEqual(len(said), 2, said)
        self.assertIn("the Vault token is void; logging in again", said[0])
        self.assertIn("the Vault token is good again", said[1])

    def test_trouble_while_the_refusal_is_looked_into(self):
        self.vault.lease = 6
        self.vault.renewal, self.vault.lookup = "denied", "sealed"
        process = self.start(retry_budget_ms=0)
        until(lambda: len(self.asked(LOOKUP)) >= 2, "two tries")
        self.assertEqual(len(self.asked(LOGIN)), 1, "a sealed Vault says nothing of the token")
        self.vault.renewal = self.vault.lookup = None
        renewals = len(self.asked(RENEW))
        until(lambda: len(self.asked(RENEW)) >= renewals + 1, "a renewal")
        time.sleep(0.2)
        said = self.end(process)
        self.assertEqual(len(said), 2, said)
        self.assertIn("the Vault token cannot be kept alive; trying again until it ends", said[0])
        self.assertIn("the Vault token is good again", said[1])

    def test_a_token_that_cannot_be_renewed_is_replaced(self):
        bad_vault.ANSWERS["not-renewable"] = lambda s: bad_vault.answer(200, {"auth": {
            "client_token": bad_vault.TOKEN, "lease_duration": LEASE, "renewable": False}})
        process = self.start(role="not-renewable")
        until(lambda: len(self.asked(LOGIN)) >= 3, "logins again")
        self.assertEqual(self.asked(RENEW), [])
        self.assertEqual(self.end(process), [])

    def test_a_lease_that_shrinks_is_replaced_before_its_end(self):
        bad_vault.ANSWERS["shrunk"] = lambda s: bad_vault.login_ok(1)
        self.vault.renewal = "shrunk"
        process = self.start()
        until(lambda: len(self.asked(LOGIN)) >= 2, "a login again")
        self.assertEqual(len(self.asked(RENEW)), 1)
        self.assertEqual(self.end(process), [])

    def test_leases_that_are_none(self):
        running = []
        for number, lease in enumerate(ODD_LEASES):
            text = f'{{"auth":{{"client_token":"{bad_vault.TOKEN}","lease_duration":{lease},"renewable":true}}}}'
            bad_vault.ANSWERS[f"odd-{number}"] = lambda s, text=text: bad_vault.answer(200, text.encode())
            vault = bad_vault.BadVault(self.rig.folder / "server.pem", self.rig.folder / "server.key")
            self.addCleanup(vault.close)
            vault.lease = 3
            running.append((lease, vault, self.start(address=vault.address, role=f"odd-{number}")))
        for lease, vault, process in running:
            with self.subTest(lease=lease):
                until(lambda v=vault: [r for r in list(v.requests) if r[1] == RENEW], "a renewal")
                self.assertEqual(len([r for r in list(vault.requests) if r[1] == LOOKUP]), 1)
                self.assertEqual(self.end(process), [])

    def test_odd_lives_are_no_reason_to_ask_without_rest(self):
        bad_vault.ANSWERS["no-life"] = lambda s: bad_vault.answer(200, {"auth": {
            "client_token": bad_vault.TOKEN, "lease_duration": 0, "renewable": True}})
        self.vault.renewal = "no-life"
        process = self.start()
        until(lambda: len(self.asked(LOGIN)) >= 2, "a login again")
        before = len(self.vault.requests)
        time.sleep(2)
        self.assertLess(len(self.vault.requests) - before, 12)
        self.assertEqual(self.end(process), [])

    def test_a_life_of_a_second(self):
        self.vault.lease = 1
        process = self.start()
        until(lambda: len(self.asked(RENEW)) >= 5, "renewals")
        self.assertEqual(len(self.asked(LOGIN)), 1)
        self.assertEqual(self.end(process), [])

    def test_a_token_without_an_end_is_left_alone(self):
        self.vault.lease = 0
        process = self.start()
        time.sleep(1.5)
        self.assertEqual(self.asked(RENEW) + self.asked(LOGIN)[1:], [])
        self.assertEqual(self.end(process), [])

    def test_a_token_of_a_file_is_looked_up_and_renewed(self):
        path = self.rig.folder / "vault-token"
        path.write_text(bad_vault.TOKEN)
        process = self.start(auth="token", role=None, token_file=str(path))
        until(lambda: self.asked(RENEW), "a renewal")
        self.assertEqual(len(self.asked(LOOKUP)), 1)
        self.assertEqual(self.end(process), [])

    def test_the_service_account_token_is_read_afresh(self):
        path = self.rig.folder / "fresh-jwt"
        path.write_text(bad_vault.JWT)
        self.vault.renewal = self.vault.lookup = "denied"
        process = self.start(token_file=str(path), retry_budget_ms=0)
        path.write_text("eyJvZGQ.c3RhbGU.c2ln")
        line = process.stderr.readline()
        while "has ended" not in line:
            self.assertTrue(line)
            line = process.stderr.readline()
        self.assertIn("login at auth/kubernetes as role fine", line)
        path.write_text(bad_vault.JWT)
        self.assertIn("the Vault token is good again", process.stderr.readline())
        self.signal_is_prompt(process)
        process.terminate()
        process.communicate(timeout=10)

    def test_trouble_is_told_once_and_ends(self):
        bad_vault.ANSWERS["bloated-small"] = lambda s: bad_vault.answer(
            200, b'{"auth":{"a":[' + b"[]," * 5000 + b"[]]}}")
        bad = {}
        for name in TROUBLE:
            vault = bad_vault.BadVault(self.rig.folder / "server.pem",
                                       self.rig.folder / "server.key")
            self.addCleanup(vault.close)
            vault.lease, vault.renewal = 6, name
            bad[name] = vault, self.start(address=vault.address, retry_budget_ms=0)
        for name, (vault, process) in bad.items():
            with self.subTest(answer=name):
                until(lambda v=vault, n=name: v.tries.get(n, 0) >= 2, "two tries")
                self.signal_is_prompt(process)
                vault.renewal = None
        time.sleep(4)
        for name, (vault, process) in bad.items():
            with self.subTest(answer=name):
                said = self.end(process)
                self.assertEqual(len(said), 2, said)
                self.assertIn("warning: the Vault token cannot be kept alive; trying again until "
                              "it ends: renewing the token: ", said[0])
                self.assertIn("the Vault token is good again", said[1])
                asked = [path for _, path, _ in list(vault.requests)]
                self.assertEqual((asked.count(LOGIN), asked.count(LOOKUP)), (1, 0), "it was good all the time")

    def test_a_silent_vault_holds_nothing_up(self):
        self.vault.renewal = "silent"
        process = self.start(timeout_ms=20000)
        until(lambda: self.asked(RENEW), "a renewal")
        for _ in range(50):
            self.signal_is_prompt(process)
        self.assertEqual(self.end(process), [], "the app's end is no trouble to tell")

    def test_a_vault_that_is_gone_holds_nothing_up(self):
        process = self.start(retry_budget_ms=60000)
        self.vault.close()
        with bad_vault.socket.socket() as probe:
            until(lambda: probe.connect_ex(("127.0.0.1", self.vault.port)) != 0, "its end")
        end = time.monotonic() + LEASE + 1
        while time.monotonic() < end:
            self.signal_is_prompt(process)
            time.sleep(0.05)
        self.assertEqual(self.end(process), [])

    def test_names_are_looked_up_beside(self):
        process = self.start(address=f"https://localhost:{self.vault.port}")
        until(lambda: len(self.asked(RENEW)) >= 2, "renewals")
        self.signal_is_prompt(process)
        self.assertEqual(self.end(process), [])

    def test_stderr_that_nobody_reads(self):
        self.vault.renewal = self.vault.lookup = "denied"
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        process = self.rig.start([harness.PYTHON, "-c", LISTENER],
                                 self.rig.settings(address=self.vault.address),
                                 stdout=subprocess.PIPE, stderr=writer, text=True)
        self.addCleanup(process.terminate)  # forwarded: it ends the app
        self.assertEqual(process.stdout.readline(), "ready\n")
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writer, True)
        until(lambda: len(self.asked(LOGIN)) >= 2, "a login again")
        self.signal_is_prompt(process)
        process.terminate()
        process.communicate(timeout=10)
        os.close(reader)
        os.close(writer)


if __name__ == "__main__":
    harness.require_wrapper()
    unittest.main()
