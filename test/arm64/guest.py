# SPDX-License-Identifier: Apache-2.0
"""A real aarch64 kernel under QEMU: one boot runs a list of shell commands and tells of each."""

import re
import subprocess
import time

import process
import world

MODULES = ("failover", "net_failover", "virtio_net")
INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
date -s @{now} >/dev/null
for module in {modules}; do insmod /$module.ko; done
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 up
export DB_PASSWORD='vault:secret/data/db#password'
{steps}
poweroff -f
"""
STEP = """echo '== {name}'
( {command}
) 2>&1
echo "== ended $?"
"""
# A 32-bit program: exit(32).
EXIT_32 = bytes.fromhex("2000a0e3 0170a0e3 000000ef")


def program_of_32_bits():
    """The smallest ELF file there can be of such a program."""
    header, size = 52 + 32, 52 + 32 + len(EXIT_32)

    def word(value, width=4):
        return value.to_bytes(width, "little")
    return (b"\x7fELF\1\1\1" + bytes(9) + word(2, 2) + word(40, 2) + word(1) +
            word(0x10000 + header) + word(52) + word(0) + word(0x5000000) +
            b"".join(word(v, 2) for v in (52, 32, 1, 0, 0, 0)) +
            b"".join(map(word, (1, 0, 0x10000, 0x10000, size, size, 5, 0x10000))) + EXIT_32)


def archive(files):
    """An initramfs (cpio, "newc") of name -> (mode, content)."""
    out = bytearray()
    for inode, (name, (mode, data)) in enumerate({**files, "TRAILER!!!": (0, b"")}.items(), 1):
        path = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def _files(machine, size, here, steps):
    script = INIT.format(now=int(time.time()), modules=" ".join(MODULES), steps="".join(
        STEP.format(name=name, command=command) for name, command in steps.items()))
    files = {name: (0o40755, b"") for name in ("bin", "dev", "proc", "sys", "tmp", "cloudtaser")}
    programs = {"bin/busybox": machine / "busybox", "app": world.APP,
                "cloudtaser-wrapper": world.WRAPPER, "cloudtaser-injector": world.INJECTOR}
    for name, path in programs.items():
        files[name] = (0o100755, path.read_bytes())
    for name in MODULES:
        files[f"{name}.ko"] = (0o100644, (machine / size / f"{name}.ko").read_bytes())
    files["app32"] = (0o100755, program_of_32_bits())
    files["ca.pem"] = (0o100644, here.ca.read_bytes())
    files["jwt"] = (0o100644, here.jwt.read_bytes())
    files["init"] = (0o100755, script.encode())
    return files


def boot(machine, size, here, steps):
    """Runs the steps under the kernel with pages of `size`: name -> (status, output)."""
    initrd = here.folder / f"initrd-{size}"
    initrd.write_bytes(archive(_files(machine, size, here, steps)))
    # "max" has everything that QEMU knows, pointer authentication by its quick algorithm.
    command = ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on",
               "-accel", "tcg,thread=multi", "-smp", "2", "-m", "768", "-nographic", "-no-reboot",
               "-kernel", machine / size / "kernel", "-initrd", initrd,
               "-append", "console=ttyAMA0 quiet panic=-1",
               "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]
    with process.spawn(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as qemu:
        try:
            console = qemu.communicate(timeout=180)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            qemu.kill()
            console = qemu.communicate()[0].decode(errors="replace")
    console = console.replace("\r\n", "\n")
    found = re.findall(r"^== (\S+)\n(.*?)^== ended (\d+)$", console, re.M | re.S)
    if [name for name, _, _ in found] != list(steps):
        raise process.RigError(f"the guest did not run every step:\n{console[-4000:]}")
    return {name: (int(status), output) for name, output, status in found}
