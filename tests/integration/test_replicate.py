"""Mirrors: copied without keys, at every moment a whole repository of some earlier one, and a repository of its own once promoted."""
import json
import os
import re
import shutil
import signal
import time
from datetime import timedelta

import pytest

from harness.cluster import Background
from harness.objectstore import ObjectStore
from harness.pgmint import toml_value, wait_for_phase
from harness.schedules import schedule
from test_clone_safety import clone_of
from test_schedule import daemons, remember  # noqa: F401

NO_RETENTION = "[cluster.main.retention]\ndaily = \"0d\"\nweekly = \"0d\"\nmonthly = \"0d\"\nyearly = \"0d\"\nwal = \"0d\"\n"


@pytest.fixture(scope="module")
def objects():
    store = ObjectStore()
    yield store
    store.stop()


def mirror_table(name, url, s3="", **keys):
    text = f"[[mirror]]\nname = {toml_value(name)}\nurl = {toml_value(url)}\n"
    return text + "".join(f"{key} = {toml_value(value)}\n" for key, value in keys.items()) + s3


@pytest.fixture
def mirrored(make):
    """(cluster, tool, folder): a running pair with a mirror `far` in a folder."""
    def made(**keys):
        folder = make.folder("mirror")
        cluster, tool = make.pair(pgmint=make.pgmint(extra=mirror_table("far", folder, **keys)))
        return cluster, tool, folder
    return made


def keyless(make, tool):
    """The same configuration on a host without the key, and with no memory of anything."""
    host = make.pgmint(repository=tool.repository, extra=tool.extra)
    host.encryption = {}
    host.write()
    assert not host.key_file.exists()
    return host


def at(make, tool, folder, state=None, extra=""):
    """A configuration whose repository is the mirror, with the same key; `state`: on the same host."""
    there = make.pgmint(repository=folder, key_file=tool.key_file, extra=extra)
    there.clusters = {name: dict(settings) for name, settings in tool.clusters.items()}
    there.write()
    if state:
        text = there.config.read_text().replace(str(there.home / "state"), str(state))
        there.write(text)
    return there


def only(outcome):
    assert len(outcome.json["mirrors"]) == 1, outcome
    return outcome.json["mirrors"][0]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.quick
def test_copies_without_a_key_and_restores_from_the_mirror(make, mirrored):
    cluster, tool, folder = mirrored()
    name = tool.backup()["name"]
    cluster.add_rows("t", 300)
    cluster.archive_now()
    expected = cluster.digest()
    host = keyless(make, tool)

    planned = only(host.run("replicate", "--dry-run", "--json"))
    assert planned["copied"]["bytes"] > 0 and not list(folder.iterdir())
    done = only(host.run("replicate", "--json"))
    assert done["ok"] and done["first"] and done["copied"] == planned["copied"]
    again = only(host.run("replicate", "far", "--json"))
    assert again["copied"] == {"objects": 0, "bytes": 0} and not again["first"]
    assert only(host.run("replicate", "--check", "--read-data", "--json"))["ok"]
    theirs = files(tool.repository)
    ours = {key: value for key, value in files(folder).items() if not key.startswith("mirror/") and not key.endswith("/log/mirror")}
    assert ours == {key: theirs[key] for key in ours} and set(theirs) - set(ours) <= {key for key in theirs if "/log/" in key or key.startswith(".")}

    # The same host, whose memory knows a newer log, and another one.
    tool.run("hold", name, "--reason", "the source goes on")
    for there in (at(make, tool, folder, state=tool.home / "state"), at(make, tool, folder)):
        listed = there.run("list", "--json").json
        assert [b["name"] for b in listed["clusters"][0]["backups"]] == [name]
        assert listed["mirror"]["of"] == str(tool.repository) and listed["mirror"]["lag_s"] >= 0
        there.run("show", name)
        there.run("verify", "--read-data")
        there.run("plan", "--latest")
        restored = clone_of(make, there).start().wait_promoted()
        assert restored.digest() == expected
        restored.stop()


def test_every_command_that_writes_is_refused(make, mirrored):
    cluster, tool, folder = mirrored()
    name = tool.backup()["name"]
    tool.run("replicate")
    there = at(make, tool, folder)
    before = files(folder)
    segment = sorted(p.name for p in (cluster.data / "pg_wal").iterdir() if len(p.name) == 24)[0]
    for command in (["backup", "--type", "full"], ["hold", name, "--reason", "x"], ["key", "add", "--recovery"], ["key", "rotate", "--data"], ["expire"], ["collect"],
                    ["repair", "--rebuild-log"], ["cluster", "adopt", "main"]):
        there.refuses(*command, code=4, naming=("mirror of", str(tool.repository), "replicate promote"))
    there.refuses("wal", "push", f"pg_wal/{segment}", cwd=cluster.data, code=4, naming="mirror of")
    there.refuses("init", code=4)
    # What only reads works, and writes nothing either.
    for command in (["doctor"], ["status"], ["report"], ["audit", "list"], ["audit", "verify"], ["key", "list"], ["wal", "status"], ["collect", "--dry-run"], ["expire", "--dry-run"],
                    ["verify", "--read-data"], ["verify", "--decompress"]):
        outcome = there.run(*command, code=(0, 10) if command[0] in ("doctor", "status") else 0)
        assert "read-only" not in outcome.err, outcome
    assert files(folder) == before


def test_a_copy_that_is_killed_leaves_what_was_there(make, mirrored, seed):
    cluster, tool, folder = mirrored()
    first = tool.backup()["name"]
    tool.run("replicate")
    there = at(make, tool, folder)
    for n in range(4):
        cluster.add_rows("t", 3000)
        last = tool.backup()["name"]
        cluster.archive_now()
        shown = there.names()
        running = tool.start("replicate", "--max-rate", "500kB", "--progress", "json")
        wait_for_phase(running, "copy")
        time.sleep((seed % 7 + n) / 10)  # anywhere in the copy
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        assert there.names() == shown, "half a copy is seen"
        there.run("verify", "--read-data")
        tool.run("replicate")
        assert first in there.names() and last in there.names()
    there.run("verify", "--read-data")
    restored = clone_of(make, there).start().wait_promoted()
    assert restored.digest() == cluster.digest()


def test_copies_while_backups_expire_and_collect_go_on(make, mirrored):
    cluster, tool, folder = mirrored(keep_removed="1d")
    tool.backup()
    tool.extra += NO_RETENTION
    tool.write()
    cluster.make_table("busy", 10)
    load = Background(cluster, "busy")
    there = at(make, tool, folder)
    try:
        for _ in range(4):
            running = tool.start("replicate", "--json")
            tool.backup()
            tool.run("expire", "--yes")
            tool.run("collect")
            out, err = running.communicate(timeout=120)
            assert running.returncode in (0, 5), out + err
            there.run("verify", "--read-data")
    finally:
        load.stop()
    cluster.archive_now()
    expected = cluster.digest()
    tool.run("replicate")
    assert there.names() == tool.names()
    restored = clone_of(make, there).start().wait_promoted()
    assert restored.digest() == expected


def test_a_source_that_was_emptied_takes_nothing_with_it(make, mirrored):
    cluster, tool, folder = mirrored()
    name = tool.backup()["name"]
    cluster.archive_now()
    tool.run("replicate")
    expected = cluster.digest()
    host = keyless(make, tool)
    before = {key for key in files(folder) if not key.startswith("mirror/")}
    for part in ("p", "snap", "wal"):
        for path in tool.repository.glob(f"c/*/{part}"):
            shutil.rmtree(path)
    outcome = only(host.run("replicate", "--yes", "--json"))
    assert outcome["vanished"]["objects"] > 0 and outcome["removed"]["objects"] == 0
    for path in tool.repository.glob("c/*/log"):
        shutil.rmtree(path)
    host.refuses("replicate", "--yes", code=8, naming=("went back in time", "replicate promote"))
    for path in tool.repository.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    host.refuses("replicate", "--yes", code=4, naming="no repository")
    assert before <= set(files(folder))
    there = at(make, tool, folder)
    assert there.names() == [name]
    restored = clone_of(make, there).start().wait_promoted()
    assert restored.digest() == expected


def test_what_differs_is_named_and_stays(make, mirrored):
    cluster, tool, folder = mirrored()
    tool.backup()
    tool.run("replicate")
    pack = next(folder.glob("c/*/p/*/*"))
    whole = pack.read_bytes()
    os.chmod(pack, 0o600)
    pack.write_bytes(whole[:-1])
    outcome = tool.refuses("replicate", code=8, naming=(pack.name, "differs"))
    assert outcome.code == 8 and pack.read_bytes() == whole[:-1]
    assert only(tool.run("replicate", "--check", "--json", code=8))["differing"]
    pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    tool.run("replicate")  # of the same size: by name and size nothing is wrong
    assert only(tool.run("replicate", "--check", "--read-data", "--json", code=8))["differing"] == [str(pack.relative_to(folder))]
    pack.unlink()
    assert only(tool.run("replicate", "--check", "--json", code=1))["missing"] == [str(pack.relative_to(folder))]
    tool.run("replicate")
    assert pack.read_bytes() == whole


def test_promotes_and_goes_on_there(make, mirrored):
    cluster, tool, folder = mirrored()
    first = tool.backup()["name"]
    cluster.archive_now()
    tool.run("replicate")
    there = at(make, tool, folder)
    there.refuses("replicate", "promote", code=4, naming=("confirmation", "--yes"))
    tool.refuses("replicate", "promote", code=4, naming="no mirror")
    cluster.stop()  # what it archives last is copied still
    tool.run("replicate")
    done = there.run("replicate", "promote", "--yes", "--json").json
    assert not done["was_promoted"] and done["clusters"][0]["backups"] == [first]
    assert there.run("replicate", "promote", "--json").json["was_promoted"]

    # The server archives to the promoted one from now on.
    cluster.archive_with(there)
    cluster.start()
    cluster.add_rows("t", 400)
    second = there.backup("--note", "after the promotion")["name"]
    cluster.add_rows("t", 100)
    cluster.archive_now()
    expected = cluster.digest()
    assert there.names() == [first, second]
    there.run("verify", "--read-data")
    assert any(e["detail"].startswith("of ") or "mirror promoted" in str(e) for e in there.run("audit", "list", "--json").json["entries"])
    there.run("audit", "verify")
    restored = clone_of(make, there).start().wait_promoted()
    assert restored.digest() == expected

    # The old source is left behind, and told so.
    before = files(folder)
    tool.refuses("replicate", code=4, naming=("promoted", "left behind"))
    assert files(folder) == before
    status = tool.run("status", "--json", code=(0, 10)).json
    assert "mirror-promoted" in [w["code"] for w in status["warnings"]] and status["mirrors"][0]["state"] == "promoted"
    knows = at(make, tool, tool.repository, state=there.home / "state")
    knows.refuses("list", code=8, naming="left behind")


def test_tells_how_old_a_mirror_is(make, mirrored):
    cluster, tool, folder = mirrored()
    tool.backup()
    codes = lambda outcome: [w["code"] for w in outcome.json["warnings"]]  # noqa: E731
    assert "mirror-missing" in codes(tool.run("status", "--json", code=(0, 10)))
    tool.run("replicate")
    status = tool.run("status", "--json", code=(0, 10))
    assert not [c for c in codes(status) if c.startswith("mirror")]
    assert status.json["mirrors"][0]["lag_s"] < 60 and status.json["mirror"] is None
    there = at(make, tool, folder)
    assert there.run("status", "--json", code=(0, 10)).json["mirror"]["lag_s"] < 60
    assert "mirror" in tool.run("doctor", code=None).out
    shutil.move(folder, str(folder) + ".away")
    try:
        assert "mirror-unreachable" in codes(tool.run("status", "--json", code=(0, 10)))
    finally:
        shutil.move(str(folder) + ".away", folder)


def test_the_rate_is_kept(make, mirrored):
    cluster, tool, folder = mirrored()
    cluster.add_rows("t", 20_000)
    tool.backup()
    cluster.archive_now()
    size = only(tool.run("replicate", "--dry-run", "--json"))["copied"]["bytes"]
    assert size > 1_000_000, size
    rate = size // 4
    outcome = tool.run("replicate", "--max-rate", str(rate), "--progress", "plain")
    assert 2.8 < outcome.seconds < 20, outcome
    assert "copy" in outcome.err


def test_a_directory_copied_to_a_bucket(make, objects):
    bucket = objects.bucket("mirror")
    s3 = objects.table().replace("[s3]", "[mirror.s3]")
    cluster, tool = make.pair(pgmint=make.pgmint(extra=mirror_table("cloud", f"s3://{bucket}/far", s3)))
    first = tool.backup()["name"]
    cluster.add_rows("t", 500)
    second = tool.run("backup", "--type", "incremental", "--json").json["name"]
    cluster.archive_now()
    expected = cluster.digest()
    tool.run("replicate", "cloud")
    assert only(tool.run("replicate", "--check", "--read-data", "--json"))["ok"]
    held = objects.keys(bucket)
    assert held and not [key for key in held if "/probe/" in key]

    there = at(make, tool, f"s3://{bucket}/far", extra=objects.table())
    assert set(there.names()) == {first, second}
    there.run("verify", "--read-data")
    restored = clone_of(make, there).start().wait_promoted()
    assert restored.digest() == expected
    restored.stop()
    there.refuses("backup", "--type", "full", code=4, naming="mirror of")

    cluster.stop()  # what it archives last is copied still
    tool.run("replicate")
    there.run("replicate", "promote", "--yes")
    cluster.archive_with(there)
    cluster.start()
    cluster.add_rows("t", 100)
    third = there.backup()["name"]
    cluster.archive_now()
    assert set(there.names()) == {first, second, third}
    there.run("verify", "--read-data")
    restored = clone_of(make, there).start().wait_promoted()
    assert restored.digest() == cluster.digest()


def test_who_copies_may_copy_and_remove_what_has_vanished_and_nothing_else(make, objects):
    """In the rights that policy aws --mirror prints."""
    bucket = objects.bucket("copier")
    access = objects.user("copier")
    s3 = objects.table(access_key_id=access[0], secret_access_key=access[1]).replace("[s3]", "[mirror.s3]")
    cluster, tool = make.pair(pgmint=make.pgmint(extra=mirror_table("cloud", f"s3://{bucket}/far", s3, keep_removed="1d") + NO_RETENTION))
    tool.refuses("policy", "aws", code=2, naming="--mirror")
    tool.refuses("policy", "aws", "--mirror", "cloud", "--role", "writer", code=2, naming="janitor alone")
    tool.refuses("policy", "aws", "--mirror", "clod", code=3, naming="clod")
    first = tool.backup()["name"]
    tool.refuses("replicate", code=7, naming="AccessDenied")
    everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}
    objects.bucket_policy(bucket, {"copier": tool.run("policy", "aws", "--mirror", "cloud").json, "pgmint": everything})
    tool.run("replicate")
    before = set(objects.keys(bucket))

    cluster.sql("truncate t")
    second = tool.backup()["name"]
    tool.run("expire", "--yes")
    tool.run("collect")
    assert tool.names() == [second] and first != second
    for _ in range(9):  # more marks than are kept
        tool.run("replicate", "--yes")
    held = set(objects.keys(bucket))
    assert any("/mirror/mark/" in key for key in before - held), "old marks stay"
    assert only(tool.run("replicate", "--check", "--read-data", "--json"))["ok"]
    there = at(make, tool, f"s3://{bucket}/far", extra=objects.table())
    assert there.names() == [second]
    there.run("verify", "--read-data")
    # What has vanished at the source goes a day later at the earliest, by the store's clock.
    for key in sorted(held):
        expected = 403 if re.search(r"/(log|keys|keyring)/|/format$", key) else 204
        assert objects.request("DELETE", f"/{bucket}/{key}", access=access)[0] == expected, key


def test_a_store_without_create_if_absent_takes_a_mirror_of_one_writer(make, objects):
    """RGW's versioned bucket stands for it: of 16 racers all succeed there."""
    bucket = objects.bucket("one-writer", versioned=True)
    s3 = objects.table().replace("[s3]", "[mirror.s3]")
    cluster, tool = make.pair(pgmint=make.pgmint(extra=mirror_table("swift", f"s3://{bucket}/far", s3)))
    name = tool.backup()["name"]
    tool.refuses("replicate", code=6, naming="cannot hold a repository")
    tool.extra = mirror_table("swift", f"s3://{bucket}/far", s3, one_writer=True)
    tool.write()
    tool.run("replicate")
    there = at(make, tool, f"s3://{bucket}/far", extra=objects.table())
    assert there.names() == [name]
    there.run("verify", "--read-data")
    there.refuses("replicate", "promote", "--yes", code=4, naming="one writer")


def test_the_daemon_copies_by_itself(make, mirrored, daemons):
    cluster, tool, folder = mirrored()
    tool.extra += schedule()
    tool.write()
    tool.backup()
    shown = tool.run("schedule", "show", "--json").json["repository"]["jobs"]
    assert [(job["job"], job["schedule"], job["source"]) for job in shown] == [("replicate", "hourly", "default")]
    remember(tool, replicate=timedelta(hours=3))
    daemon = daemons(tool)
    daemon.says("@repository", "copy to the mirrors ends", "done")
    daemon.stop()
    assert at(make, tool, folder).names() == tool.names()
    assert "replicate" in tool.run("schedule", "install", "--cron").out


def test_a_configuration_that_cannot_be_right_is_refused(make):
    tool = make.pgmint()
    tool.refuses("replicate", code=3, naming="no mirror is configured")
    for text, word in (("[[mirror]]\nurl = \"/x\"\n", "lacks \"name\""), ("[[mirror]]\nname = \"a\"\n", "lacks \"url\""), (mirror_table("promote", "/x"), "no name"),
                       (mirror_table("a", "/x") + mirror_table("a", "/y"), "two mirrors"), (mirror_table("a", "/x", keep_removed="0d"), "at least a day"),
                       (mirror_table("a", "/x", max_rate="fast"), "max_rate")):
        make.pgmint(extra=text).refuses("replicate", code=3, naming=word)
    make.pgmint(extra=mirror_table("a", "/x")).refuses("replicate", "b", code=3, naming=("no mirror \"b\"", "a"))
    make.pgmint(extra=mirror_table("a", "/x")).refuses("replicate", "--read-data", code=2, naming="--check")
