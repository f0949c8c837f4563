"""What plan says a restore would take, held against what the restore takes."""
import os
import re

import pytest

from harness.faults import small_filesystem, strace

pytestmark = pytest.mark.quick


def plan(tool, *arguments, **keywords):
    return tool.run("plan", *arguments, "--json", **keywords).json


def targets(scene):
    """Every way to name a moment, with and without a backup."""
    marks = scene.marks.values()
    yield from ([], ["--latest"], ["--immediate"])
    for mark in marks:
        yield from (["--time", mark.time], ["--time", mark.time, "--exclusive"], ["--lsn", mark.lsn], ["--xid", str(mark.xid)], ["--name", mark.name])


REFUSED = [["--time", "2099-01-01T00:00:00Z"], ["--time", "2001-01-01T00:00:00Z"], ["--lsn", "FF/0"], ["--lsn", "0/1"], ["--name", "no-such-point"], ["--xid", "400000000"],
           ["--backup", "20200101T000000Z-full"], ["--timeline", "7"]]


def test_plan_chooses_as_restore_does_and_changes_nothing(make, scene):
    before = scene.pgmint.snapshot()
    folder = make.folder("targets")
    chosen = set()
    for number, target in enumerate(targets(scene)):
        to = folder / str(number)
        said = plan(scene.pgmint, *target, "--to", to)
        assert not to.exists()
        assert plan(scene.pgmint, *target)["backup"]["name"] == said["backup"]["name"]
        assert scene.pgmint.snapshot() == before
        done = scene.pgmint.restore(to, *target, "--json").json
        before = scene.pgmint.snapshot()  # a restore leaves its word in the log
        assert [said["backup"]["name"], said["target"], said["timeline"], said["files"], said["size_bytes"]] \
            == [done["backup"], done["target"], done["timeline"], done["files"], done["size_bytes"]], target
        # What is read beside the data: nodes and maps.
        assert done["read_bytes"] <= said["read_bytes"] <= done["read_bytes"] * 1.2 + (1 << 20), target
        chosen.add(said["backup"]["name"])
    assert chosen == {scene.first, scene.second}


def test_the_windows_that_are_told_can_be_typed(scene):
    told = re.findall(r"recovery window: from (\S+ \S+) to (\S+ \S+)$", scene.pgmint.run("list").out + scene.pgmint.run("status").out, re.M)
    assert len(told) >= 2
    for first, last in told:
        assert plan(scene.pgmint, "--time", first)["target"]
        assert plan(scene.pgmint, "--time", last)["target"]


def test_plan_refuses_what_restore_refuses_in_the_same_words(make, scene):
    folder = make.folder("targets")
    (folder / "taken").mkdir()
    (folder / "taken" / "file").write_text("mine")
    places = [(target, folder / "free") for target in REFUSED] + [([], folder / "taken"), ([], scene.cluster.data)]
    for target, to in places:
        planned = scene.pgmint.run("plan", *target, "--to", to, code=None)
        restored = scene.pgmint.run("restore", *target, "--to", to, code=None)
        assert planned.code == restored.code != 0
        assert planned.err.splitlines()[0] == restored.err.splitlines()[0]


@pytest.mark.parametrize("how", ["time", "lsn", "name", "immediate", "latest"])
def test_the_wal_that_plan_names_is_the_wal_that_recovery_fetches(make, scene, how):
    mark = scene.marks["b"]
    target = {"time": ["--time", mark.time], "lsn": ["--lsn", mark.lsn], "name": ["--name", mark.name]}.get(how, [f"--{how}"])
    arguments = ["--backup", scene.first, *target]
    said = plan(scene.pgmint, *arguments)["wal"]
    to = make.folder("target") / "data"
    scene.pgmint.restore(to, *arguments, "--action", "promote")
    # PostgreSQL 15 and later read ahead of what they replay, unless told not to.
    server = make.opened(to).start(**({"recovery_prefetch": "off"} if scene.cluster.version >= 15 else {})).wait_promoted()
    fetched = sorted(set(re.findall(r'restored log file "([0-9A-F]{24})"', server.log_text())))
    assert said["from"] == fetched[0]
    needed = [name for name in fetched if name <= said["to"]]
    assert needed[-1] == said["to"] and len(needed) == said["segments"], f"{said}\n{fetched}"
    assert len(fetched) - len(needed) <= 1, "PostgreSQL reads at most a segment ahead"
    assert 0 < said["replay_bytes"] <= said["segments"] * (16 << 20)
    stored = sum(p.stat().st_size for p in scene.pgmint.objects_of("wal") if p.name in needed)
    assert said["read_bytes"] == stored


def test_without_a_measured_restore_the_time_is_not_known(make, pair):
    cluster, tool = pair
    tool.backup()
    said = plan(tool)
    assert said["time"] == {"copy_s": None, "replay_s": None, "copy_bytes_s": None, "replay_bytes_s": None, "copies_measured": 0, "replays_measured": 0}
    assert "not known: no restore was measured" in tool.run("plan").out
    tool.restore(make.folder("target") / "data")
    known = plan(tool)["time"]
    assert known["copies_measured"] == 1 and 0 < known["copy_s"] < 60 and known["replay_s"] is None
    assert known["copy_bytes_s"] * known["copy_s"] == pytest.approx(plan(tool)["size_bytes"], rel=0.01) and known["replay_bytes_s"] is None
    text = tool.run("plan").out
    assert re.search(r"to write the files, at \d\S* \w+ a second, by 1 restore measured", text) and "replay" in text
    # What another host has measured is known here: it stands in the log.
    tool.run("plan", "--json", env={"XDG_STATE_HOME": "/nonexistent"})


def test_a_restore_that_was_held_back_is_no_measure(make, pair):
    _, tool = pair
    tool.backup()
    tool.restore(make.folder("target") / "data", "--max-rate", "200MiB")
    assert plan(tool)["time"]["copies_measured"] == 0


def test_space_is_looked_at_per_file_system(make, pair):
    cluster, tool = pair
    place = cluster.tablespace("extra")
    cluster.make_table("in_space", 60000, tablespace="extra")  # some 8 MB
    tool.backup()
    folder = make.folder("target")
    with small_filesystem(make.folder("small"), 4) as small:
        arguments = ["--to", folder / "data", "--tablespace", f"{place}={small / 'ts'}"]
        planned = tool.run("plan", *arguments, code=4)
        restored = tool.run("restore", *arguments, code=4)
        assert planned.err.splitlines()[0] == restored.err.splitlines()[0]
        assert str(small) in planned.err and "space" in planned.err
    with small_filesystem(make.folder("small"), 64) as small:
        said = plan(tool, "--to", folder / "data", "--tablespace", f"{place}={small / 'ts'}")
        assert len(said["file_systems"]) == 2
        by_place = {entry["path"]: entry for entry in said["file_systems"]}
        ours = by_place[str(small / "ts")]
        assert 4 << 20 < ours["write_bytes"] < ours["free_bytes"] <= 64 << 20
        # Two segments of WAL beside the data: what recovery needs at least.
        assert sum(entry["write_bytes"] for entry in said["file_systems"]) == said["size_bytes"] + (32 << 20)


def test_a_delta_restore_looks_for_space_too_and_counts_what_it_writes_over(make, pair):
    cluster, tool = pair
    small_backup = tool.backup()["name"]
    cluster.make_table("big", 120_000)  # some 20 MB
    tool.backup()
    with small_filesystem(make.folder("small"), 100) as small:
        tool.restore(small / "data", "--backup", small_backup, "--immediate")
        left = os.statvfs(small)
        (small / "ballast").write_bytes(bytes(left.f_bavail * left.f_frsize - (40 << 20)))  # enough for two segments of WAL, and 8 MB
        tool.run("plan", "--delta", "--to", small / "data", "--backup", small_backup, "--immediate")
        refused = tool.run("restore", "--delta", "--to", small / "data", code=4)
        assert "space" in refused.err
        assert (small / "data/global/pg_control").exists(), "nothing was changed"


def test_status_holds_the_time_of_a_restore_against_the_objective(make, pair):
    cluster, tool = pair
    tool.backup()
    status = tool.run("status", "--json", code=None).json["clusters"][0]
    assert status["rto"] == {"objective_s": 4 * 3600, "estimated_s": None, "at_least": False}
    assert not [p for p in status["problems"] if p["code"].startswith("rto")], "what is not known is no problem"
    # Slowed down so that it takes some seconds whatever the machine.
    tool.restore(make.folder("target") / "data", prefix=strace("fsync:delay_enter=4000"))
    status = tool.run("status", "--json", code=None).json["clusters"][0]
    assert status["rto"]["estimated_s"] > 1 and status["rto"]["at_least"] is True
    assert "rto-breached" not in [p["code"] for p in status["problems"]]
    assert "a restore would take: at least" in tool.run("status", code=None).out
    tool.add(cluster, rto="1s", rpo="2d").write()
    breached = tool.run("status", "--json", code=10).json["clusters"][0]
    assert breached["rto"]["objective_s"] == 1 and breached["rpo"]["objective_s"] == 2 * 86400
    assert "rto-breached" in [p["code"] for p in breached["problems"]]
