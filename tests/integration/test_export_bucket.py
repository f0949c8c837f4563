"""Dumps as the runbook's files in a bucket: over a real S3 service, opened by other people's programs; refused, denied, broken off on the way."""
import contextlib
import hashlib
import http.server
import json
import re
import subprocess
import threading
import urllib.parse

import pytest

from harness.faultproxy import FaultProxy
from harness.objectstore import ACCESS_KEY, SECRET_KEY, ObjectStore
from harness.pgmint import end, wait_for_phase
from harness.places import give_to_owner

PASSPHRASE = "planted-passphrase-of-exports"
KEY_OF_THE_STORE = "testkey"  # harness/objectstore.py: the one that its KMS has


@pytest.fixture(scope="module")
def objects():
    store = ObjectStore()
    store.add_storage_class("STANDARD_IA")
    yield store
    store.stop()


@pytest.fixture(scope="module")
def dumps(make_shared):
    """(cluster, tool, {database: name of its dump}) of one logical backup; shop is small, bulk longer than a part."""
    cluster = make_shared.cluster("main")
    for database, rows in (("shop", 2000), ("bulk", 700_000)):
        cluster.sql(f"create database {database}")
        cluster.sql(f"create table t as select i, md5(i::text || '{database}') as m from generate_series(1, {rows}) i", database=database)
    tool = make_shared.pgmint()
    tool.add(cluster, bin_directory=cluster.bin).write().init()
    (tool.home / "pass").write_text(PASSPHRASE + "\n")
    (tool.home / "pass").chmod(0o600)
    give_to_owner(tool.home / "pass")
    tool.encryption["export_passphrase_file"] = tool.home / "pass"
    made = tool.write().run("backup", "--type", "logical", "--database", "shop", "--database", "bulk", "--json").json
    return cluster, tool, {database["name"]: database["dump"] for database in made["databases"]}


@contextlib.contextmanager
def stand_in(answer):
    """A stand-in for a store, for what no real one does on demand: HTTP on loopback. answer(method, path, headers, body, objects) may change `objects`, and returns
    a status, or None for what a store does."""
    objects, seen = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urllib.parse.unquote(self.path)
            seen.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
            status, content, more = answer(self.command, path, self.headers, body, objects), b"", {}
            if status is None and self.command == "PUT":
                status = 412 if path in objects else 200
                objects.setdefault(path, body)
            elif status is None and path not in objects:
                status, content = 404, b"<Error><Code>NoSuchKey</Code></Error>"
            elif status is None:
                first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"]).groups())
                status, content = 206, objects[path][first:last + 1]
                more = {"Content-Range": f"bytes {first}-{first + len(content) - 1}/{len(objects[path])}"}
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = serve

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", objects, seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def to_bucket(dumps, objects, request):
    """(tool, bucket, names): the configuration's [export.s3] is the object store, and the repository a directory."""
    _, tool, names = dumps
    bucket = objects.bucket(re.sub("[^a-z0-9]", "-", request.node.name.lower())[:50].strip("-"))
    configure(tool, objects)
    yield tool, bucket, names
    spool = tool.home / "state" / "export"
    assert not spool.exists() or not list(spool.iterdir()), "the encrypted file stays nowhere"


def configure(tool, objects, table="[export.s3]", more="", **changes):
    tool.extra = objects.table(**changes).replace("[s3]", table) + more
    return tool.write()


def key_of(name, prefix="dumps/of mint"):
    database, stamp = re.fullmatch(r"(.*)_(\d{8}_\d{6})\.sql\.gz\.enc", name).groups()
    return f"{prefix}/{database}/{stamp}/{name}"


def export(tool, bucket, name, *more, **keywords):
    return tool.run("export", name, "--to", f"s3://{bucket}/dumps/of mint", *more, "--json", **keywords)


def get(objects, bucket, key):
    return objects.ask("GET", f"/{bucket}/{key}")


def head(objects, bucket, key):
    status, _, headers = objects.request("HEAD", f"/{bucket}/{key}")
    assert status == 200, (status, key)
    return headers


def uploads(objects, bucket):
    return re.findall(r"<Upload>.*?</Upload>", objects.ask("GET", f"/{bucket}", "uploads=").decode())


def check_file(cluster, folder, name, content, sum_content):
    """By the runbook's own commands."""
    (folder / name).write_bytes(content)
    (folder / f"{name}.sha256").write_bytes(sum_content)
    (folder / "pass").write_text(PASSPHRASE + "\n")
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", f"sha256sum -c *.sha256; openssl enc -d -aes-256-cbc -pbkdf2 -pass file:pass -in {name} | gunzip > plain; {cluster.bin}/pg_restore --list plain"],
                          cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_a_dump_goes_where_the_runbooks_scripts_put_it(dumps, to_bucket, objects, make):
    tool, bucket, names = to_bucket
    name = names["shop"]
    key = key_of(name)
    outcome = export(tool, bucket, name, "--kms-key-id", KEY_OF_THE_STORE)
    (made,) = outcome.json["files"]
    assert made["file"] == f"s3://{bucket}/{key}" and made["sha256_file"] == f"s3://{bucket}/{key}.sha256"
    assert set(objects.keys(bucket)) == {key, f"{key}.sha256"}
    content = get(objects, bucket, key)
    assert made["sha256"] == hashlib.sha256(content).hexdigest() and made["bytes"] == len(content)
    assert made["was_there"] is False and made["guarded"] is True
    assert made["server_side_encryption"] == "aws:kms"
    assert "TABLE DATA public t" in check_file(dumps[0], make.folder("down"), name, content, get(objects, bucket, f"{key}.sha256"))
    for each in (key, f"{key}.sha256"):
        headers = head(objects, bucket, each)
        assert headers["x-amz-server-side-encryption"] == "aws:kms" and headers["x-amz-server-side-encryption-aws-kms-key-id"] == KEY_OF_THE_STORE, headers
        assert headers["x-amz-storage-class"] == "STANDARD_IA", headers
    # And back.
    folder = make.folder("back")
    (folder / "file.enc").write_bytes(content)
    give_to_owner(folder / "file.enc")
    tool.run("import", folder / "file.enc", "--db", "again", "--passphrase-file", tool.home / "pass")


def test_what_is_there_already_is_compared_and_never_replaced(dumps, to_bucket, objects):
    tool, bucket, names = to_bucket
    name, key = names["shop"], key_of(names["shop"])
    first = export(tool, bucket, name, "--sse", "AES256").json["files"][0]
    modified = head(objects, bucket, key)["last-modified"]
    again = tool.run("export", name, "--to", f"s3://{bucket}/dumps/of mint", "--sse", "AES256")
    assert "was there already" in again.out
    document = export(tool, bucket, name, "--sse", "AES256").json["files"][0]
    assert document["was_there"] is True and document["sha256"] == first["sha256"]
    # One that was broken off before its sum is finished.
    objects.ask("DELETE", f"/{bucket}/{key}.sha256")
    completed = export(tool, bucket, name, "--sse", "AES256").json["files"][0]
    assert completed["was_there"] is False and completed["sha256"] == first["sha256"]
    assert get(objects, bucket, f"{key}.sha256").decode() == f"{first['sha256']}  {name}\n"
    # Another passphrase, one byte, another length, no such file at all, another sum, a sum alone.
    (tool.home / "other").write_text("another\n")
    (tool.home / "other").chmod(0o600)
    give_to_owner(tool.home / "other")
    refusal = tool.refuses("export", name, "--to", f"s3://{bucket}/dumps/of mint", "--passphrase-file", tool.home / "other", code=4, naming=("other bytes", f"s3://{bucket}/{key}"))
    assert head(objects, bucket, key)["last-modified"] == modified
    content, held = get(objects, bucket, key), get(objects, bucket, f"{key}.sha256")
    flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    objects.ask("DELETE", f"/{bucket}/{key}.sha256")  # which would tell by itself
    for other in (flipped, content[:-16], content + b"x", b"plain text", b""):
        objects.ask("PUT", f"/{bucket}/{key}", body=other)
        tool.refuses("export", name, "--to", f"s3://{bucket}/dumps/of mint", code=4, naming="other bytes")
        assert get(objects, bucket, key) == other and list(objects.keys(bucket)) == [key]
    objects.ask("PUT", f"/{bucket}/{key}", body=content)
    objects.ask("PUT", f"/{bucket}/{key}.sha256", body=held.replace(b"\n", b" \n"))
    tool.refuses("export", name, "--to", f"s3://{bucket}/dumps/of mint", code=4, naming=(f"{key}.sha256", "other bytes"))
    objects.ask("DELETE", f"/{bucket}/{key}")
    tool.refuses("export", name, "--to", f"s3://{bucket}/dumps/of mint", code=4, naming=(f"{key}.sha256", "is not"))
    assert list(objects.keys(bucket)) == [f"{key}.sha256"]
    assert PASSPHRASE not in refusal.text


def test_how_the_store_encrypts_is_a_choice(dumps, to_bucket, objects):
    tool, bucket, names = to_bucket
    name, key = names["shop"], key_of(names["shop"])

    def kept(*more):
        made = export(tool, bucket, name, *more).json["files"][0]
        headers = head(objects, bucket, key)
        for each in (key, f"{key}.sha256"):
            objects.ask("DELETE", f"/{bucket}/{each}")
        assert made["server_side_encryption"] == headers.get("x-amz-server-side-encryption")
        return headers.get("x-amz-server-side-encryption"), headers.get("x-amz-server-side-encryption-aws-kms-key-id"), headers.get("x-amz-storage-class")

    assert kept("--sse", "none") == (None, None, "STANDARD_IA")
    configure(tool, objects, server_side_encryption="aws:kms", kms_key_id=KEY_OF_THE_STORE, storage_class="STANDARD")
    assert kept()[:2] == ("aws:kms", KEY_OF_THE_STORE)
    assert kept()[2] in (None, "STANDARD")
    assert kept("--sse", "none")[:2] == (None, None)
    configure(tool, objects, server_side_encryption="none")
    assert kept()[0] is None
    # The service from [s3], the rest from [export.s3], which says nothing of a service; what [s3] says of objects is the repository's.
    configure(tool, objects, table="[s3]", more=f'[export.s3]\nserver_side_encryption = "aws:kms"\nkms_key_id = "{KEY_OF_THE_STORE}"\n', storage_class="STANDARD")
    assert kept() == ("aws:kms", KEY_OF_THE_STORE, "STANDARD_IA")
    configure(tool, objects)
    tool.refuses("export", name, "--to", f"s3://{bucket}/x", "--sse", "rot13", code=2, naming="aws:kms")
    tool.refuses("export", name, "--to", f"s3://{bucket}/x", "--sse", "AES256", "--kms-key-id", "k", code=2, naming="--kms-key-id")
    tool.refuses("export", name, "--to", tool.home / "folder", "--sse", "AES256", code=2, naming="folder")
    configure(tool, objects, storage_class="GLACIER")
    tool.refuses("export", name, "--to", f"s3://{bucket}/x", code=3, naming=("GLACIER", "storage_class"))
    assert objects.keys(bucket) == {}


def test_what_the_store_lacks_is_a_refusal_and_leaves_nothing(to_bucket, objects):
    """RGW 16 wants a key for aws:kms, has no more storage classes than it was told of, and passes over AES256 without a word."""
    tool, bucket, names = to_bucket
    name, to = names["shop"], f"s3://{bucket}/x"
    tool.refuses("export", name, "--to", to, code=3, naming=("aws-kms-key-id", "no key named", "--sse"))
    tool.refuses("export", name, "--to", to, "--kms-key-id", "no-such-key", code=7, naming=("no-such-key", "kms:GenerateDataKey"))
    configure(tool, objects, storage_class="ONEZONE_IA")
    tool.refuses("export", name, "--to", to, "--sse", "none", code=3, naming=("ONEZONE_IA", "storage_class in [export.s3]"))
    configure(tool, objects, more='[export]\nparts_above = "5MiB"\n', storage_class="ONEZONE_IA")
    tool.refuses("export", names["bulk"], "--to", to, "--sse", "none", code=3, naming="ONEZONE_IA")
    assert objects.keys(bucket) == {}
    configure(tool, objects)
    outcome = export(tool, bucket, name, "--sse", "AES256")
    assert outcome.json["files"][0]["server_side_encryption"] is None and "asked to encrypt by AES256, and says nothing" in outcome.err


def test_refusals_say_what_is_wrong_and_leave_nothing(to_bucket, objects, make):
    tool, bucket, names = to_bucket
    name = names["shop"]
    tool.refuses("export", name, "--to", "s3://there-is-no-such-bucket/x", code=4, naming=("NoSuchBucket", "create the bucket"))
    tool.refuses("export", name, "--to", "s3://", code=3, naming="s3://bucket/prefix")
    tool.refuses("export", name, "--to", f"s3://{bucket}/a/../b", code=3, naming="prefix")
    for changes, code, naming in (({"secret_access_key": "not-the-secret-of-anybody"}, 7, "secret_access_key"), ({"access_key_id": "NOBODY"}, 7, "credentials"),
                                  ({"endpoint": "https://localhost:1"}, 6, "localhost:1"), ({"endpoint": "http://198.51.100.1:80"}, 3, "without TLS"), ({"ca_file": None}, 3, "ca_file")):
        configure(tool, objects, **changes)
        outcome = tool.refuses("export", name, "--to", f"s3://{bucket}/x", code=code, naming=naming)
        for secret in (SECRET_KEY, "not-the-secret-of-anybody", PASSPHRASE):
            assert secret not in outcome.text
    # Credentials that may look and not write.
    access = objects.user("looker")
    objects.bucket_policy(bucket, {"looker": {"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}})
    configure(tool, objects, access_key_id=access[0], secret_access_key=access[1])
    tool.refuses("export", name, "--to", f"s3://{bucket}/x", "--sse", "none", code=7, naming="s3:PutObject")
    assert objects.keys(bucket) == {}


def test_no_secret_is_told_anywhere(to_bucket, objects):
    tool, bucket, names = to_bucket
    outcome = export(tool, bucket, names["shop"], "--sse", "none", "--log-level", "debug")
    assert "PUT " in outcome.err
    audit = tool.run("audit", "list", "--json").text
    for secret in (SECRET_KEY, PASSPHRASE, "AWS4-HMAC"):
        assert secret not in outcome.text and secret not in audit
    listed = json.loads(tool.run("audit", "list", "--operation", "export", "--json").out)["entries"]
    assert any(f"s3://{bucket}/" in json.dumps(entry) for entry in listed), "where data went stands in the log"


def test_a_long_file_goes_in_parts(dumps, to_bucket, objects, make):
    tool, bucket, names = to_bucket
    configure(tool, objects, more='[export]\nparts_above = "5MiB"\n')
    name, key = names["bulk"], key_of(names["bulk"])
    outcome = export(tool, bucket, name, "--kms-key-id", KEY_OF_THE_STORE, "--log-level", "debug")
    assert "partNumber=2" in outcome.err and "partNumber=1" in outcome.err
    made = outcome.json["files"][0]
    content = get(objects, bucket, key)
    assert made["bytes"] == len(content) > 10 << 20 and made["sha256"] == hashlib.sha256(content).hexdigest()
    assert head(objects, bucket, key)["etag"].strip('"').endswith(f"-{-(-len(content) // (5 << 20))}")
    assert "TABLE DATA public t" in check_file(dumps[0], make.folder("down"), name, content, get(objects, bucket, f"{key}.sha256"))
    assert made["guarded"] is False, "RGW 16 passes over the condition when parts are put together"
    headers = head(objects, bucket, key)
    assert headers["x-amz-server-side-encryption"] == "aws:kms" and headers["x-amz-storage-class"] == "STANDARD_IA", headers
    assert uploads(objects, bucket) == []
    assert export(tool, bucket, name, "--sse", "none").json["files"][0]["was_there"] is True


def test_parts_of_what_was_interrupted_are_removed(to_bucket, objects):
    tool, bucket, names = to_bucket
    proxy = FaultProxy(objects.https_port)
    try:
        proxy.set(bytes_per_second=2 << 20)
        configure(tool, objects, more='[export]\nparts_above = "5MiB"\n', endpoint=f"https://localhost:{proxy.port}")
        running = tool.start("export", names["bulk"], "--to", f"s3://{bucket}/x", "--sse", "none", "--progress", "json")
        wait_for_phase(running, "send")
        while not uploads(objects, bucket):
            assert running.poll() is None
        code, _, _ = end(running, 2, timeout=60)
        assert code == 130
        assert uploads(objects, bucket) == [] and objects.keys(bucket) == {}
    finally:
        proxy.stop()


@pytest.mark.parametrize("parts", [False, True])
def test_a_bad_line_ends_in_success_or_in_nothing_half(dumps, to_bucket, objects, seed, parts, make):
    """Resets, cuts, stalls and flipped bits: the file is there whole with its sum, or the command says that it is not done and can be run again."""
    tool, bucket, names = to_bucket
    name = names["bulk" if parts else "shop"]
    key = key_of(name)
    proxy = FaultProxy(objects.https_port, seed)
    try:
        configure(tool, objects, more='[export]\nparts_above = "5MiB"\n', endpoint=f"https://localhost:{proxy.port}", stall_time_max="1s")
        proxy.set(faults=0.5, within=6_000_000 if parts else 15_000)
        for attempt in range(20):
            outcome = export(tool, bucket, name, "--sse", "none", code=(0, 6), timeout=240)
            held = objects.keys(bucket)
            if outcome.code == 0:
                content = get(objects, bucket, key)
                assert hashlib.sha256(content).hexdigest() == outcome.json["files"][0]["sha256"]
                check_file(dumps[0], make.folder("down"), name, content, get(objects, bucket, f"{key}.sha256"))
                for each in held:
                    objects.ask("DELETE", f"/{bucket}/{urllib.parse.unquote(each)}")
            elif key in held:
                assert held[key] == len(get(objects, bucket, key))
            # An export makes one or two connections, and each is a bad one only as often as not.
            if attempt >= 2 and proxy.set()["faults"] > 0:
                break
        counts = proxy.set(faults=0.0)
        assert counts["faults"] > 0, counts
        # What is left of a failure is whole, and running it again finishes it.
        assert export(tool, bucket, name, "--sse", "none").code == 0
        check_file(dumps[0], make.folder("down"), name, get(objects, bucket, key), get(objects, bucket, f"{key}.sha256"))
    finally:
        proxy.stop()


def test_a_line_that_is_dead_is_a_failure_that_names_it(to_bucket, objects):
    tool, bucket, names = to_bucket
    proxy = FaultProxy(objects.https_port)
    try:
        configure(tool, objects, endpoint=f"https://localhost:{proxy.port}", stall_time_max="1s")
        proxy.set(refuse=True)
        tool.refuses("export", names["shop"], "--to", f"s3://{bucket}/x", code=6, naming=f"localhost:{proxy.port}")
        assert objects.keys(bucket) == {}
    finally:
        proxy.stop()


def test_a_full_or_missing_state_directory_sends_nothing(to_bucket, objects):
    tool, bucket, names = to_bucket
    blocked = tool.home / "state" / "export"
    if blocked.exists():
        blocked.rmdir()
    blocked.write_text("in the way")
    try:
        tool.refuses("export", names["shop"], "--to", f"s3://{bucket}/x", code=(4, 6), naming=str(blocked))
        assert objects.keys(bucket) == {}
    finally:
        blocked.unlink()


def test_a_configuration_backup_goes_to_a_folder_alone(dumps, to_bucket):
    _, tool, _ = dumps
    taken = tool.run("backup", "--type", "config", "--json").json["name"]
    tool.refuses("export", taken, "--to", f"s3://{to_bucket[1]}/x", code=4, naming=("unencrypted", "--to DIR"))


def test_the_store_may_be_that_of_the_usual_chain(to_bucket, objects):
    """Credentials from the environment, the service from [export.s3]."""
    tool, bucket, names = to_bucket
    configure(tool, objects, access_key_id=None, secret_access_key=None)
    environment = {"AWS_EC2_METADATA_DISABLED": "true"}
    tool.refuses("export", names["shop"], "--to", f"s3://{bucket}/x", code=3, naming="AWS_ACCESS_KEY_ID", env=environment)
    export(tool, bucket, names["shop"], "--sse", "none", env={**environment, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY})


def test_what_a_store_gives_back_otherwise_is_named_and_gets_no_sum(to_bucket, objects):
    tool, _, names = to_bucket
    for spoil in (lambda body: body[:5000] + bytes([body[5000] ^ 1]) + body[5001:], lambda body: body[:-1], lambda body: b""):
        def answer(method, path, headers, body, held, how=spoil):
            if method == "PUT" and path.endswith(".enc"):
                held[path] = how(body)
                return 200
            return None

        with stand_in(answer) as (url, held, seen):
            configure(tool, objects, endpoint=url)
            tool.refuses("export", names["shop"], "--to", "s3://bucket/x", code=8, naming=(f"s3://bucket/x/shop/{names['shop'][5:20]}/{names['shop']}", "aws s3 rm"))
            assert [path.rsplit(".", 1)[1] for path in held] == ["enc"], list(held)


def test_what_the_runbooks_scripts_asked_for_is_asked_for(to_bucket, objects):
    """Nothing configured but the service; the key is the service's own unless one is named."""
    tool, _, names = to_bucket
    with stand_in(lambda *_: None) as (url, held, seen):
        configure(tool, objects, endpoint=url)
        tool.run("export", names["shop"], "--to", "s3://bucket/x")
        written = [headers for method, _, headers in seen if method == "PUT"]
        assert len(written) == len(held) == 2
        for headers in written:
            assert headers["x-amz-server-side-encryption"] == "aws:kms" and "x-amz-server-side-encryption-aws-kms-key-id" not in headers
            assert headers["x-amz-storage-class"] == "STANDARD_IA" and headers["if-none-match"] == "*"


def test_another_writer_who_comes_in_between_stays(to_bucket, objects):
    tool, _, names = to_bucket

    def answer(method, path, headers, body, held):
        if method == "PUT" and path.endswith(".enc"):
            held.setdefault(path, b"theirs")
        return None

    with stand_in(answer) as (url, held, _):
        configure(tool, objects, endpoint=url)
        tool.refuses("export", names["shop"], "--to", "s3://bucket/x", code=4, naming="other bytes")
        assert list(held.values()) == [b"theirs"]


def test_a_store_without_conditions_is_looked_at_first_and_nothing_is_promised(to_bucket, objects):
    tool, _, names = to_bucket
    with stand_in(lambda method, path, headers, body, held: 501 if headers.get("if-none-match") else None) as (url, held, seen):
        configure(tool, objects, endpoint=url)
        outcome = tool.run("export", names["shop"], "--to", "s3://bucket/x", "--json")
        assert outcome.json["files"][0]["guarded"] is False and "nothing guarded against another writer" in outcome.err
        path = next(path for path in held if path.endswith(".enc"))
        held[path] = b"theirs"
        tool.refuses("export", names["shop"], "--to", "s3://bucket/x", code=4, naming="other bytes")
        assert held[path] == b"theirs"
