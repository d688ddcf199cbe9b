# SPDX-License-Identifier: Apache-2.0
"""What all tests of the images share: where they are, and each of them unpacked once."""

import atexit
import functools
import os
import pathlib
import re
import shutil
import tempfile

from archive import Archive
from process import ROOT

IMAGES = pathlib.Path(os.environ.get("CT_IMAGES_DIR") or ROOT / "build" / "images")
ARCHS = ("amd64", "arm64")
NAMES = ("cloudtaser-webhook", "cloudtaser-injector", "cloudtaser-agent")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# What runs an architecture's programs here: nothing, or an emulator, copied into the image's root.
EMULATORS = {"amd64": None, "arm64": "/usr/bin/qemu-aarch64-static"}
LOADERS = {"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}
VERSION = re.search(r"^project\(cloudtaser VERSION ([0-9.]+)",
                    (ROOT / "CMakeLists.txt").read_text(), re.M).group(1)


def every():
    """(name, architecture) of each image."""
    return [(name, arch) for arch in ARCHS for name in names(arch)]


def names(arch):
    """The agent's programs for the kernel are for x86-64 alone."""
    return [name for name in NAMES if (name, arch) != ("cloudtaser-agent", "arm64")]


@functools.lru_cache(maxsize=None)
def archive(name, arch):
    return Archive(IMAGES / f"{name}-{arch}.tar")


@functools.lru_cache(maxsize=None)
def scratch():
    """A folder that goes with this run; the files of images in it belong to root."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ct-images-test-"))
    folder.chmod(0o711)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.lru_cache(maxsize=None)
def unpacked(name, arch):
    """The image as a folder with rootfs/ and image.json."""
    return archive(name, arch).unpack(scratch() / f"{name}-{arch}")


@functools.lru_cache(maxsize=None)
def runnable(name, arch):
    """(folder, what stands before a command): the image's copy that can be run here."""
    source = unpacked(name, arch)
    if EMULATORS[arch] is None:
        return source, []
    folder = scratch() / f"{name}-{arch}-emulated"
    shutil.copytree(source, folder)
    shutil.copy(EMULATORS[arch], folder / "rootfs" / "emulator")
    return folder, ["/emulator"]
