# SPDX-License-Identifier: Apache-2.0
"""Two builds, one digest: the second one from a copy of the sources elsewhere, with nothing built."""

import functools
import os
import shutil
import subprocess
import unittest

import world
from process import ROOT, spawn


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


class _SecondBuild:
    """A build that goes on while the other tests run, for it takes as long as all of them."""

    def __init__(self):
        self.place = world.scratch() / "another-place"
        copy_sources(self.place)
        image = world.archive("cloudtaser-webhook", world.ARCHS[0])
        created = subprocess.run(["date", "-d", image.config["created"], "+%s"], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout.strip()
        labels = image.config["config"]["Labels"]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": created,
                       "CT_REVISION": labels["org.opencontainers.image.revision"]}
        # Compiled, not taken from a cache of the same objects.
        environment["CCACHE_DISABLE"] = "1"
        self.log = world.scratch() / "second-build.log"
        with open(self.log, "wb") as log:
            self.process = spawn([self.place / "tools" / "images"], env=environment, stdout=log,
                                 stderr=subprocess.STDOUT)


@functools.lru_cache(maxsize=None)
def second_build():
    return _SecondBuild()


class Same(unittest.TestCase):
    def test_two_builds_are_the_same_to_the_byte(self):
        build = second_build()
        self.assertEqual(build.process.wait(), 0, build.log.read_text(errors="replace"))
        again = build.place / "build" / "images"
        names = sorted(p.name for p in world.IMAGES.iterdir())
        self.assertEqual(sorted(p.name for p in again.iterdir()), names)
        self.assertEqual(len(names), 2 * len(world.every()) + 1)
        for name in names:
            self.assertEqual((again / name).read_bytes(), (world.IMAGES / name).read_bytes(), name)
