#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`cloudtaser run` and `cloudtaser dev-vault` together, with the wrapper as it ships:
test_run.py PROGRAM."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "rig"), str(HERE.parent / "wrapper")]
import harness  # noqa: E402
import memory_scan  # noqa: E402

PROGRAM = ""
ROOT = "hvs.CAESIrootrootrootrootrootrootroot"
SECRET = "a-secret-of-the-shop-0123456789"
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


class Vault:
    """The development server, with one secret of each version of KV."""

    def __init__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [PROGRAM, "dev-vault", "--listen", "127.0.0.1:0", "--root-token", ROOT, "--role",
             "shop=shop"], stderr=self.log)
        self.address = f"http://127.0.0.1:{self.port()}"
        self.ask("POST", "secret/data/shop", {"data": {"password": SECRET, "user": "shop"}})
        self.ask("POST", "kv/shop", {"password": SECRET + "-v1"})

    def port(self):
        for _ in range(200):
            self.log.seek(0)
            found = re.search(rb"port (\d+)", self.log.read())
            if found:
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError("dev-vault never said where it serves")

    def ask(self, method, path, body=None, token=ROOT, **headers):
        request = urllib.request.Request(
            f"{self.address}/v1/{path}", method=method, headers={"X-Vault-Token": token, **headers},
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"{}")

    def secret_id(self, **headers):
        return self.ask("POST", "auth/approle/role/shop/secret-id", {}, **headers)

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


class Base(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.vault = Vault()
        cls.addClassCleanup(cls.vault.close)

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="ct-run-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def variables(self, **changes):
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KEPT": "as it is",
                "VAULT_ADDR": self.vault.address, "VAULT_TOKEN": ROOT}
        base.update(changes)
        return {k: v for k, v in base.items() if v is not None}

    def start(self, *arguments, variables=None, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([PROGRAM, "run", "--wrapper", harness.WRAPPER.resolve(), *arguments],
                                env=variables or self.variables(), text=True, cwd=self.folder,
                                **options)

    def run_it(self, *arguments, **more):
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def environment(self, *arguments, **more):
        """What the program's environment is."""
        code, out, err = self.run_it(*arguments, "--", harness.PYTHON, "-c", SHOW, **more)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def secret_id_file(self, text):
        path = self.folder / "secret-id"
        path.write_text(text)
        return path


class Delivery(Base):
    def test_the_environment(self):
        seen = self.environment("--secret", "PW=secret/data/shop#password",
                                "--secret=OLD=kv/shop#password")
        self.assertEqual(seen.pop("LC_CTYPE", "C.UTF-8"), "C.UTF-8")  # Python's own
        expected = {**self.variables(), "PW": SECRET, "OLD": SECRET + "-v1"}
        del expected["VAULT_TOKEN"]
        self.assertEqual(seen, expected)

    def test_no_descriptor_is_left(self):
        script = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
        code, out, err = self.run_it("--", harness.PYTHON, "-c", script)
        # 3 is the listing's own.
        self.assertEqual((code, out), (0, "[0, 1, 2, 3]\n"), err)

    def test_references_and_files(self):
        (self.folder / "app.env").write_text(
            "# settings\n\nURL=postgres://${vault:secret/data/shop#user}@db/x=y\r\nPW=plain\n"
            "KEPT=from the file")
        seen = self.environment("--env-file", "app.env", "--secret", "PW=secret/data/shop#password",
                                variables=self.variables(OWN="vault:secret/data/shop#user"))
        self.assertEqual([seen[k] for k in ("URL", "PW", "KEPT", "OWN")],
                         ["postgres://shop@db/x=y", SECRET, "from the file", "shop"])

    def test_whole_paths(self):
        seen = self.environment("--secret-path", "secret/data/shop")
        self.assertEqual((seen["password"], seen["user"]), (SECRET, "shop"))

    def test_where_the_token_comes_from(self):
        (self.folder / ".vault-token").write_text(ROOT + "\n")
        (self.folder / "token").write_text(ROOT)
        (self.folder / "wrong").write_text("hvs.wrong")
        login = ["--secret", "PW=secret/data/shop#password"]
        for arguments, token in [([], ROOT), ([], None), (["--token-file", "token"], "hvs.wrong"),
                                 (["--token-file", self.folder / "token"], None)]:
            with self.subTest(arguments=arguments, token=token):
                seen = self.environment(*login, *arguments,
                                        variables=self.variables(VAULT_TOKEN=token))
                self.assertEqual(seen["PW"], SECRET)
        for arguments, token in [([], "hvs.wrong"), (["--token-file", "wrong"], ROOT)]:
            code, _, err = self.run_it(*login, *arguments, "--", "/bin/true",
                                       variables=self.variables(VAULT_TOKEN=token))
            self.assertEqual(code, 102, err)
            self.assertIn("permission denied", err)

    def test_approle(self):
        path = self.secret_id_file(self.vault.secret_id()["data"]["secret_id"])
        code, out, err = self.run_it(
            "--auth-method", "approle", "--role", "shop", "--token-file", path, "--secret",
            "PW=secret/data/shop#password", "--", "/usr/bin/printenv", "PW")
        self.assertEqual((code, out), (0, SECRET + "\n"), err)
        self.assertIn("token_protected: OK (+10)", err)

    def test_a_wrapped_secret_id_works_once(self):
        made = self.vault.secret_id(**{"X-Vault-Wrap-TTL": "60s"})
        self.assertNotIn("data", made)
        path = self.secret_id_file(made["wrap_info"]["token"])
        arguments = ["--auth-method=approle", "--role=shop", "--token-file", path,
                     "--secret-id-wrapped", "--secret", "PW=secret/data/shop#password", "--",
                     "/usr/bin/printenv", "PW"]
        code, out, err = self.run_it(*arguments)
        self.assertEqual((code, out), (0, SECRET + "\n"), err)
        code, out, err = self.run_it(*arguments)
        self.assertEqual((code, out), (101, ""), err)
        self.assertIn("works once", err)

    def test_jwt(self):
        (self.folder / "jwt").write_text("header.payload.signature")
        for method in "jwt", "kubernetes":
            seen = self.environment("--auth-method", method, "--role", "shop", "--token-file", "jwt",
                                    "--secret", "PW=secret/data/shop#password")
            self.assertEqual(seen["PW"], SECRET)

    def test_launchers(self):
        """What is done about them, by default as by --launcher."""
        uses = 'test "$PW" != "$PLAIN" && exec printenv PW'  # the shell expands the secret itself
        cases = [
            ([], "exec printenv PW", "Protection score: 45/75", True, SECRET),
            (["--launcher", "auto"], uses, "its script uses a secret's variable itself", False, SECRET),
            (["--launcher", "follow"], uses, "Protection score: 45/75", True, SECRET),
            (["--launcher=follow"], "printenv PW | cat", "no program came of", True, "cloudtaser:secret:"),
            (["--launcher", "deliver"], "exec printenv PW", "hands its environment on in the clear", False, SECRET),
        ]
        for arguments, script, words, followed, value in cases:
            with self.subTest(arguments=arguments, script=script):
                code, out, err = self.run_it("--secret", "PW=secret/data/shop#password", *arguments, "--",
                                             "/bin/sh", "-c", script, variables=self.variables(PLAIN="x"))
                self.assertEqual((code, out.startswith(value)), (0, True), err)
                self.assertIn(words, err)
                self.assertEqual("following " in err, followed, err)

    def test_a_wrap_that_is_no_duration(self):
        with self.assertRaises(urllib.error.HTTPError) as refused:
            self.vault.secret_id(**{"X-Vault-Wrap-TTL": "soon"})
        with refused.exception as answer:
            self.assertEqual(answer.code, 400)


class Ends(Base):
    def test_the_wrappers_exit_codes(self):
        cases = [
            (["--", "/bin/sh", "-c", "exit 7"], 7, ""),
            (["--", "/bin/sh", "-c", "kill -9 $$"], 137, ""),
            (["--", "/no/such/program"], 127, "/no/such/program"),
            (["--", "/etc/passwd"], 126, "/etc/passwd"),
            (["--min-protection-score", "75", "--", "/bin/true"], 100, "75"),
            (["--require", "kprobes_active", "--", "/bin/true"], 100, "kprobes_active"),
            (["--secret", "X=secret/data/none#k", "--", "/bin/true"], 102, "secret/data/none"),
            (["--vault-address", "http://127.0.0.1:1", "--vault-retry-budget", "0ms", "--secret",
              "X=secret/data/shop#user", "--", "/bin/true"], 103, "127.0.0.1"),
        ]
        for arguments, expected, words in cases:
            with self.subTest(arguments=arguments):
                code, _, err = self.run_it(*arguments)
                self.assertEqual(code, expected, err)
                self.assertIn(words, err)

    def test_bad_options(self):
        (self.folder / "bad.env").write_text("A=1\nno equals\n")
        (self.folder / "key.env").write_text("KEY=-----BEGIN PRIVATE KEY-----\n3d4f+/0g==\n")
        (self.folder / "ld.env").write_text("LD_PRELOAD=x\n")
        end = ["--", "/bin/true"]
        cases = [
            ([], {}, "no program to start: put it behind --"),
            (["--"], {}, "no program to start: put it behind --"),
            (["/bin/true", "x"], {}, 'unexpected argument "/bin/true"; behind the options stands -- PROGRAM'),
            (["--nonsense", *end], {}, "unknown option --nonsense"),
            (end, {"VAULT_ADDR": None}, "where is Vault?"),
            (end, {"VAULT_ADDR": "vault:8200"}, "https://HOST[:PORT]"),
            (end, {"VAULT_TOKEN": None}, "there is no Vault token"),
            (end, {"VAULT_TOKEN": "x" * 5000}, "VAULT_TOKEN is longer than 4096 bytes"),
            (end, {"VAULT_SKIP_VERIFY": "maybe"}, 'VAULT_SKIP_VERIFY "maybe": true or false'),
            (["--auth-method", "approle", *end], {}, "the file that holds the secret id"),
            (["--auth-method", "jwt", "--token-file", "x", *end], {}, "role is missing"),
            (["--launcher", "ignore", *end], {}, "auto, follow, deliver"),
            (["--auth-method", "magic", *end], {}, "token, approle, jwt, kubernetes"),
            (["--secret", "A", *end], {}, '--secret "A": NAME=PATH#KEY is allowed'),
            (["--secret", "A=x", *end], {}, "--secret A: reference \"x\" lacks its key"),
            (["--secret", "LD_PRELOAD=a#b", *end], {}, "LD_PRELOAD"),
            (["--secret", "A=a#b", "--secret", "A=a#c", *end], {}, "--secret A is given twice"),
            (["--env-file", "none", *end], {}, "none does not exist"),
            (["--env-file", "bad.env", *end], {}, "bad.env, line 2: NAME=VALUE is allowed"),
            (["--env-file", "key.env", *end], {}, "key.env, line 2: NAME=VALUE is allowed"),
            (["--on-change", "keep", *end], {}, "--on-change needs --refresh-interval"),
            (["--refresh-interval", "1s", *end], {}, "30s to 168h is allowed"),
            (["--refresh-interval", "1m", "--on-change", "explode", *end], {}, "--on-change"),
            (["--refresh-interval", "1m", "--on-change", "restart", *end], {},
             "give the token by --token-file, not by VAULT_TOKEN"),
            (["--launcher", "no", *end], {}, "auto, follow, deliver"),
            (["--env-file", "ld.env", *end], {}, "ld.env, line 1"),
            (["--require", "luck", *end], {}, '"luck" is no check\'s name'),
            (["--secret-path", "a b", *end], {}, 'paths: "a b" is no path of a secret'),
        ]
        for arguments, changes, words in cases:
            with self.subTest(arguments=arguments, **changes):
                code, out, err = self.run_it(*arguments, variables=self.variables(**changes))
                self.assertEqual((code, out), (104, ""), err)
                self.assertIn(words, err)
                self.assertNotIn("[cloudtaser-wrapper]", err)
                self.assertNotIn(ROOT, err)
                self.assertNotIn("CLOUDTASER_CONFIG", err)
                for line in "no equals", "3d4f":
                    self.assertNotIn(line, err, "a line of an --env-file may be a secret")

    def test_no_wrapper(self):
        done = subprocess.run([PROGRAM, "run", "--wrapper", "/no/such/wrapper", "--", "/bin/true"],
                              env=self.variables(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 125)
        self.assertIn("/no/such/wrapper cannot be started", done.stderr)
        # It is found beside the program.
        beside = self.folder / "cloudtaser"
        beside.write_bytes(pathlib.Path(PROGRAM).read_bytes())
        beside.chmod(0o755)
        command = [beside, "run", "--", "/bin/true"]
        done = subprocess.run(command, env=self.variables(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 125)
        self.assertIn(f"cloudtaser-wrapper is neither in {self.folder}/", done.stderr)
        os.symlink(harness.WRAPPER.resolve(), self.folder / "cloudtaser-wrapper")
        done = subprocess.run(command, env=self.variables(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_installed(self):
        root = pathlib.Path(__file__).resolve().parents[2]
        subprocess.run(["make", "-s", "-C", root, "install", f"DESTDIR={self.folder}", "PREFIX=/opt"], check=True, timeout=60)
        done = subprocess.run([self.folder / "opt/bin/cloudtaser", "run", "--secret", "A=secret/data/shop#password", "--", "/bin/true"],
                              env=self.variables(), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Protection score: ", done.stderr)

    def test_what_has_no_effect_is_told(self):
        code, _, err = self.run_it("--", "/bin/true",
                                   variables=self.variables(VAULT_CLIENT_CERT="/c", VAULT_CAPATH="/d"))
        self.assertEqual(code, 0, err)
        for name in "VAULT_CLIENT_CERT", "VAULT_CAPATH":
            self.assertIn(f"note: {name} is set, and has no effect here", err)

    def test_signals_and_the_process_are_the_wrappers(self):
        process = self.start("--", "/bin/sleep", "60")
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        names = []
        for _ in range(500):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # attackers come and go
                names = [pathlib.Path(f"/proc/{p}/comm").read_text() for p in children.read_text().split()]
            if "sleep\n" in names:
                break
            time.sleep(0.01)
        self.assertIn("sleep\n", names)
        process.send_signal(signal.SIGUSR1)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 128 + signal.SIGUSR1)


@unittest.skipIf(os.geteuid() != 0, "only root can look into other processes")
class Residue(Base):
    """The token in what the app and the wrapper have left of it."""

    def look(self, *arguments):
        """Copies of the token in app and wrapper, once the app runs; and all they show in /proc."""
        process = self.start("--secret", "PW=secret/data/shop#password", *arguments, "--",
                             "/bin/cat", stdin=subprocess.PIPE)
        try:
            process.stdin.write("on\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), "on\n")
            for line in process.stderr:
                if "started /bin/cat" in line:
                    break
            (app,) = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            shown = b"".join(pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
                             for pid in (app, process.pid) for file in ("environ", "cmdline"))
            needles = {"token": ROOT.encode(), "control": b"as it is"}
            scans = [memory_scan.scan(pid, needles) for pid in (app, process.pid)]
            return scans, shown
        finally:
            process.communicate("", timeout=20)

    def test_none_is_left(self):
        scans, shown = self.look()
        for scan in scans:
            self.assertGreater(scan.hits["control"], 0, "the control: a variable is seen")
            self.assertEqual((scan.hits["token"], scan.hits["vault token"]), (0, 0), str(scan))
        self.assertIn(b"KEPT=as it is", shown)
        self.assertNotIn(b"hvs.", shown)

    def test_a_planted_one_is_found(self):
        (self.folder / "planted").write_text(f"COPY={ROOT}\n")
        scans, shown = self.look("--env-file", "planted")
        self.assertGreater(scans[0].hits["token"], 0)
        self.assertIn(ROOT.encode(), shown)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    harness.require_wrapper()
    unittest.main()
