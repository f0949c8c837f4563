"""Repositories in a bucket: the main job over a real S3 service with TLS, and what happens when it refuses, goes away or lies."""
import os
import re
import subprocess

import pytest

from harness.cluster import Background
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


def requests_of(outcome):
    """The requests that a command run with --log-level debug has sent: "GET /bucket/key: 200"."""
    sent = re.findall(r" debug +([A-Z]+ /\S*: \S+)", outcome.err)
    assert sent, outcome
    return sent


def test_the_blob_contract_holds(objects):
    objects.bucket("conformance")
    program = newest_binary().parent / "src" / "storage" / "s3_conformance"
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, "PGMINT_TEST_S3_BUCKET": "conformance", "PGMINT_TEST_S3_ENDPOINT": objects.endpoint, "PGMINT_TEST_S3_CA_FILE": str(objects.ca_file),
                               "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY})
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\[  PASSED  \] [6-9]\d tests", done.stdout), done.stdout[-500:]


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
    assert tool.names() == [first["name"], second["name"]] or set(tool.names()) == {first["name"], second["name"]}
    tool.run("verify", "--read-data")
    clone = clone_of(make, tool, "--time", moment).start().wait_promoted()
    assert clone.digest() == expected
    clone.amcheck()
    held = objects.keys("test-backs-up-and-restores-to-any-moment")
    assert held and all(key.startswith("team a/prod/") for key in held), list(held)[:5]
    assert not [key for key in held if "/probe/" in key]


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
    assert set(after) < set(before) | {key for key in after if "/log/" in key or "/ckpt/" in key}


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
    assert list(objects.keys(bucket)) == ["team a/prod/somebody's"] or len(objects.keys(bucket)) == 1
    for each in make.homes:
        assert not (each / "repository.key").exists(), "a key file was made for a repository that was not"


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
