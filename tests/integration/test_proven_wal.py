"""verify remembers which WAL it read: --older-than and --sample read the rest of it, of the objects that were read and no others."""
import os
import re
import shutil
import signal
import time
from types import SimpleNamespace

import pytest

from harness.places import flip, run, wait_until
from harness.schedules import zone_where_it_is


def verify(tool, *arguments, code=0):
    return tool.run("verify", *arguments, "--json", code=code).json


def segments_of(tool):
    """Objects of whole and partial segments; backup labels and timeline histories are read by every run and never remembered."""
    return [path for path in tool.objects_of("wal") if re.fullmatch(r"[0-9A-F]{24}(\.partial)?", path.name)]


def said(tool):
    """What the log says of WAL, one text an entry."""
    return [entry["detail"] for entry in tool.run("audit", "list", "--json").json["entries"] if "WAL verified" in entry["detail"]]


def write_again(path, keep_times=False):
    """As who loses an object and puts it back: another file of the same name and content."""
    aside = path.with_name("." + path.name)
    shutil.copy2(path, aside) if keep_times else shutil.copy(path, aside)
    owner = path.stat()
    os.chown(aside, owner.st_uid, owner.st_gid)
    path.unlink()
    aside.rename(path)


@pytest.fixture(scope="module")
def archive(make_shared):
    """Segments of 1 MiB: two dozen of them, one partial; a backup in between, so that there is a backup label file too."""
    cluster, tool = make_shared.pair(rows=200, wal_segsize=1)
    tool.backup()
    for i in range(20):
        cluster.sql(f"select pg_logical_emit_message(false, 'test', string_agg(md5(i::text), '')) from generate_series({i}, {i + 20000 + 4000 * (i % 3)}) i")
        last = cluster.archive_now()
    partial = cluster.data / "pg_wal" / f"{last}.partial"  # as a promotion would leave it
    run("cp", cluster.data / "pg_wal" / last, partial)
    tool.push(partial)
    partial.unlink()
    return SimpleNamespace(cluster=cluster, tool=tool, last=last)


@pytest.fixture
def tool(archive):
    """A private copy; nothing in it has been read yet."""
    return archive.tool.copy()


@pytest.mark.quick
def test_what_was_read_is_not_read_again_and_the_report_says_so(tool):
    segments = len(segments_of(tool))
    everything = verify(tool, "--read-data", "--older-than", "30d")
    files = everything["wal_segments_checked"]
    always = files - segments
    assert segments > 20 and always >= 1
    assert everything["wal_read"] == files and everything["wal_skipped_as_proven"] == 0 and everything["wal_unproven"] == 0
    rest = verify(tool, "--read-data", "--older-than", "30d")
    assert rest["wal_read"] == always and rest["wal_skipped_as_proven"] == segments and rest["wal_unproven"] == 0
    assert rest["wal_bytes_skipped_as_proven"] == sum(path.stat().st_size for path in segments_of(tool))
    assert rest["wal_segments_checked"] == files and rest["proven"] == "opened" and rest["oldest_proof"]
    line = tool.run("verify", "--read-data", "--older-than", "30d").out.strip().splitlines()[-1]
    assert f"and of {always} WAL file" in line and f"{segments} WAL files" in line and line.endswith("ago")
    assert verify(tool, "--decompress", "--older-than", "30d")["wal_read"] == files, "to decompress shows more than to open"
    line = tool.run("verify", "--read-data").out.strip().splitlines()[-1]
    assert "not read now" not in line, "whoever asks for everything gets it"
    notes = said(tool)
    assert len(notes) == 3 and f"opened: {segments} WAL segments sound" in notes[0] and f"decompressed: {segments} WAL segments sound" in notes[1]
    assert tool.run("audit", "verify", "--json").json["ok"] is True
    status = tool.run("status", "--json", code=(0, 10)).json["clusters"][0]["wal_verified"]
    assert status["segments"] == segments and status["unproven_segments"] == 0 and status["damaged_segments"] == 0 and status["oldest"] <= status["newest"]
    assert "WAL read and found sound: all of it" in tool.run("status", code=(0, 10)).out
    metrics = tool.run("metrics").out
    assert re.search(r'pgmint_wal_unverified_bytes\{cluster="main"\} 0\n', metrics) and 'pgmint_wal_verified_oldest_timestamp_seconds{cluster="main"}' in metrics


def test_shares_add_up_to_everything_and_read_each_segment_once(tool):
    segments = len(segments_of(tool))
    always = verify(tool)["wal_segments_checked"] - segments
    shares = [verify(tool, "--read-data", "--sample", "20%") for _ in range(5)]
    read = [share["wal_read"] - always for share in shares]
    assert all(1 <= count < segments / 2 for count in read), read
    assert shares[0]["wal_unproven"] == segments - read[0] and shares[0]["proven"] == "present"
    assert shares[-1]["wal_unproven"] == 0 and shares[-1]["proven"] == "opened"
    named = [int(count) for note in said(tool) for count in re.findall(r"opened: (\d+) WAL segments sound", note)]
    assert named == read
    # What the last run had to spare of its share it spends on what was read first.
    assert segments <= sum(read) <= segments + read[-1]
    assert sum(read[:-1]) <= segments
    line = tool.run("verify", "--decompress", "--sample", "1%").out.strip().splitlines()[-1]
    assert re.search(r"without a proof of this depth: \d+ packs? and \d+ WAL files", line) and "all WAL" not in line


@pytest.mark.quick
def test_damage_is_found_by_the_share_that_comes_to_it_and_told_until_it_is_mended(tool):
    victim = segments_of(tool)[-2]
    mend = flip(victim)
    outcomes = []
    for _ in range(5):
        outcome = tool.run("verify", "--read-data", "--sample", "20%", "--json", code=(0, 8))
        outcomes.append([finding["object"] for finding in outcome.json["findings"]])
    found = [victim.name in " ".join(objects) for objects in outcomes]
    assert found.index(True) > 0, "its turn is not the first"
    assert found == sorted(found) and found[-1], "and from then on each run looks at it"
    assert any("opened: 1 WAL segments damaged" in note for note in said(tool))
    for again in (["--older-than", "30d"], ["--sample", "0.01%"]):
        assert victim.name in str(verify(tool, "--read-data", *again, code=8)["findings"]), again
    status = tool.run("status", "--json", code=(0, 10)).json["clusters"][0]
    assert status["wal_verified"]["damaged_segments"] == 1
    assert [problem["message"] for problem in status["problems"] if problem["code"] == "damage-found"] == ["verify found 1 WAL segment damaged"]
    assert any(victim.name in warning for warning in verify(tool)["warnings"]), "without reading nobody can say that it is sound"
    mend()
    assert victim.name not in str(verify(tool, "--read-data", "--older-than", "30d"))
    last = verify(tool, "--read-data", "--older-than", "30d")
    assert last["wal_unproven"] == 0 and not last["warnings"] and last["proven"] == "opened"
    assert tool.run("status", "--json", code=(0, 10)).json["clusters"][0]["wal_verified"]["damaged_segments"] == 0


def test_damage_that_shows_without_reading_is_found_by_any_run_and_remembered(tool):
    verify(tool, "--read-data")
    victim = segments_of(tool)[3]
    content = victim.read_bytes()
    victim.chmod(0o600)
    victim.write_bytes(content[:-1])
    assert victim.name in str(verify(tool, "--read-data", "--older-than", "30d", code=8)["findings"])
    assert victim.name in str(verify(tool, code=8)["findings"])
    assert sum("1 WAL segments damaged" in note for note in said(tool)) == 1, "what is known is not written again"
    victim.write_bytes(content)
    plain = verify(tool)
    assert any(victim.name in warning for warning in plain["warnings"]), "its records are still to be read"
    always = plain["wal_segments_checked"] - len(segments_of(tool))
    assert verify(tool, "--read-data", "--older-than", "30d")["wal_read"] == always + 1
    assert not verify(tool)["warnings"]


@pytest.mark.parametrize("keep_times", [False, True], ids=["new times", "old times kept"])
def test_an_object_that_was_written_again_is_read_again(tool, keep_times):
    everything = verify(tool, "--read-data")
    always = everything["wal_segments_checked"] - len(segments_of(tool))
    victim = segments_of(tool)[4]
    write_again(victim, keep_times)
    status = tool.run("status", "--json", code=(0, 10)).json["clusters"][0]["wal_verified"]
    assert status["unproven_segments"] == 1 and status["unproven_bytes"] == victim.stat().st_size
    assert verify(tool, "--read-data", "--older-than", "30d")["wal_read"] == always + 1
    assert verify(tool, "--read-data", "--older-than", "30d")["wal_read"] == always


def test_what_was_lost_and_pushed_again_is_read_again(tool, archive):
    everything = verify(tool, "--read-data")
    always = everything["wal_segments_checked"] - len(segments_of(tool))
    victim = next(path for path in segments_of(tool) if path.name == archive.last)
    victim.unlink()
    tool.push(archive.cluster.data / "pg_wal" / archive.last)
    assert victim.exists()
    assert tool.run("status", "--json", code=(0, 10)).json["clusters"][0]["wal_verified"]["unproven_segments"] == 1
    assert verify(tool, "--read-data", "--sample", "0.01%")["wal_read"] == always + 1
    again = verify(tool, "--read-data", "--older-than", "30d")
    assert again["wal_read"] == always and again["wal_unproven"] == 0, "the share took what has no proof first"


def test_new_wal_is_read_and_what_collect_took_is_not_counted(make):
    cluster, tool = make.pair(rows=50, wal_segsize=1)
    tool.clusters["main"]["retention.timezone"] = zone_where_it_is(14)  # both backups are of one day
    tool.write().backup()
    for _ in range(4):
        cluster.archive_now()
    before = verify(tool, "--read-data")["wal_segments_checked"]
    first = segments_of(tool)[0].name
    cluster.archive_now()
    added = verify(tool, "--read-data", "--older-than", "30d")
    assert 0 < added["wal_segments_checked"] - before <= added["wal_read"] < before
    tool.backup()
    tool.run("expire")
    tool.run("collect")
    left = [path.name for path in segments_of(tool)]
    assert first not in left, "expire lets it go"
    rest = verify(tool, "--read-data", "--older-than", "30d")
    assert rest["wal_skipped_as_proven"] < len(left) and rest["wal_unproven"] == 0
    status = tool.run("status", "--json", code=(0, 10)).json["clusters"][0]["wal_verified"]
    assert status["segments"] == len(left) and status["unproven_segments"] == 0


def test_identities_and_timelines_have_memories_of_their_own(make, pair):
    cluster, tool = pair
    tool.backup()
    cluster.archive_now()
    first = len(segments_of(tool))
    verify(tool, "--read-data")
    # A new timeline, which archives into the same repository: its first segment has the number of one of the old.
    target = make.folder("promoted") / "data"
    tool.restore(target, "--latest", "--action", "promote", "--keep-archiving")
    cluster.stop()
    promoted = make.opened(target)
    promoted.start().wait_promoted()
    promoted.archive_now()
    promoted.stop()
    names = [path.name for path in segments_of(tool)]
    assert any(name.startswith("00000002") for name in names)
    second = verify(tool, "--read-data", "--older-than", "30d")
    assert second["wal_skipped_as_proven"] == first and second["wal_unproven"] == 0 and second["wal_read"] >= len(names) - first
    # And a cluster that was made anew, whose segments have the names of those before.
    cluster.data.rename(cluster.home / "old")
    cluster.initdb(fresh=True)
    cluster.archive_with(tool).start()
    cluster.make_table("fresh", 10)
    tool.run("cluster", "adopt", "main", "--yes")
    tool.backup()
    cluster.archive_now()
    everything = [path.name for path in segments_of(tool)]
    assert len(set(everything)) < len(everything), "two of one name"
    third = verify(tool, "--read-data", "--older-than", "30d")
    assert third["wal_skipped_as_proven"] == len(names) and third["wal_unproven"] == 0 and third["wal_read"] >= len(everything) - len(names)
    assert verify(tool, "--read-data", "--older-than", "30d")["wal_skipped_as_proven"] == len(everything)
    status = tool.run("status", "--json", code=(0, 10)).json["clusters"][0]["wal_verified"]
    assert status["segments"] == len(everything), "of all that the cluster has been"


def test_a_repository_that_cannot_be_written_is_verified_with_a_warning(tool):
    outcome = tool.run("verify", "--read-data", prefix=["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=renameat2,linkat,link",
                                                        "-e", "inject=renameat2,linkat,link:error=EROFS"])
    assert "which WAL is sound and which is damaged cannot be remembered" in outcome.err
    assert verify(tool, "--read-data", "--older-than", "30d")["wal_skipped_as_proven"] == 0


def test_an_interrupted_run_keeps_what_it_proved(tool):
    # Packs were read before; each read of the store is held up, so that some WAL is read and some not when the signal comes.
    slow = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=pread64", "-e", "inject=pread64:delay_enter=100000"]
    process = tool.start("--progress", "json", "verify", "--read-data", "--jobs", "1", prefix=slow)
    for line in process.stderr:
        text = line.replace(" ", "")
        if '"phase":"wal"' in text and '"done_bytes":0' not in text:
            break
    children = wait_until(lambda: [int(p) for p in os.popen(f"pgrep -P {process.pid}").read().split()], "the traced process")
    os.kill(children[0], signal.SIGINT)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, f"{process.returncode}\n{err}"
    assert time.monotonic() - asked < 20
    rest = verify(tool, "--read-data", "--older-than", "30d")
    assert 0 < rest["wal_skipped_as_proven"] < len(segments_of(tool)), rest
