# SPDX-License-Identifier: Apache-2.0
"""What Helm makes of the chart, without installing it: lint, wrong values, schemas, the API server's word."""

import json
import re
import subprocess

import yaml

import openapi
import process
from chart import CHART, IMAGE, NAMESPACE, RELEASE, VALUES, TestCase, documents, helm, merged, template
from process import ROOT, product

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
FILES = {"certificates": {"mode": "files", "secretName": "tls", "caBundle": CA}}
KEY, OTHER_KEY = (f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n" for text in (
    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="))
# Sets of values that between them reach every branch of the templates.
SETS = {
    "defaults": {},
    "usual": VALUES,
    "everything": merged(VALUES, {
        "replicas": 3, "image": {"repository": "registry.example.com:5000/a/webhook", "tag": "1"},
        "imagePullSecrets": ["pull"], "minProtectionScore": 40, "failurePolicy": "Ignore",
        "injector": {"acceptedImages": ["old:1"], "cpu": "50m", "memory": "64Mi"},
        "excludedNamespaces": ["monitoring"],
        "vault": {"allow": ["https://[fd00::1]:8200"], "authPath": "k8s/prod", "namespace": "team"},
        "allow": {"skipVerify": True, "caConfigmap": True, "plainEnvironment": True},
        "webhook": {"url": "https://192.0.2.7:8443", "timeoutSeconds": 10, "logFormat": "text"},
        "resources": {"limits": {"cpu": "1"}}, "nodeSelector": {"pool": "system"},
        "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "cloudtaser"}}}],
        "priorityClassName": "system-cluster-critical", "podAnnotations": {"a": "b"},
        "podLabels": {"team": "platform", "app.kubernetes.io/name": "never"},
        "networkPolicy": {"ingressFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                          "apiServerCidrs": ["10.0.0.1/32"], "apiServerPorts": [6443]}}),
    "audit": {"mode": "audit"},
    "warn": {"mode": "warn", "minProtectionScore": 40},
    "files": FILES,
    "agent": merged(VALUES, {"agent": {
        "enabled": True, "strict": True, "metricsListen": ":9464", "privileged": False, "labelHold": "1h",
        "trustKeys": [KEY], "minWrapperVersion": "0.1.0", "maxTasksPerCgroup": 512, "selfTestInterval": "30s",
        "allowCgroups": ["/machine.slice/*", "/its?"], "allowDowngrade": True,
        "image": {"repository": "registry.example.com/cloudtaser-agent", "digest": "sha256:" + "7" * 64},
        "podAnnotations": {"a": "b"}, "nodeSelector": {"pool": "apps"}, "maxUnavailable": 3,
        "tolerations": [{"key": "gpu", "operator": "Exists"}], "priorityClassName": ""},
        "imagePullSecrets": ["pull"]}),
    "agent as it comes": {"agent": {"enabled": True}},
    "agent that lets somebody pass": {"agent": {"enabled": True, "trustKeys": [KEY, OTHER_KEY], "exempt": [
        "bpf_prog_load+tracefs:/opt/edr/sensor@/system.slice/edr.service", "module_load:/usr/bin/kmod"]}},
    "little": {"replicas": 1, "podDisruptionBudget": {"enabled": False},
               "networkPolicy": {"enabled": False}},
}
CERT_MANAGER = {"own": {"certificates": {"mode": "cert-manager"}}, "foreign": {"certificates": {
    "mode": "cert-manager", "issuerRef": {"name": "corporate", "kind": "ClusterIssuer"}}}}
# Wrong values: where the schema says it is wrong, and what it says.
WRONG = [
    ({"nonsense": 1}, "at '': additional properties 'nonsense' not allowed"),
    ({"vault": {"adress": "https://vault"}}, "at '/vault': additional properties 'adress' not allowed"),
    ({"mode": "enforced"}, "at '/mode': value must be one of 'enforce', 'warn', 'audit'"),
    ({"mode": None}, "at '': missing property 'mode'"),
    ({"failurePolicy": "fail"}, "at '/failurePolicy': value must be one of 'Fail', 'Ignore'"),
    ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
    ({"replicas": "2"}, "at '/replicas': got string, want integer"),
    ({"replicas": 1.5}, "at '/replicas': got number, want integer"),
    ({"minProtectionScore": 76}, "at '/minProtectionScore': maximum: got 76, want 75"),
    ({"image": "webhook:1"}, "at '/image': got string, want object"),
    ({"image": {"tag": 1}}, "at '/image/tag': got number, want string"),
    ({"image": {"repository": "With Space"}}, "at '/image/repository'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
    ({"injector": {"image": {"digest": "sha256:abc"}}}, "at '/injector/image/digest'"),
    ({"injector": {"cpu": "fast"}}, "at '/injector/cpu'"),
    ({"injector": {"acceptedImages": ["a' in ['"]}}, "at '/injector/acceptedImages/0'"),
    ({"vault": {"address": "vault.example.com"}}, "at '/vault/address'"),
    ({"vault": {"address": "https://user:pw@vault"}}, "at '/vault/address'"),
    ({"vault": {"allow": "https://vault"}}, "at '/vault/allow': got string, want array"),
    ({"vault": {"allow": ["https://vault/'+'"]}}, "at '/vault/allow/0'"),
    ({"vault": {"timeout": 10}}, "at '/vault/timeout': got number, want string"),
    ({"allow": {"skipVerify": "yes"}}, "at '/allow/skipVerify': got string, want boolean"),
    ({"certificates": {"mode": "none"}}, "at '/certificates/mode'"),
    ({"certificates": {"mode": "files"}}, "at '/certificates/secretName': minLength"),
    ({"certificates": {"mode": "files", "secretName": "tls", "caBundle": "MIIB"}},
     "at '/certificates/caBundle'"),
    ({"webhook": {"url": "http://192.0.2.7"}}, "at '/webhook/url'"),
    ({"webhook": {"timeoutSeconds": 31}}, "at '/webhook/timeoutSeconds': maximum: got 31, want 30"),
    ({"webhook": {"maxConnections": 0}}, "at '/webhook/maxConnections': minimum"),
    ({"excludedNamespaces": ["Not A Name"]}, "at '/excludedNamespaces/0'"),
    ({"networkPolicy": {"apiServerCidrs": ["everywhere"]}}, "at '/networkPolicy/apiServerCidrs/0'"),
    ({"podLabels": {"a": 1}}, "at '/podLabels/a': got number, want string"),
    ({"vault": {"timeout": "6m"}}, "vault.timeout is 6m; 100ms to 5m is allowed"),
    ({"vault": {"timeout": "0s"}}, "vault.timeout is 0s; 100ms to 5m is allowed"),
    ({"vault": {"retryBudget": "61m"}}, "vault.retryBudget is 61m; 0ms to 1h is allowed"),
    ({"webhook": {"nodesMaxAge": "25h"}}, "webhook.nodesMaxAge is 25h; 1s to 24h is allowed"),
    ({"certificates": {"life": "5s"}}, "certificates.life is 5s; 6s to 596h is allowed"),
    ({"certificates": {"life": "9999h"}}, "certificates.life is 9999h; 6s to 596h is allowed"),
    ({"certificates": {"mode": "cert-manager", "life": "59m"}}, "certificates.life is 59m; 1h to 8760h is allowed"),
    ({"certificates": {"mode": "cert-manager", "life": "9999h"}},
     "certificates.life is 9999h; 1h to 8760h is allowed"),
    ({"vault": {"timeout": "forever"}}, "at '/vault/timeout'"),
    ({"agent": {"labelHold": "25h"}}, "agent.labelHold is 25h; 0ms to 24h is allowed"),
    ({"agent": {"exempt": "tracefs:/opt/edr"}}, "at '/agent/exempt': got string, want array"),
    ({"agent": {"exempt": ["/opt/edr"]}}, "at '/agent/exempt/0'"),
    ({"agent": {"exempt": ["tracefs:/opt/edr,/bin/sh"]}}, "at '/agent/exempt/0'"),
    ({"agent": {"exempt": ["tracefs:/opt/edr"], "strict": True}}, "agent.strict knows no exemptions"),
    ({"agent": {"selfTestInterval": "999ms"}}, "agent.selfTestInterval is 999ms; 1s to 1h is allowed"),
    ({"agent": {"allowCgroups": [""]}}, "at '/agent/allowCgroups/0'"),
    ({"agent": {"maxTasksPerCgroup": 0}}, "at '/agent/maxTasksPerCgroup': minimum: got 0, want 1"),
    ({"agent": {"minWrapperVersion": "1.2"}}, "at '/agent/minWrapperVersion'"),
    ({"agent": {"trustKeys": [CA]}}, "at '/agent/trustKeys/0'"),
    ({"agent": {"trustKeys": KEY}}, "at '/agent/trustKeys': got string, want array"),
    ({"agent": {"exempt": ["tracefs:/usr/bin/edr@edr.service"]}}, "at '/agent/exempt/0'"),
    ({"agent": {"exempt": ["tracefs:/usr/bin/$(NODE_NAME)"]}}, "at '/agent/exempt/0'"),
    ({"agent": {"metricsListen": "9464"}}, "at '/agent/metricsListen'"),
    ({"agent": {"capabilities": ["CAP BPF"]}}, "at '/agent/capabilities/0'"),
    ({"agent": {"maxUnavailable": "all"}}, "at '/agent/maxUnavailable'"),
    ({"agent": {"image": {"pull": 1}}}, "at '/agent/image': additional properties 'pull' not allowed"),
    ({"resources": {"limit": {}}}, "at '/resources': additional properties 'limit' not allowed"),
]


class Render(TestCase):
    def test_lint(self):
        for name, values in {**SETS, **CERT_MANAGER}.items():
            with self.subTest(name):
                helm("lint", "--strict", CHART, values=values)

    def test_wrong_values(self):
        for values, sentence in WRONG:
            with self.subTest(json.dumps(values)):
                done = helm("template", RELEASE, CHART, values=values, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(sentence, done.stderr)

    def test_every_value_has_a_rule(self):
        """Nothing in values.yaml that the schema does not know, and the other way round."""
        def leaves(value, path=()):
            if isinstance(value, dict) and value:
                return {leaf for key, each in value.items() for leaf in leaves(each, (*path, key))}
            return {path}

        def rules(schema, path=()):
            if "properties" not in schema:
                return {path}
            return {leaf for key, each in schema["properties"].items()
                    for leaf in rules(each, (*path, key))}
        values = leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
        schema = rules(json.loads((CHART / "values.schema.json").read_text()))
        free = {path for path in values if {"resources", "nodeSelector"} & set(path)}
        absent = {("global",), ("nodeSelector",), ("agent", "nodeSelector"), *(
            (*at, "resources", k) for at in ((), ("agent",)) for k in ("requests", "limits", "claims"))}
        self.assertEqual(values - free, schema - absent)

    def test_a_cluster_that_is_too_old(self):
        done = helm("template", RELEASE, CHART, "--kube-version", "1.29.9", check=False)
        self.assertIn("chart requires kubeVersion: >=1.30.0-0 which is incompatible with Kubernetes v1.29.9",
                      done.stderr)
        template(None, "--kube-version", "1.30.0")

    def test_versions(self):
        """The chart's are the project's."""
        version = re.search(r"project\(cloudtaser VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual((chart["version"], chart["appVersion"]), (version, version))

    def test_the_rig_registers_as_the_chart_does(self):
        rig = yaml.safe_load((ROOT / "test" / "rig" / "mutating-webhook.yaml").read_text())
        chart = next(d for d in documents(template(VALUES)) if d["kind"] == rig["kind"])
        self.assertEqual(len(rig["webhooks"]), len(chart["webhooks"]))
        for mine, theirs in zip(chart["webhooks"], rig["webhooks"]):
            # Where it is called, and where not, is the cluster's.
            for entry in (mine, theirs):
                entry.pop("clientConfig")
                entry.pop("namespaceSelector", None)
                for condition in entry["matchConditions"]:
                    condition["expression"] = " ".join(condition["expression"].split())
            self.assertEqual(mine, theirs)

    def test_generated_files(self):
        done = subprocess.run([ROOT / "tools" / "chart", "--helm", self.env.binaries / "helm"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_schemas_of_the_api_server(self):
        schemas = openapi.write_schemas(self.cluster, self.env.work / "schemas")
        conform = [self.env.binaries / "kubeconform", "-strict", "-summary", "-schema-location",
                   f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", "-"]

        def run(text):
            return subprocess.run(conform, input=text, capture_output=True, text=True, check=False)
        for name, values in SETS.items():
            with self.subTest(name):
                done = run(template(values))
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertIn("Invalid: 0, Errors: 0, Skipped: 0", done.stdout)
        # They do tell right from wrong.
        wrong = template(VALUES).replace("timeoutSeconds: 5", "timeoutSecond: 5")
        self.assertIn("timeoutSecond", run(wrong).stdout)

    def test_dry_run_on_the_api_server(self):
        self.namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
        for name, values in SETS.items():
            with self.subTest(name):
                done = self.cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-",
                                            stdin=template(values), check=False)
                agent = values.get("agent", {}).get("enabled", False)
                # The agent's pods need a namespace that takes them (docs/install.md).
                self.assertRegex(done.stderr, '^Warning: would violate PodSecurity .*hostPID' if agent else "^$")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertGreater(done.stdout.count("created (server dry run)"), 15)

    def test_the_programs_take_the_settings(self):
        """Each set's webhook.json: the webhook finds nothing wrong with it, and the command line takes it too."""
        path = self.env.work / "settings.json"
        for name, values in {**SETS, **CERT_MANAGER}.items():
            with self.subTest(name):
                config = next(d for d in documents(template(values)) if "webhook.json" in d.get("data", {}))
                path.write_text(config["data"]["webhook.json"])
                done = subprocess.run([product("cloudtaser-webhook"), "--config", path, "--kubeconfig",
                                       self.env.work / "none"], capture_output=True, text=True, check=False)
                # 2 is for settings. What it cannot have here comes later.
                self.assertEqual(done.returncode, 1, done.stderr)
        path.write_text(next(d for d in documents(template(VALUES)) if d["kind"] == "ConfigMap")
                        ["data"]["webhook.json"])
        done = subprocess.run([process.build_dir() / "cli" / "cloudtaser", "inject", "-f",
                               ROOT / "examples" / "pod.yaml", "--config", path], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(IMAGE, done.stdout)

    def test_the_agent_takes_its_options(self):
        """Each set's: nothing is wrong with them, and all come to be what the values say."""
        agent = process.build_dir() / "bpf" / "cloudtaser-agent"
        keys = self.env.work / "keys"
        keys.mkdir(exist_ok=True)
        wanted = {
            "agent as it comes": ["--label-hold=10m", "--self-test-interval=1m", "--max-tasks-per-cgroup=4096"],
            "agent that lets somebody pass": ["--label-hold=10m", "--self-test-interval=1m", "--max-tasks-per-cgroup=4096",
                                              "--trust-key=/keys/0.pem", "--trust-key=/keys/1.pem",
                                              "--exempt=bpf_prog_load+tracefs:/opt/edr/sensor@/system.slice/edr.service",
                                              "--exempt=module_load:/usr/bin/kmod"],
            "agent": ["--label-hold=1h", "--self-test-interval=30s", "--max-tasks-per-cgroup=512", "--strict",
                      "--trust-key=/keys/0.pem", "--min-wrapper-version=0.1.0", "--allow-cgroup=/machine.slice/*",
                      "--allow-cgroup=/its?", "--allow-downgrade", "--metrics-listen=:9464"]}
        for name, options in wanted.items():
            with self.subTest(name):
                made = documents(template(SETS[name]))
                spec = next(d for d in made if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
                [container] = spec["containers"]
                self.assertEqual(container["args"], ["run", "--node-name=$(NODE_NAME)", "--advertise", *options])
                mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
                self.assertEqual(mounts.get("keys"), "/keys" if SETS[name]["agent"].get("trustKeys") else None)
                self.assertEqual({v["name"] for v in spec["volumes"]}, set(mounts))
                for document in made:
                    for file, text in document.get("data", {}).items():
                        (keys / file).write_text(text)
                # It gets as far as to its rights, of which it has none: wrong options end it before, with 2.
                options = [o.replace("/keys/", f"{keys}/") for o in options]
                done = subprocess.run(["setpriv", "--bounding-set", "-bpf", agent, "run", *options],
                                      capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stderr.count("the agent lacks CAP_BPF")), (1, 1), done.stderr)
        (keys / "0.pem").write_text("no key")
        done = subprocess.run([agent, "run", f"--trust-key={keys}/0.pem"], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("0.pem", done.stderr)

    def test_new_keys_mean_new_agents(self):
        def annotations(*keys):
            made = documents(template({"agent": {"enabled": True, "trustKeys": list(keys)}}))
            return next(d for d in made if d["kind"] == "DaemonSet")["spec"]["template"]["metadata"].get("annotations")
        self.assertIsNone(annotations())
        self.assertNotEqual(annotations(KEY), annotations(OTHER_KEY))

    def test_names_and_images(self):
        made = documents(template(SETS["everything"]))
        deployment = next(d for d in made if d["kind"] == "Deployment")
        pod = deployment["spec"]["template"]
        self.assertEqual(pod["spec"]["containers"][0]["image"],
                         "registry.example.com:5000/a/webhook:1")
        # What selects the pods is no value's business.
        self.assertEqual(pod["metadata"]["labels"]["app.kubernetes.io/name"], "cloudtaser")
        self.assertEqual(pod["metadata"]["labels"]["team"], "platform")
        config = json.loads(next(d for d in made if d["kind"] == "ConfigMap")["data"]["webhook.json"])
        self.assertEqual(config["injector-image"], IMAGE)
        self.assertEqual(config["cert-name"], [f"cloudtaser-webhook.{NAMESPACE}.svc", "192.0.2.7"])
        default = next(d for d in documents(template()) if d["kind"] == "ConfigMap")
        self.assertRegex(json.loads(default["data"]["webhook.json"])["injector-image"],
                         r"^cloudtaser-injector:\d+\.\d+\.\d+$")

    def test_certificates_from_elsewhere(self):
        """No Secret of the chart's, no right to one."""
        for name, values in {"files": FILES, **CERT_MANAGER}.items():
            with self.subTest(name):
                made = documents(template(values))
                kinds = [d["kind"] for d in made]
                self.assertNotIn("Secret", kinds)
                self.assertNotIn("Role", kinds)
                rules = next(d for d in made if d["kind"] == "ClusterRole")["rules"]
                self.assertEqual([rule["resources"] for rule in rules], [["nodes", "namespaces"]])
        own = documents(template(CERT_MANAGER["own"]))
        entry = next(d for d in own if d["kind"] == "MutatingWebhookConfiguration")
        self.assertEqual(entry["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
                         f"{NAMESPACE}/cloudtaser-webhook")
        self.assertEqual([d["kind"] for d in own].count("Issuer"), 2)
        foreign = documents(template(CERT_MANAGER["foreign"]))
        self.assertEqual([d["kind"] for d in foreign].count("Issuer"), 0)
        certificate = next(d for d in foreign if d["kind"] == "Certificate")
        self.assertEqual(certificate["spec"]["issuerRef"],
                         {"name": "corporate", "kind": "ClusterIssuer", "group": "cert-manager.io"})
        for host, names, addresses in (
                (None, [], None), ("hooks.example.com", ["hooks.example.com"], None),
                ("192.0.2.7", [], ["192.0.2.7"]), ("[2001:db8::7]", [], ["2001:db8::7"])):
            more = {"webhook": {"url": f"https://{host}:8443"}} if host else {}
            spec = next(d for d in documents(template(merged(CERT_MANAGER["own"], more)))
                        if d["metadata"]["name"] == "cloudtaser-webhook" and d["kind"] == "Certificate")["spec"]
            self.assertEqual(spec["dnsNames"], [f"cloudtaser-webhook.{NAMESPACE}.svc", *names])
            self.assertEqual(spec.get("ipAddresses"), addresses)

    def test_audit_denies_nothing(self):
        made = documents(template(SETS["audit"]))
        bindings = [d for d in made if d["kind"] == "ValidatingAdmissionPolicyBinding"]
        self.assertEqual(len(bindings), 5)
        for binding in bindings:
            self.assertEqual(binding["spec"]["validationActions"], ["Warn", "Audit"])
        for entry in next(d for d in made if d["kind"] == "MutatingWebhookConfiguration")["webhooks"]:
            self.assertEqual(entry["failurePolicy"], "Ignore")


