"""Buckets that keep versions, on a real RADOS gateway: removals free what they remove, and what an attacker deletes or overwrites comes back."""
import json
import os
import re
import shutil

import pytest

from harness.objectstore import ObjectStore
from test_clone_safety import clone_of

VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
KEEP_NONE = "[cluster.main.retention]\ndaily = \"0d\"\nweekly = \"0d\"\nmonthly = \"0d\"\nyearly = \"0d\"\nwal = \"0d\"\n"


@pytest.fixture(scope="module")
def objects():
    store = ObjectStore()
    yield store
    store.stop()


@pytest.fixture
def versioned(make, objects, request):
    """(cluster, tool, bucket): RGW 16 decides who creates an object in a plain bucket alone, so versioning is turned on once the repository stands, as people do."""
    bucket = objects.bucket(re.sub("[^a-z0-9]", "-", request.node.name.lower())[:50])
    cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{bucket}/prod", extra=objects.table()))
    objects.ask("PUT", f"/{bucket}", "versioning=", VERSIONING)
    return cluster, tool, bucket


def versions(objects, bucket):
    """[(key, is a marker)] of everything that is stored."""
    page = objects.ask("GET", f"/{bucket}", "versions=").decode()
    assert "<IsTruncated>false" in page
    return [(key, kind == "DeleteMarker") for kind, key in re.findall(r"<(Version|DeleteMarker)><Key>(.*?)</Key>", page)]


def checks(tool, code=0):
    return {check["name"]: check for check in tool.run("doctor", "--json", code=code).json["checks"]}


def test_collect_frees_what_it_removes(versioned, objects):
    cluster, tool, bucket = versioned
    tool.backup()
    second = tool.backup()["name"]
    tool.extra += KEEP_NONE
    tool.write()
    tool.run("expire", "--yes")
    before = {key for key, _ in versions(objects, bucket)}
    assert tool.run("collect", "--json").json["objects"] > 0
    after = versions(objects, bucket)
    assert not [key for key, marker in after if marker and "/p/" in key], "what was removed is only hidden"
    gone = before - {key for key, _ in after}
    assert [key for key in gone if "/p/" in key] and [key for key in gone if "/snap/" in key], gone
    assert tool.names() == [second]
    tool.run("verify", "--read-data")


def test_doctor_says_what_the_bucket_keeps_and_who_may_remove_it(versioned):
    cluster, tool, _ = versioned
    tool.backup()
    found = checks(tool, code=None)
    assert found["bucket versioning"]["state"] == "ok" and "repair --undelete" in found["bucket versioning"]["detail"]
    assert "paid for" in found["old versions"]["detail"]
    assert found["deleted objects"]["state"] == "ok", found["deleted objects"]
    assert found["removal of versions"]["detail"].startswith("allowed")


def test_what_an_attacker_deletes_and_overwrites_comes_back(make, versioned, objects):
    cluster, tool, bucket = versioned
    tool.backup()
    cluster.archive_now()
    expected = cluster.digest()
    held = sorted(objects.keys(bucket))
    overwritten = [next(key for key in held if f"/{part}/" in key) for part in ("p", "log", "wal")] + ["prod/format"]
    for key in overwritten:
        objects.ask("PUT", f"/{bucket}/{key}", body=b"ransom")
    found = checks(tool, code=None)
    assert found.get("deleted objects", found.get("repository"))["state"] == "failed", found
    for key in held:
        objects.ask("DELETE", f"/{bucket}/{key}")
    assert not objects.keys(bucket)
    shown = tool.run("repair", "--undelete", "--json").json
    assert not shown["done"] and {f"prod/{each['object']}" for each in shown["objects"]} == set(held)
    assert not objects.keys(bucket), "without --yes nothing is changed"
    done = tool.run("repair", "--undelete", "--yes", "--json").json
    assert done["done"] and not done["findings"] and not done["beyond_help"], json.dumps(done)[:2000]
    assert tool.run("repair", "--undelete", "--json").json["objects"] == [], "it is done once"
    # RGW 16 lets a second writer replace an entry of the log while versioning is on: what came back is used in a plain bucket.
    plain = objects.bucket("brought-back")
    for key in objects.keys(bucket):
        objects.ask("PUT", f"/{plain}/{key.replace(' ', '%20')}", body=objects.ask("GET", f"/{bucket}/{key}"))
    twin = tool.copy(repository_too=False)
    twin.repository, twin.extra = f"s3://{plain}/prod", tool.extra
    twin.write()
    assert "brought back" in json.dumps(twin.run("audit", "list", "--json").json)
    twin.run("audit", "verify")
    twin.run("verify", "--read-data")
    clone = clone_of(make, twin).start().wait_promoted()
    assert clone.digest() == expected


def test_hosts_that_take_turns_do_not_replace_each_others_entries(make, versioned, objects):
    """Versioning was turned on under the repository, and this gateway tells everybody who writes an entry that it is theirs. Each host reads the other's last entry, or finds it behind its own."""
    cluster, tool, bucket = versioned
    name = tool.backup()["name"]
    other = make.pgmint(cluster, repository=tool.repository, key_file=tool.key_file, extra=tool.extra)
    for host in (tool, other, other, tool, other):
        host.run("hold", name, "--reason", "a reason")
        host.run("release", name)
    other.run("audit", "verify")
    entries = other.run("audit", "list", "--json").json["entries"]
    assert [entry["kind"] for entry in entries].count("hold") == [entry["kind"] for entry in entries].count("release") == 5
    found = checks(tool, code=None)
    assert found["repository create-if-absent"]["state"] == "failed", found


def test_a_key_slot_that_was_removed_does_not_come_back(versioned, objects, tmp_path):
    cluster, tool, bucket = versioned
    tool.backup()
    before = {key for key in objects.keys(bucket, "prod/keys/")}
    other = tool.home / "other.passphrase"
    other.write_text("a passphrase that is long enough\n")
    other.chmod(0o600)
    shutil.chown(other, "postgres") if os.geteuid() == 0 else None
    tool.run("key", "add", "--passphrase-file", other)
    slot = (set(objects.keys(bucket, "prod/keys/")) - before).pop()
    content = objects.ask("GET", f"/{bucket}/{slot}")
    tool.run("key", "remove", slot.rsplit("/", 1)[1], "--yes")
    # As where versions may not be removed: its old version stands behind a marker.
    objects.ask("PUT", f"/{bucket}/{slot}", body=content)
    objects.ask("DELETE", f"/{bucket}/{slot}")
    done = tool.run("repair", "--undelete", "--yes", "--json").json
    assert done["removed_key_slots"] == [slot.rsplit("/", 1)[1]]
    assert slot not in objects.keys(bucket)


def test_a_bucket_without_versions_and_a_directory_say_that_nothing_can_come_back(make, objects):
    bucket = objects.bucket("plain")
    tool = make.pgmint(repository=f"s3://{bucket}/prod", extra=objects.table()).init()
    tool.refuses("repair", "--undelete", code=4, naming="keeps no versions")
    make.pgmint().init().refuses("repair", "--undelete", code=4, naming="directory")
