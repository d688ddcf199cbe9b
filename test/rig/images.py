# SPDX-License-Identifier: Apache-2.0
"""Container images without a registry: made from files, collected into one OCI archive that
`ctr images import` takes."""

import hashlib
import io
import json
import pathlib
import tarfile

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
# What containerd calls an image that it imports.
NAME = "io.containerd.image.name"


def _digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files, links=()):
    """A layer of one's own: `files` path -> host file or bytes, `links` path -> target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folders = set()
        for path in [*files, *dict(links)]:
            for parent in reversed(pathlib.PurePosixPath(path).parents):
                name = str(parent).strip("/")
                if name and name != "." and name not in folders:
                    folders.add(name)
                    info = tarfile.TarInfo(name)
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(info)
        for path, content in files.items():
            data = content if isinstance(content, bytes) else pathlib.Path(content).read_bytes()
            info = tarfile.TarInfo(path.lstrip("/"))
            info.mode, info.size = 0o755, len(data)
            tar.addfile(info, io.BytesIO(data))
        for path, target in dict(links).items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


class Archive:
    """Images under the names that pods use, to be written as one OCI archive."""

    def __init__(self):
        self._blobs = {}
        self._manifests = []

    def _blob(self, data, media_type):
        digest = _digest(data)
        self._blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def make(self, name, data, entrypoint=None, command=None, user=None, env=()):
        """An image from scratch with one layer."""
        settings = {"Entrypoint": entrypoint, "Cmd": command, "User": user, "Env": list(env)}
        config = {"architecture": "amd64", "os": "linux",
                  "config": {key: value for key, value in settings.items() if value},
                  "rootfs": {"type": "layers", "diff_ids": [_digest(data)]}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE,
                    "config": self._blob(json.dumps(config).encode(), CONFIG_TYPE),
                    "layers": [self._blob(data, LAYER_TYPE)]}
        self._name(name, self._blob(json.dumps(manifest).encode(), MANIFEST_TYPE))

    def _name(self, name, descriptor):
        self._manifests.append({**descriptor, "annotations": {NAME: name}})

    def add(self, path, repository, tag):
        """The one image of an OCI archive, as REPOSITORY:TAG and REPOSITORY@DIGEST; returns its
        digest, which is what it was: nothing of it is changed."""
        blobs, index = {}, None
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile():
                    data = tar.extractfile(member).read()
                    if member.name.removeprefix("./") == "index.json":
                        index = json.loads(data)
                    elif "blobs/sha256/" in member.name:
                        blobs["sha256:" + member.name.rsplit("/", 1)[1]] = data
        [descriptor] = index["manifests"]
        for digest, data in blobs.items():
            if _digest(data) != digest:
                raise ValueError(f"{path}: {digest} is not what its name says")
        self._blobs.update(blobs)
        kept = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
        self._name(f"{repository}:{tag}", kept)
        self._name(f"{repository}@{kept['digest']}", kept)
        return kept["digest"]

    def write(self, path):
        with tarfile.open(path, "w") as tar:
            def put(name, data):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            put("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            for digest, data in self._blobs.items():
                put(f"blobs/sha256/{digest[7:]}", data)
            put("index.json", json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE,
                                          "manifests": self._manifests}).encode())

