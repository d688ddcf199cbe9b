#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tools of whoever looks after a node, beside the agent: gdb, strace, perf, criu, ps, top, lsof, nsenter; and the
container's runtime.

  test/agent/beside.py [KERNEL...]

Each is run on a program in a pod's cgroup before there is an agent, where it must work. With the agent the same
command must work on an unprotected process, and not give away anything of that program, protected, beside it; ps and
top, which look at nothing that is anybody's own, work on both. What has started a protected container may enter its
namespaces, as it must for kubelet's probes, and do nothing else. Boots the kernels of tools/build-kernels with Debian's
programs (tools/setup beside). Ends with the line `N passed, M failed`.
"""

import lzma
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "test/rig"))

import machine  # noqa: E402  (the path above must be set first)
from machine import BUILD  # noqa: E402

# Name, folder of the kernel (None: that of tools/build-vm, whose modules are at hand), boot options, options of the agent.
KERNELS = [
    ("6.12", None, "", ""),
    ("6.1", "6.1", "secretmem.enable=1", ""),
    ("5.10", "5.10", "", ""),
]
# What criu asks the kernel for before it does anything: loaded before the agent, which lets nobody load any.
MODULES = ["nf_tables", "unix_diag", "netlink_diag", "af_packet_diag", "tcp_diag", "udp_diag", "raw_diag", "tun", "veth"]

PROGRAMS = ["gdb", "strace", "perf", "criu", "ps", "top", "lsof", "nsenter"]
SECRET = "what-only-the-victim-may-know"

CRIU = "--shell-job --manage-cgroups=ignore -v1"

# What is run on a process ($pid, whose secret is at $address), in a folder of its own, and a pattern of what it shows
# of one that it works on. What it writes, and the files that it leaves, hold the secret or do not.
TOOLS = {
    "gdb": ("gdb -batch -nx -p $pid -ex 'x/s 0x'$address -ex detach", SECRET),
    "gcore": ("gdb -batch -nx -p $pid -ex 'generate-core-file core' -ex detach; grep -c {secret} core", r"^[1-9]\d*$"),
    "criu": (f"mkdir images; criu dump -t $pid -D images --leave-running {CRIU} && cat images/pages-*.img | grep -c {{secret}}",
             r"^[1-9]\d*$"),
    "strace": ("timeout 10 strace -s 64 -e trace=write -p $pid", SECRET),
    "perf-record": ("perf record -q -e cpu-clock --call-graph dwarf -p $pid -- sleep 1 && perf script -F comm,pid",
                    "row_victim"),
    "perf-stat": ("perf stat -e context-switches -p $pid -- sleep 1", r"[1-9]\d* +context-switches"),
    "lsof": ("lsof -w -p $pid", "memfd:victim"),
    "nsenter": ("nsenter -t $pid -m -u -i -n -- echo entered", "entered"),
    "nsenter-elsewhere": ("unshare -m nsenter -t $pid -u -- echo entered", "entered"),
    "maps": ("cat /proc/$pid/maps", "stack"),
    "ps-environment": ("/bin/ps eww $pid", SECRET),
}
# The same, of what everybody may know of a protected process too.
LOOKS = {
    "ps": ("/bin/ps -o pid,stat,rss,args -p $pid", "row_victim"),
    "top": ("/bin/top -b -n 1 -p $pid", "row_victim"),
}
# What of it works for the container's runtime: from its own mounts, not from those of what it has executed in a container.
RUNTIME = {"nsenter": True, "nsenter-elsewhere": False, "maps": False}
# What needs no process that is there already.
STARTS = {
    "gdb-run": ("gdb -batch -nx -ex 'break main' -ex run -ex 'info registers rip' -ex kill row_victim", "rip .*main"),
    "strace-run": ("strace -f -e trace=execve sh -c '/bin/ps; true'", r"execve\(\"/bin/ps\""),
    "criu-restore": ("rm -f /tmp/row-library; setsid row_victim >said-itself 2>&1 </dev/null & sleep 2; "
                     "read -r pid address fd <said-itself; mkdir images; "
                     f"criu dump -t $pid -D images {CRIU} && row_vm_readv $pid $address 0; "
                     f"criu restore -d -D images {CRIU} && row_vm_readv $pid $address 0; kill $pid",
                     r"No such process(\n.*)*\nleaked"),
    "perf-run": ("perf record -q -e cpu-clock --call-graph dwarf -- /bin/ps >list && perf script -F comm", r"^ *ps"),
    "perf-all": ("perf stat -a -e context-switches -- sleep 1", r"[1-9]\d* +context-switches"),
    "perf-record-all": ("perf record -q -a -g -e cpu-clock -- sleep 1 && perf script -F comm,ip", "swapper"),
}

SCRIPT = """
ifconfig lo up
log=/tmp/agent.log
id=$(printf '%064x' 1)
pod=/sys/fs/cgroup/kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice/cri-containerd-$id.scope
mkdir -p $pod /sys/fs/cgroup/agent
{modules}
try() {{
    rm -rf /tmp/out
    mkdir /tmp/out
    cd /tmp/out
    timeout 120 sh -c "$3" >said 2>&1
    status=$?
    sed "s/^/@said $1 $2 /" said
    echo "@tool $1 $2 $status $(grep -rl {secret} . | wc -l)"
    cd /
}}
victim() {{
    # A file that a protected process has mapped to run is not to be overwritten: each has its own.
    rm -f /tmp/victim /tmp/row-library
    TEXT={secret} sh -c "echo 0 >$1/cgroup.procs; shift; "'exec "$@"' sh "$@" >/tmp/victim 2>&1 &
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        grep -q '^[0-9]' /tmp/victim && break
        sleep 1
    done
    set -- $(grep '^[0-9]' /tmp/victim)
    export pid=$1 address=$2
}}
tools() {{
{tools}
}}
victim $pod setsid row_victim
tools before
kill $pid
sh -c 'echo 0 >/sys/fs/cgroup/agent/cgroup.procs; exec cloudtaser-agent run {options}' >$log 2>&1 &
until grep -q -e '"kind":"selftest"' -e cloudtaser-agent: $log; do
    sleep 1
done
victim $pod registrant enter setsid row_victim
tools protected
victim /sys/fs/cgroup setsid row_victim
tools beside
{starts}
# A container's runtime is what has started it, and is not the node's first process.
second=${{pod%/*}}/cri-containerd-$(printf '%064x' 2).scope
mkdir -p $second
mkfifo /tmp/end
sleep 1000 >/tmp/end &
(
    sh -c 'echo 0 >$0/cgroup.procs; exec registrant vetted' $second </tmp/end >/tmp/vetted 2>&1 &
    export pid=$!
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        grep -q EISCONN /tmp/vetted && break
        sleep 1
    done
    sed 's/^/@said runtime answers /' /tmp/vetted
{runtime}
    echo $pid >/tmp/pid
    sleep 1000
) &
until [ -s /tmp/pid ]; do
    sleep 1
done
export pid=$(cat /tmp/pid)
{outside}
grep -c '"kind":"attack"' $log | sed 's/^/@said agent attacks /'
"""


def without_criu(table):
    return {name: row for name, row in table.items() if not name.startswith("criu")}


def modules_of(machine_folder, folder):
    """Puts the modules, plain, into a folder; their names in the order in which they are loaded."""
    def inside(command, path):
        return subprocess.run(["debugfs", "-R", f"{command} /usr/lib/modules{path}", machine_folder / "node.img"], check=True,
                              capture_output=True).stdout
    [release] = re.findall(r"\d\S*-cloud-amd64", inside("ls", "").decode())
    needs = dict(line.split(":") for line in inside("cat", f"/{release}/modules.dep").decode().splitlines())
    order = []
    for name in MODULES:
        [path] = [path for path in needs if path.endswith(f"/{name}.ko.xz")]
        order += [p for p in [*reversed(needs[path].split()), path] if p not in order]
    folder.mkdir()
    for path in order:
        (folder / pathlib.Path(path).stem).write_bytes(lzma.decompress(inside("cat", f"/{release}/{path}")))
    return [pathlib.Path(path).stem for path in order]


def script(options, modules, tools, starts):
    # One that a tool has ended is no victim any more.
    tries = [f"try $1 {name} {quoted(command)}; kill -0 $pid || echo \"@said $1 {name} ended\""
             for name, (command, _) in {**tools, **LOOKS}.items()]
    runtime = {when: "\n".join(f"try {when} {name} {quoted(TOOLS[name][0])}" for name in RUNTIME)
               for when in ("runtime", "outside")}
    more = [f"try beside {name} {quoted(command)}" for name, (command, _) in starts.items()]
    return SCRIPT.format(secret=SECRET, options=options, **runtime, tools="\n".join(tries), starts="\n".join(more),
                         modules="\n".join(f"insmod /modules/{module}" for module in modules))


def quoted(command):
    return "'" + command.format(secret=SECRET).replace("'", "'\\''") + "'"


def python_of(program, folder):
    """What the Python in a program needs at its start: as Debian cuts it for those who want little."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    name = re.search(r"lib(python3\.\d+)\.so", listed)[1]
    there = pathlib.Path("/usr/lib") / name
    for path in subprocess.check_output(["dpkg", "-L", f"lib{name}-minimal"], text=True).split():
        if path.startswith(f"{there}/") and path.endswith(".py"):
            target = folder / pathlib.Path(path).relative_to(there)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return str(there)[1:], folder


def boot(kernel, tools, starts):
    _, name, boot_options, options = kernel
    programs = [shutil.which(program) or sys.exit(f"{program} is not installed (tools/setup beside does it)")
                for program in PROGRAMS]
    own = [BUILD / f"test/{path}" for path in ("attacks/rows/row_victim", "attacks/rows/row_vm_readv", "agent/registrant")]
    with tempfile.TemporaryDirectory(prefix="cloudtaser-beside-") as folder:
        files = [python_of(programs[0], pathlib.Path(folder) / "python"), ("usr/share/gdb", "/usr/share/gdb"),
                 ("lib/terminfo/d", "/lib/terminfo/d")]
        modules = []
        if name is None:
            name = subprocess.check_output([ROOT / "tools/build-vm", "--print"], text=True).strip()
            files.append(("modules", pathlib.Path(folder) / "modules"))
            modules = modules_of(pathlib.Path(name), files[-1][1])
        return machine.run(BUILD, name, boot_options, [*map(pathlib.Path, programs), *own],
                           script(options, modules, tools, starts), files=files)


class Result(machine.Checks):
    """What each tool came to: its exit status, what it said, and how many of its files hold the secret."""

    def __init__(self, lines):
        super().__init__()
        self.ends, self.said = {}, {}
        for line in lines:
            found = re.search(r"@(tool|said) (\S+) (\S+) ?(.*)", line)
            if not found:
                continue
            kind, when, name, rest = found.groups()
            if kind == "tool":
                self.ends[when, name] = tuple(map(int, rest.split()))
            else:
                self.said.setdefault((when, name), []).append(rest)

    def expect(self, when, name, works, pattern):
        """That it works, or does not and gives nothing away."""
        status, leaks = self.ends.get((when, name), (None, 0))
        said = "\n".join(self.said.get((when, name), []))
        shows = re.search(pattern, said, re.MULTILINE) is not None
        good = shows if works else not shows and leaks == 0
        self.check(f"{name} {when}", good and (status is not None or works),
                   f"ends with {status}, {leaks} leaks: {said[-1500:]}")

    def judge(self, tools, starts):
        for name, (_, pattern) in tools.items():
            self.expect("before", name, True, pattern)
            self.expect("protected", name, False, pattern)
            self.expect("beside", name, True, pattern)
        for name, works in RUNTIME.items():
            self.expect("runtime", name, works, TOOLS[name][1])
            self.expect("outside", name, False, TOOLS[name][1])
        self.expect("runtime", "answers", True, "EISCONN")
        for name, (_, pattern) in LOOKS.items():
            for when in ("before", "protected", "beside"):
                self.expect(when, name, True, pattern)
            self.expect("protected", name, False, SECRET)
        for name, (_, pattern) in starts.items():
            self.expect("beside", name, True, pattern)


def measure(kernel):
    tables = (TOOLS, STARTS) if kernel[1] is None else (without_criu(TOOLS), without_criu(STARTS))
    lines = boot(kernel, *tables)
    result = Result(lines)
    result.judge(*tables)
    if not result.ends:
        result.failures.append("it said: " + " | ".join(lines[-8:]))
    return result


def main(wanted):
    return machine.tell(machine.on_each(machine.chosen(KERNELS, wanted or ["6.12"]), measure))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
