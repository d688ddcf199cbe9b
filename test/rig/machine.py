# SPDX-License-Identifier: Apache-2.0
"""A virtual machine without a disk: a kernel of tools/build-kernels, and an initial file system that holds busybox,
cloudtaser-agent, other programs, and one script."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CT_BUILD_DIR") or ROOT / "build")
TWO_PROCESSORS = ("-accel", "tcg,thread=multi", "-smp", "2")
# no_timer_check: on a busy machine the emulated timer is too late for the kernel's test of it, and the kernel panics.
# earlyprintk: a kernel that panics before it has a console says why.
KERNEL_OPTIONS = "console=ttyS0 earlyprintk=ttyS0 quiet panic=-1 no_timer_check"
BOOT_SECONDS = 900  # under emulation, on a busy machine

MOUNTS = """mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
"""
# What Debian has as modules, before there is an agent that lets nobody load any (see modules_of); and the driver that
# hands devices to programs gets one of QEMU's, by its numbers.
LOAD_MODULES = """for module in $(cat /modules/order 2>/dev/null); do
    insmod /modules/$module.ko
done
echo 1234 11e8 >/sys/bus/pci/drivers/uio_pci_generic/new_id
"""
DEVICE_FOR_PROGRAMS = ("-device", "edu")
BEGIN = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
""" + MOUNTS + """# The kernel's own lines must not tear ours.
dmesg -n 1
echo "@begun"
"""
BOOTS = 3


def _folder_of(tool):
    return pathlib.Path(subprocess.check_output([ROOT / "tools" / tool, "--print"], text=True).strip())


def _libraries(programs):
    """What the loader needs of those that are dynamic."""
    listed = subprocess.run(["ldd", *programs], check=False, capture_output=True, text=True).stdout
    return set(re.findall(r"(/\S+) \(0x", listed))


def _make_initramfs(folder, build, programs, script, files):
    root = folder / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    agent = build / "bpf/cloudtaser-agent"
    for path in [pathlib.Path("/bin/busybox"), agent, *programs]:
        shutil.copy(path, root / "bin")
    for path in _libraries([agent, *programs]):
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path[1:])
    for inner, path in files:
        shutil.copytree(path, root / inner)
    init = root / "init"
    init.write_text(BEGIN + script + "\npoweroff -f\n")
    init.chmod(0o755)
    image = folder / "initramfs"
    listed = "\n".join(str(p.relative_to(root)) for p in sorted(root.rglob("*")))
    with open(image, "wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=root, input=listed.encode(),
                       stdout=out, check=True)
    return image


def modules_of(kernel):
    """For run()'s `files`: what tools/build-kernels has kept of a kernel's modules."""
    folder = _folder_of("build-kernels") / kernel / "modules"
    return [("modules", folder)] if folder.is_dir() else []


def _text(said):
    return (said or b"").decode(errors="replace").replace("\r", "")


def run(build, kernel, options, programs, script, machine=TWO_PROCESSORS, files=(), seconds=BOOT_SECONDS):
    """Boots, runs the script as root, and gives the console's lines. `programs` are found in PATH, with their libraries where
    they go; `files` are folders: (path in the machine, path here). After so many seconds it is an error, and the last
    that it said is told."""
    with tempfile.TemporaryDirectory(prefix="cloudtaser-machine-") as folder:
        image = _make_initramfs(pathlib.Path(folder), pathlib.Path(build), programs, script, files)
        argv = [_folder_of("build-vm") / "qemu", *machine, "-cpu", "max", "-m", "768", "-nographic", "-no-reboot",
                "-nic", "none", "-kernel", _folder_of("build-kernels") / kernel / "kernel", "-initrd", image, "-append",
                f"{KERNEL_OPTIONS} {options}"]
        for boot in range(1, BOOTS + 1):
            try:
                ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
            except subprocess.TimeoutExpired as late:
                print(f"{kernel}: not through after {seconds} s; the last that it said: {_text(late.stdout)[-1000:]!r}",
                      file=sys.stderr, flush=True)
                raise
            said = _text(ended.stdout)
            if "@begun" in said or boot == BOOTS:
                return said.splitlines()
            # An emulated machine that is given no time dies now and then before it runs anything of ours.
            print(f"{kernel}: boot {boot} of {BOOTS} ended with {ended.returncode} before anything was run: "
                  f"{said[-300:]!r} {ended.stderr[-300:]!r}", file=sys.stderr, flush=True)


def chosen(kernels, wanted):
    """Those of `kernels` (tuples, the name first) that have one of these names; all of them without a name. A name that there
    is not ends the program with a sentence."""
    known = [kernel[0] for kernel in kernels]
    for name in wanted:
        if name not in known:
            sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: there is no kernel '{name}'; there are: {', '.join(known)}")
    return [kernel for kernel in kernels if not wanted or kernel[0] in wanted]


def on_each(kernels, work):
    """(Name, what work(kernel) gives) of each, in their order. One machine a processor: each has two, of which one waits most
    of the time."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = [(kernel[0], pool.submit(work, kernel)) for kernel in kernels]
        for name, run in runs:
            yield name, run.result()


class Checks:
    """What a machine has shown: how much of it is as it should be, and what is not."""

    def __init__(self):
        self.passed, self.failures = 0, []

    def check(self, name, good, what):
        if good:
            self.passed += 1
        else:
            self.failures.append(f"{name}: {what}")


def tell(outcomes):
    """Prints what each machine has come to, as soon as that is known, and the line `N passed, M failed`; gives the exit status.
    `outcomes`: (name, Checks, more to say of it...)."""
    passed, failed = 0, 0
    for name, checks, *more in outcomes:
        passed += checks.passed
        failed += len(checks.failures)
        said = "; ".join([f"{checks.passed} passed", *more])
        print(f"{'FAIL' if checks.failures else 'ok  '} {name}: {said}", flush=True)
        for what in checks.failures:
            print(f"FAIL {name}: {what}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
