# SPDX-License-Identifier: Apache-2.0
"""A cluster of many nodes, as the API server tells of it: a page of nodes is recorded from a real API
server, after they were created there in full, and served over and over with other names."""

import base64
import http.server
import json
import re
import ssl
import threading
import urllib.parse

PAGE = 500
IMAGES = 22
CONDITIONS = ("NetworkUnavailable", "MemoryPressure", "DiskPressure", "PIDPressure", "Ready")


def node(name, i):
    """What a cloud's kubelet reports, with the images that it has pulled."""
    images = [{"names": [f"registry.example.com/team-{n % 7}/service-{n}@sha256:{n * 7919 + i:064x}",
                         f"registry.example.com/team-{n % 7}/service-{n}:v1.{n}.{i % 10}"],
               "sizeBytes": 50_000_000 + n * 1_234_567} for n in range(IMAGES)]
    resources = {"cpu": "8", "ephemeral-storage": "103808Mi", "hugepages-1Gi": "0",
                 "hugepages-2Mi": "0", "memory": "32378796Ki", "pods": "58"}
    info = {"architecture": "amd64", "bootID": f"b{i:035x}", "machineID": f"{i:032x}",
            "systemUUID": f"e{i:035x}", "containerRuntimeVersion": "containerd://2.0.5",
            "kernelVersion": ("6.12.41-cloud-amd64", "5.10.0-32-amd64")[i % 2], "kubeProxyVersion": "",
            "kubeletVersion": "v1.36.3", "operatingSystem": "linux",
            "osImage": "Debian GNU/Linux 13 (trixie)"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
              "kubernetes.io/arch": "amd64", "beta.kubernetes.io/arch": "amd64",
              "beta.kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "m5.2xlarge",
              "beta.kubernetes.io/instance-type": "m5.2xlarge",
              "topology.kubernetes.io/region": "eu-west-1",
              "topology.kubernetes.io/zone": f"eu-west-1{'abc'[i % 3]}",
              "failure-domain.beta.kubernetes.io/region": "eu-west-1",
              "failure-domain.beta.kubernetes.io/zone": f"eu-west-1{'abc'[i % 3]}",
              "example.com/node-group": f"group-{i % 20}", "example.com/capacity": "on-demand"}
    return {
        "metadata": {"name": name, "labels": labels, "annotations": {
            "node.alpha.kubernetes.io/ttl": "0",
            "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            "csi.volume.kubernetes.io/nodeid": json.dumps({"ebs.csi.example.com": name})}},
        "spec": {"providerID": f"cloud:///eu-west-1a/{name}", "podCIDR": "10.0.0.0/24",
                 "podCIDRs": ["10.0.0.0/24"]},
        "status": {
            "nodeInfo": info, "capacity": resources, "allocatable": resources, "images": images,
            "addresses": [{"type": "InternalIP", "address": f"10.0.{i // 256}.{i % 256}"},
                          {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "conditions": [{"type": kind, "status": "True" if kind == "Ready" else "False",
                            "lastHeartbeatTime": "2026-08-20T10:00:00Z",
                            "lastTransitionTime": "2026-08-19T10:00:00Z", "reason": f"Kubelet{kind}",
                            "message": f"kubelet has told of {kind}"} for kind in CONDITIONS]}}


def record(cluster, count):
    """Creates so many nodes in a real cluster and returns its answers: the first of two pages of its
    nodes, and all of its namespaces."""
    for i in range(count):
        cluster.api("POST", "/api/v1/nodes", node(f"recorded-{i:04}", i))
    return (cluster.api("GET", f"/api/v1/nodes?limit={count // 2}"),
            cluster.api("GET", "/api/v1/namespaces?limit=500"))


def pages(recorded, count):
    """The recorded page as pages of `count` nodes, each of a name, a uid and addresses of its own."""
    texts = [json.dumps(item, separators=(",", ":")) for item in recorded["items"]]
    made = []
    for i in range(count):
        text, item = texts[i % len(texts)], recorded["items"][i % len(texts)]
        for old, new in ((item["metadata"]["name"], f"ip-10-{i // 65536}-{i // 256 % 256}-{i % 256}"),
                         (item["metadata"]["uid"], f"{i:08x}{item['metadata']['uid'][8:]}")):
            text = text.replace(old, new)
        made.append(text)
    head = {key: value for key, value in recorded.items() if key != "items"}
    return [_page(head, made, start) for start in range(0, count, PAGE)]


def _page(head, items, start):
    # As the real one's: opaque, and as long.
    meta = dict(head["metadata"], remainingItemCount=max(0, len(items) - start - PAGE))
    meta["continue"] = _token(start + PAGE, len(meta["continue"])) if start + PAGE < len(items) else ""
    head = json.dumps({**head, "metadata": meta}, separators=(",", ":"))
    return (head[:-1] + ',"items":[' + ",".join(items[start:start + PAGE]) + "]}").encode()


def _token(start, length):
    return base64.urlsafe_b64encode(f"{start:>{length * 3 // 4}}".encode()).decode().rstrip("=")


class Server:
    """Serves them over TLS on a loopback port; a watch is opened, and tells nothing."""

    def __init__(self, port, authority, node_pages, namespaces):
        self._pages, self._namespaces = node_pages, json.dumps(namespaces).encode()
        self._end = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                owner.answer(self)

            def log_message(self, *_):
                pass

        certificate, key = authority.issue("api-server")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True,
                                              do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        if query.get("watch"):
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            self._end.wait()
            return
        body = self._page_of(query) if url.path == "/api/v1/nodes" else self._namespaces
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _page_of(self, query):
        if query["limit"] != str(PAGE):
            raise ValueError(f"pages of {query['limit']} are asked for, these are of {PAGE}")
        token = query.get("continue", "")
        start = int(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))) if token else 0
        return self._pages[start // PAGE]


def kubeconfig(port, authority):
    return json.dumps({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t" * 900}}],
        "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}",
                                               "certificate-authority": str(authority.certificate)}}]})


def check(node_pages, count):
    """They must be what is claimed: so many nodes, each in full. Returns the bytes of one."""
    names = set()
    for text in node_pages:
        names.update(re.findall(rb'"metadata":\{"name":"(ip-[^"]+)"', text))
    if len(names) != count:
        raise ValueError(f"{len(names)} nodes are served, not {count}")
    return sum(map(len, node_pages)) / count
