# SPDX-License-Identifier: Apache-2.0
"""Golden cases of the command line: cases/NAME/command is run in test/cli, with cases/NAME/input.yaml
(if there is one) as standard input; status, standard output and standard error must equal
cases/NAME/expected. `python3 golden.py PROGRAM` writes the expected files anew: read the difference."""
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def cases():
    return sorted(f.parent for f in HERE.glob("cases/*/command"))


def run(program, case):
    """What `expected` holds."""
    words = shlex.split((case / "command").read_text(), comments=True)
    manifest = case / "input.yaml"
    environment = {k: v for k, v in os.environ.items()
                   if not k.startswith(("CLOUDTASER", "KUBE", "VAULT"))} | {"HOME": "/nonexistent"}
    done = subprocess.run(
        [program, *(w.replace("CASE", f"cases/{case.name}") for w in words)], cwd=HERE,
        input=manifest.read_bytes() if manifest.exists() else b"", capture_output=True,
        env=environment, timeout=60)
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    text = "== status %d\n== output\n%s== error\n%s" % (done.returncode, done.stdout.decode(),
                                                        done.stderr.decode())
    return text.replace(version.stdout.split()[1], "VERSION")


if __name__ == "__main__":
    for each in cases():
        (each / "expected").write_text(run(os.path.abspath(sys.argv[1]), each))
