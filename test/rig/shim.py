# SPDX-License-Identifier: Apache-2.0
"""Stands between the pod runner and one container, as containerd's shim does: starts it by runc with
this process's own standard output and error - one file, so that lines keep their order -, waits for
it and ends as it did. Its parent has made it a subreaper, whose SIGTERM comes when the parent dies.

usage: shim.py PIDFILE RUNC-COMMAND…"""

import os
import signal
import sys


def main():
    pid_file, command = sys.argv[1], sys.argv[2:]
    container = None

    def parent_died(_signum, _frame):
        if container is not None:
            os.kill(container, signal.SIGKILL)
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, parent_died)
    runc = os.posix_spawnp(command[0], command, os.environ)
    code = os.waitstatus_to_exitcode(os.waitpid(runc, 0)[1])
    if code != 0:
        return 1
    with open(pid_file, encoding="ascii") as f:
        container = int(f.read())
    while True:
        pid, status = os.wait()
        if pid == container:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
