#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The documents beside the programs: each table between `<!-- NAME: tools/update-golden -->` and
`<!-- end -->` must be what PROGRAM (tables) prints for NAME, and what the documents list by hand must be
all there is. `--update` writes the tables anew. Usage: tables.py PROGRAM [--update]"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLES = {  # each with a line that it must hold
    "options": ("configuration.md", "| `--vault-address URL` |"),
    "agent": ("configuration.md", "| `--label-hold TIME` |"),
    "annotations": ("annotations.md", "| `vault-address` |"),
    "checks": ("protection-score.md", "| `memfd_secret` | 15 |"),
    "metrics": ("metrics.md", "| `cloudtaser_webhook_requests_total` | counter |"),
    "labels": ("metrics.md", "| `decision` | `skipped`, "),
    "inject": ("cli.md", "| `--explain` |"),
    "explain": ("cli.md", "| `--output FORMAT` |"),
    "run": ("cli.md", "| `--secret NAME=PATH#KEY` |"),
    "dev-vault": ("cli.md", "| `--root-token TOKEN` |"),
}


def pattern(name):
    return re.compile(rf"(?<=<!-- {name}: tools/update-golden -->\n\n)(?:(?!<!--).)*?(?=\n<!-- end -->)", re.S)


def table(program, name):
    return subprocess.run([program, name], check=True, capture_output=True, text=True).stdout


def settings():
    """The keys of CLOUDTASER_CONFIG: those that lib/config.c reads."""
    text = (ROOT / "docs/configuration.md").read_text()
    keys = re.findall(r"^    (?:STRING|OTHER|NUMBER)\(\"([a-z-]+)\"", (ROOT / "lib/config.c").read_text(), re.M)
    documented = re.findall(r"^\| `([a-z][a-z-]*)` \|", text, re.M)
    if len(keys) < 10 or documented != ["version", *keys]:
        yield f"docs/configuration.md: the keys of CLOUDTASER_CONFIG are version and {keys}, in this order, not {documented}"


def proofs():
    """How each check is proven, told by hand."""
    text = (ROOT / "docs/protection-score.md").read_text()
    first, *others = re.findall(r"(?:^\| `[a-z_]+` \|.*\n)+", text, re.M)
    checks = [re.findall(r"^\| `([a-z_]+)`", part, re.M) for part in (first, *others)]
    if len(checks) != 2 or checks[0] != checks[1]:
        yield f"docs/protection-score.md: the checks and their proofs differ: {checks}"


def wrapper_metrics():
    """What the wrapper serves, told by hand."""
    source = (ROOT / "wrapper/metrics.c").read_text()
    served = re.findall(r'"(cloudtaser_(?:protection|wrapper)_[a-z_]+)"', source)
    told = re.findall(r"^\| `(cloudtaser_(?:protection|wrapper)_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.M)
    if len(served) < 5 or sorted(served) != sorted(told):
        yield f"docs/metrics.md: the wrapper serves {sorted(served)}, and not {sorted(told)}"


def agent_metrics():
    """What the agent serves, told by hand, with its labels."""
    names = set()
    for path in (ROOT / "bpf").glob("*.c"):
        source = path.read_text()
        names |= set(re.findall(r"# TYPE (cloudtaser_agent_[a-z_]+) ", source))
        if path.name == "agent_metrics.c":
            names |= {f"cloudtaser_agent_{name}" for name in re.findall(r'\b(?:head|number)\(out, "([a-z_]+)"', source)}
    told = re.findall(r"^\| `(cloudtaser_agent_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.M)
    if len(names) < 15 or sorted(names) != sorted(told):
        yield f"docs/metrics.md: the agent serves {sorted(names)}, and not {sorted(told)}"


def main():
    program, update = sys.argv[1], "--update" in sys.argv[2:]
    found = []
    for name, (file, line) in TABLES.items():
        document = ROOT / "docs" / file
        printed = table(program, name)
        if update:
            document.write_text(pattern(name).sub(lambda _, new=printed: new, document.read_text()))
        match = pattern(name).search(document.read_text())
        if match is None or match.group() != printed or line not in printed:
            found.append(f"docs/{file}: the table of {name} is not what the programs have: run tools/update-golden")
    found += [*settings(), *proofs(), *wrapper_metrics(), *agent_metrics()]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
