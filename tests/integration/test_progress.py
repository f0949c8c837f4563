"""What a person, a log and a program see while it runs; and how it stops."""
import json
import os
import re
import signal
import time

import pytest

from harness.pgmint import end, traced, wait_for_phase
from harness.places import run, wait_until


@pytest.fixture(scope="module")
def sizeable(make_shared):
    """(cluster, pgmint) of about 40 MB: long enough to have progress."""
    cluster, tool = make_shared.pair(rows=200_000)
    tool.backup()
    cluster.archive_now()
    return cluster, tool


@pytest.mark.quick
def test_progress_in_a_log_is_plain_lines(sizeable):
    _, tool = sizeable
    outcome = tool.run("--progress", "plain", "backup", "--type", "full", "--max-rate", "30MiB")
    assert "\x1b" not in outcome.err and "\r" not in outcome.err
    assert re.search(r"\d+ ?%", outcome.err)


def test_not_a_terminal_means_plain_without_being_asked(sizeable):
    _, tool = sizeable
    outcome = tool.run("backup", "--type", "full")
    assert "\x1b" not in outcome.text and "\r" not in outcome.text


def test_progress_none_says_nothing_but_the_result(sizeable):
    _, tool = sizeable
    outcome = tool.run("--progress", "none", "backup", "--type", "full", "--json")
    assert "%" not in outcome.err and outcome.json["name"]


@pytest.mark.quick
def test_json_progress_is_one_event_a_line_and_never_runs_backwards(sizeable):
    _, tool = sizeable
    outcome = tool.run("--progress", "json", "backup", "--type", "full", "--max-rate", "20MiB", "--json")
    events = [json.loads(line) for line in outcome.err.splitlines() if line.startswith("{")]
    progress = [e for e in events if e["event"] == "progress"]
    assert len(progress) >= 2
    for event in progress:
        assert {"phase", "done_bytes", "total_bytes", "rate_bytes_s", "eta_s"} <= event.keys()
    by_phase = {}
    for event in progress:
        assert event["done_bytes"] >= by_phase.get(event["phase"], 0)
        by_phase[event["phase"]] = event["done_bytes"]
    assert outcome.json["type"] == "full"


def test_terminal_gets_a_bar_with_rate_and_time_left(sizeable):
    _, tool = sizeable
    done = run("script", "-qec", f"'{tool.binary}' --config '{tool.config}' backup --type full --max-rate 20MiB", "/dev/null", env={"TERM": "xterm", "COLUMNS": "100"})
    assert "\r" in done.stdout or "\x1b[" in done.stdout
    assert re.search(r"\d+ ?%", done.stdout) and re.search(r"MB/s|MiB/s", done.stdout)


@pytest.mark.quick
def test_max_rate_is_kept_by_backup_and_restore(make, sizeable):
    cluster, tool = sizeable
    size = tool.list()["backups"][0]["size_bytes"]
    rate = size // 3
    slow = tool.run("backup", "--type", "full", "--max-rate", str(rate))
    assert 2.0 < slow.seconds < 60
    slow = tool.restore(make.folder("t") / "data", "--max-rate", str(rate))
    assert 2.0 < slow.seconds < 60


def slowed_down(trace):
    """A prefix by which each open of a file takes its time, so that a command cannot be over before it is interrupted."""
    return ["strace", "-f", "-o", trace, "-e", "trace=openat", "-e", "inject=openat:delay_enter=100000"]


def opened_behind_the_signal(trace):
    lines = trace.read_text().splitlines()
    signal_at = next(at for at, line in enumerate(lines) if "--- SIGINT" in line)
    return [line for line in lines[signal_at:] if "openat(" in line]


@pytest.mark.quick
@pytest.mark.parametrize("verb", ["backup", "restore", "verify"])
def test_interrupt_stops_at_once_with_130_and_the_next_run_works(make, sizeable, verb):
    cluster, tool = sizeable
    before = tool.names()
    target = make.folder("t") / "data"
    arguments = {"backup": ["backup", "--type", "full", "--max-rate", "256KiB"], "restore": ["restore", "--to", target, "--max-rate", "256KiB"],
                 "verify": ["verify", "--read-data"]}[verb]
    trace = tool.home / "trace"
    process = tool.start("--progress", "json", *arguments, prefix=slowed_down(trace) if verb == "verify" else [])
    if verb == "backup":
        wait_for_phase(process, "copy")
    elif verb == "restore":
        wait_until(lambda: target.exists(), "it has begun")
    else:
        # Held up at each open of a file, so that it cannot be over; the signal goes to it alone, not to strace.
        os.kill(wait_until(lambda: traced(process.pid, tool.binary), "it runs"), signal.SIGINT)
    asked = time.monotonic()
    if verb == "verify":
        out, err = process.communicate(timeout=30)
        code = process.returncode
    else:
        code, out, err = end(process, signal.SIGINT)
    assert code == 130, f"{code}\n{err}"
    if verb == "verify":
        assert len(opened_behind_the_signal(trace)) < 30
    else:
        assert time.monotonic() - asked < 10, "at that rate it takes minutes by itself"
    assert tool.names() == before
    if verb == "restore":
        assert not (target / "global/pg_control").exists()
    wait_until(lambda: not cluster.backup_sessions(), "no session is left")
    tool.run(*["backup", "--type", "full"] if verb == "backup" else ["restore", "--to", make.folder("t") / "data"] if verb == "restore" else ["verify", "--read-data"])


@pytest.mark.parametrize("verb", ["list", "status", "wal status", "audit list", "audit verify"])
def test_interrupt_of_what_only_reads_answers_130_and_nothing_else(sizeable, verb):
    _, tool = sizeable
    undisturbed = tool.run(*verb.split(), "--json", code=(0, 10))
    trace = tool.home / "trace"
    process = tool.start(*verb.split(), "--json", prefix=slowed_down(trace))
    os.kill(wait_until(lambda: traced(process.pid, tool.binary), "it runs"), signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, f"{process.returncode}\n{err}"
    assert len(opened_behind_the_signal(trace)) < 30
    assert json.loads(out)["error"]["code"] == "cancelled" and undisturbed.json


def test_interrupt_while_waiting_for_wal_stops_at_once(make):
    cluster, tool = make.pair(rows=100)
    cluster.sql("alter system set archive_command = 'false'")
    cluster.sql("select pg_reload_conf()")
    process = tool.start("--progress", "json", "backup", "--type", "full", "--wal-timeout", "120")
    wait_for_phase(process, "wait-for-wal")
    asked = time.monotonic()
    code, _, err = end(process, signal.SIGINT)
    assert code == 130, err
    assert time.monotonic() - asked < 10
    assert tool.names() == []


def test_memory_does_not_follow_the_size_of_the_database(sizeable):
    _, tool = sizeable
    report = tool.home / "time"
    tool.run("backup", "--type", "full", prefix=["/usr/bin/time", "-o", report, "-f", "%M"])
    assert int(report.read_text().split()[-1]) < 400 * 1024
