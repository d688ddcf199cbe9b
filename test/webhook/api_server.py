# SPDX-License-Identifier: Apache-2.0
"""As much of a Kubernetes API server as a watch of nodes or namespaces sees, with every bad habit on
demand."""

import contextlib
import http.server
import json
import queue
import socket
import threading
import time
import urllib.parse


class Gone(Exception):
    """End the connection without another word."""


class Collection:
    """Objects of a kind, listed and watched.

    `list_faults` and `watch_faults` hold functions that are taken, one a request, before the honest
    answer: they get the request's handler, and answer in its place if they return True."""

    def __init__(self, kind, objects=()):
        self.kind = kind
        self.lock = threading.Lock()
        self.version = 1000
        self.objects = {o["metadata"]["name"]: o for o in objects}
        self.pages = None
        self.list_faults, self.watch_faults = [], []
        self.lists, self.watches = [], []
        self._watchers = []

    # --- what a test does to it --------------------------------------------------------------------

    def send_line(self, line):
        """A raw line to every watch."""
        with self.lock:
            for watcher in self._watchers:
                watcher.put(line)

    def event(self, kind, node):
        with self.lock:
            self.version += 1
            version, name = self.version, node["metadata"]["name"]
            if kind == "DELETED":
                self.objects.pop(name, None)
            else:
                self.objects[name] = node
        node = {**node, "metadata": {**node["metadata"], "resourceVersion": str(version)}}
        self.send_line(json.dumps({"type": kind, "object": node}))

    def bookmark(self):
        with self.lock:
            self.version += 100
            version = self.version
        self.send_line(json.dumps({"type": "BOOKMARK", "object": {
            "kind": self.kind, "metadata": {"resourceVersion": str(version)}}}))
        return str(version)

    def end_watches(self):
        self.send_line(None)

    def open_watches(self):
        with self.lock:
            return len(self._watchers)

    # --- answers -----------------------------------------------------------------------------------

    def answer(self, handler, query):
        watch = query.get("watch") == "1"
        with self.lock:
            (self.watches if watch else self.lists).append(query)
            faults = self.watch_faults if watch else self.list_faults
            fault = faults.pop(0) if faults else None
        if fault is not None and fault(handler):
            return
        if watch:
            self._watch(handler)
        else:
            self._list(handler, query)

    def _list(self, handler, query):
        limit, start = int(query["limit"]), 0
        if "continue" in query:
            start = int(query["continue"].split("/")[1].rstrip("="))
        if self.pages is not None:
            send(handler, 200, self.pages[start // limit])
            return
        with self.lock:
            objects, version = list(self.objects.values()), self.version
        send(handler, 200, page(objects, start, limit, version, self.kind))

    def _watch(self, handler):
        lines = queue.Queue()
        with self.lock:
            self._watchers.append(lines)
        try:
            begin(handler)
            while True:
                line = lines.get(timeout=120)
                if line is None:
                    break
                chunk(handler, line.encode() + b"\n")
            handler.wfile.write(b"0\r\n\r\n")
        finally:
            with self.lock:
                self._watchers.remove(lines)

class ApiServer(Collection):
    """Serves its nodes, and `namespaces`, on a loopback port."""

    def __init__(self, port, nodes=(), namespaces=("shop",)):
        super().__init__("Node", nodes)
        self.namespaces = Collection("Namespace", [namespace(name) for name in namespaces])
        self.port = port
        self.connections = []
        self._server = None
        self.start()

    # --- its life --------------------------------------------------------------------------------

    def start(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                with owner.lock:
                    owner.connections.append(self.connection)

            def do_GET(self):
                owner.answer_request(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """As a crash: its connections end too."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            with self.lock:
                connections, self.connections = self.connections, []
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self.end_watches()
            self.namespaces.end_watches()

    def kubeconfig(self):
        return json.dumps({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}]})

    # --- answers -----------------------------------------------------------------------------------

    def answer_request(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        asked = self.namespaces if url.path == "/api/v1/namespaces" else self
        try:
            asked.answer(handler, query)
        except (Gone, OSError):
            handler.close_connection = True


def namespace(name, **labels):
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {
        "name": name, "resourceVersion": "1", "labels": {"kubernetes.io/metadata.name": name, **labels}}}


def page(nodes, start, limit, version, kind="Node"):
    meta = {"resourceVersion": str(version)}
    if start + limit < len(nodes):
        # The real one is opaque; this one needs escaping, as any might.
        meta["continue"] = f"c+/{start + limit}=="
    return json.dumps({"kind": f"{kind}List", "apiVersion": "v1", "metadata": meta,
                       "items": nodes[start:start + limit]}).encode()


def send(handler, status, body, headers=()):
    handler.send_response(status)
    for name, value in headers:
        handler.send_header(name, value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def begin(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.flush()


def chunk(handler, data):
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
    handler.wfile.flush()


# --- bad habits ------------------------------------------------------------------------------------

def status(code, message="as the test wants it", headers=()):
    """Answers with a Status, as the real one does."""
    def fault(handler):
        send(handler, code, json.dumps({"kind": "Status", "code": code,
                                        "message": message}).encode(), headers)
        return True
    return fault


def garbage(body=b"<html>no JSON</html>"):
    def fault(handler):
        send(handler, 200, body)
        return True
    return fault


def cut(handler):
    """Half of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"kind":"NodeList","items":[')
    raise Gone


def drop(_handler):
    raise Gone


def late(seconds):
    """An honest answer, but not yet."""
    def fault(_handler):
        time.sleep(seconds)
        return False
    return fault


def hang(handler):
    """A head, and then nothing for as long as the client waits."""
    handler.send_response(200)
    handler.send_header("Content-Length", "10")
    handler.end_headers()
    handler.wfile.flush()
    handler.connection.settimeout(120)
    handler.connection.recv(1)
    raise Gone


def honest(_handler):
    return False


def line(text):
    """A watch of this one line, which stays open."""
    def fault(handler):
        begin(handler)
        chunk(handler, text if isinstance(text, bytes) else json.dumps(text).encode() + b"\n")
        handler.connection.settimeout(120)
        handler.connection.recv(1)
        raise Gone
    return fault
