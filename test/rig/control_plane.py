# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager on loopback, without a
node; or all of it, scheduler included, where nodes can reach it."""

import base64
import http.client
import json
import os
import pathlib
import secrets
import ssl
import subprocess
import urllib.parse

from certs import Authority, rsa_key
from process import GO_SERVICE, GO_TOOL, RigError, Service, free_port, wait_until

ISSUER = "https://kubernetes.default.svc"
# No node lifecycle among them: it would taint nodes whose kubelet never reports.
CONTROLLERS = ("deployment-controller", "replicaset-controller", "namespace-controller",
               "serviceaccount-controller", "root-ca-certificate-publisher-controller",
               "resourcequota-controller")


class Refused(Exception):
    """The API server said no: status code and message."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class ControlPlane:
    """Started by the constructor's end; close() ends it."""

    host = "127.0.0.1"

    def __init__(self, binaries, work_dir, log_dir, controllers=CONTROLLERS):
        self.binaries = pathlib.Path(binaries)
        self.work = pathlib.Path(work_dir)
        self.logs = pathlib.Path(log_dir)
        self.services = []
        self._controllers = controllers
        self.port = free_port()
        self.url = f"https://{self.host}:{self.port}"
        self._token = secrets.token_hex(16)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def token_key(self):
        """The public key of service-account tokens (PEM), for those who verify them themselves."""
        done = subprocess.run(["openssl", "pkey", "-in", self._sa_key, "-pubout"], check=True,
                              capture_output=True, text=True)
        return done.stdout

    def close(self):
        for service in reversed(self.services):
            service.end()
        self.services = []

    # --- start ---------------------------------------------------------------------------------

    def _start(self):
        self.authority = Authority(self.work, "cluster-ca")
        self._tls = ssl.create_default_context(cafile=str(self.authority.certificate))
        self._sa_key = rsa_key(self.work / "service-accounts.key")
        self._write_kubeconfig()
        self._etcd_url = self._start_etcd()
        self._api_starts = 0
        self._start_api_server()
        self._start_controllers()

    def stop_api_server(self):
        """As a crash: its connections break."""
        self.api_server.end()
        self.services.remove(self.api_server)

    def start_api_server(self):
        self._start_api_server()

    def _service(self, name, *arguments, log=None):
        # No proxy and no in-cluster environment may lead these programs elsewhere.
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.work), **GO_SERVICE}
        service = Service(log or name, [self.binaries / name, *arguments], self.logs, env=env)
        self.services.append(service)
        return service

    def _start_etcd(self):
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._service(
            "etcd", "--name=test", f"--data-dir={self.work / 'etcd'}", "--unsafe-no-fsync",
            "--log-level=warn", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}")
        return client

    def _start_api_server(self):
        certificate, key = self.authority.issue("kube-apiserver", self._hosts())
        self._api_starts += 1
        log = "kube-apiserver" + (f"-{self._api_starts}" if self._api_starts > 1 else "")
        tokens = self.work / "tokens.csv"
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        service = self._service(
            "kube-apiserver", f"--etcd-servers={self._etcd_url}", f"--bind-address={self.host}",
            f"--secure-port={self.port}", f"--cert-dir={self.work / 'apiserver'}",
            f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}",
            f"--service-account-issuer={ISSUER}", f"--service-account-key-file={self._sa_key}",
            f"--service-account-signing-key-file={self._sa_key}",
            "--service-cluster-ip-range=10.96.0.0/16", f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC", "--allow-privileged=true", *self._api_options(),
            log=log)
        service.wait_for(self._ready, "kube-apiserver to be ready", 90)
        self.api_server = service

    def _hosts(self):
        """What the API server is called by."""
        return ("IP:127.0.0.1", "DNS:localhost")

    def _api_options(self):
        # Never contacted: the `kubernetes` Service needs an address, and takes no loopback.
        return ("--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none")

    def _ready(self):
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def _start_controllers(self):
        self._service(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self._sa_key}",
            f"--root-ca-file={self.authority.certificate}", "--leader-elect=false",
            "--secure-port=0", f"--controllers={','.join(self._controllers)}")
        self._wait_service_account("default")

    def _write_kubeconfig(self):
        self.kubeconfig = self.work / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": self.url, "certificate-authority": str(self.authority.certificate)}}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}]}))

    # --- talk to it ----------------------------------------------------------------------------

    def request(self, method, path, body=None, content_type="application/json", token=None):
        """One HTTP request; (status, bytes)."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=30,
                                                 context=self._tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Authorization": f"Bearer {token or self._token}",
                                "Content-Type": content_type, "Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def api(self, method, path, body=None, **options):
        """request() for the Kubernetes API: the decoded object, or Refused."""
        status, raw = self.request(method, path, body, **options)
        answer = json.loads(raw)
        if status >= 400:
            raise Refused(status, answer.get("message", raw.decode(errors="replace")))
        return answer

    def kubectl(self, *arguments, stdin=None, check=True):
        """The real kubectl; a CompletedProcess. `stdin` may be an object (sent as JSON)."""
        if stdin is not None and not isinstance(stdin, str):
            stdin = json.dumps(stdin)
        done = subprocess.run(
            [self.binaries / "kubectl", f"--cache-dir={self.work / 'kubectl-cache'}", *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.work), **GO_TOOL},
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RigError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done

    # --- objects -------------------------------------------------------------------------------

    def namespace(self, name, labels=None):
        """A namespace in which pods can be created."""
        self.api("POST", "/api/v1/namespaces",
                 {"metadata": {"name": name, "labels": labels or {}}})
        self._wait_service_account(name)
        return name

    def _wait_service_account(self, namespace):
        """Pods are refused until the controller has made the default service account and the CA."""
        for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            url = f"/api/v1/namespaces/{namespace}/{path}"
            wait_until(lambda: self.request("GET", url)[0] == 200, f"{path} in {namespace}", 60)

    def create(self, obj, namespace):
        """Creates an object with the real kubectl and returns it as the API server stored it."""
        done = self.kubectl("create", "-n", namespace, "-f", "-", "-o", "json", stdin=obj)
        return json.loads(done.stdout)

    def get_pod(self, namespace, name):
        return self.api("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    def bind(self, pod, node):
        """What the scheduler does: gives the pod its node. Returns the pod as it is then."""
        meta = pod["metadata"]
        base = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self.api("POST", f"{base}/binding", {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}})
        return self.api("GET", base)

    def add_node(self, name, kernel="6.12.0-1-amd64", labels=None, taints=None):
        """A node as its kubelet would have registered it, Ready."""
        info = {"kernelVersion": kernel, "architecture": "amd64", "bootID": "b", "machineID": "m",
                "systemUUID": "s", "containerRuntimeVersion": "containerd://2.0.0",
                "kubeProxyVersion": "", "kubeletVersion": "v1.36.3", "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux"}
        every = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                 "kubernetes.io/arch": "amd64"}
        resources = {"cpu": "8", "memory": "16Gi", "pods": "110"}
        self.api("POST", "/api/v1/nodes", {
            "metadata": {"name": name, "labels": {**every, **(labels or {})}},
            "status": {"nodeInfo": info, "capacity": resources, "allocatable": resources,
                       "conditions": [{"type": "Ready", "status": "True",
                                       "reason": "KubeletReady"}]}})
        # The API server taints every new node as not ready; the node controller would lift that.
        self.api("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": taints or None}},
                 content_type="application/merge-patch+json")

    def label_node(self, name, labels):
        self.api("PATCH", f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}},
                 content_type="application/merge-patch+json")

    def write_nodes(self, path):
        """What `kubectl get nodes -o json` prints, replaced in one step."""
        self.write_list("nodes", path)

    def write_list(self, resource, path):
        path = pathlib.Path(path)
        fresh = path.with_suffix(".new")
        fresh.write_text(self.kubectl("get", resource, "-o", "json").stdout)
        os.replace(fresh, path)

    def service_account_token(self, namespace, account, audiences=(), seconds=600, pod=None):
        """A token from the real TokenRequest API, bound to the pod object if one is given."""
        spec = {"audiences": list(audiences), "expirationSeconds": seconds}
        if pod is not None:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod",
                                      "name": pod["metadata"]["name"],
                                      "uid": pod["metadata"]["uid"]}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{urllib.parse.quote(account)}/token"
        answer = self.api("POST", path, {"apiVersion": "authentication.k8s.io/v1",
                                         "kind": "TokenRequest", "spec": spec})
        return answer["status"]["token"]

    def account(self, namespace, name):
        """A service account without rights: (kubeconfig, token file), the former in YAML."""
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
                    namespace)
        token = self.work / f"{name}.token"
        token.write_text(self.service_account_token(namespace, name))
        kubeconfig = self.work / f"{name}.yaml"
        kubeconfig.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\ncontexts:\n- name: it\n  context:\n"
            f"    cluster: it\n    user: it\n    namespace: {namespace}\n"
            f"clusters:\n- name: it\n  cluster:\n    server: {self.url}\n"
            f"    certificate-authority: {self.authority.certificate}\n"
            f"users:\n- name: it\n  user:\n    tokenFile: {token.name}\n")
        return kubeconfig, token

    def grant(self, namespace, name, rules):
        """Gives a service account these rights in the whole cluster."""
        group = "rbac.authorization.k8s.io"
        self.api("POST", f"/apis/{group}/v1/clusterroles",
                 {"metadata": {"name": name}, "rules": rules})
        self.api("POST", f"/apis/{group}/v1/clusterrolebindings", {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]})


class FullControlPlane(ControlPlane):
    """Every controller and the scheduler too; it listens on an address that nodes reach, which is
    the constructor's first argument, and trusts certificates of its authority, kubelets' among them."""

    def __init__(self, host, binaries, work_dir, log_dir):
        self.host = host
        super().__init__(binaries, work_dir, log_dir, controllers=("*",))

    def _hosts(self):
        # The last two are how pods call it.
        return (f"IP:{self.host}", "IP:10.96.0.1", "DNS:kubernetes.default.svc")

    def _api_options(self):
        certificate, key = self.authority.issue("kubelet-client", (f"IP:{self.host}",),
                                                subject="/O=system:masters/CN=kube-apiserver")
        return (f"--advertise-address={self.host}", "--enable-aggregator-routing=true",
                f"--client-ca-file={self.authority.certificate}",
                f"--kubelet-client-certificate={certificate}", f"--kubelet-client-key={key}",
                "--kubelet-preferred-address-types=InternalIP",
                "--enable-admission-plugins=NodeRestriction")

    def _start_controllers(self):
        self._service("kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
                      "--secure-port=0")
        super()._start_controllers()

    def client_kubeconfig(self, name, subject, path):
        """A kubeconfig of a client with a certificate, complete in itself."""
        files = self.authority.issue(name, (f"IP:{self.host}",), subject=subject)
        ca, certificate, key = (base64.b64encode(pathlib.Path(f).read_bytes()).decode()
                                for f in (self.authority.certificate, *files))
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": self.url, "certificate-authority-data": ca}}],
            "users": [{"name": name, "user": {"client-certificate-data": certificate,
                                              "client-key-data": key}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}]}))
