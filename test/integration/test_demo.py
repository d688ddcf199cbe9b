# SPDX-License-Identifier: Apache-2.0
"""tools/demo: it is through where all is well, and fails, saying so, where one thing is not."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from process import ROOT, build_dir

DEMO = ROOT / "tools" / "demo"
PROGRAMS = ["cli/cloudtaser", "webhook/cloudtaser-webhook",
            "static/wrapper/cloudtaser-wrapper", "static/injector/cloudtaser-injector",
            "test/demo/demo_app", "test/attacks/holder", "test/attacks/residue",
            *("test/attacks/attack_" + v for v in
              ("process_vm_readv", "proc_mem", "environ", "pidfd_getfd"))]


def leftovers(pid):
    """Folders, cgroups and mounts that the demo of that process has made."""
    marks = (f"ct-demo-{pid}-", f"ct-pod-{pid}-")
    places = ["/tmp", "/sys/fs/cgroup", *pathlib.Path("/sys/fs/cgroup").iterdir()]
    found = [str(p) for place in places for mark in marks
             for p in pathlib.Path(place).glob(mark + "*")]
    mounts = pathlib.Path("/proc/mounts").read_text().splitlines()
    return found + [line for line in mounts if any(mark in line for mark in marks)]


class DemoTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ct-test-demo-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, build=None):
        return subprocess.Popen([DEMO], env={**os.environ, "CT_BUILD_DIR": str(build or build_dir())},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def build_but(self, name, content):
        """A build folder like the real one, with a script in place of one program."""
        for program in PROGRAMS:
            path = self.folder / program
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(build_dir() / program)
        path = self.folder / name
        path.unlink()
        path.write_text(content)
        path.chmod(0o755)

    def run_demo(self, build=None):
        with self.start(build) as demo:
            told, _ = demo.communicate(timeout=120)
        self.assertEqual(leftovers(demo.pid), [])
        return demo.returncode, told

    def test_demo_is_through(self):
        code, told = self.run_demo()
        self.assertEqual(code, 0, told)
        self.assertIn("everything was as it must be", told)
        self.assertNotIn("WRONG", told)
        self.assertNotIn("\033", told)

    def test_demo_fails_on_another_wrapper(self):
        self.build_but("static/wrapper/cloudtaser-wrapper", '#!/bin/sh\nexec "$@"\n')
        code, told = self.run_demo(self.folder)
        self.assertEqual(code, 1, told)
        self.assertIn("is not the wrapper that this injector was built with", told)

    def test_demo_fails_on_an_attack_that_proves_nothing(self):
        self.build_but("test/attacks/attack_environ", "#!/bin/sh\necho vector: refused\n")
        code, told = self.run_demo(self.folder)
        self.assertEqual(code, 1, told)
        self.assertIn("WRONG: the control shows nothing", told)

    def test_demo_fails_on_an_attack_that_succeeds(self):
        self.build_but("test/attacks/attack_proc_mem",
                       "#!/bin/sh\necho vector: LEAKED: found\nexit 1\n")
        code, told = self.run_demo(self.folder)
        self.assertEqual(code, 1, told)
        self.assertIn("WRONG: on the app: LEAKED: found", told)

    def test_demo_cleans_up_when_it_is_ended(self):
        for seconds in (0, 0.02, 0.05, 0.1):
            with self.subTest(seconds=seconds), self.start() as demo:
                for line in demo.stdout:
                    if line.startswith("3. "):
                        break
                self.assertNotEqual(leftovers(demo.pid), [], "it cannot be told what it makes")
                time.sleep(seconds)
                demo.send_signal(signal.SIGTERM)
                told, _ = demo.communicate(timeout=30)
                self.assertEqual(demo.returncode, 128 + signal.SIGTERM, told)
                self.assertEqual(leftovers(demo.pid), [])


class StaticTest(unittest.TestCase):
    def test_injector_is_static_and_small(self):
        injector, wrapper = (build_dir() / f"static/{name}/cloudtaser-{name}"
                             for name in ("injector", "wrapper"))
        self.assertLess(injector.stat().st_size, 100_000)
        self.assertLess(injector.stat().st_size + wrapper.stat().st_size, 6_000_000)
        with tempfile.TemporaryDirectory() as root:
            shutil.copy(injector, root)
            done = subprocess.run(["/cloudtaser-injector", "--version"], capture_output=True,
                                  preexec_fn=lambda: os.chroot(root), text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^cloudtaser-injector \d+\.\d+\.\d+$")
