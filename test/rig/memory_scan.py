# SPDX-License-Identifier: Apache-2.0
"""What root finds in a process's memory."""

import re

VAULT_TOKEN = re.compile(rb"hvs\.[A-Za-z0-9_-]{24,}")
# A chunk begins with the end of the one before it, so that nothing is cut in two and missed.
CHUNK = 4 << 20
OVERLAP = 8192


class Scan:
    """The result: how many copies of each needle, and how much could be read."""

    def __init__(self):
        self.hits = {}
        self.read = 0
        self.refused = []

    def total(self):
        return sum(self.hits.values())

    def __str__(self):
        found = ", ".join(f"{n} of {name}" for name, n in sorted(self.hits.items()) if n)
        return f"{found or 'nothing'} in {self.read >> 10} KiB read, {len(self.refused)} refused"


def _mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps:
        for line in maps:
            span, mode, *_, = line.split(None, 5)
            name = line[73:].strip()
            start, end = (int(part, 16) for part in span.split("-"))
            if mode[0] == "r" and name not in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):
                yield start, end, name


def _chunks(memory, start, end):
    position = start
    while position < end:
        memory.seek(position)
        data = memory.read(min(CHUNK, end - position))
        if not data:
            return
        yield data
        if position + len(data) >= end:
            return
        position += max(len(data) - OVERLAP, 1)


def scan(pid, needles, token_pattern=VAULT_TOKEN):
    """Looks for each of `needles` (name -> bytes), and for anything that looks like a Vault token,
    in all memory of `pid` that root can read through /proc/PID/mem."""
    result = Scan()
    result.hits = {name: 0 for name in [*needles, "vault token"]}
    patterns = {name: re.compile(re.escape(value)) for name, value in needles.items()}
    patterns["vault token"] = token_pattern
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, name in list(_mappings(pid)):
            try:
                for data in _chunks(memory, start, end):
                    result.read += len(data)
                    for what, pattern in patterns.items():
                        result.hits[what] += len(pattern.findall(data))
            except OSError as error:
                result.refused.append((start, end, name, error.errno))
    return result
