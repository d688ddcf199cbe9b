#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/troubleshooting.md beside what the programs and the chart's policies say: each message of its tables of
our own messages must stand there, piece by piece. Usage: troubleshooting.py"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/troubleshooting.md"
TOKEN = re.compile(r'(?P<skip>//[^\n]*|/\*.*?\*/|\s+)|(?P<macro>[A-Z][A-Za-z0-9_]*)'
                   r'|"(?P<text>(?:\\.|[^"\\])*)"|(?:\'(?:\\.|[^\'\\])\'|.)', re.S)
FORMAT = re.compile(r"%[-.*0-9]*(?:zu|ld|lld|llu|[sduc])|%\Z")
GAP = "\0"


def literals(text):
    """The texts of a C file, a gap where a macro or a format stands."""
    said = ""
    for token in TOKEN.finditer(text):
        if token["text"] is not None:
            said += token["text"].replace('\\"', '"')
        elif token["macro"]:
            said += GAP
        elif not token["skip"]:
            yield FORMAT.sub(GAP, said)
            said = ""


def sayings():
    """All that is said, white space as one blank."""
    for folder in ("lib", "certs", "webhook", "wrapper", "bpf"):
        for path in sorted((ROOT / folder).glob("*.c")):
            yield from literals(path.read_text())
    for path in sorted((ROOT / "charts/cloudtaser/templates").glob("polic*.yaml")):
        text = " ".join(path.read_text().split())
        # Messages that are put together in CEL.
        yield re.sub(r"' \+ [^']*'|' \+ '", lambda m: "" if m.group(0) == "' + '" else GAP, text)


def messages(text):
    ours = None
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            ours = None
        elif ours is None:
            ours = cells.index("Message") if "Message" in cells else -1
        elif ours >= 0 and not line.startswith("|---"):
            yield from ((number, said) for said in re.findall(r"`([^`]+)`", cells[ours]))


def main():
    said, found = "\n".join(sayings()), 0
    wrong = 0
    for number, message in messages(DOCUMENT.read_text()):
        for part in (part.strip(" ,;:()") for part in message.split("…")):
            found += 1
            if part and part not in said:
                wrong += 1
                print(f"docs/troubleshooting.md:{number}: nobody says \"{part}\"")
    return 1 if wrong or found < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
