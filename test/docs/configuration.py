#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/configuration.md beside the programs: its table of options must be the one that PROGRAM
(options_table) prints, and its keys of CLOUDTASER_CONFIG those that lib/config.c reads. `--update`
writes the table of options anew. Usage: configuration.py PROGRAM [--update]"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/configuration.md"
OPTIONS = re.compile(r"(?<=<!-- options: tools/update-golden -->\n\n).*?(?=\n<!-- end -->)", re.S)


def problems(text, table):
    match = OPTIONS.search(text)
    if match is None or match.group() != table:
        yield "the table of options is not what the webhook has: run tools/update-golden"
    keys = re.findall(r"^    (?:STRING|OTHER|NUMBER)\(\"([a-z-]+)\"", (ROOT / "lib/config.c").read_text(), re.M)
    documented = re.findall(r"^\| `([a-z][a-z-]*)` \|", text, re.M)
    if len(keys) < 10 or documented != ["version", *keys]:
        yield f"the keys of CLOUDTASER_CONFIG are version and {keys}, in this order, not {documented}"


def main():
    table = subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout
    if "--update" in sys.argv[2:]:
        DOCUMENT.write_text(OPTIONS.sub(lambda _: table, DOCUMENT.read_text()))
    found = list(problems(DOCUMENT.read_text(), table))
    for problem in found:
        print(f"docs/configuration.md: {problem}")
    return 1 if found or "--vault-address URL" not in table else 0


if __name__ == "__main__":
    sys.exit(main())
