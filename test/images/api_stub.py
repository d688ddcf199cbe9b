# SPDX-License-Identifier: Apache-2.0
"""As much of an API server as the webhook asks for nodes and namespaces: one of each, and watches that
stay silent."""

import http.server
import json
import ssl
import threading

NAMESPACES = {
    "kind": "NamespaceList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
    "items": [{"metadata": {"name": "shop", "resourceVersion": "7"}}],
}
NODES = {
    "kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
    "items": [{
        "metadata": {"name": "node-1", "resourceVersion": "7",
                     "labels": {"kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {"nodeInfo": {"kernelVersion": "6.12.0", "architecture": "amd64"},
                   "conditions": [{"type": "Ready", "status": "True"}]},
    }],
}


class ApiStub:
    """Listens on a free port of loopback; `requests` are the paths asked for, `tokens` what came
    with them."""

    def __init__(self, certificate, key):
        self.requests, self.tokens = [], set()
        self._ended = threading.Event()
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                stub.requests.append(self.path)
                stub.tokens.add(self.headers.get("Authorization"))
                if "watch=1" in self.path:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Connection", "close")
                    self.end_headers()
                    self.wfile.flush()
                    stub._ended.wait(60)
                    self.close_connection = True
                    return
                nodes = self.path.startswith("/api/v1/nodes?")
                body = json.dumps(NODES if nodes else NAMESPACES).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # The handshake in the request's thread: a client that refuses must not stop the others.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True,
                                                  do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
