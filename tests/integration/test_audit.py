"""Who did what: every command in the hash-chained log, anchors of its end, and the log files of this host."""
import json
import os
import re
from datetime import datetime, timedelta, timezone

import pytest

from harness.places import RUNNING_AS_ROOT, give_to_owner


def entries(tool, *arguments):
    return tool.run("audit", "list", "--json", *arguments).json["entries"]


def runs(tool, operation):
    return [e for e in entries(tool, "--operation", operation) if e.get("event") == "command"]


@pytest.mark.quick
def test_each_command_is_in_the_log_with_who_from_where_and_how_it_ended(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    tool.run("show", name)
    tool.run("hold", name, "--reason", "audit")
    tool.run("release", name)
    tool.run("key", "list")
    tool.restore(tool.home / "restored")
    tool.refuses("restore", "--to", tool.home / "restored", code=4)
    tool.run("verify")
    by = {operation: runs(tool, operation) for operation in ("backup", "show", "hold", "release", "key list", "restore", "verify")}
    assert {operation: [e["exit_code"] for e in found] for operation, found in by.items()} == {
        "backup": [0], "show": [0], "hold": [0], "release": [0], "key list": [0], "restore": [0, 4], "verify": [0]}
    refused = by["restore"][1]
    assert "restored" in refused["command"] and "not empty" in refused["detail"] and "@" in refused["actor"] and refused["origin"]
    assert refused["began"] <= refused["time"]
    assert tool.run("audit", "verify", "--json").json["ok"] is True


def test_reads_are_noted_once_an_hour_for_the_same_user_and_failures_each_time(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    for _ in range(3):
        tool.run("list")
        tool.run("status")
        tool.run("wal", "status")
        tool.refuses("show", "20200101T000000Z-full", code=1)
    assert [e["exit_code"] for e in runs(tool, "list")] == [0]
    assert [e["exit_code"] for e in runs(tool, "show")] == [1, 1, 1]
    assert runs(tool, "status") == [] and runs(tool, "wal status") == []
    # From elsewhere it is another access.
    tool.run("list", env={"SSH_CONNECTION": "192.0.2.7 5000 192.0.2.1 22"})
    assert [("192.0.2.7" in e["origin"]) for e in runs(tool, "list")] == [False, True]
    # An hour later it is told again; a mark of the future counts for nothing.
    marks = list((tool.home / "state" / "accessed").iterdir())
    assert marks
    for mark in marks:
        os.utime(mark, (mark.stat().st_mtime - 3700,) * 2)
    tool.run("list")
    for mark in marks:
        os.utime(mark, (mark.stat().st_mtime + 90000,) * 2)
    tool.run("list")
    assert len(runs(tool, "list")) == 4


def test_a_repository_that_cannot_be_written_can_be_listed(make):
    if RUNNING_AS_ROOT and os.environ.get("PGMINT_TEST_USER") == "root":
        pytest.skip("root may write everywhere")
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    folders = [p for p in tool.repository.rglob("*") if p.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    try:
        outcome = tool.run("list")
    finally:
        for folder in folders:
            folder.chmod(0o750)
    assert name in outcome.out and "audit log" in outcome.err


def test_a_message_of_any_length_leaves_a_log_that_can_be_read(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    tool.refuses("restore", "--to", tool.home / "restored", "--backup", "x" * 9000, code=1)
    tool.refuses("show", "\u00fc" * 5000, code=1)
    tool.extra = "\n".join(f'[cluster.c{number}]\ndata_directory = "/nowhere/{number}"' for number in range(300)) + "\n"
    tool.write(f'repository = "{tool.repository}"\nstate_directory = "{tool.home / "state"}"\n[encryption]\nkey_file = "{tool.key_file}"\n'
               f'[cluster.main]\ndata_directory = "{cluster.data}"\nconnection = "{cluster.connection}"\n' + tool.extra)
    tool.run("list")  # hundreds of keys were added
    assert any(e.get("event") == "configuration changed" for e in entries(tool))
    assert tool.run("audit", "verify", "--json").json["void"] == []
    assert name in tool.run("list").out
    tool.run("collect")


def test_filters(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    tool.run("hold", name, "--reason", "audit")
    assert {e["operation"] for e in entries(tool, "--operation", "hold", "--operation", "backup")} == {"hold", "backup"}
    assert [e["kind"] for e in entries(tool, "--operation", "hold")] == ["hold", "audit"]
    tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat()
    assert entries(tool, "--since", tomorrow) == []
    assert len(entries(tool, "--since", "2020-01-01")) >= 4
    tool.refuses("audit", "list", "--operation", "bakcup", code=2, naming=["backup"])
    tool.refuses("audit", "list", "--since", "yesterday", code=2, naming=["yesterday"])


def test_a_changed_configuration_is_told_by_key_and_without_its_values(make):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    assert not [e for e in entries(tool) if e["detail"].startswith("configuration changed")]
    tool.extra = 'jobs = 2\n[wal]\nbatch = 7\n'
    tool.clusters["main"]["connection"] = cluster.connection + " password=sesame42"
    tool.write()
    tool.run("list")
    changes = [e["detail"] for e in entries(tool) if e["detail"].startswith("configuration changed")]
    assert len(changes) == 1
    for told in ("jobs added", "wal.batch added", "cluster.main.connection changed", str(tool.config)):
        assert told in changes[0]
    assert "sesame42" not in changes[0]
    tool.run("show", tool.names()[0])
    assert len([e for e in entries(tool) if e["detail"].startswith("configuration changed")]) == 1
    for path in (tool.home / "state").rglob("*"):
        assert path.is_dir() or b"sesame42" not in path.read_bytes()


def test_an_anchor_outside_notices_a_tail_that_was_cut_off(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    anchors = tool.home / "elsewhere"
    tool.run("audit", "anchor", "--append", anchors)
    tool.run("hold", name, "--reason", "audit")
    tool.run("audit", "anchor", "--append", anchors)
    assert len(anchors.read_text().splitlines()) == 2
    assert tool.run("audit", "verify", "--anchor", anchors, "--json").json["anchors"] == 2
    # A host that has seen nothing yet cannot tell by itself that the end is missing.
    seq = int(anchors.read_text().splitlines()[-1].split()[4])
    for path in sorted(tool.objects_of("log")):
        if int(path.name, 16 if not path.name.isdigit() else 10) >= seq:
            path.unlink()
    fresh = {"PGMINT_STATE_DIRECTORY": str(tool.home / "other-state")}
    assert tool.run("audit", "verify", "--json", env=fresh).json["ok"] is True
    told = tool.run("audit", "verify", "--anchor", anchors, "--json", env=fresh, code=8).json
    assert told["ok"] is False and told["anchors"] == 1 and [b["seq"] for b in told["broken"]] == [seq]
    # Another entry in its place is another one.
    (tool.home / "bad").write_text(re.sub(r"[0-9a-f]{64}", "00" * 32, anchors.read_text().splitlines()[0]) + "\n")
    told = tool.run("audit", "verify", "--anchor", tool.home / "bad", "--json", env=fresh, code=8).json
    assert "another one" in told["broken"][0]["reason"]
    (tool.home / "bad").write_text("no anchor\n")
    tool.refuses("audit", "verify", "--anchor", tool.home / "bad", code=2, naming=["bad:1"])


def with_logs(tool, **settings):
    folder = tool.home / "logs"
    lines = [f'directory = "{folder}"'] + [f'{key} = "{value}"' for key, value in settings.items()]
    tool.extra = "[logs]\n" + "\n".join(lines) + "\n"
    tool.write()
    return folder


def test_log_files_by_book_with_a_link_to_the_newest(make):
    cluster, tool = make.pair(rows=50)
    folder = with_logs(tool)
    name = tool.backup()["name"]
    tool.run("list")
    tool.run("hold", name, "--reason", "audit")
    tool.refuses("restore", "--to", tool.home / "restored", "--backup", "nothing", code=1)
    texts = {book: (folder / f"{book}.log").read_text() for book in ("backup", "restore", "access", "audit")}
    assert all((folder / f"{book}.log").is_symlink() for book in texts)
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO    \[\d+ backup\] began: pgmint ", texts["backup"], re.M)
    assert "ended: exit 0 after" in texts["backup"] and "list" in texts["access"]
    assert "nothing" in texts["restore"] and "ended: exit 1" in texts["restore"]
    assert "hold" in texts["audit"] and "restore" in texts["audit"] and "no such" not in texts["backup"]
    for file in folder.glob("*-*.log"):
        assert file.stat().st_mode & 0o777 == 0o640


def test_log_files_go_when_their_time_is_over(make):
    cluster, tool = make.pair(rows=50)
    folder = with_logs(tool, access="10d")
    folder.mkdir(mode=0o750)
    today = datetime.now().date()
    old = {book: {days: folder / f"{book}-{today - timedelta(days=days)}.log" for days in (5, 20, 100, 400, 3000)} for book in ("backup", "restore", "access", "audit")}
    others = [folder / "access-2001-01-01.txt", folder / "access-2001-13-01.log", folder / "access-old.log"]
    for file in others + [f for files in old.values() for f in files.values()]:
        file.write_text("x\n")
    give_to_owner(folder)
    for file in folder.iterdir():
        give_to_owner(file)
    name = tool.backup()["name"]
    tool.run("list")
    tool.run("hold", name, "--reason", "x")
    tool.refuses("restore", "--to", tool.home / "restored", "--backup", "nothing", code=1)
    left = {book: [days for days, file in files.items() if file.exists()] for book, files in old.items()}
    assert left == {"backup": [5, 20], "restore": [5, 20], "access": [5], "audit": [5, 20, 100, 400]}
    assert all(file.exists() for file in others)


def test_json_lines_and_the_journals_priorities(make):
    cluster, tool = make.pair(rows=50)
    folder = with_logs(tool, format="json")
    journal = tool.run("backup", "--progress", "none", "--log-format", "journal", "--log-level", "debug").err.splitlines()
    assert journal and all(re.match(r"<[3467]>\S", line) for line in journal), journal
    lines = tool.run("backup", "--progress", "none", "--log-format", "json", "--log-level", "debug").err.splitlines()
    told = [json.loads(line) for line in lines]
    assert told and all({"time", "level", "message"} <= set(line) for line in told)
    lines = tool.run("backup", "--type", "full", "--log-format", "json").err.splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines), "progress too"
    # What fails says so in the same form, and its hint with it: a program reads every line, and the journal knows an error from a remark.
    failed = tool.run("restore", "--backup", "nothing", "--to", tool.home / "x", "--log-format", "json", code=1).err.splitlines()
    told = [line for line in map(json.loads, failed) if "event" not in line]  # else it is progress
    assert told and {line["level"] for line in told} == {"error"} and "nothing" in told[0]["message"], failed
    failed = tool.run("restore", "--backup", "nothing", "--to", tool.home / "x", "--log-format", "journal", "--log-level", "error", code=1).err.splitlines()
    assert failed and all(line.startswith("<3>") for line in failed), failed
    for line in (folder / "backup.log").read_text().splitlines():
        assert {"time", "level", "pid", "command", "message"} <= set(json.loads(line))
    # Files that cannot be written keep nobody from a backup.
    (folder / "backup.log").unlink()
    tool.extra = '[logs]\ndirectory = "/proc/nowhere"\n'
    tool.write()
    outcome = tool.run("backup", "--progress", "none")
    assert "[logs]" in outcome.err
