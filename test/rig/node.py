# SPDX-License-Identifier: Apache-2.0
"""A real node: a virtual machine with kubelet, containerd and kube-proxy, and the network namespace
in which it and the control plane live."""

import ctypes
import os
import pathlib
import shlex
import shutil
import signal
import subprocess

from machine import KERNEL_OPTIONS
from process import PR_SET_PDEATHSIG, ROOT, Service

HOST = "10.77.0.1"
NODE = "10.77.0.11"
POD_RANGE = "10.88.0.0/16"
FILES = ROOT / "test" / "cluster" / "node"
LOGS = ("containerd", "kubelet", "kube-proxy")
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter_own_world():
    """Goes on in a child with network, process and mount namespaces of its own: no run meets another,
    and however it ends, all that it started ends with it. Does not return in the parent."""
    if _LIBC.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    child = os.fork()
    if child == 0:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The terminal's Ctrl-C has reached the child already; a second one does no harm.
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def make_network():
    """One cable between here and the machine; the pods are behind it."""
    _ip("link", "set", "lo", "up")
    _ip("tuntap", "add", "tap0", "mode", "tap")
    _ip("address", "add", f"{HOST}/24", "dev", "tap0")
    _ip("link", "set", "tap0", "up")
    _ip("route", "add", POD_RANGE, "via", NODE)


def virtual_machine():
    """The folder of QEMU, kernel and root file system; CT_VM, or what tools/build-vm makes."""
    if os.environ.get("CT_VM"):
        return pathlib.Path(os.environ["CT_VM"])
    tool = ROOT / "tools" / "build-vm"
    subprocess.run([tool], check=True)
    found = subprocess.run([tool, "--print"], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(found.stdout.strip())


class Node:
    """Booting by the constructor's end; wait_ready() waits for it. Its disk stays as it was."""

    name = "node1"

    def __init__(self, cluster, machine, archive, work_dir, log_dir):
        self.cluster = cluster
        self.work = pathlib.Path(work_dir)
        self.logs = pathlib.Path(log_dir)
        disk = self._input_disk(archive)
        self.service = Service("console", self._qemu(pathlib.Path(machine), disk), self.logs,
                               env={"PATH": os.environ["PATH"], "TMPDIR": str(self.work)})

    def _input_disk(self, archive):
        folder, disk = self.work / "input", self.work / "input.img"
        shutil.copytree(FILES, folder)
        (folder / "cni").mkdir()
        shutil.move(folder / "10-bridge.conflist", folder / "cni")
        (folder / "bin").mkdir()
        for program in ("kubelet", "kube-proxy"):
            shutil.copy2(self.cluster.binaries / program, folder / "bin")
        shutil.copy2(self.cluster.authority.certificate, folder / "cluster-ca.crt")
        self.cluster.client_kubeconfig("kubelet", f"/O=system:nodes/CN=system:node:{self.name}",
                                       folder / "kubelet.kubeconfig")
        self.cluster.client_kubeconfig("kube-proxy", "/CN=system:kube-proxy",
                                       folder / "kube-proxy.kubeconfig")
        values = {"NODE_NAME": self.name, "NODE_ADDRESS": NODE, "GATEWAY": HOST,
                  "POD_RANGE": POD_RANGE}
        (folder / "node.env").write_text("".join(f"{k}={shlex.quote(v)}\n"
                                                 for k, v in values.items()))
        archive.write(folder / "images.tar")
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) // 2**20 + 64
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, "-F",
                        disk, f"{size}M"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder)
        return disk

    def _qemu(self, machine, disk):
        ports = []
        for number, name in enumerate(LOGS, 1):
            ports += ["-chardev", f"file,id={name},path={self.logs / name}.log",
                      "-device", f"virtserialport,chardev={name},nr={number},name={name}"]
        return [machine / "qemu", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
                "-m", "3072", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
                "-kernel", machine / "kernel", "-initrd", machine / "initrd",
                "-append", KERNEL_OPTIONS,
                "-drive", f"file={machine / 'node.img'},if=virtio,format=raw,snapshot=on,"
                          "cache=unsafe",
                "-drive", f"file={disk},if=virtio,format=raw,readonly=on",
                "-device", "virtio-serial", *ports, "-device", "virtio-rng-pci",
                "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
                "-device", "virtio-net-pci,netdev=net,mac=52:54:00:00:00:01,romfile="]

    def wait_ready(self, seconds=240):
        self.service.wait_for(self._ready, f"{self.name} to be Ready", seconds)

    def _ready(self):
        status, raw = self.cluster.request("GET", f"/api/v1/nodes/{self.name}")
        return status == 200 and b'"type":"Ready","status":"True"' in raw.replace(b" ", b"")

    def log_files(self):
        return [self.service.log, *(self.logs / f"{name}.log" for name in LOGS)]

    def close(self):
        self.service.end()


def missing():
    """Why no node can be had here, or None."""
    if os.geteuid() != 0:
        return "only root can make network namespaces and the machine's file system"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun: load the kernel module tun"
    for tool in ("mke2fs", "ip", "openssl"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (tools/setup does it)"
    return None

