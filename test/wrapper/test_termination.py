#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The termination message of each way to end: what was logged, bounded, and never a secret; and nothing
where the app ended by itself, or where what kubelet puts there is not there."""
import contextlib
import os
import signal
import socket
import subprocess
import unittest

import harness

GOOD, PATH = "vault:secret/data/fine#password", "secret/data/"
SHOW = [harness.PYTHON, "-c", "import os; print(os.environ['S'])"]
OWN = "what the app wrote itself"
LIMIT = 4096  # of kubelet's
# A container's /dev with the message's file in it, MADE there.
DEV = """
mount -t tmpfs none /dev && mknod /dev/null c 1 3 && MADE || exit 99
shift; exec "$@"
"""
BOUND = '{ : >/dev/termination-log; mount --bind "$1" /dev/termination-log; }'


class Termination(harness.RigCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.message = cls.rig.folder / "message"
        (cls.rig.folder / "plain").write_text("no program\n")
        (cls.rig.folder / "plain").chmod(0o755)

    @contextlib.contextmanager
    def started(self, command, settings, reference=GOOD, made=BOUND, before=""):
        self.message.write_text(before)
        environment = self.rig.environment(settings, S=reference)
        process = subprocess.Popen(
            ["unshare", "--mount", "/bin/sh", "-c", DEV.replace("MADE", made), "sh", self.message,
             harness.WRAPPER.resolve(), "--", *command], env=environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with process:
            try:
                yield process
            finally:
                process.kill()

    def run_it(self, *args, **more):
        """(exit code, message, log)"""
        with self.started(*args, **more) as process:
            _, said = process.communicate(timeout=60)
        return process.returncode, self.message.read_text(), said

    def assert_told(self, code, words, told):
        ended, message, log = told
        self.assertEqual(ended, code, log)
        errors = [line for line in log.splitlines() if "error: " in line]
        self.assertEqual(len(errors), 1, log)
        self.assertEqual(errors[0], f"[cloudtaser-wrapper] error: {message[:-1]}")
        self.assertEqual(message[-1:], "\n")
        self.assertLess(len(message.encode()), LIMIT)
        self.assertTrue(all(c >= " " and c != "\x7f" for c in message[:-1]), repr(message))
        for word in words:
            self.assertIn(word, message)
        harness.assert_nothing_leaks(self, message, log)

    def test_each_exit_code(self):
        settings, plain = self.rig.settings, str(self.rig.folder / "plain")
        taken = socket.create_server(("", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        long_name = "/nowhere/" + "x" * 4500 + "\x1b[31m\n"
        for code, words, command, changes, reference in [
                (100, ["below the minimum of 75"], SHOW, {"min_score": 75}, GOOD),
                (100, ["required check", "kprobes_active"], SHOW, {"require": ["kprobes_active"]}, GOOD),
                (101, ["role denied", "403"], SHOW, {"role": "denied"}, GOOD),
                (101, ["role echo", "403"], SHOW, {"role": "echo"}, GOOD),
                (101, ["role not-json"], SHOW, {"role": "not-json"}, GOOD),
                (102, ["Vault has no secret"], SHOW, {}, f"vault:{PATH}missing#password"),
                (102, [f"{PATH}echo", "403"], SHOW, {}, f"vault:{PATH}echo#password"),
                (102, ["has no key nokey"], SHOW, {}, f"vault:{PATH}fine#nokey"),
                (102, ["not valid JSON"], SHOW, {}, f"vault:{PATH}not-json#password"),
                (103, ["Vault is sealed"], SHOW, {"role": "sealed"}, GOOD),
                (103, ["a redirect"], SHOW, {"role": "echo-redirect"}, GOOD),
                (103, ["certificate"], SHOW, {"ca_file": str(self.rig.folder / "other-ca.pem")}, GOOD),
                (103, ["vault.invalid"], SHOW, {"address": "https://vault.invalid:8200"}, GOOD),
                (104, ["role is missing"], SHOW, {"role": None}, GOOD),
                (104, ["/nowhere/jwt"], SHOW, {"token_file": "/nowhere/jwt"}, GOOD),
                (104, ["variable S"], SHOW, {}, "vault:\x01\n" + "a" * 5000 + "#"),
                (104, [f"metrics-port {port} cannot be listened at"], SHOW, {"metrics_port": port}, GOOD),
                (125, ["out of memory"], SHOW, {}, f"vault:{PATH}bloated#password"),
                (126, [plain], [plain], {}, GOOD),
                (127, ["no-such-program"], ["no-such-program"], {}, GOOD),
                (126, ["/nowhere/xxxx"], [long_name], {}, GOOD)]:
            with self.subTest(code=code, words=words):
                self.assert_told(code, words, self.run_it(command, settings(**changes), reference))

    def test_settings_that_are_none(self):
        for text in "{", '{"version":1,"' + "\x1b" * 300 + '":1}', '{"version":1,"' + "x" * 60000 + '":1}':
            with self.subTest(settings=text[:40]):
                self.assert_told(104, ["CLOUDTASER_CONFIG"], self.run_it(SHOW, text))

    def test_told_to_end_before_the_app_is_there(self):
        with self.started(SHOW, self.rig.settings(role="sealed", retry_budget_ms=60000)) as process:
            process.stderr.readline()
            # unshare and sh have become the wrapper.
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=10)
        self.assert_told(128 + signal.SIGTERM, ["stopped by signal 15 before the app was started"],
                         (process.returncode, self.message.read_text(), log))

    def test_the_apps_own_end_is_the_apps(self):
        for code, what in [(0, "True"), (7, "sys.exit(7)"), (101, "sys.exit(101)"),
                           (137, "os.kill(os.getpid(), 9)")]:
            with self.subTest(code=code):
                app = [harness.PYTHON, "-c", f"import os, sys; open('/dev/termination-log', 'w').write({OWN!r}); {what}"]
                ended, message, log = self.run_it(app, self.rig.settings())
                self.assertEqual((ended, message), (code, OWN), log)

    def test_what_was_there_goes(self):
        told = self.run_it(SHOW, self.rig.settings(role="denied"), before="stale " * 1000)
        self.assert_told(101, ["role denied"], told)

    def test_what_is_no_file_of_kubelets(self):
        """Neither made nor waited for nor followed, and the exit code stays."""
        victim = self.rig.folder / "victim"
        victim.write_text(OWN)
        for made in [":", "mkdir /dev/termination-log", "mkfifo /dev/termination-log",
                     f"ln -s {victim} /dev/termination-log", "ln -s /dev/null /dev/termination-log"]:
            with self.subTest(made=made):
                ended, message, log = self.run_it(SHOW, self.rig.settings(role="denied"), made=made)
                self.assertEqual((ended, message), (101, ""), log)
                self.assertIn("role denied", log)
        self.assertEqual(victim.read_text(), OWN)
        made = subprocess.run(["unshare", "--mount", "/bin/sh", "-c", DEV.replace("MADE", ":"), "sh", "x",
                               "/bin/sh", "-c", f"{harness.WRAPPER.resolve()} -- true; ls /dev"], text=True,
                              env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
        self.assertEqual(made.stdout, "null\n")


if __name__ == "__main__":
    harness.require_wrapper()
    if os.geteuid() != 0:
        print("only root can make namespaces")
        raise SystemExit(1 if os.environ.get("CT_MUST_RUN") == "1" else 77)
    unittest.main()
