"""Object lock, on a real RADOS gateway: objects are locked as they are created, the locks of what backups need are extended, and nobody removes what is locked."""
import datetime
import os
import re

import pytest

from harness.objectstore import ObjectStore
from test_clone_safety import clone_of
from test_keys import secret_file

NOW_AND_THEN = datetime.timedelta(minutes=30)
KEEP_NONE = "[cluster.main.retention]\ndaily = \"0d\"\nweekly = \"0d\"\nmonthly = \"0d\"\nyearly = \"0d\"\nwal = \"0d\"\n"


@pytest.fixture(scope="module")
def objects():
    store = ObjectStore()
    yield store
    store.stop()


def name_of(request, suffix=""):
    return re.sub("[^a-z0-9]", "-", request.node.name.lower())[:50] + suffix


class Place:
    """A bucket with object lock, and a plain one for the log: RGW 16 does not decide who creates an object in the first."""

    def __init__(self, objects, request):
        self.objects, self.bucket, self.log = objects, objects.bucket(name_of(request), locked=True), objects.bucket(name_of(request, "-log"))

    def extra(self, more="", **s3):
        return f"log_url = \"s3://{self.log}/prod\"\n" + self.objects.table(**s3) + more

    def configure(self, tool, more="", **s3):
        tool.extra = self.extra(more, **s3)
        tool.write()


@pytest.fixture
def place(objects, request):
    return Place(objects, request)


@pytest.fixture
def locked(make, place):
    """(cluster, tool): a repository with one backup that was made before object_lock was set, as where that comes later; now it is."""
    cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{place.bucket}/prod", extra=place.extra()))
    tool.backup()
    cluster.archive_now()
    place.configure(tool, object_lock="governance")
    return cluster, tool


def lock_of(objects, bucket, key):
    """(mode, until), or None."""
    status, body, _ = objects.request("GET", f"/{bucket}/{key}", "retention=")
    if status == 404:
        return None
    assert status == 200, body
    mode, until = re.search(r"<Mode>(.*?)</Mode>", body.decode()).group(1), re.search(r"<RetainUntilDate>(.*?)</RetainUntilDate>", body.decode()).group(1)
    return mode, datetime.datetime.fromisoformat(until[:19] + "+00:00")


def locks(objects, bucket):
    return {key: lock_of(objects, bucket, key) for key in objects.keys(bucket) if "/probe/" not in key}


def in_days(days):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)


def versions(objects, bucket, prefix=""):
    """[(key, version, is a marker)] of everything that is stored."""
    page = objects.ask("GET", f"/{bucket}", "versions=").decode()
    assert "<IsTruncated>false" in page
    return [(key, version, kind == "DeleteMarker") for kind, key, version in re.findall(r"<(Version|DeleteMarker)><Key>(.*?)</Key><VersionId>(.*?)</VersionId>", page) if key.startswith(prefix)]


def checks(tool, code=None):
    return {check["name"]: check for check in tool.run("doctor", "--json", code=code).json["checks"]}


def test_what_is_created_is_locked_and_cannot_be_removed(locked, place, objects):
    cluster, tool = locked
    bucket = place.bucket
    before = set(objects.keys(bucket))
    tool.backup()
    cluster.archive_now()
    created = {key: lock for key, lock in locks(objects, bucket).items() if key not in before}
    assert {part for key in created for part in ("/p/", "/snap/", "/wal/") if part in key} == {"/p/", "/snap/", "/wal/"}
    for key, lock in created.items():
        assert lock and lock[0] == "GOVERNANCE" and abs(lock[1] - in_days(35)) < NOW_AND_THEN, (key, lock)
    key, version, _ = next(each for each in versions(objects, bucket) if each[0] in created and "/p/" in each[0])
    assert objects.request("DELETE", f"/{bucket}/{key}", f"versionId={version}")[0] == 403
    tool.run("verify", "--read-data")


def test_lock_extends_what_backups_need(locked, place, objects):
    cluster, tool = locked
    bucket = place.bucket
    second = tool.backup()["name"]
    cluster.archive_now()
    window = "[cluster.main.retention]\nwindow = \"100d\"\nwal = \"50d\"\n"
    place.configure(tool, window, object_lock="governance")
    shown = tool.run("lock", "--dry-run", "--json").json["clusters"][0]
    assert shown["extended"] > 0 and not [key for key, lock in locks(objects, bucket).items() if lock and lock[1] > in_days(36)]
    done = tool.run("lock", "--json").json
    assert not done["dry_run"]
    done = done["clusters"][0]
    assert done["cluster"] == "main" and done["mode"] == "governance" and done["needed"] >= shown["needed"] and done["extended"] >= shown["extended"] > 0
    held = locks(objects, bucket)
    # What was created with a lock is locked for a month as it is; what had none, for as long as it is needed.
    for key, lock in held.items():
        assert lock, key
        assert lock[1] > in_days(34), (key, lock)
        if "/p/" in key and lock[1] > in_days(36):
            assert in_days(100) < lock[1] < in_days(102.1), (key, lock)
    assert lock_of(objects, bucket, "prod/format")[1] > in_days(100)
    assert [key for key, lock in held.items() if "/wal/" in key and lock[1] > in_days(49)]
    again = tool.run("lock", "--json").json["clusters"][0]
    assert again["extended"] == 0
    assert again["asked"] < 20, "only log entries are new to it"
    assert tool.run("lock", "--recheck", "--json").json["clusters"][0]["asked"] > again["needed"] - 10
    # Rules that keep less shorten nothing.
    place.configure(tool, "[cluster.main.retention]\nwal = \"1d\"\n", object_lock="governance")
    tool.run("lock", "--recheck")
    after = locks(objects, bucket)
    assert {key: after[key] for key in held} == held
    assert [entry for entry in tool.run("audit", "list", "--json").json["entries"] if entry.get("event") == "locks extended"]
    assert second in tool.names()


def test_compliance_is_taken_back_by_nobody(locked, place, objects):
    _, tool = locked
    bucket = place.bucket
    tool.run("lock")
    before = locks(objects, bucket)
    window = "[cluster.main.retention]\nwindow = \"100d\"\n"
    place.configure(tool, window, object_lock="compliance", object_lock_days=60)
    tool.backup()
    done = tool.run("lock", "main", "--json").json["clusters"][0]
    after = locks(objects, bucket)
    assert done["governance"] == len(before), "the store changes no modes"
    assert {after[key][0] for key in after if key in before} == {"GOVERNANCE"} and {after[key][0] for key in after if key not in before} == {"COMPLIANCE"}
    assert [key for key in before if after[key][1] > before[key][1]], "but extends"
    key, version, _ = next(each for each in versions(objects, bucket) if each[0] not in before and "/p/" in each[0])
    assert objects.request("DELETE", f"/{bucket}/{key}", f"versionId={version}", headers={"x-amz-bypass-governance-retention": "true"})[0] == 403
    place.configure(tool, window, object_lock="governance", object_lock_days=90)
    tool.run("lock")
    assert lock_of(objects, bucket, key)[0] == "COMPLIANCE"


def test_collect_leaves_what_is_locked(locked, place, objects):
    _, tool = locked
    bucket = place.bucket
    unlocked = {key for key in objects.keys(bucket) if "/p/" in key}
    tool.backup()
    third = tool.backup()["name"]
    place.configure(tool, KEEP_NONE, object_lock="governance")
    assert tool.run("lock", "--json").json["clusters"][0]["needed"] > 0
    tool.run("expire", "--yes")
    done = tool.run("collect", "--json").json
    assert done["objects"] > 0 and done["clusters"][0]["locked_objects"] > 0
    left = versions(objects, bucket)
    assert not unlocked & {key for key, _, _ in left}, "what no rule kept was not locked, and is gone"
    assert not [key for key, _, marker in left if marker and "/p/" in key], "what is locked is not hidden"
    assert "locked" in tool.run("collect").out
    assert tool.names() == [third]
    tool.run("verify", "--read-data")


def test_doctor_tries_a_lock(locked, place, objects):
    _, tool = locked
    bucket = place.bucket
    tool.backup()
    found = checks(tool)
    assert found["object lock"]["state"] == "ok", found["object lock"]
    tried = found["object lock, tried"]
    assert tried["state"] == "warning" and "may bypass" in tried["detail"], "the bucket's owner may"
    place.configure(tool, object_lock="compliance")
    tried = checks(tool)["object lock, tried"]
    assert tried["state"] == "ok" and "could not be removed" in tried["detail"], tried
    assert not [key for key, _, marker in versions(objects, bucket, "prod/probe/") if key.endswith("-lock")], "nothing is left of the trial"


def test_a_repository_that_is_locked_from_its_first_object_on(make, place, objects):
    cluster, tool = make.pair(pgmint=make.pgmint(repository=f"s3://{place.bucket}/prod", extra=place.extra(object_lock="compliance")))
    tool.backup()
    tool.run("backup", "--type", "incremental")
    cluster.archive_now()
    expected = cluster.digest()
    held = locks(objects, place.bucket)
    assert {re.sub("^prod/(c/[0-9a-f]{32}/)?", "", key).split("/")[0] for key in held} == {"format", "keys", "keyring", "p", "snap", "wal"}
    assert {lock[0] for lock in held.values()} == {"COMPLIANCE"}
    found = checks(tool)
    assert not [check for check in found.values() if check["state"] == "failed"], found
    assert found["object lock, tried"]["state"] == "ok"
    done = tool.run("lock", "--json").json["clusters"][0]
    assert done["extended"] == 0 and done["needed"] > len(held) / 2, "no rule keeps the full backup, which the newer one of the day replaces"
    assert not [problem for each in tool.run("status", "--json", code=None).json["clusters"] for problem in each["problems"] if problem["code"] == "locks-ending"]
    jobs = {job["job"]: job["cron"] for job in tool.run("schedule", "show", "--json").json["clusters"][0]["jobs"]}
    assert jobs["lock"] == "0 6 1 * *"
    # Even the store's owner removes nothing.
    for key, version, _ in versions(objects, place.bucket, "prod/"):
        if "/probe/" not in key:
            assert objects.request("DELETE", f"/{place.bucket}/{key}", f"versionId={version}", headers={"x-amz-bypass-governance-retention": "true"})[0] == 403, key
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected


def configure(tool, objects, **s3):
    tool.extra = objects.table(**s3)
    tool.write()


def test_a_bucket_without_object_lock_is_refused(make, objects, request):
    bucket = objects.bucket(name_of(request))
    tool = make.pgmint(repository=f"s3://{bucket}/prod", extra=objects.table(object_lock="governance")).write()
    tool.refuses("init", code=4, naming=["without object lock", "new bucket"])
    assert not objects.keys(bucket)
    configure(tool, objects)
    tool.init()
    tool.refuses("lock", code=4, naming="object_lock")
    configure(tool, objects, object_lock="governance")
    found = checks(tool)["object lock"]
    assert found["state"] == "failed" and "no object can be locked" in found["detail"], found


def test_each_role_locks_what_it_is_for(locked, place, make, objects):
    cluster, owner = locked
    bucket = place.bucket
    policies = {role: owner.run("policy", "aws", "--role", role).json for role in ("writer", "restorer", "janitor")}
    for policy in policies.values():
        assert all(each["Effect"] == "Deny" for each in policy["Statement"] if "s3:BypassGovernanceRetention" in each["Action"]), policy
    tools, access = {}, {}
    for role in policies:
        access[role] = objects.user(f"lock{role}")
        tools[role] = make.pgmint(cluster, repository=owner.repository, key_file=owner.key_file, extra=place.extra(object_lock="governance", access_key_id=access[role][0], secret_access_key=access[role][1]))
    for each in (bucket, place.log):
        everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{each}", f"arn:aws:s3:::{each}/*"]}]}
        own = {f"lock{role}": {"Statement": [s for s in policy["Statement"] if s["Resource"][0].endswith(f":{each}") or f":{each}/" in s["Resource"][0]]} for role, policy in policies.items()}
        objects.bucket_policy(each, {**own, "pgmint": everything})
    before = set(objects.keys(bucket))
    tools["writer"].backup()
    cluster.archive_now()
    created = set(objects.keys(bucket)) - before
    tried = checks(tools["writer"])["object lock, tried"]
    assert tried["state"] == "ok" and "may not bypass" in tried["detail"], tried
    # Only the janitor looks after locks, and nobody takes one off.
    for role in ("writer", "restorer"):
        tools[role].refuses("lock", code=7, naming=["AccessDenied", "--role janitor"])
    done = tools["janitor"].run("lock", "--json").json["clusters"][0]
    assert done["extended"] > 0 and done["first_end"]
    for key, version, _ in versions(objects, bucket):
        if key not in created:
            continue
        for role in access:
            assert objects.request("DELETE", f"/{bucket}/{key}", f"versionId={version}", access=access[role], headers={"x-amz-bypass-governance-retention": "true"})[0] == 403, (role, key)
    tools["janitor"].run("verify")
    assert tools["restorer"].names() == owner.names()


def test_a_key_that_is_removed_opens_nothing_though_its_slot_is_locked(locked, place, objects):
    _, tool = locked
    bucket = place.bucket
    before = set(objects.keys(bucket, "prod/keys/"))
    other = secret_file(tool, "other.passphrase", "a passphrase that is long enough\n")
    tool.run("key", "add", "--passphrase-file", other)
    slot = (set(objects.keys(bucket, "prod/keys/")) - before).pop()
    assert lock_of(objects, bucket, slot)
    assert "old version" in tool.run("key", "remove", slot.rsplit("/", 1)[1], "--yes").err
    assert slot not in objects.keys(bucket)
    until = {version: lock for key, version, marker in versions(objects, bucket, slot) if not marker for lock in [objects.ask("GET", f"/{bucket}/{slot}", f"retention=&versionId={version}")]}
    assert len(until) == 1
    place.configure(tool, "[cluster.main.retention]\nwindow = \"100d\"\n", object_lock="governance", object_lock_days=60)
    tool.run("lock")
    assert until == {version: objects.ask("GET", f"/{bucket}/{slot}", f"retention=&versionId={version}") for version in until}, "nothing that was removed is kept"
    # A rotation ends, and what it has replaced stands in nobody's way.
    tool.run("key", "rotate", "--root", "--yes")
    tool.run("key", "check")
    assert not [check for name, check in checks(tool).items() if "rotation" in check["detail"]]
    tool.backup()
    tool.run("verify", "--read-data")


def test_a_mirror_in_a_bucket_with_object_lock(make, objects, request):
    bucket = objects.bucket(name_of(request), locked=True)
    cluster, tool = make.pair()
    tool.backup()
    tool.extra = objects.table(object_lock="governance") + f"[[mirror]]\nname = \"far\"\nurl = \"s3://{bucket}/m\"\none_writer = true\n"
    tool.write()
    tool.run("replicate")
    # Marks are replaced by newer ones: a lock on them would be in the way.
    for _ in range(3):
        tool.backup()
        tool.run("replicate")
    held = locks(objects, bucket)
    assert {bool(lock) for key, lock in held.items() if "/mirror/" not in key} == {True}
    assert {bool(lock) for key, lock in held.items() if "/mirror/" in key} == {False}

    # Whoever looks after them: a host whose repository the mirror is.
    access = objects.user("mirrorlocks")
    policy = tool.run("policy", "aws", "--mirror", "far", "--role", "janitor").json
    everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
    objects.bucket_policy(bucket, {"mirrorlocks": policy, "pgmint": everything})
    key = tool.home / "host.key"
    tool.run("key", "add", "--file", key, "--role", "host", "--cluster", "main")
    tool.run("replicate")
    # Longer than object_lock_days, all of them: while no backups come, what ends sooner is wanted a second longer each second.
    rules = "[cluster.main.retention]\nwindow = \"100d\"\nwal = \"90d\"\n"
    there = make.pgmint(repository=f"s3://{bucket}/m", key_file=key, extra=objects.table(object_lock="governance", object_lock_days=60, access_key_id=access[0], secret_access_key=access[1]) + rules)
    there.clusters = {name: dict(settings) for name, settings in tool.clusters.items()}
    there.write()
    entries = {each for each in objects.keys(bucket) if "/log/" in each}
    shown = there.run("lock", "--dry-run", "--json").json["clusters"][0]
    assert shown["extended"] > 0 and max(lock[1] for lock in locks(objects, bucket).values() if lock) < in_days(36)
    done = there.run("lock", "--json").json["clusters"][0]
    assert done["extended"] >= shown["extended"] and there.run("lock", "--json").json["clusters"][0]["extended"] == 0
    held = locks(objects, bucket)
    assert any("/p/" in each and lock and in_days(100) < lock[1] for each, lock in held.items())
    assert lock_of(objects, bucket, "m/format")[1] > in_days(100)
    assert {each for each in objects.keys(bucket) if "/log/" in each} == entries, "the mirror's log is the source's"
    there.refuses("collect", code=4, naming="mirror of")

    # Its own host knows that it ran, and after a month that it should have run again.
    def problems(*prefix):
        status = there.run("status", "--json", code=(0, 10), prefix=prefix).json
        return [each["code"] for cluster in status["clusters"] for each in cluster["problems"]]

    assert "locks-ending" not in problems()
    assert "locks-ending" not in problems("faketime", "-f", "+40d")
    assert "locks-ending" in problems("faketime", "-f", "+58d")
    # Of looks that went well: the source's log tells of looks at the source, and one that failed is none, whatever it has learnt.
    (noted,) = (there.home / "state" / "locks").glob("*.looked")
    long_ago = noted.stat().st_mtime - 30 * 86400
    os.utime(noted, (long_ago, long_ago))
    objects.bucket_policy(bucket, {"mirrorlocks": {"Statement": [each for each in policy["Statement"] if each["Sid"] != "ExtendLocks"]}, "pgmint": everything})
    tool.run("backup", "--type", "full")
    tool.run("replicate")
    there.refuses("lock", code=7, naming="--mirror NAME --role janitor")
    assert noted.stat().st_mtime == long_ago
