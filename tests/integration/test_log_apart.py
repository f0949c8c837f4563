"""A repository whose log lives in a bucket of its own, on a real RADOS gateway: in buckets with versioning or object lock it does not decide who creates an object."""
import re

import pytest

from harness.faultproxy import FaultProxy
from harness.objectstore import ObjectStore
from harness.places import wait_until
from test_clone_safety import clone_of
from test_object_store import spooled
from test_versions import KEEP_NONE


@pytest.fixture(scope="module")
def objects():
    store = ObjectStore()
    yield store
    store.stop()


@pytest.fixture
def places(objects, request):
    """(bucket with versions, plain bucket for the log)"""
    name = re.sub("[^a-z0-9]", "-", request.node.name.lower())[:45].strip("-")
    return objects.bucket(name, versioned=True), objects.bucket(f"{name}-log")


def apart(make, objects, places, **more):
    packs, log = places
    return make.pgmint(repository=f"s3://{packs}/prod", extra=f'log_url = "s3://{log}/prod"\n' + objects.table(), **more)


def states(tool):
    return {check["name"]: check for check in tool.run("doctor", "--json", code=None).json["checks"]}


def test_init_says_what_to_do_and_does_it(make, objects, places):
    packs, log = places
    alone = make.pgmint(repository=f"s3://{packs}/prod", extra=objects.table())
    alone.refuses("init", code=6, naming="log_url")
    assert not objects.keys(packs)
    swapped = make.pgmint(repository=f"s3://{log}/prod", extra=f'log_url = "s3://{packs}/prod"\n' + objects.table())
    swapped.refuses("init", code=6, naming="keeps versions")
    cluster, tool = make.pair(pgmint=apart(make, objects, places))
    tool.backup()
    segment = cluster.archive_now()
    tool.push(cluster.data / "pg_wal" / segment)  # once more: it is there, and the same
    tool.run("backup", "--type", "incremental")
    expected = cluster.digest()
    cluster.archive_now()
    in_log, in_packs = objects.keys(log), objects.keys(packs)
    assert {re.sub("^prod/(c/[0-9a-f]{32}/)?", "", key).split("/")[0] for key in in_log} == {"format", "keyring", "log"}
    assert {re.sub("^prod/(c/[0-9a-f]{32}/)?", "", key).split("/")[0] for key in in_packs} == {"format", "keys", "keyring", "p", "snap", "wal"}
    found = states(tool)
    assert found["repository create-if-absent"]["state"] == found["log create-if-absent"]["state"] == "ok", found
    assert found["log bucket versioning"]["detail"] == "off" and not [check for check in found.values() if check["state"] == "failed"], found
    tool.run("verify", "--read-data")
    tool.run("audit", "verify")
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected


def test_a_host_that_does_not_know_where_the_log_is_makes_nothing(make, objects, places):
    packs, log = places
    cluster, tool = make.pair(pgmint=apart(make, objects, places))
    tool.backup()
    def held():
        """WAL may still arrive."""
        return [key for bucket in (packs, log) for key in sorted(objects.keys(bucket, "prod/")) if "/wal/" not in key]

    before = held()
    blind = make.pgmint(cluster, repository=tool.repository, key_file=tool.key_file, extra=objects.table())
    for command in (["list"], ["backup"], ["collect"], ["status"]):
        blind.refuses(*command, code=3, naming=["log_url", f"s3://{log}/prod"])
    other_log = objects.bucket("somebody-elses-log")
    stranger = make.pgmint(repository=f"s3://{packs}/other", extra=f'log_url = "s3://{other_log}/prod"\n' + objects.table()).init()
    wrong = make.pgmint(cluster, repository=tool.repository, key_file=tool.key_file, extra=f'log_url = "s3://{other_log}/prod"\n' + objects.table())
    wrong.refuses("list", code=8, naming="log_url")
    empty = make.pgmint(cluster, repository=tool.repository, key_file=tool.key_file, extra=f'log_url = "s3://{objects.bucket("an-empty-log")}/prod"\n' + objects.table())
    empty.refuses("backup", code=8)
    assert held() == before
    assert stranger.run("list", "--json").json is not None
    plain = make.pgmint(repository=f"s3://{objects.bucket('plain-repository')}/prod", extra=objects.table()).init()
    plain.extra = f'log_url = "s3://{objects.bucket("another-empty-log")}/prod"\n' + plain.extra
    plain.write()
    plain.refuses("list", code=3, naming="not kept apart")


def test_settings_that_contradict_each_other_are_refused(make, objects, places):
    packs, log = places
    for repository, log_url, naming in ((f"s3://{packs}/prod", f"s3://{packs}/prod/log", "lies in"), (f"s3://{packs}/prod", f"s3://{packs}/", "lies in"), (f"s3://{packs}/prod", "/var/log", "no s3:// URL")):
        make.pgmint(repository=repository, extra=f'log_url = "{log_url}"\n' + objects.table()).refuses("list", code=3, naming=naming)
    make.pgmint(extra=f'log_url = "s3://{log}/prod"\n' + objects.table()).refuses("list", code=3, naming="is a directory")


def test_everything_that_was_deleted_comes_back_in_place(make, objects, places):
    packs, log = places
    cluster, tool = make.pair(pgmint=apart(make, objects, places))
    tool.backup()
    cluster.archive_now()
    expected = cluster.digest()
    for key in sorted(objects.keys(packs)):
        objects.ask("DELETE", f"/{packs}/{key}")
    assert tool.run("repair", "--undelete", "--yes", "--json").json["findings"] == []
    tool.run("verify", "--read-data")
    # And the log's bucket, which keeps no versions.
    cluster_id = next(re.search("/c/([0-9a-f]{32})/", key).group(1) for key in objects.keys(log) if "/log/" in key)
    for key in sorted(objects.keys(log)):
        objects.ask("DELETE", f"/{log}/{key}")
    tool.refuses("backup", code=8)
    tool.run("repair", "--rebuild-log", cluster_id, "--name", "main", "--yes")
    tool.run("verify", "--read-data")
    tool.backup()
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected


def test_collect_frees_what_it_removes(make, objects, places):
    packs, _ = places
    _, tool = make.pair(pgmint=apart(make, objects, places))
    tool.backup()
    second = tool.backup()["name"]
    tool.extra += KEEP_NONE
    tool.write()
    tool.run("expire", "--yes")
    assert tool.run("collect", "--json").json["objects"] > 0
    page = objects.ask("GET", f"/{packs}", "versions=").decode()
    assert "<IsTruncated>false" in page and "DeleteMarker" not in page
    assert tool.names() == [second]
    tool.run("verify", "--read-data")


def test_a_mirror_holds_both_parts_and_can_be_promoted(make, objects, places, tmp_path):
    cluster, tool = make.pair(pgmint=apart(make, objects, places))
    tool.backup()
    expected = cluster.digest()
    cluster.archive_now()
    mirror = objects.bucket("mirror-of-both")
    tool.extra += f'\n[[mirror]]\nname = "far"\nurl = "s3://{mirror}/prod"\n'
    tool.write()
    tool.run("replicate")
    assert [key for key in objects.keys(mirror) if "/log/" in key]
    there = make.pgmint(cluster, repository=f"s3://{mirror}/prod", key_file=tool.key_file, extra=objects.table())
    assert there.names() == tool.names()
    there.run("replicate", "promote", "--yes")
    there.run("verify", "--read-data")
    clone = clone_of(make, there).start().wait_promoted()
    assert clone.digest() == expected
    cluster.archive_with(there).reload()
    there.backup()
    there.extra = f'log_url = "s3://{places[1]}/prod"\n' + there.extra
    there.write()
    there.refuses("list", code=3, naming="not kept apart")


def test_a_writer_with_its_policies_alone(make, objects, places):
    packs, log = places
    cluster, owner = make.pair(pgmint=apart(make, objects, places))
    owner.backup()
    policy = owner.run("policy", "aws", "--role", "writer").json
    key, secret = objects.user("apart-writer")
    for bucket in places:
        own = {"Statement": [each for each in policy["Statement"] if f":{bucket}/" in each["Resource"][0] or each["Resource"][0].endswith(f":{bucket}")]}
        everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
        objects.bucket_policy(bucket, {"apart-writer": own, "pgmint": everything})
    writer = make.pgmint(cluster, repository=owner.repository, key_file=owner.key_file,
                         extra=f'log_url = "s3://{log}/prod"\n' + objects.table(access_key_id=key, secret_access_key=secret))
    writer.backup()
    segment = cluster.archive_now()
    writer.push(cluster.data / "pg_wal" / segment)
    found = states(writer)
    assert found["repository create-if-absent"]["state"] == found["log create-if-absent"]["state"] == "ok", found
    writer.run("verify", "--read-data")
    for bucket in places:
        for each in sorted(objects.keys(bucket)):
            if "/probe/" not in each:
                assert objects.request("DELETE", f"/{bucket}/{each}", access=(key, secret))[0] == 403, each


def test_wal_waits_on_the_host_while_both_buckets_are_away(make, objects, places):
    packs, log = places
    proxy = FaultProxy(objects.https_port)
    try:
        table = objects.table(endpoint=f"https://localhost:{proxy.port}", stall_time_max="1s")
        cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{packs}/prod", extra=f'log_url = "s3://{log}/prod"\n' + table))
        tool.backup()
        cluster.archive_now()
        proxy.set(refuse=True)
        cluster.add_rows("t", 100)
        waiting = cluster.archive_now(timeout=60)
        assert waiting in spooled(tool)
        expected = cluster.digest()
        proxy.set(refuse=False)
        tool.run("wal", "drain", code=(0, 5))  # 5: what wal push has started is at it
        wait_until(lambda: not spooled(tool), "the spool is empty", timeout=120)
        tool.run("verify", "--read-data")
        clone = clone_of(make, tool).start().wait_promoted()
        assert clone.digest() == expected
    finally:
        proxy.stop()
