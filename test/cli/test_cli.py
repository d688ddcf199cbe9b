#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The program `cloudtaser` as a user meets it: test_cli.py PROGRAM."""
import json
import os
import pathlib
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "golden")]
import golden  # noqa: E402
import run as mutate  # noqa: E402

PROGRAM = ""
VAULT = ["--vault-address", "https://vault.example.com:8200"]
NODES = ["--nodes-file", str(HERE / "nodes.json")]
EXPLAINED = HERE / "cases" / "explain-text" / "input.yaml"


def cloudtaser(*args, stdin=b"", **more):
    return subprocess.run([PROGRAM, *map(str, args)], input=stdin, capture_output=True, timeout=60,
                          **more)


class Dumper(yaml.SafeDumper):
    """Quotes what the API server's clients take for truths and numbers, and PyYAML for strings."""


Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
Dumper.add_implicit_resolver("tag:yaml.org,2002:float",
                             re.compile(r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"),
                             list("-+.0123456789"))


def rounded(value):
    """Whole numbers beyond 64 bits are kept as reals, as the API server keeps them."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(value) if isinstance(value, int) and abs(value) >= 1 << 63 else value


class Cases(unittest.TestCase):
    maxDiff = None

    def test_golden(self):
        cases = golden.cases()
        self.assertGreater(len(cases), 25)
        for case in cases:
            with self.subTest(case.name):
                self.assertEqual(golden.run(PROGRAM, case), (case / "expected").read_text())

    def test_what_is_injected_is_left_as_it_is(self):
        manifest = (HERE / "cases" / "inject-kinds" / "input.yaml").read_bytes()
        once = cloudtaser("inject", "-f", "-", *VAULT, stdin=manifest)
        twice = cloudtaser("inject", "-f", "-", *VAULT, stdin=once.stdout)
        self.assertEqual((twice.returncode, twice.stdout), (0, once.stdout))
        self.assertIn(b"cloudtaser-injector", once.stdout)
        told = cloudtaser("inject", "-f", "-", "--explain", *VAULT, stdin=once.stdout)
        self.assertEqual(told.stdout.count(b"has everything already"), 4)

    def test_another_reader_finds_the_same(self):
        """Untouched documents hold the same values for PyYAML, which knows YAML 1.1."""
        manifest = (HERE / "cases" / "inject-kinds" / "input.yaml").read_bytes()
        before = list(yaml.safe_load_all(manifest))
        after = list(yaml.safe_load_all(cloudtaser("inject", "-f", "-", *VAULT,
                                                   stdin=manifest).stdout))
        self.assertEqual(len(after), 3)
        self.assertEqual(after[0], before[0])
        self.assertEqual(after[2]["items"][4], before[2]["items"][4])
        self.assertNotEqual(after[1], before[1])


class Engine(unittest.TestCase):
    """The decision engine's golden cases, as manifests: what inject writes is what the webhook's patch
    makes of the pod, and what it refuses is what the webhook denies."""
    maxDiff = None

    def flags(self, case, folder):
        nodes = folder / "nodes.json"
        nodes.write_text(json.dumps(case.get("nodes") or {"kind": "List", "apiVersion": "v1",
                                                          "items": []}))
        settings = folder / "settings.json"
        settings.write_text(json.dumps(case.get("settings", {})))
        return ["--config", settings, "--nodes-file", nodes]

    def check(self, case, expected, folder):
        pod = case["review"]["request"]["object"]
        done = cloudtaser("inject", "-f", "-", *self.flags(case, folder),
                          stdin=yaml.dump(pod, Dumper=Dumper, sort_keys=False).encode())
        if expected["outcome"] == "denied":
            self.assertEqual((done.returncode, done.stdout), (1, b""), done.stderr)
            message = expected["answer"]["response"]["status"]["message"]
            self.assertIn(message.removeprefix("cloudtaser: ")[:400], done.stderr.decode())
            return
        self.assertEqual(done.returncode, 0, done.stderr)
        patched = yaml.safe_load(done.stdout)
        self.assertEqual(rounded(mutate.changes(pod, patched)),
                         rounded(expected.get("changed", {"metadata": {}, "spec": {}})))

    def test_same_decisions(self):
        checked = 0
        with tempfile.TemporaryDirectory() as folder:
            for file in sorted((HERE.parent / "golden" / "mutate").glob("*/input.json")):
                case = json.loads(file.read_text())
                expected = json.loads((file.parent / "expected.json").read_text())
                request = case.get("review", {}).get("request", {})
                pod = request.get("object")
                if (expected["code"] != 0 or request.get("operation") != "CREATE"
                        or request.get("subResource") or request["kind"]["kind"] != "Pod"
                        or not isinstance(pod, dict) or not isinstance(pod.get("spec"), dict)
                        or pod.get("kind") != "Pod"):
                    continue
                with self.subTest(file.parent.name):
                    checked += 1
                    self.check(case, expected, pathlib.Path(folder))
        self.assertGreater(checked, 80)


class Terminal(unittest.TestCase):
    def on_terminal(self, **environment):
        keep = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        main, other = pty.openpty()
        done = subprocess.Popen([PROGRAM, "explain", "-f", EXPLAINED, *VAULT, *NODES], stdout=other,
                                stdin=subprocess.DEVNULL, env={**keep, **environment})
        os.close(other)
        said = b""
        try:
            while chunk := os.read(main, 65536):
                said += chunk
        except OSError:  # the other side is closed
            pass
        os.close(main)
        self.assertEqual(done.wait(30), 1)
        return said.replace(b"\r\n", b"\n")

    def test_colours(self):
        coloured = self.on_terminal(TERM="xterm")
        self.assertIn(b"\033[32myes   \033[0m", coloured)
        self.assertIn(b"\033[31mno    \033[0m", coloured)
        plain = cloudtaser("explain", "-f", EXPLAINED, *VAULT, *NODES,
                           env={**os.environ, "TERM": "xterm"}).stdout
        self.assertNotIn(b"\033", plain)
        # Colours change nothing else: the columns stand as they are.
        self.assertEqual(re.sub(rb"\033\[\d+m", b"", coloured), plain)
        for refused in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
            with self.subTest(refused):
                self.assertEqual(self.on_terminal(**refused), plain)
        self.assertIn(b"\033", self.on_terminal(TERM="xterm", NO_COLOR=""))

    def test_a_manifest_cannot_write_to_the_terminal(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "web\033[2J", "annotations": {"cloudtaser.io/inject": "true",
                                                  "cloudtaser.io/vault-role": "web"}},
               "spec": {"containers": [{"name": "app\033[2J\x9b2J\r", "image": "x"}]}}
        for command in (["inject"], ["inject", "--explain"], ["explain", *NODES]):
            done = cloudtaser(*command, "-f", "-", *VAULT, stdin=json.dumps(pod).encode())
            said = done.stdout + done.stderr
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"has no command", said)
            for control in (b"\033", b"\xc2\x9b", b"\r"):
                self.assertNotIn(control, said)

    def test_a_nodes_file_cannot_write_to_the_terminal(self):
        nodes = {"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
             "status": {"nodeInfo": {"kernelVersion": "6.12\033[2J"}}} for name in ("a\033[2J", "b" * 80)]}
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump(nodes, file)
            file.flush()
            done = cloudtaser("explain", "-f", HERE / "cases/inject-json-one/input.yaml", *VAULT,
                              "--nodes-file", file.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"a?[2J ", done.stdout)
        self.assertIn(b"b" * 80 + b"  55/75", done.stdout)
        self.assertNotIn(b"\033", done.stdout)

    def test_what_cannot_be_written_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE,
                                  timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write to standard output: No space left", done.stderr)


class Inputs(unittest.TestCase):
    def test_bounds(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "web", "annotations": {"cloudtaser.io/inject": "true",
                                           "cloudtaser.io/vault-role": "web"}},
               "spec": {"containers": [{"name": "app", "image": "x", "command": ["/app"]}]}}
        one = b"---\n" + yaml.safe_dump(pod).encode()
        text = yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "data": {
            "log": "a line of some length, as they are\n" * 230_000}}, default_style="|").encode()
        many = one * 3000 + b"---\n" + text
        self.assertTrue(9_000_000 < len(many) < 10 << 20, len(many))
        done = cloudtaser("inject", "-f", "-", *VAULT, stdin=many)
        self.assertEqual(done.returncode, 0, done.stderr[:500])
        self.assertEqual(done.stdout.count(b"cloudtaser.io/status: injected"), 3000)
        done = cloudtaser("inject", "-f", "-", *VAULT, stdin=b"# " + b"x" * (10 << 20))
        self.assertEqual((done.returncode, done.stderr),
                         (2, b"cloudtaser inject: standard input is larger than 10 MiB\n"))

    def test_pipes(self):
        manifest = (HERE / "cases" / "inject-kinds" / "input.yaml").read_bytes()
        done = cloudtaser("inject", "-f", "/dev/stdin", *VAULT, stdin=manifest)
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in done.stderr.splitlines():
            self.assertIn(b"warning: /dev/stdin, document ", line)
        self.assertIn(b"cloudtaser.io/status: injected", done.stdout)

    def test_closed_descriptors(self):
        """What is opened next must not take their place: nothing is written into it."""
        for closed, code, words in [(">&-", 1, "cannot write to standard output: Bad file"),
                                    ("2>&-", 0, ""), ("<&- >&- 2>&-", 1, "")]:
            with self.subTest(closed):
                done = subprocess.run(["/bin/sh", "-c", f'"$0" explain -f "$1" "$2" "$3" "$4" "$5" {closed}',
                                       PROGRAM, HERE / "cases/inject-json-one/input.yaml", *VAULT, *NODES],
                                      timeout=60, capture_output=True, text=True)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(words, done.stderr)

    def test_every_command_speaks_json(self):
        one = HERE / "cases/inject-json-one/input.yaml"
        for words in (["inject", "-f", one], ["inject", "-f", one, "--explain"], ["explain", "-f", one],
                      ["inject", "-f", HERE / "cases/inject-kinds/input.yaml"]):
            done = cloudtaser(*words, "-o", "json", *VAULT, *NODES)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIsInstance(json.loads(done.stdout), dict)
        # As much as the YAML says.
        written = {o: cloudtaser("inject", "-f", HERE / "cases/inject-kinds/input.yaml", "-o", o, *VAULT,
                                 check=True).stdout for o in ("yaml", "json")}
        self.assertEqual(json.loads(written["json"])["items"], list(yaml.safe_load_all(written["yaml"])))

    def test_no_standard_input(self):
        done = subprocess.run(["/bin/sh", "-c", '"$0" inject -f - <&-', PROGRAM], timeout=60,
                              capture_output=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"cannot read standard input: Bad file descriptor", done.stderr)


class Completion(unittest.TestCase):
    def complete(self, *words):
        script = cloudtaser("completion", "bash", check=True).stdout.decode()
        line = " ".join(f"'{w}'" for w in words)
        done = subprocess.run(
            ["bash", "-c", f"{script}\nCOMP_WORDS=({line}) COMP_CWORD={len(words) - 1}\n"
                           "_cloudtaser\nprintf '%s\\n' \"${COMPREPLY[@]}\""],
            capture_output=True, text=True, timeout=60, cwd=HERE)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_bash(self):
        self.assertEqual(self.complete("cloudtaser", "in"), ["inject"])
        self.assertEqual(self.complete("cloudtaser", "--v"), ["--version"])
        self.assertEqual(self.complete("cloudtaser", "inject", "--ex"), ["--explain"])
        self.assertEqual(self.complete("cloudtaser", "inject", "--mode", ""),
                         ["enforce", "warn", "audit"])
        self.assertEqual(self.complete("cloudtaser", "explain", "-o", "j"), ["json"])
        self.assertEqual(self.complete("cloudtaser", "inject", "-f", "nod"), ["nodes.json"])
        self.assertEqual(self.complete("cloudtaser", "completion", "z"), ["zsh"])
        self.assertEqual(self.complete("cloudtaser", "inject", "--tls"), [])
        self.assertIn("--secret-path", self.complete("cloudtaser", "run", "--sec"))
        self.assertIn("printenv", self.complete("cloudtaser", "run", "--secret", "A=b#c", "--", "printe"))
        self.assertEqual(self.complete("cloudtaser", "run", "--", "cat", "nodes.j"), ["nodes.json"])
        self.assertEqual(self.complete("cloudtaser", "explain", "--from"), ["--from-cluster"])

    def shell(self, name):
        if not shutil.which(name):
            if os.environ.get("CT_MUST_RUN") == "1":
                self.fail(f"{name} is missing: tools/setup test installs it")
            self.skipTest(f"{name} is missing")
        script = cloudtaser("completion", name, check=True).stdout
        done = subprocess.run([name, "-n"], input=script, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return script.decode()

    def test_fish(self):
        script = self.shell("fish")
        lines = {"cloudtaser in": "inject", "cloudtaser --v": "--version",
                 "cloudtaser run --launcher f": "follow", "cloudtaser inject -f nod": "nodes.json",
                 "cloudtaser completion z": "zsh", "cloudtaser run --secret A=b#c -- printen": "printenv",
                 "cloudtaser run -- cat nod": "nodes.json"}
        with tempfile.TemporaryDirectory() as home:
            for line, expected in lines.items():
                done = subprocess.run(["fish", "-c", f"{script}\ncomplete -C '{line}'"], text=True, cwd=HERE,
                                      capture_output=True, timeout=60, env={**os.environ, "HOME": home})
                self.assertEqual((done.stdout.split("\t")[0].strip(), done.stderr), (expected, ""), line)

    def test_zsh(self):
        """What its functions are asked for; they need a terminal to answer."""
        stubs = """compdef() { }
            _describe() { print describe $2 ${(P)2}; }
            _arguments() { print arguments $CURRENT $words; }
            _normal() { print normal $CURRENT $words ${commands[printenv]}; }"""
        script = self.shell("zsh")
        printenv = shutil.which("printenv")
        lines = {"in": "describe known", "run --lau": "arguments 2 run --lau",
                 "run -- printen": f"normal 1 printen {printenv}",
                 "run --secret A=b#c -- cat nod": f"normal 2 cat nod {printenv}",
                 "inject -f nod": "arguments 3 inject -f nod"}
        for line, expected in lines.items():
            words = ["cloudtaser", *line.split()]
            done = subprocess.run(
                ["zsh", "-fc", f"{stubs}\n{script}\nwords=({' '.join(map(shlex.quote, words))}); "
                               f"CURRENT={len(words)}; _cloudtaser"],
                capture_output=True, text=True, timeout=60)
            self.assertEqual(done.stderr, "", line)
            self.assertTrue(done.stdout.startswith(expected), (line, done.stdout))


class DevVault(unittest.TestCase):
    def test_serves_and_ends(self):
        with tempfile.TemporaryFile() as log:
            vault = subprocess.Popen([PROGRAM, "dev-vault", "--listen", "127.0.0.1:0"], stderr=log)
            try:
                port = None
                for _ in range(200):
                    log.seek(0)
                    port = re.search(rb"port (\d+)", log.read())
                    if port:
                        break
                    time.sleep(0.05)
                self.assertTrue(port, "it never said where it serves")
                url = f"http://127.0.0.1:{int(port[1])}/v1/sys/health"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    self.assertFalse(json.load(answer)["sealed"])
            finally:
                vault.send_signal(signal.SIGTERM)
            self.assertEqual(vault.wait(30), 0)

    def test_refuses(self):
        here = ["--listen", "127.0.0.1:0"]
        for arguments, code, words in [
                (["--listen", "nowhere"], 2, "nowhere"),
                ([*here, "--kv", "/no/such"], 2, "/no/such does not exist"),
                ([*here, "--role", "a b"], 2, "a b"),
                ([*here, "--tls-cert", "/no/such"], 2, "a certificate needs its private key"),
                ([*here, "--root-token", "x" * 500], 2, "the root token is longer than"),
                (["--listen", "192.0.2.1:0"], 1, "cannot listen on 192.0.2.1:0")]:
            with self.subTest(arguments):
                done = cloudtaser("dev-vault", *arguments)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(words, done.stderr.decode())
                self.assertTrue(done.stderr.startswith(b"cloudtaser dev-vault: "))


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
