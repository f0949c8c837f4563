"""Every way to name a moment, and what the server holds when it has come there."""
import re

import pytest

from harness.cluster import Background
from harness.places import wait_until


def restored(make, scene, *arguments, action="promote"):
    target = make.folder("target") / "data"
    scene.pgmint.restore(target, *arguments, "--action", action)
    return make.opened(target).start()


@pytest.mark.quick
def test_time_target_gives_the_rows_of_that_moment(make, scene):
    for label in "abc":
        mark = scene.marks[label]
        server = restored(make, scene, "--backup", scene.first, "--time", mark.time).wait_promoted()
        assert server.digest() == mark.digest
        server.stop("immediate")


@pytest.mark.parametrize("form", ["postgres", "rfc3339", "offset", "local"])
def test_time_is_understood_in_each_documented_form(make, scene, form):
    mark = scene.marks["a"]  # '2026-11-22 08:40:01.123456+00'
    base = mark.time[:-3]
    fraction = base if "." in base else base + ".0"
    text = {"postgres": mark.time, "rfc3339": fraction.replace(" ", "T") + "Z", "offset": fraction.replace(" ", "T") + "+00:00", "local": fraction}[form]
    assert restored(make, scene, "--backup", scene.first, "--time", text).wait_promoted().digest() == mark.digest


def test_time_with_another_zone_is_the_same_moment(make, scene):
    mark = scene.marks["b"]
    there = scene.cluster.one("set timezone = 'Asia/Tokyo'; select %s::timestamptz::text", mark.time)
    assert there.endswith("+09")
    assert restored(make, scene, "--backup", scene.first, "--time", there).wait_promoted().digest() == mark.digest


@pytest.mark.quick
def test_xid_target_includes_its_transaction(make, scene):
    mark = scene.marks["b"]
    assert restored(make, scene, "--backup", scene.first, "--xid", mark.xid).wait_promoted().digest() == mark.digest


def test_exclusive_xid_target_leaves_its_transaction_out(make, scene):
    mark = scene.marks["b"]
    server = restored(make, scene, "--backup", scene.first, "--xid", mark.xid, "--exclusive").wait_promoted()
    assert server.one("select count(*) from t") == mark.rows - 1
    assert server.one("select count(*) from t where id = -2") == 0


def test_lsn_target_stops_there(make, scene):
    mark = scene.marks["b"]
    assert restored(make, scene, "--backup", scene.first, "--lsn", mark.lsn).wait_promoted().digest() == mark.digest


def test_named_restore_point(make, scene):
    mark = scene.marks["c"]
    assert restored(make, scene, "--backup", scene.first, "--name", mark.name).wait_promoted().digest() == mark.digest


def test_immediate_stops_as_soon_as_the_backup_is_consistent(make, scene):
    server = restored(make, scene, "--backup", scene.first, "--immediate").wait_promoted()
    assert server.one("select count(*) from t") == 1000


@pytest.mark.quick
def test_latest_replays_all_archived_wal(make, scene):
    server = restored(make, scene).wait_promoted()
    assert server.digest() == scene.final


def test_the_newest_backup_before_the_target_is_chosen(make, scene):
    target = make.folder("target") / "data"
    early = scene.pgmint.restore(target, "--time", scene.marks["a"].time, "--json").json
    assert early["backup"] == scene.first and early["target"]["kind"] == "time" and early["target"]["inclusive"] is True
    late = scene.pgmint.restore(make.folder("target") / "data", "--latest", "--json").json
    assert late["backup"] == scene.second and late["target"]["kind"] == "latest"


def test_lsn_and_named_targets_choose_a_backup_that_lies_before_them(make, scene):
    for arguments in (["--lsn", scene.marks["b"].lsn], ["--name", scene.marks["b"].name], ["--xid", scene.marks["b"].xid]):
        server = restored(make, scene, *arguments).wait_promoted()
        assert server.one("select count(*) from t") == scene.marks["b"].rows
        server.stop("immediate")


def test_pause_waits_at_the_target_and_can_be_resumed(make, scene):
    server = restored(make, scene, "--backup", scene.first, "--time", scene.marks["b"].time, action="pause").wait_paused()
    assert server.digest() == scene.marks["b"].digest
    server.sql("select pg_wal_replay_resume()")
    server.wait_promoted()
    assert server.digest() == scene.marks["b"].digest


def test_shutdown_stops_at_the_target(make, scene):
    target = make.folder("target") / "data"
    scene.pgmint.restore(target, "--backup", scene.first, "--time", scene.marks["b"].time, "--action", "shutdown")
    server = make.opened(target).start(expect_success=False, wait=False)
    wait_until(lambda: "shutting down" in server.log_text() and not server.pid(), f"it shuts down: {server.log_text()[-1500:]}")
    assert "recovery stopping before" in server.log_text() or "recovery stopping after" in server.log_text()


def test_restore_leaves_one_target_and_the_recovery_signal(make, scene):
    target = make.folder("target") / "data"
    scene.pgmint.restore(target, "--backup", scene.first, "--time", scene.marks["b"].time, "--action", "pause")
    assert (target / "recovery.signal").exists() and not (target / "standby.signal").exists()
    settings = (target / "postgresql.auto.conf").read_text()
    assert len(re.findall(r"^recovery_target_time\s*=", settings, re.M)) == 1
    assert re.search(r"^recovery_target_action\s*=\s*'?pause", settings, re.M)
    assert re.search(r"^restore_command\s*=.*wal get", settings, re.M)


def test_restored_timeline_is_a_number_that_contains_the_backup(make, scene):
    target = make.folder("target") / "data"
    scene.pgmint.restore(target, "--backup", scene.first, "--time", scene.marks["b"].time)
    assert re.search(r"^recovery_target_timeline\s*=\s*'?1'?\s*$", (target / "postgresql.auto.conf").read_text(), re.M)


# ---- timelines


def test_restore_promote_write_and_restore_again_along_the_new_timeline(make):
    cluster, tool = make.pair(rows=300)
    first = tool.backup()["name"]
    cluster.add_rows("t", 50)
    moment = cluster.now()
    cluster.sql("create table later_dropped (x int)")  # a commit after the moment
    cluster.add_rows("t", 50)
    abandoned = cluster.digest()
    cluster.archive_now()
    cluster.stop()

    # The cluster itself comes back in its own place and goes on as timeline 2, archiving as before.
    cluster.data.rename(cluster.home / "old")
    tool.restore(cluster.data, "--backup", first, "--time", moment, "--action", "promote")
    cluster.start().wait_promoted()
    assert cluster.one("select count(*) from t") == 350
    assert cluster.control()["Latest checkpoint's TimeLineID"] in ("1", "2")
    cluster.add_rows("t", 7)
    wait_until(lambda: cluster.one("select timeline_id from pg_control_checkpoint()") == 2 or cluster.sql("checkpoint") is None, "timeline 2 has its checkpoint")
    on_two = cluster.digest()
    cluster.archive_now()
    listed = tool.list()
    assert listed["wal"]["gaps"] == []

    # Latest means the newest timeline, through its history, from a backup of the old one.
    target = make.folder("again") / "data"
    tool.restore(target, "--latest", "--action", "promote")
    again = make.opened(target).start().wait_promoted()
    assert again.digest() == on_two
    again.stop("immediate")

    # The old timeline is still there for whoever asks for it.
    target = make.folder("old-line") / "data"
    tool.restore(target, "--timeline", 1, "--latest", "--action", "promote")
    old = make.opened(target).start().wait_promoted()
    assert old.digest() == abandoned
    old.stop("immediate")

    # A backup of timeline 2 lists as such and restores.
    second = tool.backup()
    assert second["timeline"] == 2 and second["wal_start"].startswith("00000002")
    cluster.add_rows("t", 3)
    expected = cluster.digest()
    cluster.archive_now()
    target = make.folder("from-two") / "data"
    tool.restore(target, "--latest", "--action", "promote")
    assert make.opened(target).start().wait_promoted().digest() == expected


def test_a_timeline_whose_history_lacks_the_backup_is_refused(make, scene):
    scene.pgmint.refuses("restore", "--to", make.folder("t") / "data", "--timeline", 7, code=(1, 4), naming="7")


def test_restore_to_a_moment_before_a_drop_while_writes_go_on(make):
    """The story of the demo, at full speed and without pauses: no committed row before the moment is missing, none after is there."""
    cluster, tool = make.pair(rows=500)
    cluster.make_table("busy", 10)
    tool.backup()
    load = Background(cluster, "busy")
    wait_until(lambda: cluster.one("select count(*) from busy") > 60, "the load runs")
    cluster.add_rows("t", 100)
    moment = cluster.now()
    before = cluster.one("select count(*) from busy where pg_xact_commit_timestamp(xmin) <= %s::timestamptz", moment)
    wait_until(lambda: cluster.one("select count(*) from busy") > before + 20, "more rows come")
    cluster.sql("drop table t")
    load.stop()
    cluster.archive_now()
    target = make.folder("t") / "data"
    tool.restore(target, "--time", moment, "--action", "promote")
    server = make.opened(target).start().wait_promoted()
    assert server.one("select count(*) from t") == 600
    assert server.one("select count(*) from busy") >= before
    assert server.one("select count(*) from busy where pg_xact_commit_timestamp(xmin) > %s::timestamptz", moment) == 0
