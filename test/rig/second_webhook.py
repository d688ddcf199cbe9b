# SPDX-License-Identifier: Apache-2.0
"""A second mutating webhook, as a service mesh has one: it adds a sidecar to pods that ask."""

import base64
import http.server
import json
import ssl
import threading

SIDECAR = {"name": "mesh-proxy", "image": "mesh/proxy:1", "command": ["/bin/proxy"],
           "args": ["--config", "/etc/mesh.json"], "env": [{"name": "MESH_ID", "value": "7"}]}
ANNOTATION = "mesh.example.com/inject"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        answer = {"uid": request["uid"], "allowed": True}
        spec = request["object"]["spec"]
        if not any(c["name"] == SIDECAR["name"] for c in spec["containers"]):
            self.server.added += 1
            patch = [{"op": "add", "path": "/spec/containers/-",
                      "value": {**SIDECAR, "env": SIDECAR["env"] + self.server.extra_env}}]
            answer.update(patchType="JSONPatch",
                          patch=base64.b64encode(json.dumps(patch).encode()).decode())
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                           "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class SecondWebhook:
    """Serves in a thread; `name` decides whether the API server calls it before ours or after."""

    def __init__(self, cluster, authority, name, extra_env=()):
        certificate, key = authority.issue(f"second-{name}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._server.added = 0
        self._server.extra_env = list(extra_env)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._cluster, self._name = cluster, name
        condition = (f"has(object.metadata.annotations) && '{ANNOTATION}' in "
                     f"object.metadata.annotations && object.metadata.annotations['{ANNOTATION}'] "
                     f"== '{name}'")
        cluster.kubectl("apply", "-f", "-", stdin={
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [{
                "name": "mesh.example.com", "admissionReviewVersions": ["v1"],
                "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 5,
                "clientConfig": {
                    "url": f"https://127.0.0.1:{self._server.server_address[1]}/",
                    "caBundle": base64.b64encode(authority.pem().encode()).decode()},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                           "resources": ["pods"]}],
                "matchConditions": [{"name": "asks", "expression": condition}]}]})

    @property
    def added(self):
        """How many sidecars it has added."""
        return self._server.added

    def close(self):
        self._cluster.kubectl("delete", "mutatingwebhookconfiguration", self._name, check=False)
        self._server.shutdown()
        self._server.server_close()
