"""Repositories in a bucket: the main job over a real S3 service with TLS, and what happens when it refuses, goes away or lies."""
import os
import re
import subprocess

import pytest

from harness.cluster import Background
from harness.faultproxy import FaultProxy
from harness.objectstore import ACCESS_KEY, SECRET_KEY, ObjectStore
from harness.pgmint import wait_for_phase
from harness.places import newest_binary, wait_until
from test_clone_safety import clone_of


@pytest.fixture(scope="module")
def objects():
    store = ObjectStore()
    yield store
    store.stop()


@pytest.fixture
def in_bucket(make, objects, request):
    """Makes a Pgmint whose repository is a prefix of a bucket of the test's own."""
    def made(bucket=None, **changes):
        name = bucket or re.sub("[^a-z0-9]", "-", request.node.name.lower())[:50]
        if bucket is None:
            objects.bucket(name)
        return make.pgmint(repository=f"s3://{name}/team a/prod", extra=objects.table(**changes))
    return made


def requests_in(outcome):
    """The requests that a command run with --log-level debug has sent: "GET /bucket/key: 200"."""
    return re.findall(r" debug +([A-Z]+ /\S*: \S+)", outcome.err)


def requests_of(outcome):
    """As above, of a command that has to send some."""
    sent = requests_in(outcome)
    assert sent, outcome
    return sent


def conformance(objects, bucket, versioned, *options):
    program = newest_binary().parent / "src" / "storage" / "s3_conformance"
    done = subprocess.run([program, *options], capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, "PGMINT_TEST_S3_BUCKET": bucket, "PGMINT_TEST_S3_BY_VERSIONS": "1" if versioned else "", "PGMINT_TEST_S3_ENDPOINT": objects.endpoint, "PGMINT_TEST_S3_CA_FILE": str(objects.ca_file),
                               "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY})
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_the_blob_contract_holds(objects):
    told = conformance(objects, objects.bucket("conformance"), False)
    assert re.search(r"\[  PASSED  \] [6-9]\d tests", told), told[-500:]


def test_where_all_racers_win_the_oldest_version_decides(objects):
    """As this gateway does in a bucket that keeps versions (docs/adr/0038)."""
    told = conformance(objects, objects.bucket("by-versions", versioned=True), True,
                       "--gtest_filter=*NeverOverwrites/*:*Racing*:*KeepsALargeObject*:-*VirtualStyle*", "--gtest_repeat=5")
    assert len(re.findall(r"\[  PASSED  \] 6 tests", told)) == 5, told[-500:]


def test_backs_up_and_restores_to_any_moment(make, in_bucket, objects):
    cluster, tool = make.pair(pgmint=in_bucket())
    cluster.make_table("busy", 10)
    load = Background(cluster, "busy")
    wait_until(lambda: cluster.one("select count(*) from busy") > 20, "the load runs")
    first = tool.backup()
    load.stop()
    expected = cluster.digest()
    moment = cluster.one("select clock_timestamp()::text")
    cluster.sql("drop table busy")
    second = tool.run("backup", "--type", "incremental", "--json").json
    cluster.archive_now()
    assert set(tool.names()) == {first["name"], second["name"]}
    tool.run("verify", "--read-data")
    clone = clone_of(make, tool, "--time", moment).start().wait_promoted()
    assert clone.digest() == expected
    clone.amcheck()
    held = objects.keys("test-backs-up-and-restores-to-any-moment")
    assert held and all(key.startswith("team a/prod/") for key in held), list(held)[:5]
    assert not [key for key in held if "/probe/" in key]


def test_few_requests_are_made_once_this_host_knows_the_repository(make, in_bucket, objects):
    cluster, tool = make.pair(pgmint=in_bucket())
    tool.backup()
    cluster.archive_now()
    for _ in range(2):
        tool.run("backup")
        tool.run("list")

    def sent(*arguments, **keywords):
        return requests_of(tool.run("--log-level", "debug", *arguments, **keywords))

    listing = sent("list")
    assert len(listing) <= 3, "\n".join(listing)
    # One that begins in the second of another looks for a name twice, and an archiver that takes its time is looked after.
    again = min((sent("backup") for _ in range(5)), key=len)
    assert len(again) < 12, "\n".join(again)
    assert sum(line.startswith("PUT") for line in again) >= 5, again
    # Also right behind new WAL: what this host has stored itself, it need not ask for.
    for _ in range(3):
        cluster.add_rows("t", 10)
        cluster.archive_now()
    newest = sent("list")
    assert len(newest) <= 3, "\n".join(newest)
    cluster.configure(archive_command="false")
    cluster.reload()
    cluster.add_rows("t", 10)
    first = cluster.switch_wal()
    cluster.add_rows("t", 10)
    second = cluster.switch_wal()
    sent("wal", "push", f"pg_wal/{first}", cwd=cluster.data)
    # Stored ahead with the one before; its own turn asks whether the log still ends where it did, and whether the segment is there.
    outcome = tool.run("--log-level", "debug", "wal", "push", f"pg_wal/{second}", "--json", cwd=cluster.data)
    ahead = requests_in(outcome)  # none, where the file system lets it be told that the file is the same
    assert outcome.json["outcome"] == "duplicate" and len(ahead) <= 2, outcome
    # Nothing of this hides what another host does: a slot that it adds, a key that it rotates.
    elsewhere = tool.copy(repository_too=False)
    elsewhere.repository, elsewhere.extra = tool.repository, tool.extra
    elsewhere.write().run("key", "rotate", "--data")
    cluster.archive_with(tool).reload()
    assert tool.run("backup", "--json").json["name"] in elsewhere.names()
    cluster.archive_now()
    tool.run("verify", "--read-data")
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == cluster.digest()


def test_expire_and_collect_remove_what_nothing_needs(make, in_bucket, objects):
    cluster, tool = make.pair(pgmint=in_bucket())
    first, second = tool.backup()["name"], tool.backup()["name"]
    before = objects.keys("test-expire-and-collect-remove-what-nothing-needs")
    tool.extra += "[cluster.main.retention]\ndaily = \"0d\"\nweekly = \"0d\"\nmonthly = \"0d\"\nyearly = \"0d\"\nwal = \"0d\"\n"
    tool.write()
    tool.run("expire", "--yes")
    tool.run("collect", env={"TZ": "UTC"})
    assert tool.names() == [second], first
    tool.run("verify", "--read-data")
    after = objects.keys("test-expire-and-collect-remove-what-nothing-needs")
    gone, new = set(before) - set(after), set(after) - set(before)
    assert [key for key in gone if "/p/" in key] and [key for key in gone if "/snap/" in key], gone
    assert all("/log/" in key or "/wal/" in key for key in new), new


def test_wal_counts_as_read_for_as_long_as_the_bucket_has_the_object_that_was_read(make, objects):
    """By LastModified, which the listing tells (docs/adr/0019)."""
    bucket = objects.bucket("read-wal")
    cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/r", extra=objects.table()))
    tool.backup()
    for _ in range(3):
        last = cluster.archive_now()

    def verified():
        told = tool.run("verify", "--read-data", "--older-than", "30d", "--json").json
        return told["wal_read"], told["wal_skipped_as_proven"]

    read, skipped = verified()
    again, spared = verified()
    assert read >= 5 and skipped == 0 and spared >= 4 and again + spared == read, (read, again, spared)
    key = next(key for key in objects.keys(bucket) if key.endswith(f"/{last}"))
    content = objects.ask("GET", f"/{bucket}/{key}")
    objects.ask("PUT", f"/{bucket}/{key}", body=content)
    assert verified() == (again + 1, spared - 1), "the same bytes, and another object"
    assert verified() == (again, spared)


def test_refusals_name_what_is_wrong_and_change_nothing(make, in_bucket, objects):
    tool = in_bucket("there-is-no-such-bucket")
    tool.refuses("init", code=4, naming=("NoSuchBucket", "create the bucket first"))
    bucket = objects.bucket("refusals")
    in_bucket(bucket, secret_access_key="not-the-secret").refuses("init", code=7, naming="secret_access_key")
    in_bucket(bucket, access_key_id="NOBODY").refuses("init", code=7, naming="credentials")
    in_bucket(bucket, secret_access_key=None).refuses("init", code=3, naming="belong together")
    in_bucket(bucket, access_key_id=None, secret_access_key=None).refuses("init", code=3, naming="AWS_ACCESS_KEY_ID", env={"AWS_EC2_METADATA_DISABLED": "true"})
    in_bucket(bucket, ca_file=None).refuses("init", code=3, naming="ca_file")
    in_bucket(bucket, endpoint="http://198.51.100.1:80").refuses("init", code=3, naming="without TLS")
    in_bucket(bucket, endpoint="https://localhost:1").refuses("init", code=6, naming="localhost:1")
    objects.ask("PUT", f"/{bucket}/team a/prod/somebody's", body=b"x")
    in_bucket(bucket).refuses("init", code=4, naming="not empty")
    assert list(objects.keys(bucket)) == ["team a/prod/somebody's"]
    for each in make.homes:
        assert not (each / "repository.key").exists(), "a key file was made for a repository that was not"


def test_a_restore_is_no_proof_by_copies_on_this_host(make, objects):
    """Whatever the bucket has lost of a backup, the host that made it a moment ago does not bring it back from what it kept: its restore would pass for a proof."""
    bucket = objects.bucket("no-proof-by-copies")
    cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/r", extra=objects.table()))
    tool.backup()
    cluster.archive_now()
    tool.run("list")
    parts = [key for key in objects.keys(bucket) if "/p/" in key or "/snap/" in key]
    assert len(parts) >= 3, "two packs, and the manifest"
    for key in parts:
        content = objects.ask("GET", f"/{bucket}/{key}")
        objects.ask("DELETE", f"/{bucket}/{key}")
        lost = tool.restore(make.folder("lost") / "data", code=None)
        assert lost.code != 0, f"{key} is gone, and nobody has missed it: {lost}"
        objects.ask("PUT", f"/{bucket}/{key}", body=content)
    tool.restore(make.folder("whole") / "data")


def test_a_bucket_that_was_emptied_is_not_taken_for_an_empty_repository(make, in_bucket, objects):
    """The host has copies of the keys, which open it; what it remembers says that there was more."""
    cluster, tool = make.pair(pgmint=in_bucket())
    tool.backup()
    cluster.archive_now()  # and nothing more to be archived
    cluster.configure(archive_command="false")
    cluster.reload()

    def refused():
        cluster.add_rows("t", 1)
        cluster.switch_wal()
        return cluster.one("select last_failed_wal from pg_stat_archiver")

    segment = wait_until(refused, "the archiver has read its new command", every=0.2)
    bucket = "test-a-bucket-that-was-emptied-is-not-taken-for-an"[:50]
    for key in objects.keys(bucket):
        objects.ask("DELETE", f"/{bucket}/{key}")
    assert objects.keys(bucket) == {}
    for command in (["list"], ["status"], ["backup"], ["backup", "--type", "config"], ["verify"], ["expire"], ["collect"], ["wal", "status"]):
        outcome = tool.run(*command, code=None)
        assert outcome.code not in (0, 10), outcome
        assert objects.keys(bucket) == {}, (command, outcome)
    assert "was seen here before" in tool.run("list", code=None).err
    assert "was seen here before" in tool.push(cluster.data / "pg_wal" / segment, code=8).err
    assert objects.keys(bucket) == {}


def test_a_store_that_lets_several_create_one_object_is_refused(in_bucket, objects):
    """RGW 16 does so in a bucket with versioning or object lock."""
    for name, how in (("versioned", {"versioned": True}), ("locked", {"locked": True})):
        tool = in_bucket(objects.bucket(name, **how))
        outcome = tool.refuses("init", code=6, naming=("16", "versioning"))
        assert "cannot hold a repository" in outcome.err


def test_no_secret_leaves(make, in_bucket):
    cluster, tool = make.pair(pgmint=in_bucket())
    for arguments in (["--log-level", "debug", "backup", "--type", "full"], ["doctor"], ["doctor", "--json"], ["status"], ["report"], ["runbook"], ["list", "--json"]):
        outcome = tool.run(*arguments, code=None)
        assert SECRET_KEY not in outcome.text and "Signature=" not in outcome.text, arguments
    for file in (tool.home / "state").rglob("*"):
        assert not file.is_file() or SECRET_KEY.encode() not in file.read_bytes(), file


def test_a_gateway_that_dies_in_the_middle_of_a_backup(make, in_bucket, objects):
    cluster, tool = make.pair(pgmint=in_bucket(stall_time_max="2s"))
    running = tool.start("backup", "--type", "full", "--progress", "json", "--max-rate", "8MB")
    wait_for_phase(running, "copy")
    objects.kill("rgw")
    try:
        # What was begun is tried again for a while, and given up with the store's name.
        _, err = running.communicate(timeout=120)
        assert running.returncode == 6, err
        assert "localhost" in err
        assert re.search(r"warning .*localhost.*: trying again \(\d of 8\)", err), "whoever waits is told why: " + err
        cluster.sql("insert into t select -i, 'while away', now() from generate_series(1000, 1100) i")
        tool.refuses("list", code=6, naming="localhost")
    finally:
        objects.start_gateway()
    expected = cluster.digest()
    tool.backup()
    cluster.archive_now()
    tool.run("verify", "--read-data")
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected


def test_a_storage_daemon_that_is_killed_loses_nothing_that_was_acknowledged(make):
    """The gateway hangs until its OSD is back: a backup waits, or says that it failed, and what was reported as done is there."""
    store = ObjectStore(kind="bluestore")
    try:
        bucket = store.bucket("killed")
        cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/prod", extra=store.table(stall_time_max="3s")))
        done = [tool.backup()["name"]]
        for moment in range(3):
            cluster.sql(f"insert into t select -{moment + 1}000 - i, 'killed', now() from generate_series(1, 300) i")
            running = tool.start("backup", "--type", "full", "--progress", "json", "--max-rate", "8MB")
            wait_for_phase(running, "copy" if moment < 2 else "wait-for-wal")
            store.kill("osd")
            store.start_osd()
            _, err = running.communicate(timeout=240)
            assert running.returncode in (0, 6, 9), err
            if running.returncode == 0:
                done.append(tool.names()[-1])
        expected = cluster.digest()
        done.append(tool.backup()["name"])
        cluster.archive_now(timeout=120)
        assert set(done) <= set(tool.names()), "what was reported is listed"
        tool.run("verify", "--read-data")
        tool.run("audit", "verify")
        clone = clone_of(make, tool).start().wait_promoted()
        assert clone.digest() == expected
    finally:
        store.stop()


def test_a_bad_line_loses_nothing(make, objects, seed):
    """Resets, cuts, stalls and flipped bits on most connections: what is reported as done is there, and once the line is good again everything goes on."""
    bucket = objects.bucket("bad-line")
    proxy = FaultProxy(objects.https_port, seed)
    try:
        cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/prod", extra=objects.table(endpoint=f"https://localhost:{proxy.port}", stall_time_max="1s")))
        proxy.set(faults=0.5, within=15_000)
        done = []
        for n in range(3):
            cluster.sql(f"insert into t select -{n}000 - i, 'bad line', now() from generate_series(1, 300) i")
            outcome = tool.run("backup", "--json", code=(0, 6, 9), timeout=240)
            if outcome.code == 0:
                done.append(outcome.json["name"])
        counts = proxy.set(faults=0.0)
        assert counts["faults"] > 0, counts
        expected = cluster.digest()
        cluster.archive_now(timeout=120)
        assert set(done) <= set(tool.names()), "what was reported is listed"
        tool.run("verify", "--read-data")
        done.append(tool.backup()["name"])
        cluster.archive_now()
        for name in {done[0], done[-1]}:
            clone = clone_of(make, tool, "--backup", name).start().wait_promoted()
            assert clone.digest() == expected
            clone.stop()
    finally:
        proxy.stop()


def test_a_store_that_is_away_keeps_the_wal_with_postgres_where_none_may_wait(make, objects):
    bucket = objects.bucket("away")
    proxy = FaultProxy(objects.https_port)
    try:
        cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/prod", extra=objects.table(endpoint=f"https://localhost:{proxy.port}", stall_time_max="1s") + '\n[wal]\nspool_max = "0"\n'))
        tool.backup()
        proxy.set(refuse=True)
        cluster.add_rows("t", 500)
        segment = cluster.one("select pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: cluster.one("select failed_count > 0 from pg_stat_archiver"), "the archiver is told", timeout=90)
        assert (cluster.data / "pg_wal" / segment).exists()
        assert (cluster.data / "pg_wal/archive_status" / f"{segment}.ready").exists()
        tool.refuses("wal", "push", f"pg_wal/{segment}", code=6, naming=("localhost",), cwd=cluster.data)
        proxy.set(refuse=False)
        wait_until(lambda: cluster.one(f"select last_archived_wal >= '{segment}' from pg_stat_archiver"), "it goes on by itself", timeout=120)
        expected = cluster.digest()
        cluster.archive_now()
        clone = clone_of(make, tool).start().wait_promoted()
        assert clone.digest() == expected
    finally:
        proxy.stop()


def spooled(tool):
    """Files of WAL that wait on the host, oldest first."""
    return sorted(p.name for p in (tool.home / "state" / "spool").rglob("*") if p.is_file() and "wal" in p.parts and not p.name.startswith("."))


def test_wal_waits_on_the_host_while_the_store_is_away(make, objects):
    """Hours of outage in small: PostgreSQL goes on and lets go of its WAL, nothing is readable here, a full spool is told, and what waited arrives in order."""
    bucket = objects.bucket("spool")
    proxy = FaultProxy(objects.https_port)
    try:
        extra = objects.table(endpoint=f"https://localhost:{proxy.port}", stall_time_max="1s") + '\n[wal]\nspool_max = "24MiB"\n'
        cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/prod", extra=extra))
        tool.backup()
        tool.run("list")
        cluster.archive_now()
        proxy.set(refuse=True)
        cluster.sql("insert into t select -i, 'planted-while-away', now() from generate_series(1, 500) i")
        names = [cluster.archive_now(timeout=60) for _ in range(3)]
        assert [name for name in spooled(tool) if name in names] == names
        assert b"planted-while-away" not in b"".join(p.read_bytes() for p in (tool.home / "state" / "spool").rglob("*") if p.is_file())
        refused = tool.refuses("wal", "drain", code=6, naming="localhost")
        assert "away" in refused.err or "connect" in refused.err.lower(), refused
        # A backup cannot be, and says so; WAL goes on waiting.
        tool.refuses("backup", code=6)
        # As much as may wait does; then PostgreSQL keeps the rest.
        full = None
        for _ in range(200):
            cluster.add_rows("t", 20_000)
            cluster.switch_wal()
            full = cluster.one("select failed_count from pg_stat_archiver")
            if full > 0:
                break
        assert full, "the archiver was never told that the spool is full"
        assert "of WAL wait on this host already" in cluster.log_text()
        total = sum(p.stat().st_size for p in (tool.home / "state" / "spool").rglob("*") if p.is_file())
        assert total <= 24 << 20, total
        expected = cluster.digest()
        proxy.set(refuse=False)
        # What was started beside wal push sends it on by itself.
        wait_until(lambda: not spooled(tool), "the spool is empty", timeout=120)
        cluster.archive_now(timeout=120)
        status = tool.run("wal", "status", "--json").json
        assert status["waiting"] is None
        assert [gap for one in status["clusters"] for line in one["timelines"] for gap in line["gaps"]] == []
        tool.run("verify", "--read-data")
        clone = clone_of(make, tool).start().wait_promoted()
        assert clone.digest() == expected
    finally:
        proxy.stop()


def test_what_waits_is_told_and_sent_on_by_hand_or_before_a_backup(make, objects):
    bucket = objects.bucket("spool-told")
    proxy = FaultProxy(objects.https_port)
    try:
        cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/prod", extra=objects.table(endpoint=f"https://localhost:{proxy.port}", stall_time_max="1s")))
        tool.backup()
        tool.run("list")
        cluster.archive_now()
        cluster.configure(archive_command="false")
        cluster.reload()
        cluster.add_rows("t", 1)
        name = cluster.switch_wal()
        proxy.set(refuse=True)
        pushed = tool.run("wal", "push", f"pg_wal/{name}", "--json", cwd=cluster.data)
        assert pushed.json["outcome"] == "waits here"
        assert "waits on this host" in pushed.err
        # The same again: it is there, and stays once.
        tool.push(cluster.data / "pg_wal" / name)
        assert spooled(tool) == [name]
        tool.refuses("wal", "drain", code=(5, 6))
        assert spooled(tool) == [name]
        proxy.set(refuse=False)
        wait_until(lambda: not spooled(tool), "what wal push started has sent it on", timeout=60)
        wait_until(lambda: tool.run("wal", "drain", code=(0, 5)).code == 0, "nobody is at it any more")
        assert tool.run("wal", "drain").out.strip() == "nothing waits"
        # Beside a command that needs WAL in the repository it is sent on at once.
        cluster.add_rows("t", 1)
        second = cluster.switch_wal()
        proxy.set(refuse=True)
        tool.push(cluster.data / "pg_wal" / second)
        checks = {check["name"]: check for check in tool.run("doctor", "--json", code=6).json["checks"]}
        assert checks["repository"]["state"] == "failed", checks
        proxy.set(refuse=False)
        cluster.archive_with(tool).reload()
        tool.backup()
        assert spooled(tool) == []
        assert tool.run("wal", "status", "--json").json["waiting"] is None
        tool.run("verify", "--read-data")
    finally:
        proxy.stop()


def test_a_quota_that_is_full_is_told_and_nothing_is_half_there(make, in_bucket, objects):
    """The gateway refuses what would go beyond it; PostgreSQL keeps its WAL, and all goes on once there is room."""
    cluster, tool = make.pair(pgmint=in_bucket())
    bucket = "test-a-quota-that-is-full-is-told-and-nothing-is-half-there"[:50]
    first = tool.backup()["name"]
    cluster.archive_now()
    stored = sum(objects.keys(bucket).values())

    def limit(size):
        for command in (["set", f"--max-size={size}"], ["enable"]):
            objects.run("radosgw-admin", "-n", "client.rgw", "--admin-socket=", "quota", *command, "--quota-scope=bucket", f"--bucket={bucket}")

    limit(stored + (2 << 20))
    cluster.sql("create table noise as select i, gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text as body from generate_series(1, 150000) i")
    cluster.switch_wal()
    wait_until(lambda: cluster.one("select failed_count from pg_stat_archiver") > 0, "archiving fails", timeout=60)
    assert "quota" in cluster.log_text().lower()
    waiting = cluster.one("select last_failed_wal from pg_stat_archiver")
    refused = tool.push(cluster.data / "pg_wal" / waiting, code=None)
    assert refused.code not in (0, 5) and "quota" in refused.err and "pgmint expire" in refused.err, refused
    assert refused.seconds < 30, "a quota is not waited for"
    tool.refuses("backup", "--type", "full", code=4, naming="archiving fails")
    assert tool.names() == [first]
    assert sum(objects.keys(bucket).values()) <= stored + (2 << 20)
    tool.run("verify", "--backup", first, "--read-data")  # of the WAL, what is small may have passed
    limit(1 << 40)
    second = tool.backup()["name"]
    expected = cluster.digest()
    cluster.archive_now()
    assert tool.names() == [first, second]
    tool.run("verify", "--read-data")
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected


def test_each_role_may_do_what_it_is_for_and_nothing_else(make, objects):
    bucket = objects.bucket("roles")
    cluster, owner = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/prod", extra=objects.table()))
    owner.backup()
    roles = {}
    policies = {role: owner.run("policy", "aws", "--role", role).json for role in ("writer", "restorer", "janitor")}
    for role in policies:
        access = objects.user(role)
        roles[role] = make.pgmint(cluster, repository=owner.repository, key_file=owner.key_file, extra=objects.table(access_key_id=access[0], secret_access_key=access[1]))
        roles[role].refuses("list", code=7, naming="AccessDenied")
    # The gateway's users are accounts of their own, and an object is its writer's: the bucket's owner needs a word too.
    everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
    objects.bucket_policy(bucket, {**policies, "pgmint": everything})

    writer, restorer, janitor = roles["writer"], roles["restorer"], roles["janitor"]
    second = writer.backup()["name"]
    segment = cluster.archive_now()
    writer.push(cluster.data / "pg_wal" / segment)  # once more: it is there, and the same
    writer.run("verify", "--read-data")
    assert second in restorer.names() and second in janitor.names()
    restorer.refuses("backup", "--type", "full", code=7, naming="AccessDenied")
    restored = clone_of(make, restorer).start().wait_promoted()
    assert restored.digest() == cluster.digest()
    janitor.refuses("backup", "--type", "full", code=7, naming="AccessDenied")

    rules = "[cluster.main.retention]\ndaily = \"0d\"\nweekly = \"0d\"\nmonthly = \"0d\"\nyearly = \"0d\"\nwal = \"0d\"\n"
    for tool in (writer, janitor):
        tool.extra += rules
        tool.write()
    writer.run("expire", "--yes")
    before = set(objects.keys(bucket))
    writer.refuses("collect", code=7, naming="AccessDenied")
    assert before <= set(objects.keys(bucket)), "a writer has removed something"
    janitor.run("collect")
    assert len(before - set(objects.keys(bucket))) > 0
    owner.run("verify", "--read-data")
    # Nobody of them may do away with the log, the keys or the format.
    for role, tool in roles.items():
        access = re.search(r'access_key_id = "(.*?)"', tool.extra).group(1), re.search(r'secret_access_key = "(.*?)"', tool.extra).group(1)
        for key in sorted(objects.keys(bucket)):
            if re.search(r"/(log|keys|keyring)/|/format$", key):
                assert objects.request("DELETE", f"/{bucket}/{key}", access=access)[0] == 403, (role, key)
