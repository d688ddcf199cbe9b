# SPDX-License-Identifier: Apache-2.0
"""The volumes of a pod as folders on this machine, laid out and owned as kubelet does it."""

import os
import subprocess

import oci

PATHS_LEFT = "..data"


class Objects:
    """Where the contents of configMaps, secrets and tokens come from. ConfigMaps and secrets are
    {name: {key: text}} or {name: folder}; `token` is called with (audience or None, seconds)."""

    def __init__(self, configmaps=None, secrets=None, token=None):
        self._configmaps = configmaps or {}
        self._secrets = secrets or {}
        self._token = token

    def configmap(self, name):
        return self._read(self._configmaps.get(name))

    def secret(self, name):
        return self._read(self._secrets.get(name))

    def token(self, audience, seconds):
        if self._token is None:
            raise oci.PodError("the pod asks for a token for audience %r and none is given"
                               % audience)
        return self._token(audience, seconds)

    @staticmethod
    def _read(source):
        if source is None or isinstance(source, dict):
            return source
        result = {}
        for key in sorted(os.listdir(source)):
            path = os.path.join(source, key)
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as f:
                    result[key] = f.read()
        return result


class Volumes:
    """Makes each volume of the pod below `work`. paths: {volume name: folder}."""

    def __init__(self, pod, work, objects):
        self.pod = pod
        self.objects = objects
        self.paths = {}
        context = pod["spec"].get("securityContext") or {}
        self.group = context.get("fsGroup")
        self.user = self._common_user(context)
        os.makedirs(work, exist_ok=True)
        os.chmod(work, 0o711)
        for volume in pod["spec"].get("volumes") or []:
            path = os.path.join(work, volume["name"])
            self.paths[volume["name"]] = self._make(volume, path)

    def _common_user(self, context):
        """kubelet gives tokens to a user only when all containers run as the same one."""
        spec = self.pod["spec"]
        users = {(c.get("securityContext") or {}).get("runAsUser", context.get("runAsUser"))
                 for c in (spec.get("initContainers") or []) + spec["containers"]}
        return users.pop() if len(users) == 1 else None

    def _make(self, volume, path):
        if "hostPath" in volume:
            return volume["hostPath"]["path"]
        os.makedirs(path)
        if "emptyDir" in volume:
            self._empty(volume["emptyDir"] or {}, path)
        elif "projected" in volume:
            self._projected(volume["projected"], path)
        elif "configMap" in volume:
            self._projected({"sources": [{"configMap": dict(volume["configMap"])}],
                             "defaultMode": volume["configMap"].get("defaultMode")}, path)
        elif "secret" in volume:
            source = dict(volume["secret"])
            source["name"] = source.pop("secretName")
            self._projected({"sources": [{"secret": source}],
                             "defaultMode": source.get("defaultMode")}, path)
        elif "downwardAPI" in volume:
            self._projected({"sources": [{"downwardAPI": volume["downwardAPI"]}]}, path)
        else:
            raise oci.PodError("the volume %s is of a kind that is not known here"
                               % volume["name"])
        return path

    def _empty(self, source, path):
        if source.get("medium") == "Memory":
            size = int(oci.quantity(source.get("sizeLimit", "64Mi")))
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "tmpfs", path],
                           check=True)
        if self.group is not None:
            os.chown(path, -1, self.group)
        os.chmod(path, 0o777 if self.group is None else 0o2777)

    def _projected(self, source, path):
        """Files behind two links, as kubelet's atomic writer leaves them: NAME -> ..data/NAME,
        ..data -> a folder with a date for a name."""
        mode = source.get("defaultMode")
        mode = 0o644 if mode is None else mode
        real = os.path.join(path, "..2024_01_01_00_00_00.0000000001")
        os.makedirs(real)
        for name, (content, file_mode, token) in self._files(source, mode).items():
            self._write(os.path.join(real, name), content, file_mode, token)
            link = os.path.join(path, name.split("/")[0])
            if not os.path.lexists(link):
                os.symlink(os.path.join(PATHS_LEFT, name.split("/")[0]), link)
        os.symlink(os.path.basename(real), os.path.join(path, PATHS_LEFT))
        os.chmod(path, 0o755 if self.group is None else 0o2755)

    def _files(self, source, mode):
        """{path: (content, mode, is a token)} of all sources of a projected volume."""
        files = {}
        for one in source.get("sources") or []:
            if "serviceAccountToken" in one:
                ask = one["serviceAccountToken"]
                text = self.objects.token(ask.get("audience"), ask.get("expirationSeconds", 3600))
                files[ask["path"]] = (text, mode, True)
            elif "downwardAPI" in one:
                for item in one["downwardAPI"].get("items") or []:
                    text = oci.field_value(self.pod, "", item["fieldRef"]["fieldPath"])
                    files[item["path"]] = (text, item.get("mode", mode), False)
            elif "configMap" in one:
                files.update(self._keys("configMap", one["configMap"], mode))
            elif "secret" in one:
                files.update(self._keys("secret", one["secret"], mode))
            else:
                raise oci.PodError("a projected source of a kind that is not known here: %s"
                                   % ", ".join(one))
        return files

    def _keys(self, kind, source, mode):
        lookup = self.objects.configmap if kind == "configMap" else self.objects.secret
        data = lookup(source["name"])
        if data is None:
            if source.get("optional"):
                return {}
            raise oci.PodError("%s %s does not exist" % (kind, source["name"]))
        items = source.get("items") or [{"key": k, "path": k} for k in data]
        result = {}
        for item in items:
            if item["key"] in data:
                result[item["path"]] = (data[item["key"]], item.get("mode", mode), False)
            elif not source.get("optional"):
                raise oci.PodError("%s %s has no key %s" % (kind, source["name"], item["key"]))
        return result

    def _write(self, path, content, mode, token):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
        if token and (self.user is not None or self.group is not None):
            # kubelet narrows a token as soon as it knows whose it is.
            mode = 0o600
            os.chown(path, -1 if self.user is None else self.user, -1)
        if self.group is not None:
            os.chown(path, -1, self.group)
            mode |= 0o440
        os.chmod(path, mode)

    def mounts(self, container):
        """The OCI mounts of one container's volumeMounts."""
        result = []
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in self.paths:
                raise oci.PodError("container %s mounts the unknown volume %s"
                                   % (container["name"], mount["name"]))
            source = self.paths[mount["name"]]
            if mount.get("subPath"):
                source = os.path.join(source, mount["subPath"])
                if not os.path.exists(source):
                    os.makedirs(source)
            result.append(oci.bind(source, mount["mountPath"], bool(mount.get("readOnly"))))
        return result
