# SPDX-License-Identifier: Apache-2.0
"""A Vault that misbehaves on demand, over HTTP or HTTPS on loopback.

What a login or a read is answered with is chosen by name: the role's for the login, the last part
of the path for a read. A handler returns raw bytes, so that it can lie about lengths, break off and
dribble.
"""
import json
import re
import socket
import ssl
import subprocess
import threading
import time

TOKEN = "hvs.CAESIJ-planted-token-9f27c1d4"
JWT = "eyJhbGciOiJSUzI1NiJ9.cGxhbnRlZC1qd3QtYm9keQ.c2lnbmF0dXJlLXBsYW50ZWQ"
VALUE = "planted-Value-5e8b21c07a"
SECRET_ID = "5e1cf83d-planted-83d1a9c04e"
WRAPPING = "hvs.CAESIM-planted-wrap-51c0d7aa-"  # and what it does
HIDDEN = (TOKEN, JWT, VALUE, SECRET_ID, WRAPPING)


def answer(status, body=b"", *, headers=(), length=None):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json",
             f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def nested(depth, opening, closing):
    """An answer that holds lists or objects one in the other."""
    return answer(200, f'{{"auth":{opening * depth}1{closing * depth}}}'.encode())


def errors(status, *texts):
    return answer(status, {"errors": list(texts)})


def secret(keys, version=3):
    return answer(200, {"data": {"data": keys, "metadata": {
        "version": version, "deletion_time": "", "destroyed": False}}})


def deleted(destroyed):
    return answer(404, {"data": {"data": None, "metadata": {
        "version": 2, "deletion_time": "2026-01-01T00:00:00Z", "destroyed": destroyed}}})


def login_ok(lease=3600):
    return answer(200, {"auth": {"client_token": TOKEN, "lease_duration": lease,
                                 "renewable": True}})


# Each returns bytes to send, then whether to close the connection. `server` counts tries by name.
def cut(reply):
    return reply[:-10], True


def dribble():
    return answer(200, {"auth": {}}, length=100000), False


ANSWERS = {
    "fine": lambda s: secret({"password": VALUE, "user": "web", "empty": "", "number": 7,
                              "flag": True, "none": None, "list": [VALUE], "object": {"a": VALUE},
                              "nul": VALUE + "\0x", "newline": "a\nb", "big": "x" * 200000}),
    "whole": lambda s: secret({"WHOLE_A": VALUE, "whole.b": ""}),
    "whole-odd": lambda s: secret({"a b": VALUE}),
    "whole-reserved": lambda s: secret({"LD_PRELOAD": VALUE}),
    "whole-path": lambda s: secret({"PATH": VALUE}),
    "whole-none": lambda s: secret({}),
    "whole-many": lambda s: secret({f"K{i}": VALUE for i in range(257)}),
    "denied": lambda s: errors(403, "1 error occurred:\n\t* permission denied\n\n"),
    "bad-request": lambda s: errors(400, "invalid role name"),
    "echo": lambda s: errors(403, f"bad token {TOKEN}", f"bad jwt {JWT}", f"part {JWT[10:40]}"),
    "echo-redirect": lambda s: answer(307, headers=[f"Location: https://{TOKEN}.example/x"]),
    "missing": lambda s: errors(404),
    "deleted": lambda s: deleted(False),
    "destroyed": lambda s: deleted(True),
    # Small on the wire, large once parsed: each "[]," becomes an array of its own.
    "bloated": lambda s: answer(200, b'{"data":{"data":{"a":[' + b"[]," * 80000 + b"[]]}}}"),
    "deep-lists": lambda s: nested(2000, "[", "]"),
    "deep-objects": lambda s: nested(2000, '{"a":', "}"),
    "long-text": lambda s: answer(200, b'{"data":{"data":{"a":"' + b"x" * 262000 + b'"}}}'),
    "v1": lambda s: answer(200, {"lease_id": "", "data": {"password": VALUE}}),
    "leased": lambda s: answer(200, {"lease_id": "db/creds/x/1", "data": {"password": VALUE}}),
    "no-data": lambda s: answer(200, {"data": [VALUE]}),
    # One member short of version 2: version 1, with keys of those names.
    "half-v2": lambda s: answer(200, {"data": {"data": {"password": VALUE}, "metadata": {
        "version": 3, "destroyed": False}}}),
    "no-object": lambda s: answer(200, {"data": {"data": [VALUE]}}),
    "not-json": lambda s: answer(200, b"<html>" + VALUE.encode() + b"</html>"),
    "wrong-door": lambda s: answer(404, b"404 page not found\n"),  # of an ingress without a backend
    "half-json": lambda s: answer(200, b'{"data":{"data":{"password":"' + VALUE.encode()),
    "empty": lambda s: answer(200, b""),
    "twice": lambda s: answer(200, b'{"data":{"data":{"password":"' + VALUE.encode() + b'","password":"x"}}}'),
    "other-version": lambda s: secret({"password": VALUE}, 9),
    "redirect": lambda s: answer(307, headers=["Location: https://other.example:8200/v1/x?y=z"]),
    "sealed": lambda s: errors(503, "Vault is sealed"),
    "overloaded": lambda s: errors(429, "request path quota exceeded"),
    "standby": lambda s: answer(473),
    "broken": lambda s: errors(500, "internal error"),
    "teapot": lambda s: errors(418, "short and stout"),
    "no-content": lambda s: answer(204),
    "huge": lambda s: answer(200, b'{"data":"' + b"x" * (1 << 20) + b'"}'),
    "huge-declared": lambda s: (answer(200, b"{", length=1 << 40), False),
    "endless": lambda s: (b"HTTP/1.1 200 X\r\n\r\n" + b"x" * (1 << 20), True),
    "cut": lambda s: cut(secret({"password": VALUE})),
    "silent": lambda s: (None, False),
    "hang-up": lambda s: (b"", True),
    "garbage": lambda s: (b"\x00\xff" * 400 + VALUE.encode(), True),
    "long-header": lambda s: (b"HTTP/1.1 200 X\r\nA: " + b"a" * 400000 + b"\r\n\r\n", True),
    "no-token": lambda s: answer(200, {"auth": {"accessor": "x"}}),
    "odd-token": lambda s: answer(200, {"auth": {"client_token": "a\r\nX-Evil: 1"}}),
    "mfa": lambda s: answer(200, {"auth": {"mfa_requirement": {"mfa_request_id": "1"}}}),
}
# Fail twice, then answer well.
INVALID_WRAPPING = errors(400, "wrapping token is not valid or does not exist")
FLAKY = {"flaky-503": "broken", "flaky-sealed": "sealed", "flaky-cut": "cut",
         "flaky-hang-up": "hang-up", "flaky-429": "overloaded"}


def make_certificates(folder):
    """An authority with a certificate for 127.0.0.1, another one that signed nothing here, and
    certificates for a wrong name and a past date."""
    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    def authority(name):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "30",
            "-addext", "keyUsage=critical,keyCertSign")

    def leaf(name, alt, *days, authority="ca"):
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={alt}\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-extfile", f"{name}.ext", *days)

    authority("ca")
    authority("other-ca")
    leaf("server", "IP:127.0.0.1,DNS:localhost,DNS:vault.test", "-days", "30")
    leaf("false", "DNS:vault.test", "-days", "30", authority="other-ca")
    leaf("wrong-name", "DNS:vault.example", "-days", "30")
    leaf("expired", "IP:127.0.0.1", "-days", "-1")


class BadVault:
    """Serves until closed. `requests` lists (method, path, headers) as they came."""

    def __init__(self, certificate=None, key=None, greeting=None, at=("127.0.0.1", 0)):
        self.requests = []
        self.connections = 0
        self.tries = {}
        self.lease = 3600  # seconds of a token's life
        self.renewal = None  # name of the answer to a renewal; None: granted
        self.lookup = None  # of the answer to a token that looks itself up; None: told
        self.greeting = greeting  # bytes sent to whoever connects, instead of HTTP
        self.lock = threading.Lock()
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(at)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def address(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def close(self):
        # Closed under the thread's feet, the descriptor's number could become the next server's
        # listener, and this thread would answer for it with the wrong certificate.
        if self.listener.fileno() < 0:
            return  # closed already
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(30)
        try:
            if self.greeting is not None:
                connection.sendall(self.greeting)
                connection.close()
                return
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as reader:
                while self._exchange(connection, reader):
                    pass
        except OSError:
            connection.close()

    def _exchange(self, connection, reader):
        line = reader.readline(65536).decode()
        if not line:
            return False
        method, path, _ = line.split()
        headers = {}
        for raw in iter(reader.readline, b"\r\n"):
            name, _, value = raw.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0)))
        with self.lock:
            self.requests.append((method, path, headers))
        reply = self._answer(method, path, headers, body)
        data, close = reply if isinstance(reply, tuple) else (reply, False)
        if data is None:
            time.sleep(20)
            return False
        connection.sendall(data)
        return not close

    def _answer(self, method, path, headers, body):
        if path.startswith("/v1/sys/wrapping/"):
            return self._wrapping(path.rsplit("/", 1)[1], headers, json.loads(body))
        if path == "/v1/auth/token/renew-self":
            if headers.get("x-vault-token") != TOKEN:
                return errors(403, "permission denied")
            return login_ok(self.lease) if self.renewal is None else self._named(self.renewal)
        if path == "/v1/auth/token/lookup-self":
            if headers.get("x-vault-token") != TOKEN:
                return errors(403, "permission denied")
            return self._named(self.lookup) if self.lookup else answer(
                200, {"data": {"ttl": self.lease, "renewable": True}})
        if method == "POST":
            login = json.loads(body)
            approle = "/approle/" in path
            role = login["role_id" if approle else "role"]
            if login["secret_id" if approle else "jwt"] != (SECRET_ID if approle else JWT):
                return errors(403, "permission denied")
            if role == "slow":
                time.sleep(1)
            return login_ok(self.lease) if role in ("fine", "slow") else self._named(role)
        if headers.get("x-vault-token") != TOKEN:
            return errors(403, "permission denied")
        return self._named(re.sub(r"\?.*", "", path).rsplit("/", 1)[1])

    def _wrapping(self, what, headers, body):
        """Wrapping tokens end with what they do: good, foreign, lost, odd, none, or are void."""
        token = body["token"] if what == "lookup" else headers.get("x-vault-token", "")
        kind = token.removeprefix(WRAPPING)
        with self.lock:
            used = self.tries.get(token, 0)
            self.tries[token] = used + (what == "unwrap")
        if kind not in ("good", "foreign", "lost", "odd", "none") or used:
            return INVALID_WRAPPING
        if what == "lookup":
            made = "sys/wrapping/wrap" if kind == "foreign" else "auth/approle/role/web/secret-id"
            return answer(200, {"data": {} if kind == "odd" else {"creation_path": made}})
        reply = answer(200, {"data": {} if kind == "none" else {"secret_id": SECRET_ID}})
        return cut(reply) if kind == "lost" else reply

    def _named(self, name):
        with self.lock:
            self.tries[name] = self.tries.get(name, 0) + 1
            tries = self.tries[name]
        if name in FLAKY:
            if tries <= 2:
                return ANSWERS[FLAKY[name]](self)
            return login_ok() if tries > 2 and self.requests[-1][0] == "POST" else ANSWERS["fine"](self)
        return ANSWERS[name](self) if name in ANSWERS else errors(404)
