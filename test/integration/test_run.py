# SPDX-License-Identifier: Apache-2.0
"""End to end: the pod as the API server stored it is run for real, with secrets from Vault."""

import os
import pathlib
import signal

from containers import FULL_SCORE, PLACEHOLDER, RunTestCase, one_pod, staying
from environment import APPS
from pods import REFERENCE, container, pod, unique
from test_cluster import RESTRICTED

FIVE_LOST = ("sh hands its environment on in the clear (its script starts programs as its children: "
             "write exec before the last)")


def environ(pid):
    """What root reads in /proc/PID/environ: name -> value."""
    raw = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(item.split("=", 1) for item in raw.split("\0") if "=" in item)


class Run(RunTestCase):
    def test_the_main_job(self):
        password = self.env.values["password"]
        with self.running(one_pod({"PGPASSWORD": REFERENCE, "PLAIN": "yes"},
                                  ["/app", "--stay", "PGPASSWORD", "PLAIN",
                                   "CLOUDTASER_CONFIG"])) as run:
            app = run.containers["app"]
            log = app.wait_log("ready")
            self.assert_values(log, PGPASSWORD=password, PLAIN="yes")
            self.assertIn("CLOUDTASER_CONFIG unset", log)
            self.assert_score(log)
            self.assertEqual(log.count("Protection score"), 1)
            seen = environ(app.app_pid())
            self.assertRegex(seen["PGPASSWORD"], PLACEHOLDER)
            self.assertEqual(seen["PLAIN"], "yes")
            # The app's own memory holds it in secret memory alone, the wrapper's not at all.
            self.assert_attacks_fail({"app": app.app_pid(), "wrapper": app.pid}, password)
            with self.unprotected() as control:
                self.assert_no_residue(app.pid, control)
                self.assert_no_residue(app.app_pid(), control)
            run.kill("app", signal.SIGTERM)
            self.assertEqual(run.wait(10), {"app": 0})
            self.assertIn("ended by 15", app.log())
            self.assertEqual(app.message, "")

    def test_nested_references_and_versions(self):
        values = self.env.values
        dsn = "postgres://${vault:secret/data/db#username}:${vault:secret/data/db#password}@db/x"
        with self.running(one_pod(
                {"DSN": dsn, "OLD": "vault:secret/data/db#password#1",
                 "NEW": "vault:secret/data/db#password#2", "TWICE": "<$(NEXT)>",
                 "NEXT": "${vault:secret/data/api#key}", "AFTER": "<$(NEXT)>",
                 "HOST": "vault:8200"},
                ["/app", "--stay", "DSN", "OLD", "NEW", "TWICE", "AFTER", "HOST"])) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(
                log, DSN=f"postgres://{values['username']}:{values['password']}@db/x",
                OLD=values["old-password"], NEW=values["password"], TWICE="<$(NEXT)>",
                AFTER=f"<{values['api-key']}>", HOST="vault:8200")
            self.assert_score(log)
            self.assert_wrapper_clean(run)

    def test_kv_version_1(self):
        values = self.env.values
        with self.running(one_pod(
                {"A": "vault:kv1/db#password", "B": "${vault:kv1/db#password}:"
                 "${vault:secret/data/db#username}"}, ["/app", "--stay", "A", "B"])) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(log, A=values["v1-password"],
                               B=f"{values['v1-password']}:{values['username']}")
            self.assert_score(log)
            self.assert_wrapper_clean(run)

    def test_env_map_and_env_name(self):
        values = self.env.values
        annotations = {"secret-paths": "secret/data/db,secret/data/api",
                       "env-map": "secret/data/db#username=PGUSER,secret/data/api#key=API_KEY",
                       "env.PGPASSWORD": "secret/data/db#password"}
        with self.running(one_pod(None, ["/app", "--stay", "PGUSER", "PGPASSWORD", "API_KEY"],
                                  annotations)) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(log, PGUSER=values["username"], PGPASSWORD=values["password"],
                               API_KEY=values["api-key"])
            self.assert_score(log)
            self.assert_wrapper_clean(run)

    def test_whole_paths(self):
        values = self.env.values
        annotations = {"secret-paths": "kv1/whole,secret/data/db", "env-map": "*",
                       "env.PGPASSWORD": "secret/data/db#password"}
        with self.running(one_pod({"PLAIN": "yes"}, ["/app", "--stay", "WHOLE_KEY", "whole.other",
                                   "username", "password", "PGPASSWORD", "PLAIN"],
                                  annotations)) as run:
            app = run.containers["app"]
            log = app.wait_log("ready")
            self.assert_values(log, WHOLE_KEY=values["whole"], username=values["username"],
                               password=values["password"], PGPASSWORD=values["password"],
                               PLAIN="yes", **{"whole.other": "2"})
            self.assert_score(log)
            seen = environ(app.app_pid())
            for name in "WHOLE_KEY", "username", "whole.other":
                self.assertRegex(seen[name], PLACEHOLDER)
            self.assert_wrapper_clean(run)
            with self.unprotected() as control:
                self.assert_no_residue(app.app_pid(), control)

    def test_a_whole_path_may_not_displace_a_variable(self):
        code, log, message = self.run_to_end(one_pod(
            {"password": "mine"}, ["/app", "password"],
            {"secret-paths": "secret/data/db", "env-map": "*"}))
        self.assertEqual(code, 102, log)
        self.assertIn("variable password is in the environment already", message)

    def test_init_containers_sidecars_and_fellows(self):
        values = self.env.values
        env = {"PGPASSWORD": REFERENCE}
        manifest = pod(
            initContainers=[container("migrate", env, ["/app", "PGPASSWORD"]),
                            staying("API", name="proxy", restartPolicy="Always",
                                    env={"API": "vault:secret/data/api#key"})],
            containers=[staying("PGPASSWORD", env=env),
                        staying("PGUSER", name="worker",
                                env={"PGUSER": "vault:secret/data/db#username"}),
                        staying("A", name="plain", env={"A": "b"})])
        with self.running(manifest) as run:
            for name, expected in (("migrate", {"PGPASSWORD": values["password"]}),
                                   ("proxy", {"API": values["api-key"]}),
                                   ("app", {"PGPASSWORD": values["password"]}),
                                   ("worker", {"PGUSER": values["username"]})):
                log = run.containers[name].wait_log("ready")
                self.assert_values(log, **expected)
                self.assert_score(log)
            self.assertNotIn("cloudtaser", run.containers["plain"].wait_log("ready"))
            self.assertEqual(run.containers["migrate"].exit_code, 0)
            self.assert_wrapper_clean(run, ("app", "worker", "proxy"))
            self.assertEqual(run.stop(), {"app": 0, "worker": 0, "plain": 0})
            self.assertIn("ended by 15", run.containers["proxy"].log())

    def test_restricted_pod(self):
        with self.running(one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"],
                                  securityContext=RESTRICTED),
                          namespace="restricted") as run:
            app = run.containers["app"]
            log = app.wait_log("ready")
            self.assert_values(log, PGPASSWORD=self.env.values["password"])
            self.assert_score(log)
            status = pathlib.Path(f"/proc/{app.app_pid()}/status").read_text()
            self.assertRegex(status, r"NoNewPrivs:\s1")
            self.assertRegex(status, r"Uid:\s1000\s1000\s1000\s1000")
            self.assertRegex(status, r"CapEff:\s0000000000000000")
            self.assert_attacks_fail({"app": app.app_pid(), "wrapper": app.pid},
                                     self.env.values["password"])
            self.assert_wrapper_clean(run)

    def test_a_users_pod_without_restrictions(self):
        with self.running(one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"],
                                  securityContext={"runAsUser": 1234, "runAsGroup": 1234})) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(log, PGPASSWORD=self.env.values["password"])
            self.assert_score(log)
            self.assert_wrapper_clean(run)

    def test_token_of_a_secret(self):
        annotations = {"vault-auth-method": "token", "vault-token-secret": "vault-token"}
        with self.running(one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"],
                                  annotations)) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(log, PGPASSWORD=self.env.values["password"])
            # A token in a file is not in protected memory alone.
            self.assert_score(log, ["Protection score: 45/75", *FULL_SCORE[1:5],
                                    "token_protected: FAIL (+0) the Vault token is in a file too, "
                                    "/cloudtaser-identity/vault-token", *FULL_SCORE[6:]])
            self.assert_wrapper_clean(run)

    def test_audience(self):
        annotations = {"vault-audience": "vault.example.com", "vault-role": "audience"}
        with self.running(one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"],
                                  annotations)) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(log, PGPASSWORD=self.env.values["password"])
            self.assert_wrapper_clean(run)

    def test_foreign_settings_are_ignored_and_handed_on(self):
        foreign = {"VAULT_ADDR": "https://127.0.0.1:1", "VAULT_TOKEN": "mine",
                   "HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1",
                   "ALL_PROXY": "socks5://127.0.0.1:1", "SSL_CERT_FILE": "/nowhere",
                   "OPENSSL_CONF": "/nowhere", "VAULT_SKIP_VERIFY": "1"}
        with self.running(one_pod({"PGPASSWORD": REFERENCE, **foreign},
                                  ["/app", "--stay", "PGPASSWORD", *foreign])) as run:
            log = run.containers["app"].wait_log("ready")
            self.assert_values(log, PGPASSWORD=self.env.values["password"], **foreign)
            self.assert_wrapper_clean(run)

    def test_a_shell_loses_what_it_undoes(self):
        with self.running(one_pod({"PGPASSWORD": REFERENCE},
                                  ["/bin/sh", "-c", "/app --stay PGPASSWORD || exit 5"])) as run:
            app = run.containers["app"]
            log = app.wait_log("ready")
            self.assert_values(log, PGPASSWORD=self.env.values["password"])
            lost = [line.split(":")[0] for line in FULL_SCORE[1:5]]
            self.assert_score(log, ["Protection score: 10/75",
                                    *[f"{name}: FAIL (+0) {FIVE_LOST}" for name in lost],
                                    *FULL_SCORE[5:]])
            # And rightly so: the shell's child has the secret where root reads it.
            child = app.processes()[-1]
            self.assertEqual(environ(child)["PGPASSWORD"], self.env.values["password"])
            self.assert_wrapper_clean(run)

    def test_a_shell_is_followed_at_no_cost(self):
        password = self.env.values["password"]
        for script, code in (("umask 022; exec /app --stay PGPASSWORD", 0), ("/app --stay PGPASSWORD; exit 5", 5)):
            with self.subTest(script), self.running(one_pod(
                    {"PGPASSWORD": REFERENCE}, ["/bin/sh", "-c", script], {"min-protection-score": "55"})) as run:
                app = run.containers["app"]
                log = app.wait_log("ready")
                self.assert_values(log, PGPASSWORD=password)
                self.assert_score(log)
                self.assertIn("following sh (pid ", log)
                for pid in app.processes():
                    self.assertRegex(environ(pid)["PGPASSWORD"], PLACEHOLDER)
                last = app.processes()[-1]
                self.assert_attacks_fail({"app": last, "wrapper": app.pid}, password)
                with self.unprotected() as control:
                    for pid in app.processes():
                        self.assert_no_residue(pid, control)
                os.kill(last, signal.SIGTERM)
                self.assertEqual(run.wait(10), {"app": code})

    def test_a_shell_below_its_minimum_is_refused(self):
        self.refused(one_pod({"PGPASSWORD": REFERENCE}, ["/bin/sh", "-c", "/app || exit 5"],
                             {"min-protection-score": "50"}), "50", "sh")

    def test_the_apps_exit_code(self):
        code, log, message = self.run_to_end(one_pod(
            {"PGPASSWORD": REFERENCE}, ["/app", "--exit", "7", "PGPASSWORD"]))
        self.assertEqual((code, message), (7, ""))
        self.assert_values(log, PGPASSWORD=self.env.values["password"])

    def test_signals_and_the_apps_death(self):
        manifest = one_pod({"PGPASSWORD": REFERENCE}, ["/app", "--stay", "PGPASSWORD"])
        for number, code in ((signal.SIGHUP, 0), (signal.SIGKILL, 128 + signal.SIGKILL)):
            with self.subTest(number.name):
                manifest["metadata"]["name"] = unique("signals")
                with self.running(manifest) as run:
                    app = run.containers["app"]
                    app.wait_log("ready")
                    os.kill(app.app_pid() if number == signal.SIGKILL else app.pid, number)
                    self.assertEqual(run.wait(10), {"app": code})
                    if code == 0:
                        self.assertIn(f"ended by {int(number)}", app.log())

    def test_a_minimum_that_the_node_does_not_keep(self):
        # The node's labels promise 35 points, and its agent is not there.
        code, log, message = self.run_to_end(one_pod(
            {"PGPASSWORD": REFERENCE}, ["/app", "PGPASSWORD"],
            {"min-protection-score": "56"}, nodeSelector={"pool": "agent"}), node="agent")
        self.assertEqual(code, 100, log)
        self.assertNotIn("sha256", log)
        self.assertIn("56", message)
        self.assertIn("55", message)
        self.assertIn("no agent on this node", log)

    def test_a_required_check_that_fails_at_run_time(self):
        code, log, message = self.run_to_end(one_pod(
            {"PGPASSWORD": REFERENCE}, ["/app", "PGPASSWORD"], {"require": "ebpf_connected"},
            nodeSelector={"pool": "agent"}), node="agent")
        self.assertEqual(code, 100, log)
        self.assertNotIn("sha256", log)
        self.assertIn("ebpf_connected", message)

    def test_vault_asks_the_api_server_whose_token_it_is(self):
        # The same pod, run again once its object is gone: its tokens are void with it. They were
        # issued before and not used before (the API server remembers an answer for some seconds).
        stored = self.admit_and_bind(one_pod({"PGPASSWORD": REFERENCE}, ["/app", "PGPASSWORD"]))
        token = self.tokens_for(stored)
        kept = {audience: token(audience, 3607) for audience in (None, "cloudtaser")}
        with self.runner(stored, token) as run:
            run.start()
            self.assertEqual(run.wait(30), {"app": 0}, run.containers["app"].log())
        path = f"/api/v1/namespaces/{APPS}/pods/{stored['metadata']['name']}"
        self.cluster.api("DELETE", f"{path}?gracePeriodSeconds=0")
        self.assertEqual(self.cluster.request("GET", path)[0], 404)
        with self.runner(stored, lambda audience, seconds: kept[audience]) as run:
            run.start()
            app = run.containers["app"]
            self.assertEqual(run.wait(30), {"app": 101}, app.log())
            self.assertNotIn("sha256", app.log())
            self.assert_nothing_secret("app", app.log() + app.message)
