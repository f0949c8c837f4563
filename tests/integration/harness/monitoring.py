"""Real monitoring beside the tests: promtool, Prometheus, Alertmanager, and places that take what they and pgmint send."""
import json
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from .places import TREE, as_owner, owner_folder, run, wait_until

PACKAGING = TREE / "packaging"


def free_port():
    """A port that nobody has at the moment: for programs that cannot be asked which one they took."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def promtool(*arguments, **keywords):
    return run(shutil.which("promtool"), *arguments, **keywords)


def metrics_of(text):
    """{(name, frozenset of labels): value} of Prometheus' text format, as its own parser would read it."""
    import re
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"([a-z0-9_]+)(?:\{(.*)\})? (\S+)", line).groups()
            pairs = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or "")
            found[name, frozenset(pairs)] = float(value)
    return found


def metric(metrics, name, **labels):
    """The value of the only sample with these labels among others."""
    values = [value for (own, pairs), value in metrics.items() if own == name and set(labels.items()) <= pairs]
    assert len(values) == 1, f"{len(values)} samples of {name} {labels}"
    return values[0]


class Certificates:
    """An authority of the test's own, a certificate of it for 127.0.0.1 and localhost, and one that nobody vouches for."""

    def __init__(self, folder):
        self.folder = owner_folder(folder, 0o755)
        self.ca, self.stranger = self._authority("ca"), self._authority("stranger")
        self.good = self._server("good", "ca", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self.other_name = self._server("other", "ca", "subjectAltName=DNS:elsewhere.example")

    def _authority(self, name):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem")
        return self.folder / f"{name}.pem"

    def _server(self, name, authority, names):
        (self.folder / f"{name}.ext").write_text(names)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.csr")
        run("openssl", "x509", "-req", "-in", self.folder / f"{name}.csr", "-CA", self.folder / f"{authority}.pem", "-CAkey", self.folder / f"{authority}.key",
            "-CAcreateserial", "-days", "2", "-extfile", self.folder / f"{name}.ext", "-out", self.folder / f"{name}.crt")
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def context(self, pair=None, maximum=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(pair or self.good))
        if maximum:
            context.maximum_version = maximum
        return context


class HookSink:
    """A web server that takes what is posted: `requests` holds (headers, body). `answers` are given first, then 200."""

    def __init__(self, tls=None, answers=()):
        self.requests, self.answers = [], list(answers)
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.requests.append((dict(self.headers), body))
                status = sink.answers.pop(0) if sink.answers else 200
                self.send_response(status)
                if status in (301, 302, 307, 308):
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that refuses our certificate is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def messages(self):
        return [json.loads(body) for _, body in self.requests]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class MailSink:
    """A mail server that keeps what it is given: `mails` holds (sender, recipients, bytes). With TLS it wants STARTTLS, or begins with it."""

    def __init__(self, tls=None, implicit=False, login=None, answers=()):
        self.mails, self.logins, self.answers = [], [], list(answers)
        sink = self

        class Handler:
            async def handle_DATA(self, server, session, envelope):
                if sink.answers:
                    return sink.answers.pop(0)
                sink.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
                return "250 kept"

        def authenticate(server, session, envelope, mechanism, data):
            sink.logins.append((data.login.decode(), data.password.decode(), session.ssl is not None or implicit))
            return AuthResult(success=(data.login.decode(), data.password.decode()) == login)

        keywords = {"hostname": "127.0.0.1", "port": 0, "authenticator": authenticate if login else None, "auth_required": bool(login), "ready_timeout": 30, "server_hostname": "localhost"}
        if tls and not implicit:
            keywords.update(tls_context=tls, require_starttls=True)
        if login and not (tls and not implicit):
            keywords.update(auth_require_tls=False)
        if implicit:
            keywords.update(ssl_context=tls)

        class AnyPort(Controller):
            def _trigger_server(self):  # it would ask port 0
                self.port = self.server.sockets[0].getsockname()[1]
                super()._trigger_server()

        self.controller = AnyPort(Handler(), **keywords)
        self.controller.start()
        self.port = self.controller.port
        self.server = f"{'smtps' if implicit else 'smtp'}://127.0.0.1:{self.port}"

    def close(self):
        self.controller.stop()


class Program:
    """A program with a web interface, in a folder of its own, until close()."""

    def __init__(self, folder, name, *arguments, port):
        self.port, self.log = port, folder / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([shutil.which(name), *map(str, arguments)], stdout=log, stderr=log, **as_owner(cwd=folder))

    def get(self, path, timeout=5):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
            return answer.read().decode()

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"it ended: {self.log.read_text()[-2000:]}"
            try:
                return self.get("/-/ready")
            except (urllib.error.URLError, OSError):
                return None
        wait_until(ready, f"{self.log.name} is ready")
        return self

    def close(self):
        self.process.terminate()
        self.process.wait()


class Prometheus(Program):
    def __init__(self, folder, configuration, port=None):
        port = port or free_port()
        (folder / "prometheus.yml").write_text(configuration)
        promtool("check", "config", folder / "prometheus.yml")
        super().__init__(folder, "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                         f"--web.listen-address=127.0.0.1:{port}", port=port)

    def query(self, expression):
        from urllib.parse import quote
        try:
            answer = json.loads(self.get(f"/api/v1/query?query={quote(expression)}"))
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{expression}: {refused.read().decode()}") from None
        assert answer["status"] == "success", f"{expression}: {answer}"
        return answer["data"]["result"]


class Alertmanager(Program):
    def __init__(self, folder, configuration_file, port=None):
        port = port or free_port()
        super().__init__(folder, "prometheus-alertmanager", f"--config.file={configuration_file}", f"--storage.path={folder / 'alertmanager'}",
                         f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", port=port)
