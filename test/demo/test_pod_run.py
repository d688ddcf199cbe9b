#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The pod runner gives containers what kubelet and containerd would, and leaves nothing behind.

usage: test_pod_run.py PROBE    the static probe program"""

import glob
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "rig"))
from pod_run import PodError, PodRunner  # noqa: E402

IMAGE = "registry.example.com/probe:1"
RESTRICTED = {"runAsUser": 4321, "runAsGroup": 1234, "runAsNonRoot": True,
              "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
              "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}


def container(name, *args, **more):
    return {"name": name, "image": IMAGE, "command": ["/probe", *args], **more}


def pod(*containers, init=(), **spec):
    return {"metadata": {"name": "probe", "namespace": "default"},
            "spec": {"initContainers": list(init), "containers": list(containers), **spec}}


class Runs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ct-test-pod-")
        os.chmod(self.folder, 0o711)
        self.made = []
        self.image = os.path.join(self.folder, "image")
        os.mkdir(self.image)
        shutil.copy(PROBE, os.path.join(self.image, "probe"))

    def tearDown(self):
        left = os.listdir(self.folder)
        shutil.rmtree(self.folder)
        self.assertEqual(left, ["image"])
        for made in self.made:
            self.assertEqual(glob.glob("/sys/fs/cgroup/**/%s*" % made, recursive=True), [])

    def runner(self, manifest, **options):
        run = PodRunner(manifest, images={IMAGE: self.image}, work=self.folder, **options)
        self.made += [name for name in os.listdir(self.folder) if name != "image"]
        return run

    def run_one(self, one, *, init=(), spec=None, **options):
        """(exit code, log, message) of a container that ends by itself."""
        with self.runner(pod(one, init=init, **(spec or {})), **options) as run:
            run.start(20)
            run.wait(20)
            ended = run.containers[one["name"]]
            return ended.exit_code, ended.log(), ended.message

    def facts(self, **more):
        options = more.pop("options", {})
        code, log, _ = self.run_one(container("c", "facts", **more), **options)
        self.assertEqual(code, 0, log)
        return dict(line.split(" ", 1) for line in log.splitlines() if line[:4] != "env ")

    def test_an_ordinary_container(self):
        facts = self.facts(workingDir="/proc")
        self.assertEqual((facts["uid"], facts["pid"], facts["no_new_privs"]), ("0", "1", "0"))
        self.assertEqual((facts["keyctl"], facts["userns"]), ("ok", "ok"))
        self.assertEqual(facts["cwd"], "/proc")

    def test_a_restricted_container(self):
        facts = self.facts(securityContext=RESTRICTED)
        self.assertEqual((facts["uid"], facts["gid"]), ("4321", "1234"))
        self.assertEqual(facts["no_new_privs"], "1")
        self.assertEqual(facts["keyctl"], "Operation not permitted")
        self.assertEqual(facts["userns"], "Operation not permitted")

    def test_system_calls_and_limits_can_be_taken_away(self):
        for context in ({}, RESTRICTED):
            facts = self.facts(securityContext=context, options={
                "deny_syscalls": ["memfd_secret"], "rlimits": {"RLIMIT_MEMLOCK": 65536}})
            self.assertEqual(facts["memfd_secret"], "Function not implemented")
            self.assertEqual(facts["memlock"], "65536")

    def test_the_root_is_read_only_when_asked(self):
        code, log, _ = self.run_one(container("c", "write", "/x", "y"))
        self.assertEqual(code, 0, log)
        code, log, _ = self.run_one(container("c", "write", "/x", "y", securityContext={
            "readOnlyRootFilesystem": True}))
        self.assertEqual((code, log), (1, "/x: Read-only file system\n"))
        self.assertEqual(os.listdir(self.image), ["probe"])

    def test_an_empty_dir_is_shared_and_read_only_where_mounted_so(self):
        volume = [{"name": "v", "emptyDir": {}}]
        mount = {"name": "v", "mountPath": "/v"}
        write = container("w", "write", "/v/x", "from init", volumeMounts=[mount],
                          securityContext=RESTRICTED)
        reader = [{**mount, "readOnly": True}]
        code, log, _ = self.run_one(container("c", "read", "/v/x", volumeMounts=reader),
                                    init=[write], spec={"volumes": volume})
        self.assertEqual((code, log), (0, "from init"))
        code, log, _ = self.run_one(container("c", "write", "/v/x", "no", volumeMounts=reader),
                                    init=[write], spec={"volumes": volume})
        self.assertEqual((code, log), (1, "/v/x: Read-only file system\n"))

    def test_a_memory_empty_dir_is_as_small_as_asked(self):
        volume = [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "4Ki"}}]
        mount = [{"name": "v", "mountPath": "/v"}]
        code, log, _ = self.run_one(
            container("c", "write", "/v/x", "y" * 8000, volumeMounts=mount),
            spec={"volumes": volume})
        self.assertEqual((code, log), (1, "/v/x: short write\n"))

    def test_a_token_is_read_by_its_user_alone(self):
        volume = [{"name": "t", "projected": {"defaultMode": 292, "sources": [
            {"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}]
        mount = [{"name": "t", "mountPath": "/t", "readOnly": True}]
        code, log, _ = self.run_one(
            container("c", "read", "/t/token", volumeMounts=mount, securityContext=RESTRICTED),
            spec={"volumes": volume}, token=lambda audience, s: "for %s, %d s" % (audience, s))
        self.assertEqual((code, log), (0, "for vault, 3600 s"))

    def test_the_termination_message_is_kept(self):
        code, log, message = self.run_one(container("c", "write", "/dev/termination-log", "why",
                                                    securityContext=RESTRICTED))
        self.assertEqual((code, message), (0, "why"), log)

    def test_exit_codes(self):
        self.assertEqual(self.run_one(container("c", "exit", "7"))[0], 7)
        with self.runner(pod(container("c", "wait"))) as run:
            run.start(20)
            run.containers["c"].wait_log("waiting")
            run.kill("c", signal.SIGKILL)
            self.assertEqual(run.wait(10), {"c": 137})

    def test_a_failing_init_container_stops_the_pod(self):
        with self.runner(pod(container("c", "exit", "0"),
                             init=[container("i", "exit", "3")])) as run:
            with self.assertRaisesRegex(PodError, "init container i ended with 3"):
                run.start(20)
            report = run.report()
            self.assertEqual((report["phase"], report["containers"]), ("Failed", []))

    def test_sidecars_go_on_beside_and_end_last(self):
        sidecar = container("s", "wait", restartPolicy="Always")
        with self.runner(pod(container("c", "wait"), init=[sidecar])) as run:
            run.start(20)
            for name in ("s", "c"):
                run.containers[name].wait_log("waiting")
            self.assertEqual(run.report()["phase"], "Running")
            self.assertEqual(run.stop(5), {"c": 5})
            self.assertEqual(run.containers["s"].exit_code, 5)

    def test_what_ignores_sigterm_is_killed(self):
        with self.runner(pod(container("c", "wait", "ignore"))) as run:
            run.start(20)
            run.containers["c"].wait_log("waiting")
            self.assertEqual(run.stop(0.3), {"c": 137})

    def test_close_ends_all_that_runs(self):
        with self.runner(pod(container("c", "wait"))) as run:
            run.start(20)
            pid = run.containers["c"].pid
            self.assertTrue(os.path.exists("/proc/%d" % pid))
        self.assertFalse(os.path.exists("/proc/%d" % pid))
        with open("/proc/mounts", encoding="utf-8") as mounts:
            self.assertNotIn(self.folder, mounts.read())

    def test_what_kubelet_would_refuse(self):
        for one, text in [
                (container("c", securityContext={"runAsNonRoot": True}), "would run as root"),
                ({"name": "c", "image": "other"}, "its image other"),
                ({"name": "c", "image": IMAGE}, "what to run"),
                (container("c", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                 "unknown volume v"),
                ({**container("c"), "command": ["/nothing"]}, "/nothing")]:
            with self.subTest(text), self.runner(pod(one)) as run:
                with self.assertRaisesRegex(PodError, text):
                    run.start(20)


class Program(unittest.TestCase):
    def test_reports_as_json(self):
        import json
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/image")
            shutil.copy(PROBE, folder + "/image/probe")
            with open(folder + "/pod.json", "w", encoding="ascii") as f:
                json.dump(pod(container("c", "exit", "4")), f)
            done = subprocess.run(
                [sys.executable, pathlib.Path(__file__).parents[1] / "rig" / "pod_run.py",
                 folder + "/pod.json", "--image", "%s=%s/image" % (IMAGE, folder)],
                capture_output=True, text=True, check=False, timeout=30)
        report = json.loads(done.stdout)
        self.assertEqual((done.returncode, report["phase"]), (1, "Failed"))
        self.assertEqual(report["containers"][0]["exitCode"], 4)


if __name__ == "__main__":
    PROBE = sys.argv.pop()
    if os.geteuid() != 0 or not shutil.which("runc") or not os.path.exists(PROBE):
        print("needs root, runc and the static probe")
        sys.exit(1 if os.environ.get("CT_MUST_RUN") else 77)
    unittest.main()
