"""A real object store: Ceph's RADOS gateway with one monitor and one OSD in memory, on loopback, with TLS and an authority of its own."""
import contextlib
import datetime
import hashlib
import hmac
import html
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

from .pgmint import toml_value

ACCESS_KEY, SECRET_KEY, REGION = "PGMINTTESTKEY", "planted-secret-of-the-object-store", "us-east-1"

CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{mon}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_port_min = {osd_first}
ms_bind_port_max = {osd_last}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
run_dir = {home}/run
admin_socket = {home}/run/$name.asok
log_file = {home}/log/$name.log
crash_dir = {home}/log
[mon]
mon_data = {home}/mon
mon_initial_members = a
mon_cluster_log_file = {home}/log/cluster.log
[osd]
osd_data = {home}/osd
osd_objectstore = {kind}
memstore_device_bytes = {memory}
bluestore_block_size = 4294967296
bluestore_block_create = true
osd_op_num_shards = 2
osd_memory_target = 939524096
osd_max_object_size = 134217728
osd_class_update_on_start = false
[client.rgw]
ms_mon_client_mode = crc
rgw_data = {home}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{http} ssl_endpoint=127.0.0.1:{https} ssl_certificate={home}/tls/server.crt ssl_private_key={home}/tls/server.key ssl_options=no_sslv2:no_sslv3:no_tlsv1:no_tlsv1_1:no_tlsv1_2
rgw_dns_name = localhost
rgw_thread_pool_size = 64
rgw_enable_usage_log = false
rgw_s3_auth_use_sts = true
rgw_sts_key = abcdefghijklmnop
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = testkey=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
"""


def free_ports(count):
    """Ports that nobody listens on, and that are not handed out by the kernel to clients meanwhile."""
    first = 12000 + os.getpid() % 500 * 32
    found = []
    for port in range(first, first + 16000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count and found[-1] - found[0] == count - 1:
            return found
        if len(found) == count:
            found = found[1:]
    raise AssertionError("no free ports on loopback")


class ObjectStore:
    """Started on construction; `stop` ends it. `kind`: memstore, which holds `memory` bytes, or bluestore, which survives a kill of its OSD. A store that is
    nearly full answers no writes at all."""

    def __init__(self, kind="memstore", home=None, memory=4 << 30):
        self.home = Path(home or tempfile.mkdtemp(prefix="pgmint-objects-"))
        for name in ("mon", "osd", "rgw", "run", "log", "tls"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o755)  # pgmint runs as the clusters' owner and reads the authority's certificate
        ports = free_ports(12)
        self.http_port, self.https_port = ports[1], ports[2]
        self.endpoint, self.plain_endpoint = f"https://localhost:{self.https_port}", f"http://127.0.0.1:{self.http_port}"
        self.fsid = Path("/proc/sys/kernel/random/uuid").read_text().strip()
        (self.home / "ceph.conf").write_text(CONFIGURATION.format(home=self.home, kind=kind, memory=memory, fsid=self.fsid, mon=ports[0], http=ports[1], https=ports[2],
                                                                  osd_first=ports[3], osd_last=ports[11]))
        self.processes = {}
        try:
            self._make_certificates()
            self._start(ports[0])
        except BaseException:
            self.stop()
            raise

    @property
    def ca_file(self):
        return self.home / "tls" / "ca.crt"

    def run(self, *command, timeout=60):
        done = subprocess.run(command, env={**os.environ, "CEPH_CONF": str(self.home / "ceph.conf")}, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}{done.stdout[-500:]}"
        return done.stdout

    def spawn(self, name, *command):
        with open(self.home / "log" / f"{name}.out", "ab") as out:
            self.processes[name] = subprocess.Popen(command, env={**os.environ, "CEPH_CONF": str(self.home / "ceph.conf")}, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def _make_certificates(self):
        tls = self.home / "tls"
        (tls / "names").write_text("subjectAltName=DNS:localhost,DNS:conformance.localhost,IP:127.0.0.1")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.run("openssl", "req", "-x509", *key, "-days", "400", "-subj", "/CN=pgmint test authority", "-keyout", f"{tls}/ca.key", "-out", f"{tls}/ca.crt")
        self.run("openssl", "req", *key, "-subj", "/CN=localhost", "-keyout", f"{tls}/server.key", "-out", f"{tls}/server.csr")
        self.run("openssl", "x509", "-req", "-in", f"{tls}/server.csr", "-CA", f"{tls}/ca.crt", "-CAkey", f"{tls}/ca.key", "-CAcreateserial", "-days", "400",
                 "-out", f"{tls}/server.crt", "-extfile", f"{tls}/names")

    def _start(self, mon_port):
        home = self.home
        self.run("monmaptool", "--create", "--clobber", "--fsid", self.fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", f"{home}/monmap")
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{home}/monmap")
        self.spawn("mon", "ceph-mon", "-f", "-i", "a")
        self.run("ceph", "osd", "create", self.fsid)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", self.fsid)
        self.start_osd()
        self.start_gateway()
        self.run("radosgw-admin", "-n", "client.rgw", "--admin-socket=", "user", "create", "--uid=pgmint", "--display-name=pgmint",
                 f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}", "--caps=roles=*")

    def start_gateway(self):
        self.spawn("rgw", "radosgw", "-f", "-n", "client.rgw")
        self._wait(self._answers, "the gateway does not answer")

    def kill(self, name):
        """Ends one of mon, osd, rgw at once; start_osd() and start_gateway() bring them back."""
        self.processes[name].kill()
        self.processes[name].wait()

    def start_osd(self):
        self.spawn("osd", "ceph-osd", "-f", "-i", "0")
        self._wait(lambda: "1 up" in self.run("ceph", "osd", "stat"), "the OSD does not come up")

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.https_port), 1):
            return True
        return False

    def _wait(self, condition, complaint, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            for name, process in self.processes.items():
                assert process.poll() is None or process.returncode == -9, f"{name} ended: {(self.home / 'log' / f'{name}.out').read_text()[-2000:]}"
            assert time.monotonic() < end, f"{complaint}: {self.home}/log"
            time.sleep(0.1)

    def stop(self):
        """The gateway first; what does not end by itself is killed. Removes the folder."""
        for name in ("rgw", "osd", "mon"):
            process = self.processes.get(name)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        subprocess.run(["rm", "-rf", str(self.home)], check=False)

    def table(self, **changes):
        """[s3] of a configuration for this store."""
        keys = {"endpoint": self.endpoint, "region": REGION, "path_style": True, "ca_file": self.ca_file, "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, **changes}
        return "[s3]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in keys.items() if value is not None)

    # What tests ask the store themselves, past pgmint.

    def request(self, method, path, query="", body=b"", headers=None, access=(ACCESS_KEY, SECRET_KEY)):
        """One signed request; (status, body, headers). `query` is encoded and sorted."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        host = f"localhost:{self.https_port}"
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest, **{k.lower(): v for k, v in (headers or {}).items()}}
        names = ";".join(sorted(signed))
        path = urllib.parse.quote(path, safe="/-_.~")
        canonical = "\n".join([method, path, query, "".join(f"{k}:{signed[k]}\n" for k in sorted(signed)), names, digest])
        scope = f"{day}/{REGION}/s3/aws4_request"
        key = f"AWS4{access[1]}".encode()
        for part in (day, REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = f"AWS4-HMAC-SHA256 Credential={access[0]}/{scope}, SignedHeaders={names}, Signature={signature}"
        link = http.client.HTTPSConnection("localhost", self.https_port, context=ssl.create_default_context(cafile=str(self.ca_file)), timeout=60)
        try:
            link.request(method, path + ("?" + query if query else ""), body=body, headers=signed)
            answer = link.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            link.close()

    def ask(self, method, path, query="", body=b"", **more):
        """As request(), of what must succeed; the body."""
        status, content, _ = self.request(method, path, query, body, **more)
        assert status < 300, f"{method} {path}: {status} {content[:500]!r}"
        return content

    def add_storage_class(self, name):
        """The gateway takes no class that it was not told of; started anew for it."""
        admin = ("radosgw-admin", "-n", "client.rgw", "--admin-socket=")
        placement = ("placement", "add", "--placement-id=default-placement", f"--storage-class={name}")
        self.run(*admin, "zonegroup", *placement, "--rgw-zonegroup=default")
        self.run(*admin, "zone", *placement, "--rgw-zone=default", f"--data-pool=default.rgw.{name.lower()}.data")
        self.kill("rgw")
        self.start_gateway()

    def user(self, name):
        """A user without rights of its own; (access key, secret)."""
        access = (f"KEY{name.upper()}", f"secret-of-{name}-0123456789")
        self.run("radosgw-admin", "-n", "client.rgw", "--admin-socket=", "user", "create", f"--uid={name}", f"--display-name={name}",
                 f"--access-key={access[0]}", f"--secret-key={access[1]}")
        return access

    def bucket_policy(self, bucket, policies):
        """{user: policy document}: what each of them may do in the bucket. The gateway has IAM's statements only with a principal."""
        statements = [{**statement, "Sid": f"{user}{n}", "Principal": {"AWS": [f"arn:aws:iam:::user/{user}"]}}
                      for user, policy in policies.items() for n, statement in enumerate(policy["Statement"])]
        self.ask("PUT", f"/{bucket}", "policy=", json.dumps({"Version": "2012-10-17", "Statement": statements}).encode())

    def bucket(self, name, versioned=False, locked=False):
        """A new bucket."""
        self.ask("PUT", f"/{name}", headers={"x-amz-bucket-object-lock-enabled": "true"} if locked else None)
        if versioned:
            self.ask("PUT", f"/{name}", "versioning=", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        return name

    def keys(self, bucket, prefix=""):
        """{key: size} of what a bucket holds."""
        found, token = {}, ""
        while True:
            query = "&".join(sorted(filter(None, ["list-type=2", f"prefix={urllib.parse.quote(prefix, safe='')}", token])))
            page = self.ask("GET", f"/{bucket}", query).decode()
            for key, size in re.findall(r"<Contents><Key>(.*?)</Key>.*?<Size>(\d+)</Size>", page):
                found[html.unescape(key)] = int(size)
            more = re.search(r"<NextContinuationToken>(.*?)</NextContinuationToken>", page)
            if not more:
                return found
            token = f"continuation-token={urllib.parse.quote(html.unescape(more.group(1)), safe='')}"
