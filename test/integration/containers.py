# SPDX-License-Identifier: Apache-2.0
"""Admitted pods run for real, and what root can find out about them."""

import contextlib
import ctypes
import http.client
import os
import re
import secrets as random_text
import shutil
import signal
import subprocess

import memory_scan
from environment import APPS, IMAGE, digest
from pod_run import PodError, PodRunner
from pods import TestCase, container, pod
from process import build_dir, product, spawn, wait_until

APP_IMAGE = "registry.example.com/app:1"
SYS_MEMFD_SECRET = 447
PLACEHOLDER = "^cloudtaser:secret:[0-9a-f]{24}$"
PREFIX = "[cloudtaser-wrapper] "
ATTACKS = ("environ", "proc_mem", "process_vm_readv", "ptrace_peek", "pidfd_getfd", "map_files")
FULL_SCORE = [
    "Protection score: 55/75", "memfd_secret: OK (+15)", "mlock: OK (+10)",
    "madv_dontdump: OK (+10)", "pr_set_dumpable: OK (+10)", "token_protected: OK (+10)",
    "ebpf_connected: FAIL (+0) no agent on this node",
    "kprobes_active: FAIL (+0) no agent on this node"]


def _copy_with_libraries(program, root, target):
    """A dynamic program of this machine, with its loader and libraries, into a root file system."""
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(os.path.realpath(program), root / target)
    told = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", told):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(library), root / library[1:])


def has_memfd_secret():
    fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_MEMFD_SECRET, 0)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def make_images(env):
    """The app's image (the app and a shell) and the injector's (empty but for two programs)."""
    app, injector = env.work / "image-app", env.work / "image-injector"
    if not app.exists():
        injector.mkdir()
        for name in ("cloudtaser-injector", "cloudtaser-wrapper"):
            shutil.copy(product(name), injector / name)
        app.mkdir()
        shutil.copy(env.app, app / "app")
        _copy_with_libraries("/bin/sh", app, "bin/sh")
    return {APP_IMAGE: str(app), IMAGE: str(injector)}


class RunTestCase(TestCase):
    """Test cases that run pods: what must hold of every one is checked in one place."""

    def setUp(self):
        self.jwts = []
        self.credentials = {}  # of Secrets of this test's own: name -> key "secret-id"
        if not has_memfd_secret():
            self.skipTest("this kernel has no memfd_secret")

    def tokens_for(self, stored):
        """kubelet's part: tokens from the TokenRequest API, bound to the pod."""
        meta = stored["metadata"]

        def token(audience, seconds):
            made = self.cluster.service_account_token(
                meta["namespace"], stored["spec"]["serviceAccountName"],
                [audience] if audience else [], seconds, stored)
            self.jwts.append(made)
            self.env.jwts.append(made)
            return made
        return token

    def admit_and_bind(self, manifest, namespace=APPS, node="modern"):
        stored = self.admit(manifest, namespace)
        return stored if stored["spec"].get("nodeName") else self.cluster.bind(stored, node)

    def runner(self, stored, token=None):
        env = self.env
        folder = env.work / "pods"
        folder.mkdir(exist_ok=True, mode=0o711)
        for parent in (env.base, env.work):
            parent.chmod(0o711)
        configmaps = {name: {"ca.crt": ca.pem()} for name, ca in (
            ("vault-ca", env.vault_ca), ("other-ca", env.other_ca),
            ("kube-root-ca.crt", env.cluster.authority))}
        return PodRunner(stored, images=make_images(env), configmaps=configmaps,
                         secrets={"vault-token": {"token": env.vault_token},
                                  **{name: {"secret-id": text}
                                     for name, text in self.credentials.items()}},
                         token=token or self.tokens_for(stored), work=str(folder))

    @contextlib.contextmanager
    def running(self, manifest, namespace=APPS, node="modern"):
        """Admits, binds and starts a pod; when the block is left, nothing secret may be in any
        of its logs and termination messages."""
        with self.runner(self.admit_and_bind(manifest, namespace, node)) as run:
            run.start()
            try:
                yield run
            finally:
                for one in run.containers.values():
                    self.assert_nothing_secret(one.name, one.log() + one.message)

    def run_to_end(self, manifest, **where):
        """Runs a pod of one container to its end: (exit code, log, termination message)."""
        with self.running(manifest, **where) as run:
            run.wait(30)
            [name] = [c["name"] for c in manifest["spec"]["containers"]]
            ended = run.containers[name]
            return ended.exit_code, ended.log(), ended.message

    # --- what is true of every run -------------------------------------------------------------

    def needles(self, jwts=None):
        """Everything that must not be found, by name."""
        found = {f"secret {name}": value.encode() for name, value in self.env.values.items()}
        found["root's own Vault token"] = self.env.vault_token.encode()
        for name, text in self.credentials.items():
            found[f"credential {name}"] = text.encode()
        for number, jwt in enumerate(self.jwts if jwts is None else jwts):
            found[f"service-account token {number}"] = jwt.encode()
            found[f"signature of token {number}"] = jwt.rsplit(".", 1)[1].encode()
        return found

    def assert_nothing_secret(self, what, text):
        """Neither a value nor any token of the whole run stands in this text."""
        raw = text if isinstance(text, bytes) else text.encode()
        for name, value in self.needles(self.env.jwts).items():
            self.assertNotIn(value, raw, f"{name} stands in the log of {what}")
        self.assertIsNone(memory_scan.VAULT_TOKEN.search(raw), f"a Vault token in {what}")

    def assert_score(self, log, lines=FULL_SCORE):
        told = [line[len(PREFIX):] for line in log.splitlines() if line.startswith(PREFIX)]
        start = next((n for n, line in enumerate(told) if line.startswith("Protection score")),
                     None)
        self.assertIsNotNone(start, f"no score in the log:\n{log}")
        self.assertEqual(told[start:start + len(lines)], lines)

    def scrape(self, port):
        """What the wrapper that serves its metrics there tells, without labels but `check`."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        self.assert_nothing_secret(f"metrics port {port}", text)
        told = re.findall(r'^(cloudtaser_\w+)\{pod="[^"]+",namespace="[^"]+"(?:,check="(\w+)")?\} (\d+)$', text, re.M)
        return {check or name: int(value) for name, check, value in told}

    def assert_values(self, log, **expected):
        """The app said that its variables have these values."""
        for name, value in expected.items():
            self.assertIn(f"{name} sha256 {digest(value)}\n", log)

    @contextlib.contextmanager
    def unprotected(self):
        """The control: the same app, with everything secret in its ordinary environment."""
        planted = {f"PLANTED_{n}": value.decode()
                   for n, value in enumerate(self.needles().values())}
        planted["PLANTED_TOKEN"] = "hvs." + random_text.token_hex(20)
        log = self.env.work / "control.log"
        with open(log, "wb") as out:
            process = spawn([self.env.app, "--stay", *planted], env=planted, stdout=out)
        try:
            wait_until(lambda: b"ready" in log.read_bytes(), "the control process", 10)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)

    def assert_no_residue(self, pid, control):
        """Root finds nothing in a process's memory, and each planted copy in the control's."""
        seen = memory_scan.scan(control, self.needles())
        missed = [name for name, n in seen.hits.items() if n == 0]
        self.assertEqual(missed, [], "the scan misses what is there")
        found = memory_scan.scan(pid, self.needles())
        self.assertGreater(found.read, 64 << 10, "nothing was read: nothing was shown")
        self.assertEqual(found.total(), 0, str(found))
        return found

    def assert_wrapper_clean(self, run, names=("app",)):
        with self.unprotected() as control:
            for name in names:
                self.assert_no_residue(run.containers[name].pid, control)


    # --- root's attacks ------------------------------------------------------------------------

    def attack(self, vector, pid, needle):
        """(leaked, what the attack program said)"""
        file = self.env.work / "needle"
        file.write_text(needle)
        program = build_dir() / "test" / "attacks" / f"attack_{vector}"
        done = subprocess.run([program, str(pid), file], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        self.assertIn(done.returncode, (0, 1), f"{vector}: {done.stdout}{done.stderr}")
        return done.returncode == 1, done.stdout

    @contextlib.contextmanager
    def holder(self, secret):
        """The attacks' control: a process that holds the secret wherever an attack looks."""
        with subprocess.Popen([build_dir() / "test" / "attacks" / "holder", "plain"],
                              env={"SECRET": secret}, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            yield process.pid
            process.stdin.close()

    def assert_attacks_fail(self, pids, secret):
        with self.holder(secret) as control:
            for vector in ATTACKS:
                with self.subTest(vector):
                    leaked, said = self.attack(vector, control, secret)
                    self.assertTrue(leaked, f"the control: {said}")
                    for what, pid in pids.items():
                        leaked, said = self.attack(vector, pid, secret)
                        self.assertFalse(leaked, f"{what}: {said}")


def staying(*variables, **more):
    """A container whose app proves its variables and stays."""
    return container(command=["/app", "--stay", *variables], **more)


def one_pod(env, command, annotations=None, **spec):
    """A pod of one container with these variables and command."""
    own = {key: spec.pop(key) for key in ("securityContext", "args", "resources") if key in spec}
    return pod(annotations, [container(env=env, command=command, **own)], **spec)


__all__ = ["PodError", "RunTestCase", "staying", "one_pod", "PLACEHOLDER", "FULL_SCORE", "PREFIX"]
