"""A stand-in for HashiCorp Vault, which Debian does not have: transit with versions that really encrypts, tokens that end, AppRole, policies, namespaces, sealed or not.

Written after Vault's API reference and its sources' error texts; over TLS 1.3 on loopback. `VaultServer` is the server and its administrator in one.
"""
import base64
import json
import secrets
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .places import give_to_owner, owner_folder, run

CIPHERS = {"aes256-gcm96": AESGCM, "chacha20-poly1305": ChaCha20Poly1305}


class Refused(Exception):
    def __init__(self, status, *errors):
        super().__init__(status, *errors)
        self.status, self.errors = status, list(errors)


class Key:
    """One key of a transit engine, all its versions."""

    def __init__(self, kind="aes256-gcm96", derived=False):
        self.kind, self.derived, self.minimum, self.versions = kind, derived, 1, {}
        self.rotate()

    @property
    def latest(self):
        return max(self.versions)

    def rotate(self):
        self.versions[len(self.versions) + 1] = secrets.token_bytes(32)

    def cipher(self, version, context):
        if self.kind not in CIPHERS:
            raise Refused(400, f"'[0].associated_data' provided for non-AEAD cipher suite {self.kind}")
        material = self.versions[version]
        if self.derived:
            if not context:
                raise Refused(400, "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included")
            material = HKDF(SHA256(), 32, salt=None, info=context).derive(material)
        return CIPHERS[self.kind](material)

    def encrypt(self, plain, context, associated):
        nonce = secrets.token_bytes(12)
        sealed = nonce + self.cipher(self.latest, context).encrypt(nonce, plain, associated)
        return f"vault:v{self.latest}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, text, context, associated):
        prefix, _, rest = text.partition(":v")
        version, _, sealed = rest.partition(":")
        if prefix != "vault" or not version.isdigit():
            raise Refused(400, "invalid ciphertext: no prefix")
        if int(version) > self.latest:
            raise Refused(400, "invalid ciphertext: version is too new")
        if int(version) < self.minimum:
            raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            raw = base64.b64decode(sealed, validate=True)
        except ValueError:
            raise Refused(400, "invalid ciphertext: could not decode base64") from None
        try:
            return self.cipher(int(version), context).decrypt(raw[:12], raw[12:], associated)
        except InvalidTag:
            raise Refused(400, "cipher: message authentication failed") from None


class Token:
    def __init__(self, policies, ttl=0, renewable=False, kind="service", limit=None):
        self.text = ("hvb." if kind == "batch" else "hvs.") + secrets.token_urlsafe(24)
        self.policies, self.ttl, self.renewable, self.kind = policies, ttl, renewable, kind
        self.ends = time.time() + ttl if ttl else None
        self.limit = self.ends if limit is None else time.time() + limit  # beyond which it cannot be renewed

    def left(self):
        return 0 if self.ends is None else max(0, int(self.ends - time.time()))


class VaultServer:
    """Started on construction; `stop` ends it. Keys are named "MOUNT/NAME", below a namespace: keys[namespace]["transit/pgmint"]."""

    def __init__(self, home, tls="1.3", binds=True):
        self.home, self.binds = owner_folder(home), binds
        self.lock = threading.RLock()
        self.sealed = False
        self.moved_to = None  # not the active node: the address of that one
        self.mounts = {"": {"transit"}}
        self.keys = {"": {}}
        self.policies = {}  # name: {path: allowed}
        self.tokens, self.roles = {}, {}
        self.log = []  # (method, path, namespace, status) of each request
        self._make_certificate()
        self.root = self.make_token(["root"])
        self.start(tls=tls)

    # ---- the server

    def start(self, port=0, tls="1.3"):
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, document, more = vault.answer(self.command, self.path, self.headers, body)
                text = json.dumps(document).encode() if document is not None else b""
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a peer that goes away in a handshake is its own business

        self.server = Server(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.home / "server.crt", self.home / "server.key")
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[tls]
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self):
        """Afterwards nobody listens there; start(self.port) brings it back."""
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()

    @property
    def address(self):
        return f"https://localhost:{self.port}"

    @property
    def ca_file(self):
        return self.home / "ca.crt"

    def _make_certificate(self):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        (self.home / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        run("openssl", "req", "-x509", *key, "-days", "30", "-subj", "/CN=pgmint test authority", "-keyout", self.home / "ca.key", "-out", self.ca_file)
        run("openssl", "req", *key, "-subj", "/CN=localhost", "-keyout", self.home / "server.key", "-out", self.home / "server.csr")
        run("openssl", "x509", "-req", "-in", self.home / "server.csr", "-CA", self.ca_file, "-CAkey", self.home / "ca.key", "-CAcreateserial", "-days", "30",
            "-out", self.home / "server.crt", "-extfile", self.home / "names")

    # ---- the administrator

    def make_key(self, name, kind="aes256-gcm96", derived=False, namespace=""):
        self.keys.setdefault(namespace, {})[name] = Key(kind, derived)
        self.mounts.setdefault(namespace, set()).add(name.rpartition("/")[0])
        return f"vault:///{name}"

    def key(self, name, namespace=""):
        return self.keys[namespace][name]

    def make_token(self, policies=("pgmint",), **more):
        token = Token(list(policies), **more)
        self.tokens[token.text] = token
        return token

    def allow(self, policy, *paths):
        self.policies[policy] = set(paths)

    def make_role(self, policies=("pgmint",), kind="service", ttl=600, mount="approle"):
        role, secret = secrets.token_hex(16), secrets.token_hex(16)
        self.roles[(mount, role)] = {"secrets": {secret}, "policies": list(policies), "kind": kind, "ttl": ttl}
        return role, secret

    def file(self, name, text, mode=0o600):
        """A file of the owner's that holds a secret."""
        path = self.home / name
        path.write_text(text + "\n")
        path.chmod(mode)
        return give_to_owner(path)

    def requests(self, ending=""):
        return [path for _, path, _, _ in self.log if path.endswith(ending)]

    # ---- answers

    def answer(self, method, path, headers, body):
        namespace = (headers.get("X-Vault-Namespace") or "").strip("/")
        with self.lock:
            try:
                status, document, more = 200, self.route(method, path, namespace, headers.get("X-Vault-Token"), json.loads(body or b"{}")), {}
                if document is None:
                    status = 204
            except Refused as refused:
                status, document, more = refused.status, {"errors": refused.errors}, {}
                if status == 307:
                    document, more = None, {"Location": self.moved_to + path}
            self.log.append((method, path, namespace, status))
        return status, document, more

    def route(self, method, path, namespace, token, given):
        if self.sealed:
            raise Refused(503, "Vault is sealed")
        if self.moved_to:
            raise Refused(307)
        assert path.startswith("/v1/"), path
        path = path[4:]
        if path.startswith("auth/") and path.endswith("/login"):
            return self.log_in(path.split("/")[1], given)
        who = self.tokens.get(token)
        if who is None or (who.ends is not None and who.ends <= time.time()):
            raise Refused(403, "permission denied", "invalid token")
        if path == "auth/token/lookup-self":
            self.permit(who, path, own=True)
            return {"data": {"id": token, "ttl": who.left(), "creation_ttl": who.ttl, "renewable": who.renewable, "type": who.kind, "policies": who.policies}}
        if path == "auth/token/renew-self":
            self.permit(who, path, own=True)
            if not who.renewable:
                raise Refused(400, "lease is not renewable")
            who.ends = min(time.time() + who.ttl, who.limit)
            return {"auth": {"client_token": token, "lease_duration": who.left(), "renewable": True}}
        if path == "auth/token/revoke-self":
            del self.tokens[token]
            return None
        self.permit(who, path)
        return self.transit(method, path, namespace, given)

    def permit(self, who, path, own=False):
        if "root" in who.policies or (own and "no-default" not in who.policies) or any(path in self.policies.get(policy, ()) for policy in who.policies):
            return
        raise Refused(403, "1 error occurred:\n\t* permission denied\n\n")

    def log_in(self, mount, given):
        role = self.roles.get((mount, given.get("role_id")))
        if not any(known == mount for known, _ in self.roles):
            raise Refused(404, f'no handler for route "auth/{mount}/login". route entry not found.')
        if role is None or given.get("secret_id") not in role["secrets"]:
            raise Refused(400, "invalid role or secret ID")
        token = self.make_token(role["policies"], ttl=role["ttl"], renewable=role["kind"] == "service", kind=role["kind"])
        return {"auth": {"client_token": token.text, "lease_duration": token.ttl, "renewable": token.renewable, "token_type": token.kind}}

    def transit(self, method, path, namespace, given):
        front, _, name = path.rpartition("/")
        mount, _, action = front.rpartition("/")
        if mount not in self.mounts.get(namespace, ()) or action not in ("encrypt", "decrypt"):
            raise Refused(404, f'no handler for route "{path}". route entry not found.')
        assert method in ("POST", "PUT")
        key = self.keys[namespace].get(f"{mount}/{name}")
        if key is None and action == "encrypt":  # as Vault does where the token may create
            key = self.keys[namespace][f"{mount}/{name}"] = Key(derived=bool(given.get("context")))
        if key is None:
            raise Refused(400, "encryption key not found")
        context = base64.b64decode(given.get("context", ""))
        associated = base64.b64decode(given.get("associated_data", "")) if self.binds else b""
        if action == "encrypt":
            return {"data": {"ciphertext": key.encrypt(base64.b64decode(given["plaintext"], validate=True), context, associated), "key_version": key.latest}}
        return {"data": {"plaintext": base64.b64encode(key.decrypt(given["ciphertext"], context, associated)).decode()}}
