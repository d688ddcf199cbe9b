# SPDX-License-Identifier: Apache-2.0
"""What kubelet and containerd make of a container in a pod: its environment, its command line, its
security context, as an OCI runtime configuration. Pure functions; nothing is started here."""

import os
import re

# The capabilities that containerd gives a container which asks for nothing.
DEFAULT_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
    "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE").split()
ALL_CAPABILITIES = DEFAULT_CAPABILITIES + (
    "AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND BPF CHECKPOINT_RESTORE DAC_READ_SEARCH IPC_LOCK "
    "IPC_OWNER LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE NET_ADMIN NET_BROADCAST PERFMON "
    "SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG SYSLOG WAKE_ALARM").split()

MASKED_PATHS = [
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What the runtimes' default profile keeps from a container, and the capability that gives it back.
# memfd_secret, ptrace and process_vm_* are not among them: the profiles allow these from kernel 4.8
# (memfd_secret from containerd 1.6) on.
GUARDED_SYSCALLS = {
    "SYS_ADMIN": "bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount move_mount "
                 "mount_setattr open_tree perf_event_open pivot_root quotactl quotactl_fd "
                 "setdomainname sethostname setns swapoff swapon umount umount2 unshare",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "create_module delete_module finit_module init_module query_module",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime clock_adjtime settimeofday stime",
    "SYS_TTY_CONFIG": "vhangup",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy move_pages migrate_pages",
    None: "add_key get_kernel_syms io_uring_enter io_uring_register io_uring_setup kexec_file_load "
          "kexec_load keyctl nfsservctl request_key _sysctl sysfs userfaultfd uselib ustat vm86 "
          "vm86old",
}
NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET

RLIMIT_NAMES = {"RLIMIT_MEMLOCK", "RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_AS"}


class PodError(Exception):
    """A pod that kubelet would not start, or that asks for what this rig does not do."""


def expand(text, variables):
    """kubelet's $(NAME): known names are replaced, unknown ones stay, $$ is a dollar."""
    def one(match):
        if match.group(0) == "$$":
            return "$"
        name = match.group(1)
        return variables.get(name, match.group(0))
    return re.sub(r"\$\$|\$\(([^()]*)\)", one, text)


def field_value(pod, container, path):
    """A fieldRef of the downward API."""
    meta = pod.get("metadata", {})
    spec = pod.get("spec", {})
    simple = {
        "metadata.name": meta.get("name", ""),
        "metadata.namespace": meta.get("namespace", "default"),
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": "127.0.0.1",
        "status.podIPs": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }
    if path in simple:
        return simple[path]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return (meta.get(match.group(1)) or {}).get(match.group(2), "")
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = meta.get(path.split(".")[1]) or {}
        return "".join('%s="%s"\n' % (k, v) for k, v in sorted(pairs.items()))
    raise PodError("container %s: the field %s is not known here" % (container, path))


def environment(pod, container, image, objects):
    """The container's variables in order, as {name: value}. `objects` gives configmap(name) and
    secret(name) as {key: text}, or None for one that does not exist."""
    result = {}
    for source in container.get("envFrom") or []:
        for kind, lookup in (("configMapRef", objects.configmap), ("secretRef", objects.secret)):
            if kind in source:
                data = lookup(source[kind]["name"])
                if data is None and not source[kind].get("optional"):
                    raise PodError("container %s: %s %s does not exist"
                                   % (container["name"], kind, source[kind]["name"]))
                for key, value in (data or {}).items():
                    result[source.get("prefix", "") + key] = value
    for item in container.get("env") or []:
        value = _variable(pod, container, item, result, objects)
        if value is not None:
            result[item["name"]] = value
    merged = {"PATH": DEFAULT_PATH}
    merged.update(image.env)
    merged.update(result)
    return merged, result


def _variable(pod, container, item, earlier, objects):
    source = item.get("valueFrom")
    if not source:
        return expand(item.get("value", ""), earlier)
    if "fieldRef" in source:
        return field_value(pod, container["name"], source["fieldRef"]["fieldPath"])
    for kind, lookup in (("configMapKeyRef", objects.configmap), ("secretKeyRef", objects.secret)):
        if kind in source:
            ref = source[kind]
            data = lookup(ref["name"]) or {}
            if ref["key"] in data:
                return data[ref["key"]]
            if ref.get("optional"):
                return None
            raise PodError("container %s: %s %s has no key %s"
                           % (container["name"], kind, ref["name"], ref["key"]))
    raise PodError("container %s: this valueFrom of %s is not known here"
                   % (container["name"], item["name"]))


def command_line(container, image, variables):
    """command and args over the image's entrypoint and cmd, as kubelet and containerd join them."""
    command = [expand(a, variables) for a in container.get("command") or []]
    args = [expand(a, variables) for a in container.get("args") or []]
    if command:
        line = command + args
    else:
        line = image.entrypoint + (args or image.cmd)
    if not line:
        raise PodError("container %s: neither it nor its image says what to run"
                       % container["name"])
    return line


def security(pod, container, image):
    """The security context of the container over the pod's: a plain dict of what counts."""
    own = container.get("securityContext") or {}
    shared = (pod.get("spec", {}).get("securityContext")) or {}

    def pick(key, default=None):
        return own[key] if key in own else shared.get(key, default)

    user = pick("runAsUser")
    user = image.user if user is None else user
    if pick("runAsNonRoot") and user == 0:
        raise PodError("container %s: runAsNonRoot is set and it would run as root"
                       % container["name"])
    group = pick("runAsGroup")
    groups = list(shared.get("supplementalGroups") or [])
    if "fsGroup" in shared:
        groups.append(shared["fsGroup"])
    return {
        "user": user,
        "group": image.group if group is None else group,
        "groups": groups,
        "privileged": bool(own.get("privileged")),
        "no_new_privs": own.get("allowPrivilegeEscalation") is False,
        "read_only": bool(own.get("readOnlyRootFilesystem")),
        "capabilities": capabilities(own),
        "seccomp": (pick("seccompProfile") or {}).get("type", "Unconfined"),
        "unmasked": own.get("procMount") == "Unmasked",
    }


def capabilities(context):
    """The bounding set, with CAP_ in front, after drop and add."""
    if context.get("privileged"):
        return ["CAP_" + c for c in ALL_CAPABILITIES]
    asked = context.get("capabilities") or {}
    drop = [c.upper().removeprefix("CAP_") for c in asked.get("drop") or []]
    add = [c.upper().removeprefix("CAP_") for c in asked.get("add") or []]
    base = ALL_CAPABILITIES if "ALL" in add else DEFAULT_CAPABILITIES
    kept = [] if "ALL" in drop else [c for c in base if c not in drop]
    kept += [c for c in add if c != "ALL" and c not in kept]
    return ["CAP_" + c for c in kept]


def seccomp_default(bounding, deny=()):
    """The runtimes' default filter, written as what it refuses; `deny` refuses more (ENOSYS), as an
    older profile or kernel would."""
    names = []
    for capability, calls in GUARDED_SYSCALLS.items():
        if capability is None or "CAP_" + capability not in bounding:
            names += calls.split()
    rules = [{"names": sorted(names), "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]
    if deny:
        rules.append({"names": sorted(deny), "action": "SCMP_ACT_ERRNO", "errnoRet": 38})
    if "CAP_SYS_ADMIN" not in bounding:
        rules += [
            {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
             "args": [{"index": 0, "value": 1 << bit, "valueTwo": 1 << bit,
                       "op": "SCMP_CMP_MASKED_EQ"}]}
            for bit in range(32) if NAMESPACE_FLAGS & 1 << bit]
        # Its flags are behind a pointer; ENOSYS makes libc fall back to clone.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38})
    return {"defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": rules}


def quantity(text):
    """A Kubernetes quantity as a number."""
    match = re.fullmatch(r"([0-9.]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", str(text))
    if not match:
        raise PodError("%s is no quantity" % text)
    factors = {None: 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
               "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    return float(match.group(1)) * factors[match.group(2)]


def resources(container):
    """Memory and CPU limits; devices as a container gets them."""
    limits = (container.get("resources") or {}).get("limits") or {}
    result = {"devices": [{"allow": False, "access": "rwm"}]}
    if "memory" in limits:
        result["memory"] = {"limit": int(quantity(limits["memory"]))}
    if "cpu" in limits:
        result["cpu"] = {"period": 100000, "quota": int(quantity(limits["cpu"]) * 100000)}
    return result


def standard_mounts():
    """What every container has, before its volumes."""
    tmpfs = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": tmpfs},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
    ]


def bind(source, destination, read_only):
    return {"destination": destination, "type": "bind", "source": source,
            "options": ["rbind", "rprivate", "ro" if read_only else "rw"]}


def config(pod, container, image, *, env, args, mounts, cgroup, rlimits=None, deny_syscalls=()):
    """The whole config.json of one container."""
    context = security(pod, container, image)
    bounding = context["capabilities"]
    for name in rlimits or {}:
        if name not in RLIMIT_NAMES:
            raise PodError("%s is no limit that can be set here" % name)
    namespaces = ["mount", "ipc", "uts"] + ([] if pod["spec"].get("hostPID") else ["pid"])
    result = {
        "ociVersion": "1.0.2",
        "hostname": pod["spec"].get("hostname") or pod["metadata"].get("name") or "pod",
        "root": {"path": "rootfs", "readonly": context["read_only"]},
        "process": {
            "terminal": False,
            "user": {"uid": context["user"], "gid": context["group"],
                     "additionalGids": context["groups"]},
            "args": args,
            "env": ["%s=%s" % pair for pair in env.items()],
            "cwd": container.get("workingDir") or image.workdir,
            # As containerd since 2022: nothing inheritable, nothing ambient, so that a user other
            # than root has none of these after its exec.
            "capabilities": {"bounding": bounding, "effective": bounding, "permitted": bounding},
            "noNewPrivileges": context["no_new_privs"],
            "rlimits": [{"type": name, "soft": value, "hard": value}
                        for name, value in (rlimits or {}).items()],
        },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": t} for t in namespaces],
            "resources": resources(container),
        },
    }
    if not context["privileged"] and not context["unmasked"]:
        result["linux"]["maskedPaths"] = MASKED_PATHS
        result["linux"]["readonlyPaths"] = READONLY_PATHS
    if not context["privileged"] and context["seccomp"] == "RuntimeDefault":
        result["linux"]["seccomp"] = seccomp_default(bounding, deny_syscalls)
    elif deny_syscalls:
        result["linux"]["seccomp"] = dict(
            seccomp_default(["CAP_" + c for c in ALL_CAPABILITIES], deny_syscalls))
    return result


class Image:
    """An unpacked image: a folder that is the root file system itself, or one that holds `rootfs`
    and, if it likes, image.json with entrypoint, cmd, env (a list of NAME=value), user, workdir."""

    def __init__(self, folder, settings=None):
        import json
        self.rootfs = folder
        settings = dict(settings or {})
        if os.path.isdir(os.path.join(folder, "rootfs")):
            self.rootfs = os.path.join(folder, "rootfs")
            described = os.path.join(folder, "image.json")
            if os.path.exists(described):
                with open(described, encoding="utf-8") as f:
                    settings = {**json.load(f), **settings}
        if not os.path.isdir(self.rootfs):
            raise PodError("%s is no folder with an image" % folder)
        self.entrypoint = settings.get("entrypoint") or []
        self.cmd = settings.get("cmd") or []
        self.env = dict(item.split("=", 1) for item in settings.get("env") or [])
        user, _, group = str(settings.get("user") or "0").partition(":")
        self.user, self.group = int(user), int(group or 0)
        self.workdir = settings.get("workdir") or "/"
