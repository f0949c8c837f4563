"""WAL in and out: push, get, status; what is the same, what conflicts, what is missing."""
import os
import re
import shutil
import time

import pytest

from harness.places import give_to_owner, run, wait_until


def stored(tool):
    """Names of the WAL files in the repository."""
    return {path.name for path in tool.objects_of("wal")}


def segments(cluster):
    return sorted(p.name for p in (cluster.data / "pg_wal").iterdir() if re.fullmatch(r"[0-9A-F]{24}", p.name))


def successor(name, by=1, segment_mb=16):
    per_log = 0x100000000 // (segment_mb << 20)
    number = int(name[8:16], 16) * per_log + int(name[16:], 16) + by
    return f"{name[:8]}{number // per_log:08X}{number % per_log:08X}"


@pytest.fixture
def manual(make):
    """(cluster, pgmint): nothing is archived by itself; archive_command fails so that .ready files stay."""
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster).init()
    cluster.configure(archive_mode="on", archive_command="false")
    cluster.start().make_table("t", 200)
    return cluster, tool


@pytest.mark.quick
def test_push_then_get_gives_the_same_bytes(make, manual):
    cluster, tool = manual
    name = cluster.switch_wal()
    tool.push(cluster.data / "pg_wal" / name)
    assert name in stored(tool)
    copy = cluster.home / "copy"
    tool.run("wal", "get", name, copy)
    assert copy.read_bytes() == (cluster.data / "pg_wal" / name).read_bytes()
    tool.run("wal", "get", name, "copied-here", cwd=cluster.home)  # relative, as recovery asks
    assert (cluster.home / "copied-here").read_bytes() == copy.read_bytes()


def test_push_and_get_read_the_log_again_only_when_it_has_grown(manual):
    """PostgreSQL runs them for every segment; a long log must not make each of them long."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    cluster, tool = manual
    name = cluster.switch_wal()
    trace = tool.home / "trace"

    def log_entries_read(*arguments):
        trace.unlink(missing_ok=True)
        tool.run("wal", *arguments, cwd=cluster.data, prefix=["strace", "-f", "-qqq", "-o", trace, "-e", "trace=openat"])
        return [line for line in trace.read_text().splitlines() if re.search(r'/log/[0-9a-f]{8}/[0-9a-f]{16}"', line)]

    push, get = ("push", f"pg_wal/{name}"), ("get", name, tool.home / "copy")
    assert log_entries_read(*push) and log_entries_read(*get)
    assert not log_entries_read(*push) and not log_entries_read(*get)
    tool.run("key", "add", "--file", tool.home / "second.key")  # the log names every slot
    assert log_entries_read(*push) and log_entries_read(*get)
    assert not log_entries_read(*push) and not log_entries_read(*get)


def test_push_accepts_an_absolute_path_too(manual):
    cluster, tool = manual
    name = cluster.switch_wal()
    tool.run("wal", "push", cluster.data / "pg_wal" / name, cwd="/")
    assert name in stored(tool)


@pytest.mark.quick
def test_second_push_of_the_same_content_succeeds_and_stores_nothing(manual):
    cluster, tool = manual
    name = cluster.switch_wal()
    tool.push(cluster.data / "pg_wal" / name)
    before = tool.snapshot()
    tool.push(cluster.data / "pg_wal" / name)
    assert tool.snapshot() == before


@pytest.mark.quick
def test_second_push_of_other_content_is_refused_and_the_first_stays(manual):
    cluster, tool = manual
    name = cluster.switch_wal()
    path = cluster.data / "pg_wal" / name
    original = path.read_bytes()
    tool.push(path)
    path.write_bytes(original[:5_000_000] + bytes([original[5_000_000] ^ 1]) + original[5_000_001:])
    outcome = tool.push(path, code=range(1, 126))
    assert outcome.code == 8 and name in outcome.err
    copy = cluster.home / "copy"
    tool.run("wal", "get", name, copy)
    assert copy.read_bytes() == original


@pytest.mark.quick
def test_wal_of_another_cluster_is_refused(make, manual):
    cluster, tool = manual
    stranger = make.cluster("stranger", fresh=True)
    stranger.make_table("t", 10)
    name = stranger.switch_wal()
    before = tool.snapshot()
    outcome = tool.push(stranger.data / "pg_wal" / name, code=range(1, 126))
    assert stranger.system_identifier in outcome.err
    assert tool.snapshot() == before
    tool.run("wal", "push", "--cluster", "main", f"pg_wal/{name}", cwd=stranger.data, code=4)


def test_push_finds_its_cluster_by_system_identifier(make):
    one, two = make.cluster("one"), make.cluster("two", fresh=True)
    tool = make.pgmint(one, two).init()
    for cluster in (one, two):
        cluster.make_table("t", 10)
        name = cluster.switch_wal()
        tool.push(cluster.data / "pg_wal" / name)
        copy = cluster.home / "copy"
        tool.run("wal", "get", "--cluster", cluster.name, name, copy)
        assert copy.read_bytes() == (cluster.data / "pg_wal" / name).read_bytes()


@pytest.mark.parametrize("damage", ["short", "empty", "garbage", "missing"])
def test_push_of_what_is_not_a_segment_fails_below_126(manual, damage):
    cluster, tool = manual
    name = cluster.switch_wal()
    path = cluster.data / "pg_wal" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": content[:-8192], "empty": b"", "garbage": os.urandom(len(content))}[damage])
    outcome = tool.push(path, code=range(1, 126))
    assert name in outcome.err and name not in stored(tool)


def test_push_refuses_a_name_that_is_none(manual):
    cluster, tool = manual
    (cluster.data / "pg_wal" / "notes.txt").write_text("x")
    outcome = tool.run("wal", "push", "pg_wal/notes.txt", cwd=cluster.data, code=range(1, 126))
    assert "notes.txt" in outcome.err


def test_history_backup_and_partial_files_are_stored_under_their_names(make, pair):
    cluster, tool = pair
    tool.backup()
    label = next(p for p in (cluster.data / "pg_wal").iterdir() if p.name.endswith(".backup"))
    wait_until(lambda: label.name in stored(tool), "the .backup file is archived")
    standby_side = make.folder("promoted") / "data"
    tool.restore(standby_side, "--immediate", "--action", "promote", "--keep-archiving")
    promoted = make.opened(standby_side).start().wait_promoted()
    wait_until(lambda: "00000002.history" in stored(tool), f"the history file is archived {promoted.log_text()[-1500:]}")
    wait_until(lambda: any(n.endswith(".partial") for n in stored(tool)) or promoted.archive_now(), "the last piece of timeline 1 is archived")
    copy = promoted.home / "history"
    tool.run("wal", "get", "00000002.history", copy)
    assert copy.read_bytes() == (promoted.data / "pg_wal/00000002.history").read_bytes()
    status = tool.run("wal", "status", "--json").json["clusters"][0]
    assert "00000002.history" in status["history"]


@pytest.mark.quick
def test_get_of_an_absent_segment_exits_1_and_writes_nothing(manual):
    cluster, tool = manual
    name = cluster.switch_wal()
    tool.push(cluster.data / "pg_wal" / name)
    destination = cluster.home / "copy"
    tool.run("wal", "get", successor(name), destination, code=1)
    tool.run("wal", "get", "00000002.history", destination, code=1)
    assert not destination.exists()


@pytest.mark.quick
def test_get_of_a_segment_in_a_hole_exits_above_125(manual):
    cluster, tool = manual
    names = []
    for _ in range(3):
        cluster.add_rows("t", 10)
        names.append(cluster.switch_wal())
    for name in (names[0], names[2]):
        tool.run("wal", "push", f"pg_wal/{name}", cwd=cluster.data)
    (tool_hole,) = [p for p in tool.objects_of("wal") if p.name == names[1]] or [None]
    if tool_hole:  # batch-ahead stored it as well
        tool_hole.unlink()
    destination = cluster.home / "copy"
    outcome = tool.run("wal", "get", names[1], destination, code=range(126, 256))
    assert names[1] in outcome.err and not destination.exists()


@pytest.mark.parametrize("trouble", ["no repository", "no key", "bad configuration", "damaged object", "unreadable repository", "usage"])
def test_get_that_fails_for_any_other_reason_exits_above_125(manual, trouble):
    cluster, tool = manual
    name = cluster.switch_wal()
    tool.push(cluster.data / "pg_wal" / name)
    destination = cluster.home / "copy"
    arguments = ["wal", "get", name, destination]
    if trouble == "no repository":
        tool.repository.rename(tool.home / "elsewhere")
    elif trouble == "no key":
        tool.key_file.unlink()
    elif trouble == "bad configuration":
        tool.write("this is [[ not toml")
    elif trouble == "damaged object":
        (path,) = [p for p in tool.objects_of("wal") if p.name == name]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)
    elif trouble == "unreadable repository":
        tool.repository.chmod(0)
    else:
        arguments += ["--no-such-flag"]
    outcome = tool.run(*arguments, code=range(126, 256))
    if tool.repository.exists():
        tool.repository.chmod(0o700)
    assert outcome.err.strip() and not destination.exists()


@pytest.mark.quick
def test_gap_is_named_by_verify_status_doctor_list_and_wal_status(manual):
    cluster, tool = manual
    names = []
    for _ in range(5):
        cluster.add_rows("t", 10)
        names.append(cluster.switch_wal())
        tool.push(cluster.data / "pg_wal" / names[-1])
    for path in tool.objects_of("wal"):
        if path.name in names[2:4]:
            path.unlink()
    gap = {"timeline": 1, "from": names[2], "to": names[3], "count": 2}
    assert tool.list()["wal"]["gaps"] == [gap]
    assert tool.run("wal", "status", "--json").json["clusters"][0]["timelines"][0]["gaps"] == [gap]
    assert names[2] in tool.run("wal", "status").text and names[2] in tool.run("list").text
    verified = tool.run("verify", "--json", code=8).json
    assert any(f["kind"] == "wal-gap" and names[2] in f["message"] + f["object"] for f in verified["findings"])
    status = tool.run("status", "--json", code=10).json
    assert any(p["code"] == "wal-gap" and names[2] in p["message"] for p in status["clusters"][0]["problems"])
    examined = tool.run("doctor", "--json", code=range(1, 126)).json
    assert any(c["state"] == "failed" and names[2] in c["detail"] for c in examined["checks"])


def test_wal_status_tells_the_range(manual):
    cluster, tool = manual
    names = []
    for _ in range(3):
        cluster.add_rows("t", 10)
        names.append(cluster.switch_wal())
        tool.push(cluster.data / "pg_wal" / names[-1])
    one = tool.run("wal", "status", "--json").json["clusters"][0]
    assert one["name"] == "main" and one["system_identifier"] == cluster.system_identifier
    (line,) = one["timelines"]
    assert (line["timeline"], line["min"], line["max"], line["segments"], line["gaps"]) == (1, names[0], names[-1], 3, [])


@pytest.mark.quick
def test_hole_in_the_wal_never_ends_a_recovery_early(make):
    """POSTGRES.md 19: with exit 1 for the missing segment, recovery would promote with rows missing."""
    cluster, tool = make.pair(rows=100)
    tool.backup()
    names = []
    for _ in range(4):
        cluster.add_rows("t", 50)
        names.append(cluster.archive_now())
    target = make.folder("target") / "data"
    tool.restore(target, "--latest", "--action", "promote")  # while all is there; the hole comes afterwards
    (hole,) = [p for p in tool.objects_of("wal") if p.name == names[1]]
    hole.unlink()
    server = make.opened(target).start(expect_success=False)
    wait_until(lambda: not server.pid(), f"the server gives up: {server.log_text()[-1500:]}", timeout=60)
    assert "archive recovery complete" not in server.log_text()
    assert names[1] in server.log_text()
    assert server.control()["Database cluster state"] != "in production"


@pytest.mark.quick
def test_batch_ahead_stores_ready_segments_and_the_archiver_still_gets_its_answer(manual):
    cluster, tool = manual
    names = []
    for _ in range(12):
        cluster.sql("select pg_logical_emit_message(false, 'test', 'x')")
        names.append(cluster.switch_wal())
    tool.push(cluster.data / "pg_wal" / names[0])
    ready = sorted(p.name for p in (cluster.data / "pg_wal/archive_status").glob("*.ready"))
    assert {n + ".ready" for n in names} <= set(ready)  # never touched: they are the archiver's
    for name in names[1:]:
        tool.push(cluster.data / "pg_wal" / name)
    assert set(names) <= stored(tool)
    for name in names:
        copy = cluster.home / name
        tool.run("wal", "get", name, copy)
        assert copy.read_bytes() == (cluster.data / "pg_wal" / name).read_bytes()


@pytest.mark.parametrize("noted", [False, True])
def test_batch_ahead_is_not_believed_when_the_repository_lost_the_segment(manual, noted):
    cluster, tool = manual
    names = []
    for _ in range(6):
        cluster.sql("select pg_logical_emit_message(false, 'test', 'x')")
        names.append(cluster.switch_wal())
    if noted:
        time.sleep(2.2)  # until their ctime is old enough for notes
    tool.push(cluster.data / "pg_wal" / names[0])
    for path in tool.objects_of("wal"):
        if path.name == names[3]:
            path.unlink()
    for name in names[1:]:
        tool.push(cluster.data / "pg_wal" / name)
    assert set(names) <= stored(tool)


def test_what_was_read_ahead_is_read_again_unless_it_is_unchanged(manual):
    """Real stamps of a real file system: a note saves the reading, and any change to the file voids it."""
    cluster, tool = manual
    names = []
    for _ in range(6):
        cluster.sql("select pg_logical_emit_message(false, 'test', 'x')")
        names.append(cluster.switch_wal())
    time.sleep(2.2)
    tool.push(cluster.data / "pg_wal" / names[0])

    def all_are_ahead():  # a push takes along what it has time for
        return set(names) <= stored(tool) or tool.push(cluster.data / "pg_wal" / cluster.switch_wal())
    wait_until(lambda: all_are_ahead() is True, "all are stored ahead of their turn")
    own_run = lambda name, code=0: tool.run("wal", "push", cluster.data / "pg_wal" / name, "--json", code=code)
    trusted = run("stat", "-f", "-c", "%T", cluster.data / "pg_wal").stdout.strip() in ("ext2/ext3", "xfs", "btrfs")
    first = own_run(names[1]).json
    assert first["outcome"] == "duplicate" and first["recalled"] is trusted
    assert own_run(names[1]).json["recalled"] is False  # the note has served

    renamed = cluster.data / "pg_wal" / names[2]
    renamed.rename(renamed.with_suffix(".away"))
    renamed.with_suffix(".away").rename(renamed)
    assert own_run(names[2]).json["recalled"] is False

    touched = cluster.data / "pg_wal" / names[3]
    before = touched.stat()
    with open(touched, "r+b") as file:
        file.seek(before.st_size // 2)
        file.write(b"something else")
    os.utime(touched, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert touched.stat().st_mtime_ns == before.st_mtime_ns and touched.stat().st_size == before.st_size
    assert names[3] in own_run(names[3], code=8).err

    copied = cluster.data / "pg_wal" / names[4]
    run("cp", "-p", copied, copied.with_suffix(".copy"))
    copied.with_suffix(".copy").rename(copied)
    again = own_run(names[4]).json
    assert again["outcome"] == "duplicate" and again["recalled"] is False

    assert own_run(names[5]).json["recalled"] is trusted


def test_concurrent_pushes_of_one_segment_all_succeed(manual):
    cluster, tool = manual
    name = cluster.switch_wal()
    processes = [tool.start("wal", "push", cluster.data / "pg_wal" / name) for _ in range(4)]
    results = [(p.wait(timeout=60), p.communicate()[1]) for p in processes]
    assert [code for code, _ in results] == [0] * 4, results
    assert sum(p.name == name for p in tool.objects_of("wal")) == 1


def test_archiver_catches_up_after_the_repository_was_away(pair):
    cluster, tool = pair
    tool.repository.rename(tool.home / "away")
    cluster.add_rows("t", 100)
    names = [cluster.switch_wal() for _ in range(3)]
    wait_until(lambda: "archive command failed" in cluster.log_text() or "exit code" in cluster.log_text(), "the archiver fails")
    assert not any(cluster.archived(n) for n in names)
    (tool.home / "away").rename(tool.repository)
    wait_until(lambda: all(cluster.archived(n) for n in names), "the archiver has caught up", timeout=75)
    assert tool.list()["wal"]["gaps"] == []


def test_push_message_names_what_failed_and_what_next(manual):
    cluster, tool = manual
    name = cluster.switch_wal()
    tool.repository.rename(tool.home / "away")
    outcome = tool.push(cluster.data / "pg_wal" / name, code=range(1, 126))
    assert outcome.code == 6
    assert name in outcome.err and str(tool.repository) in outcome.err and "hint:" in outcome.err


def test_reinitialised_cluster_needs_adopt_and_then_lives_beside_the_old(make, pair):
    cluster, tool = pair
    tool.backup()
    old_identifier = cluster.system_identifier
    cluster.add_rows("t", 11)
    old_rows = cluster.digest()
    cluster.archive_now()
    cluster.stop()
    cluster.data.rename(cluster.home / "old")
    cluster.initdb(fresh=True)
    cluster.archive_with(tool).start()
    assert cluster.system_identifier != old_identifier
    cluster.make_table("fresh_table", 40)
    name = cluster.switch_wal()
    outcome = tool.push(cluster.data / "pg_wal" / name, code=4)
    assert "cluster adopt" in outcome.err
    tool.refuses("backup", "--type", "full", code=4, naming="cluster adopt")
    tool.run("cluster", "adopt", "main", "--yes")
    made = tool.backup()
    cluster.add_rows("fresh_table", 5)
    new_rows = cluster.digest()
    cluster.archive_now()
    assert len(tool.names()) == 2
    target = make.folder("new") / "data"
    tool.restore(target, "--backup", made["name"], "--latest", "--action", "promote")
    server = make.opened(target).start().wait_promoted()
    assert server.digest() == new_rows
    server.stop()
    target = make.folder("old") / "data"
    tool.restore(target, "--backup", tool.names()[0], "--latest", "--action", "promote")
    assert make.opened(target).start().wait_promoted().digest() == old_rows


def test_standby_follows_the_archive_alone(make, pair):
    """wal get as the restore_command of a standby: catches up segment by segment, never shuts down for want of the next."""
    cluster, tool = pair
    tool.backup()
    target = make.folder("standby") / "data"
    tool.restore(target, "--latest")
    standby = make.opened(target, name="standby")
    (target / "recovery.signal").unlink()
    give_to_owner_file(target / "standby.signal")
    standby.start(hot_standby="on")
    for _ in range(3):
        cluster.add_rows("t", 30)
        cluster.archive_now()
        rows = cluster.one("select count(*) from t")
        wait_until(lambda: standby.one("select count(*) from t") == rows, f"the standby has {rows} rows {standby.log_text()[-800:]}", timeout=30)
    assert standby.pid()


def give_to_owner_file(path):
    path.touch()
    give_to_owner(path)
