"""What restore refuses: always before anything is written, with the reason and what would work."""
import datetime
import os

import pytest

from harness.faults import small_filesystem
from harness.pgmint import tree_snapshot
from harness.places import give_to_owner, owner_folder, run

pytestmark = pytest.mark.quick


def refused(tool, target, *arguments, code=4, naming=()):
    """The restore is refused and neither the target nor the folder around it changed."""
    parent = target.parent
    before = tree_snapshot(parent)
    outcome = tool.refuses("restore", "--to", target, *arguments, code=code, naming=naming)
    assert tree_snapshot(parent) == before, f"something was written\n{outcome}"
    return outcome


@pytest.fixture
def target(make):
    return make.folder("target") / "data"


def test_target_that_is_not_empty(scene, target):
    owner_folder(target)
    (target / "notes.txt").write_text("mine")
    refused(scene.pgmint, target, naming=["empty", str(target)])


def test_target_that_is_a_file(scene, target):
    target.write_text("mine")
    refused(scene.pgmint, target, naming=str(target))


def test_target_with_a_running_server(make, scene, target):
    scene.pgmint.restore(target, "--backup", scene.first, "--immediate", "--action", "promote")
    server = make.opened(target).start().wait_promoted()
    before = server.one("select count(*) from t")
    scene.pgmint.refuses("restore", "--to", target, code=4, naming="running")
    assert server.one("select count(*) from t") == before


def test_the_clusters_own_running_directory(scene):
    scene.pgmint.refuses("restore", "--to", scene.cluster.data, code=4, naming="running")
    assert scene.cluster.one("select 1") == 1


def test_missing_space(make, scene):
    with small_filesystem(make.folder("small"), 8) as place:
        outcome = refused(scene.pgmint, place / "data", naming="space")
        assert "needs" in outcome.err or "need" in outcome.err


def test_parent_folder_that_cannot_be_written(make, scene):
    parent = make.folder("closed")
    os.chmod(parent, 0o500)
    scene.pgmint.refuses("restore", "--to", parent / "data", code=(4, 7), naming=str(parent))


def test_target_time_before_the_backup_ended(scene, target):
    first = scene.pgmint.list()["backups"][0]
    at = datetime.datetime.fromisoformat(first["started"].replace("Z", "+00:00")) - datetime.timedelta(minutes=5)
    refused(scene.pgmint, target, "--time", at.isoformat(), naming="window")
    outcome = refused(scene.pgmint, target, "--backup", scene.second, "--time", scene.marks["a"].time, naming=scene.second)
    assert scene.first in outcome.err  # what would work


def test_target_time_after_the_last_commit_names_latest(scene, target):
    refused(scene.pgmint, target, "--time", "2099-01-01T00:00:00Z", naming="--latest")


def test_the_end_of_the_window_that_list_shows_is_refused_with_what_restores_it(scene, target):
    last = scene.pgmint.list()["recovery_window"]["to"]
    refused(scene.pgmint, target, "--time", last, naming=["the last archived commit itself", "--latest"])


def test_target_lsn_before_the_backup_ended(scene, target):
    refused(scene.pgmint, target, "--backup", scene.second, "--lsn", scene.marks["a"].lsn)


def test_target_lsn_beyond_the_archive(scene, target):
    refused(scene.pgmint, target, "--lsn", "FF/0", naming="FF/0")


def test_unknown_restore_point(scene, target):
    refused(scene.pgmint, target, "--name", "no-such-point", code=(1, 4), naming="no-such-point")


def test_unknown_xid(scene, target):
    refused(scene.pgmint, target, "--xid", "400000000", code=(1, 4), naming="400000000")


def test_unknown_backup(scene, target):
    refused(scene.pgmint, target, "--backup", "20200101T000000Z-full", code=1, naming="20200101T000000Z-full")


def test_no_backup_at_all(make, target):
    tool = make.pgmint(make.cluster(start=False)).init()
    refused(tool, target, code=(1, 4), naming="backup")


def test_missing_wal_between_backup_and_target(make, scene, target):
    tool = scene.pgmint.copy()
    segments = [p for p in tool.objects_of("wal") if len(p.name) == 24]
    first = tool.list()["backups"][0]
    needed = next(p for p in segments if p.name == first["wal_stop"])
    needed.unlink()
    refused(tool, target, "--backup", scene.first, "--immediate", code=(4, 8), naming=first["wal_stop"])


def test_hole_in_the_wal_between_backup_and_target(make, target):
    cluster, tool = make.pair(rows=200)
    tool.backup()
    names = []
    for _ in range(4):
        cluster.add_rows("t", 20)
        names.append(cluster.archive_now())
    moment = cluster.now()
    cluster.add_rows("t", 20)
    cluster.archive_now()
    hole = next(p for p in tool.objects_of("wal") if p.name == names[1])
    hole.unlink()
    refused(tool, target, "--time", moment, naming=names[1])
    refused(tool, target, "--latest", naming=names[1])
    # What would work: a moment before the hole.
    tool.restore(target, "--immediate", "--action", "promote")


@pytest.mark.parametrize("arguments", [
    ["--time", "2026-01-01T00:00:00Z", "--lsn", "0/1"], ["--latest", "--immediate"], ["--latest", "--xid", "5"],
    ["--exclusive"], ["--time", "yesterday-ish"], ["--time", "2026-13-45 00:00:00"], ["--lsn", "zzz"], ["--lsn", "0/1/2"], ["--xid", "-4"],
    ["--xid", "abc"], ["--action", "explode", "--latest"], ["--timeline", "zero"], ["--tablespace", "nonsense"], ["--time", ""]],
    ids=lambda a: " ".join(a).replace("/", "_"))
def test_contradicting_or_malformed_targets_are_usage_errors(scene, target, arguments):
    refused(scene.pgmint, target, *arguments, code=2)


def test_restore_needs_a_target_directory(scene):
    scene.pgmint.refuses("restore", "--latest", code=2, naming="--to")


def test_tablespace_location_that_is_not_empty(make, target):
    cluster, tool = make.pair(rows=10)
    place = cluster.tablespace("extra")
    cluster.make_table("in_space", 100, tablespace="extra")
    tool.backup()
    taken = make.folder("taken")
    (taken / "file").write_text("x")
    outcome = refused(tool, target, "--tablespace", f"{place}={taken}", naming=str(taken))
    assert "empty" in outcome.err
    # Without a mapping it would land in the running origin's own directory.
    refused(tool, target, naming=[str(place), "--tablespace"])
    refused(tool, target, "--tablespace", f"/no/such/space={target.parent}/x", naming="/no/such/space")


def test_empty_existing_directory_is_used(make, scene, target):
    owner_folder(target)
    run("chmod", "755", target)
    give_to_owner(target)
    scene.pgmint.restore(target, "--backup", scene.first, "--immediate")
    assert (target / "PG_VERSION").exists()
    assert oct(target.stat().st_mode & 0o777) in ("0o700", "0o750")
