"""Full backup and restore over a real S3 service with TLS (Ceph's gateway on this machine, which shares its cores): against pgBackRest in the same bucket; and through a
proxy, without and with 20 ms for a question and its answer."""
import json
import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from harness.faultproxy import FaultProxy  # noqa: E402
from harness.objectstore import ACCESS_KEY, REGION, SECRET_KEY, ObjectStore  # noqa: E402

LATENCY = 0.01  # seconds each way: 20 ms for a question and its answer
PROXIED, FAR = " proxied", " far"
BUCKET = "bench"
STORE_MEMORY = 10 << 30  # for two rounds over the sample database of 3 GB; the store takes nearly twice that of the machine
CONNECTIONS = 8  # of `wal push` to a bucket (src/wal/push.h, far_workers)


def make_tools(bench, work, server, store, port, bucket):
    """pgBackRest and pgmint with their repositories behind `port`."""
    class PgBackRestInBucket(bench.PgBackRest):
        def reset(self):
            super().reset()
            text = self.config.read_text().replace(f"repo1-path={self.repository}\n", f"""repo1-type=s3
repo1-path=/pgbackrest-{port}
repo1-s3-bucket={bucket}
repo1-s3-endpoint=localhost
repo1-s3-region={REGION}
repo1-s3-uri-style=path
repo1-storage-port={port}
repo1-storage-ca-file={store.ca_file}
repo1-s3-key={ACCESS_KEY}
repo1-s3-key-secret={SECRET_KEY}
""")
            self.config.write_text(text)

    class PgmintInBucket(bench.Pgmint):
        def create(self):
            for name in ("state", "repository"):
                shutil.rmtree(self.home / name, ignore_errors=True)
            (self.home / "repository.key").unlink(missing_ok=True)
            self.config.write_text(f"""repository = "s3://{bucket}/pgmint-{port}"
state_directory = "{self.home}/state"
compression = "balanced"
[encryption]
key_file = "{self.home}/repository.key"
[cluster.main]
data_directory = "{self.server.data}"
connection = "host={self.server.sockets} port=5432 user=postgres dbname=postgres"
[s3]
endpoint = "https://localhost:{port}"
path_style = true
ca_file = "{store.ca_file}"
access_key_id = "{ACCESS_KEY}"
secret_access_key = "{SECRET_KEY}"
""")
            self.config.chmod(0o644)
            bench.quiet(*self.command("init"))

        def requests(self, *arguments):
            said = bench.quiet(*self.command("--log-level", "debug", *arguments))
            return len(re.findall(r" debug +[A-Z]+ /\S*: \S+", said))

    return PgBackRestInBucket(work, server), PgmintInBucket(work, server, "pgmint")


def upload_alone(bench, work, store, port, bucket, sizes):
    """Seconds in which curl puts as many bytes in as many objects over as many connections, knowing all of them from the start: what the line, and the gateway on
    these two cores, allow; the part of the cores' time that anything took meanwhile; and the CPU seconds that were not curl's."""
    folder = work / "upload"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lines = ["parallel", f"parallel-max = {CONNECTIONS}", "silent", "show-error", "fail", f'cacert = "{store.ca_file}"', f'aws-sigv4 = "aws:amz:{REGION}:s3"',
             f'user = "{ACCESS_KEY}:{SECRET_KEY}"', 'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"']
    for number, size in enumerate(sizes):
        (folder / str(number)).write_bytes(os.urandom(size))
        lines += [f'upload-file = "{folder / str(number)}"', f'url = "https://localhost:{port}/{bucket}/line/{number}"']
    (folder / "curl").write_text("\n".join(lines))
    bench.owner_folder(folder)
    before = bench.cores()
    spent = bench.timed("curl", "--config", str(folder / "curl"))
    after = bench.cores()
    shutil.rmtree(folder)
    busy = (after[0] - before[0]) / max(1, after[1] - before[1])
    return spent.seconds, busy, busy * spent.seconds * os.cpu_count() - spent.cpu


def push_wal(bench, work, server, store, port, bucket, tools, results, count):
    """Ready segments, pushed as the archiver does, through the proxy with its distance: pgBackRest's asynchronous mode with as many processes as pgmint has
    connections, pgmint, and the uploading alone."""
    names = bench.ready_segments(server, count)
    for tool, asynchronous in zip(tools, (True, False)):
        if asynchronous:  # its archive begins anew; pgmint's repository is there, and its segments are not
            server.start()
            tool.create()
            tool.config.write_text(tool.config.read_text().replace("process-max=2", f"process-max={CONNECTIONS}"))
            server.stop()
        seconds, cpu, peak, busy = bench.push_all(server, tool.push(asynchronous), names)
        results.add("S3 WAL far", tool.name, seconds)
        print(f"    S3 far WAL: {tool.name:<11} {len(names)} segments in {seconds:6.2f} s  {len(names) / seconds:6.1f}/s  {cpu:6.1f} s CPU in the pushes, cores {busy:.0%} busy, {peak / 1e6:.0f} MB peak", flush=True)
    sizes = [size for key, size in store.keys(bucket, f"pgmint-{port}/").items() if any(f"/{name}" in key for name in names)]
    assert len(sizes) == len(names)
    seconds, busy, others = upload_alone(bench, work, store, port, bucket, sizes)
    results.add("S3 WAL far", "line", seconds)
    # Gateway, OSD and proxy do for pgmint's bytes what they do for curl's, on the cores on which pgmint computes.
    least = (others + cpu) / os.cpu_count()
    print(f"    S3 far WAL: {'curl alone':<11} {len(names)} segments' {sum(sizes) / 1e6:.0f} MB in {seconds:6.2f} s, cores {busy:.0%} busy: with what pgmint computes {least:.2f} s at least", flush=True)
    server.start()


def measure(bench, work, server, results, rounds, segments):
    store = ObjectStore(memory=STORE_MEMORY)
    proxy = FaultProxy(store.https_port)
    try:
        for suffix, port in (("", store.https_port), (PROXIED, proxy.port), (FAR, proxy.port)):
            proxy.set(latency=LATENCY if suffix == FAR else 0.0)
            bucket = BUCKET + suffix.strip()
            store.bucket(bucket)
            tools = make_tools(bench, work, server, store, port, bucket)
            for tool in tools:
                tool.create()
            for number in range(rounds):
                for tool in tools:
                    if suffix and tool.name != "pgmint":
                        continue  # how far distance slows us down is asked, not the peer
                    server.archive_with(tool.archive_command)
                    spent = tool.backup()
                    server.archive_with("true")
                    target = work / f"restored-{tool.name}"
                    shutil.rmtree(target, ignore_errors=True)
                    bench.owner_folder(target)
                    back = tool.restore(target)
                    shutil.rmtree(target)
                    for what, done in (("S3 backup", spent), ("S3 restore", back)):
                        results.add(what, tool.name + suffix, done.seconds)
                        results.add(what + " cpu", tool.name + suffix, done.cpu)
                        results.add("memory", tool.name, done.peak)
                    print(f"    S3{suffix or ''} {number + 1}: {tool.name:<11} backup {spent.seconds:6.2f} s, {spent.cpu:5.1f} s CPU; restore {back.seconds:6.2f} s, {back.cpu:5.1f} s CPU", flush=True)
            if suffix == FAR:
                push_wal(bench, work, server, store, port, bucket, tools, results, segments)
            if not suffix:
                pgmint = tools[1]
                server.archive_with(pgmint.archive_command)
                stored = sum(store.keys(BUCKET, f"pgmint-{port}/").values())
                sent = pgmint.requests("backup", "--type", "full", "--jobs", "2")
                stored = sum(store.keys(BUCKET, f"pgmint-{port}/").values()) - stored
                size = json.loads(bench.quiet(*pgmint.command("list", "--json")))["clusters"][0]["backups"][-1]["size_bytes"]
                results.add("S3 full: requests per 32 MB of the database", "pgmint", sent / (size / 32e6))
                results.add("S3 full: requests per 32 MB stored", "pgmint", sent / (stored / 32e6))
                print(f"    S3: a full backup of {size / 1e6:.0f} MB, {stored / 1e6:.0f} MB stored, in {sent} requests", flush=True)
                for _ in range(2):  # what this host has to learn once
                    pgmint.requests("backup")
                    pgmint.requests("list")
                results.add("S3 incremental, nothing changed: requests", "pgmint", pgmint.requests("backup"))
                results.add("S3 list: requests", "pgmint", pgmint.requests("list"))
                server.archive_with("true")
    finally:
        proxy.stop()
        store.stop()


def require(results):
    def ratio(measure, a, b):
        a, b = results.median(measure, a), results.median(measure, b)
        return a / b if a and b else None
    results.require("S3 backup: throughput against pgbackrest", ratio("S3 backup", "pgbackrest", "pgmint"), 1.5)
    results.require("S3 backup: own CPU against pgbackrest's", ratio("S3 backup cpu", "pgmint", "pgbackrest"), 0.6, at_least=False)
    results.require("S3 restore: throughput against pgbackrest", ratio("S3 restore", "pgbackrest", "pgmint"), 2.0)
    results.require("S3 restore: own CPU against pgbackrest's", ratio("S3 restore cpu", "pgmint", "pgbackrest"), 0.6, at_least=False)
    results.require("S3 backup at 20 ms: rate of that without", ratio("S3 backup", "pgmint" + PROXIED, "pgmint" + FAR), 0.8)
    results.require("S3 restore at 20 ms: rate of that without", ratio("S3 restore", "pgmint" + PROXIED, "pgmint" + FAR), 0.8)
    results.require("S3 WAL at 20 ms: rate against asynchronous archive-push", ratio("S3 WAL far", "pgbackrest", "pgmint"), 5.0)
    results.require("S3 WAL at 20 ms: rate of the line's", ratio("S3 WAL far", "line", "pgmint"), 1.0)
    for of in ("of the database", "stored"):
        results.require(f"S3 full: requests per 32 MB {of}", results.median(f"S3 full: requests per 32 MB {of}", "pgmint"), 1, at_least=False, unit="")
    results.require("S3 incremental, nothing changed: requests", results.median("S3 incremental, nothing changed: requests", "pgmint"), 11, at_least=False, unit="")
    results.require("S3 list: requests", results.median("S3 list: requests", "pgmint"), 3, at_least=False, unit="")
