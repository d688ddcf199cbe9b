# SPDX-License-Identifier: Apache-2.0
"""The bills of materials, held against what is in the images."""

import hashlib
import json
import re
import unittest

import world


def bill(name, arch):
    return json.loads((world.IMAGES / f"{name}-{arch}.spdx.json").read_text(encoding="utf-8"))


class Materials(unittest.TestCase):
    def each(self):
        for name, arch in world.every():
            yield name, arch, bill(name, arch)

    def test_every_file_with_its_digest(self):
        for name, arch, found in self.each():
            root = world.unpacked(name, arch) / "rootfs"
            actual = {f"./{p.relative_to(root)}": hashlib.sha256(p.read_bytes()).hexdigest()
                      for p in root.rglob("*") if p.is_file()}
            listed = {f["fileName"]: c["checksumValue"] for f in found["files"]
                      for c in f["checksums"] if c["algorithm"] == "SHA256"}
            self.assertEqual(listed, actual)

    def test_the_image_is_named_by_its_digest(self):
        for name, arch, found in self.each():
            (top,) = [r["relatedSpdxElement"] for r in found["relationships"]
                      if r["relationshipType"] == "DESCRIBES"]
            (package,) = [p for p in found["packages"] if p["SPDXID"] == top]
            self.assertEqual((package["name"], package["versionInfo"]), (name, world.VERSION))
            digest = world.archive(name, arch).digest
            self.assertEqual("sha256:" + package["checksums"][0]["checksumValue"], digest)
            locators = [r["referenceLocator"] for r in package["externalRefs"]]
            self.assertEqual(locators, [f"pkg:oci/{name}@{digest.replace(':', '%3A')}"
                                        f"?arch={arch}&tag={world.VERSION}"])

    def test_it_is_whole(self):
        """What SPDX 2.3 demands, and that every relationship leads somewhere."""
        for _, _, found in self.each():
            self.assertEqual((found["spdxVersion"], found["dataLicense"]), ("SPDX-2.3", "CC0-1.0"))
            self.assertRegex(found["creationInfo"]["created"], r"^\d{4}-\d\d-\d\dT[\d:]{8}Z$")
            ids = [e["SPDXID"] for e in found["packages"] + found["files"]]
            self.assertEqual(len(ids), len(set(ids)))
            for one in ids:
                self.assertRegex(one, "^SPDXRef-[A-Za-z0-9.-]+$")
            for package in found["packages"]:
                for key in ("name", "versionInfo", "downloadLocation", "licenseDeclared"):
                    self.assertTrue(package[key], package)
                self.assertRegex(package["externalRefs"][0]["referenceLocator"], "^pkg:[a-z]+/")
            for relation in found["relationships"]:
                self.assertIn(relation["spdxElementId"], [*ids, "SPDXRef-DOCUMENT"])
                self.assertIn(relation["relatedSpdxElement"], ids)

    def test_every_library_belongs_to_a_package(self):
        for _, _, found in self.each():
            packages = {p["SPDXID"]: p for p in found["packages"]}
            owners = {r["relatedSpdxElement"]: packages[r["spdxElementId"]]["name"]
                      for r in found["relationships"] if r["relationshipType"] == "CONTAINS"
                      and packages[r["spdxElementId"]].get("primaryPackagePurpose") is None}
            for file in found["files"]:
                if ".so" in file["fileName"]:
                    self.assertRegex(owners.get(file["SPDXID"], "nobody"), "^lib", file["fileName"])

    def linked(self, found, program):
        """{name: version} of what was linked into a program."""
        (file,) = [f["SPDXID"] for f in found["files"] if f["fileName"] == f"./{program}"]
        parts = {r["relatedSpdxElement"] for r in found["relationships"]
                 if r["spdxElementId"] == file and r["relationshipType"] == "STATIC_LINK"}
        return {p["name"]: p["versionInfo"] for p in found["packages"] if p["SPDXID"] in parts}

    def test_what_is_linked_statically(self):
        static = {"openssl", "jansson", "musl"}
        expected = {"cloudtaser-webhook": {"curl", "libssl-dev"},
                    "cloudtaser-agent": static | {"curl", "zlib", "libbpf", "elfutils"},
                    "cloudtaser-injector": static, "cloudtaser-wrapper": static | {"curl"}}
        for name, arch, found in self.each():
            for path in (world.unpacked(name, arch) / "rootfs").glob("cloudtaser-*"):
                self.assertEqual(set(self.linked(found, path.name)), expected[path.name])

    def test_versions_are_those_that_the_programs_tell(self):
        seen = 0
        for name, arch, found in self.each():
            for path in (world.unpacked(name, arch) / "rootfs").glob("cloudtaser-*"):
                told = re.search(rb"OpenSSL (3\.\d+\.\d+) \d", path.read_bytes())
                if told:
                    parts = self.linked(found, path.name)
                    listed = parts.get("openssl") or parts["libssl-dev"]
                    self.assertEqual(listed.partition("-")[0], told.group(1).decode(), path)
                    seen += 1
        self.assertGreaterEqual(seen, 2 * len(world.ARCHS))  # webhook and wrapper

    def test_the_compiled_curl_is_the_listed_one(self):
        from process import ROOT
        lock = (ROOT / "tools" / "deps-src" / "Cargo.lock").read_text()
        version = re.search(r'name = "curl-sys"\nversion = "[^"]*curl-([0-9.]+)"', lock).group(1)
        for _, _, found in self.each():
            (curl,) = [p for p in found["packages"] if p["name"] == "curl"]
            self.assertEqual(curl["versionInfo"], version)
