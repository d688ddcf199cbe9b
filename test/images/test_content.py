# SPDX-License-Identifier: Apache-2.0
"""What is in the images: every file by name, sizes, owners, the configuration, how it was linked."""

import json
import os
import pathlib
import pwd
import re
import subprocess
import unittest

import world
from process import ROOT

# Unpacked, in bytes.
MOST = {"cloudtaser-webhook": 16_000_000, "cloudtaser-injector": 6_000_000, "cloudtaser-agent": 6_000_000}
USERS = {"cloudtaser-webhook": "65532:65532", "cloudtaser-injector": "65532:65532", "cloudtaser-agent": "0:0"}
LIBRARIES = """libc.so.6 libffi.so.8 libgmp.so.10 libgnutls.so.30 libhogweed.so.6 libidn2.so.0
    libjansson.so.4 libmicrohttpd.so.12 libnettle.so.8 libp11-kit.so.0 libtasn1.so.6
    libunistring.so.2 libyaml-0.so.2""".split()


# Debian's packages of these.
PACKAGES = """libc6 libffi8 libgmp10 libgnutls30 libhogweed6 libidn2-0 libjansson4 libmicrohttpd12
    libnettle8 libp11-kit0 libtasn1-6 libunistring2 libyaml-0-2""".split()


def expected_files(name, arch):
    if name == "cloudtaser-injector":
        licences = ["cloudtaser", "curl", "jansson", "musl", "openssl"]
        return {"cloudtaser-injector", "cloudtaser-wrapper",
                *(f"licenses/{n}" for n in licences)}
    if name == "cloudtaser-agent":
        licences = ["cloudtaser", "curl", "elfutils", "jansson", "libbpf", "musl", "openssl", "zlib"]
        return {"cloudtaser-agent", *(f"licenses/{n}" for n in licences)}
    folder = f"lib/{world.MACHINES[arch]}-linux-gnu"
    return {"cloudtaser-webhook", world.LOADERS[arch], *(f"{folder}/{n}" for n in LIBRARIES),
            *(f"licenses/{n}" for n in ["cloudtaser", "curl", "openssl", *PACKAGES])}


def readelf(option, path):
    return subprocess.run(["readelf", option, "-W", path], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


class Content(unittest.TestCase):
    def each(self):
        for name, arch in world.every():
            yield name, arch, world.archive(name, arch)

    def test_files_are_exactly_these(self):
        for name, arch, image in self.each():
            files = {m.name for m in image.members() if not m.isdir()}
            self.assertEqual(files, expected_files(name, arch))
            parents = {str(p) for f in files for p in pathlib.PurePath(f).parents} - {"."}
            self.assertEqual({m.name for m in image.members() if m.isdir()}, parents)

    def test_all_belongs_to_root_and_nobody_else_writes(self):
        for name, _, image in self.each():
            for member in image.members():
                self.assertTrue(member.isdir() or member.isfile(), member.name)
                self.assertEqual((member.uid, member.gid), (0, 0), member.name)
                program = member.isdir() or "/" not in member.name or "ld-linux" in member.name
                self.assertEqual(member.mode & 0o7777, 0o755 if program else 0o644, member.name)
                self.assertEqual(member.pax_headers, {}, member.name)

    def test_licences_say_something(self):
        for name, arch, _ in self.each():
            for path in (world.unpacked(name, arch) / "rootfs" / "licenses").iterdir():
                self.assertRegex(path.read_text(errors="replace"), "(?i)licen[cs]e|permission", path)

    def test_sizes(self):
        for name, arch, image in self.each():
            size = sum(m.size for m in image.members())
            print(f"     {name} {arch}: {size / 1e6:.2f} MB unpacked, "
                  f"{image.path.stat().st_size / 1e6:.2f} MB packed")
            self.assertLessEqual(size, MOST[name])

    def test_configuration(self):
        for name, arch, image in self.each():
            self.assertEqual((image.config["os"], image.config["architecture"]), ("linux", arch))
            self.assertEqual(image.tag, world.VERSION)
            of = image.config["config"]
            self.assertEqual(set(of), {"User", "Entrypoint", "WorkingDir", "Labels"})
            self.assertEqual(of["User"], USERS[name])
            self.assertEqual(of["Entrypoint"], [f"/{name}"])
            labels = of["Labels"]
            self.assertEqual(labels["org.opencontainers.image.version"], world.VERSION)
            self.assertEqual(labels["org.opencontainers.image.licenses"], "Apache-2.0")
            self.assertRegex(labels["org.opencontainers.image.revision"], "^[0-9a-f]{40}")

    def test_skopeo_agrees(self):
        for name, arch, image in self.each():
            found = json.loads(subprocess.run(
                ["skopeo", "inspect", f"oci-archive:{image.path}:{world.VERSION}"], check=True,
                stdout=subprocess.PIPE).stdout)
            self.assertEqual((found["Os"], found["Architecture"]), ("linux", arch))
            self.assertEqual(found["Digest"], image.digest)

    def test_digests_are_written_down(self):
        found = json.loads((world.IMAGES / "digests.json").read_text())
        self.assertEqual(set(found), set(world.NAMES))
        for name, arch, image in self.each():
            self.assertEqual(found[name][arch], image.digest)

    def test_programs_are_hardened_and_stripped(self):
        for name, arch, _ in self.each():
            root = world.unpacked(name, arch) / "rootfs"
            for path in root.glob("cloudtaser-*"):
                header, dynamic = readelf("-h", path), readelf("-d", path)
                segments, sections = readelf("-l", path), readelf("-S", path)
                self.assertRegex(header, r"Type: +DYN")  # position-independent
                self.assertRegex(dynamic, r"FLAGS_1.*\bNOW\b")
                self.assertIn("GNU_RELRO", segments)
                self.assertRegex(segments, r"GNU_STACK.* RW ")
                self.assertNotRegex(segments, r"LOAD .* RWE ")
                self.assertNotIn(".symtab", sections)
                self.assertNotIn(".debug_info", sections)
                self.assertNotRegex(dynamic, "RPATH|RUNPATH")

    def test_everything_is_for_its_machine(self):
        words = {"amd64": "X86-64", "arm64": "AArch64"}
        for name, arch, _ in self.each():
            root = world.unpacked(name, arch) / "rootfs"
            for path in [*root.glob("cloudtaser-*"), *root.glob("lib*/**/*.so*")]:
                self.assertRegex(readelf("-h", path), f"Machine: +.*{words[arch]}", path)

    def test_programs_name_no_path_of_the_machine_that_built_them(self):
        homes = {pwd.getpwuid(os.getuid()).pw_dir, os.environ.get("HOME") or "/nowhere"}
        for name, arch, _ in self.each():
            for path in (world.unpacked(name, arch) / "rootfs").glob("cloudtaser-*"):
                data = path.read_bytes()
                self.assertIn(b"cloudtaser", data)  # that what is there is found
                for place in {ROOT, *(pathlib.Path(home) / ".cache" for home in homes)}:
                    self.assertIsNone(re.search(re.escape(os.fsencode(place)), data),
                                      f"{path.name} has {place} in it")
