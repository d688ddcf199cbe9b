# SPDX-License-Identifier: Apache-2.0
"""An OCI archive as tools/images writes it: its configuration and its files, each blob checked."""

import hashlib
import json
import pathlib
import tarfile


class Archive:
    """A whole image, unpacked on demand."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._blobs = {}
        with tarfile.open(self.path) as tar:
            self.names = tar.getnames()
            self.index = json.load(tar.extractfile("index.json"))
            for member in tar.getmembers():
                if member.isfile() and member.name.startswith("blobs/sha256/"):
                    self._blobs["sha256:" + member.name.rsplit("/", 1)[1]] = (
                        tar.extractfile(member).read())
        for digest, data in self._blobs.items():
            if hashlib.sha256(data).hexdigest() != digest.partition(":")[2]:
                raise AssertionError(f"{self.path}: the blob {digest} has another digest")
        (entry,) = self.index["manifests"]
        self.digest = entry["digest"]
        self.tag = entry["annotations"]["org.opencontainers.image.ref.name"]
        self.manifest = json.loads(self._blobs[self.digest])
        self.config = json.loads(self._blobs[self.manifest["config"]["digest"]])

    def layer(self):
        """The one layer, as an open tar file."""
        import io
        (layer,) = self.manifest["layers"]
        return tarfile.open(fileobj=io.BytesIO(self._blobs[layer["digest"]]), mode="r:gz")

    def members(self):
        with self.layer() as tar:
            return tar.getmembers()

    def unpack(self, folder):
        """As test/rig's Image wants it: rootfs/ and image.json."""
        root = pathlib.Path(folder) / "rootfs"
        root.mkdir(parents=True)
        with self.layer() as tar:
            tar.extractall(root)
        of = self.config["config"]
        (root.parent / "image.json").write_text(json.dumps({
            "entrypoint": of.get("Entrypoint"), "cmd": of.get("Cmd"), "env": of.get("Env"),
            "user": of.get("User"), "workdir": of.get("WorkingDir")}), encoding="utf-8")
        return root.parent
