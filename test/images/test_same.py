# SPDX-License-Identifier: Apache-2.0
"""Two builds, one digest: the second one from a copy of the sources elsewhere, with nothing built."""

import os
import shutil
import subprocess
import unittest

import world
from process import ROOT


def copy_sources(target):
    """What git knows or would take, as it is now."""
    names = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-coz", "--exclude-standard"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.split(b"\0")
    for name in filter(None, names):
        source = os.path.join(os.fsencode(ROOT), name)
        if os.path.isfile(source):
            copy = os.path.join(os.fsencode(target), name)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(source, copy)


class Same(unittest.TestCase):
    def test_two_builds_are_the_same_to_the_byte(self):
        other = world.scratch() / "another-place"
        copy_sources(other)
        image = world.archive("cloudtaser-webhook", world.ARCHS[0])
        created = subprocess.run(["date", "-d", image.config["created"], "+%s"], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout.strip()
        labels = image.config["config"]["Labels"]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": created,
                       "CT_REVISION": labels["org.opencontainers.image.revision"]}
        # Compiled, not taken from a cache of the same objects.
        environment["CCACHE_DISABLE"] = "1"
        done = subprocess.run([other / "tools" / "images"], env=environment,
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        again = other / "build" / "images"
        names = sorted(p.name for p in world.IMAGES.iterdir())
        self.assertEqual(sorted(p.name for p in again.iterdir()), names)
        self.assertEqual(len(names), 2 * len(world.every()) + 1)
        for name in names:
            self.assertEqual((again / name).read_bytes(), (world.IMAGES / name).read_bytes(), name)
