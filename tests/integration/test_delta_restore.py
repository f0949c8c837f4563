"""restore --delta: a data directory that is there already becomes what a plain restore would write, and only what differs is fetched."""
import os
import shutil
import signal
import subprocess

import pytest

from harness.pgmint import end, tree_snapshot, wait_for_phase
from harness.places import give_to_owner, owner_folder
from test_incremental import files_of


def delta(tool, to, *arguments, **keywords):
    return tool.restore(to, "--delta", *arguments, "--json", **keywords).json


def assert_same_files(make, tool, data, backup):
    """Before recovery touches it, the target is what a plain restore into an empty directory is."""
    home = make.folder("plain")
    tool.restore(home / "data", "--backup", backup, "--immediate")
    plain, found = files_of(home / "data"), {name: content for name, content in files_of(data).items() if not name.startswith("pg_wal.before-restore-")}
    assert plain.keys() == found.keys()
    assert not [name for name in plain if plain[name] != found[name]]
    for name in plain:
        if not name.startswith("pg_tblspc/"):
            assert (home / "data" / name).stat().st_mode == (data / name).stat().st_mode, name
    assert (data / "global/pg_control").read_bytes() == (home / "data/global/pg_control").read_bytes()
    shutil.rmtree(home)


def kept_wal(data):
    return sorted(path for path in data.iterdir() if path.name.startswith("pg_wal.before-restore-"))


@pytest.mark.versions
def test_a_cluster_that_went_on_is_brought_back(make, version):
    cluster, tool = make.pair(version, rows=60000)
    cluster.sql("vacuum freeze t")  # else reading sets hints on every page
    expected = cluster.digest()
    made = tool.backup()
    cluster.sql("update t set body = 'changed' where id < 50")
    cluster.sql("create table later as select i, md5(i::text) from generate_series(1, 5000) i")
    cluster.sql("vacuum t")
    unarchived = cluster.current_segment()
    cluster.stop()
    said = delta(tool, cluster.data, "--backup", made["name"], "--immediate")
    assert said["kept_bytes"] > said["size_bytes"] * 0.7, said
    assert said["read_bytes"] < made["stored_bytes"] * 0.5, said
    assert_same_files(make, tool, cluster.data, made["name"])
    assert [(path / unarchived).exists() for path in kept_wal(cluster.data)] == [True]
    assert any("pg_wal.before-restore-" in warning for warning in said["warnings"])
    assert not list(cluster.data.glob("pgmint.*restoring"))
    cluster.start().wait_promoted()
    assert cluster.digest() == expected
    cluster.amcheck()


def test_a_file_system_that_was_mounted_inside_is_not_emptied(make, pair):
    """Not in the backup, so it would go; what is on it is none of the cluster's."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    cluster, tool = pair
    tool.backup()
    cluster.archive_now()
    cluster.stop()
    place = owner_folder(owner_folder(cluster.data / "other") / "mounted")
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        (place / "kept").write_text("of somebody else")
        tool.refuses("restore", "--delta", "--to", cluster.data, "--latest", code=6, naming=["other", "another file system", "unmount it"])
        assert (place / "kept").read_text() == "of somebody else"
    finally:
        subprocess.run(["umount", place], check=True)
    tool.restore(cluster.data, "--delta", "--latest")
    assert not place.exists()


def test_differences_of_every_kind_are_made_good(make):
    cluster, tool = make.pair(rows=60000)
    made = tool.backup()
    cluster.stop()
    files = sorted((path for path in (cluster.data / "base").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    damaged, shorter, longer, missing, linked = files[-1], files[-2], files[-3], files[-4], files[-5]
    with open(damaged, "r+b") as file:  # its LSN stays right
        file.seek(8192 * 3 + 4000)
        was = file.read(1)
        file.seek(8192 * 3 + 4000)
        file.write(bytes([was[0] ^ 1]))
    os.truncate(shorter, shorter.stat().st_size - 8192)
    with open(longer, "ab") as file:
        file.write(b"x" * 8192)
    missing.unlink()
    outside = make.folder("outside")
    (outside / "precious").write_text("mine")
    os.link(linked, outside / "second-name")
    with open(linked, "r+b") as file:
        file.write(b"y" * 100)
    second_name = (outside / "second-name").read_bytes()
    (cluster.data / "base/too-many").write_text("x")
    give_to_owner(owner_folder(cluster.data / "folder-too-many"))
    (cluster.data / "folder-too-many/file").write_text("x")
    os.symlink(outside, cluster.data / "link-too-many")
    os.chmod(cluster.data / "PG_VERSION", 0o640)
    said = delta(tool, cluster.data, "--backup", made["name"], "--immediate")
    assert 0 < said["kept_bytes"] < said["size_bytes"]
    assert_same_files(make, tool, cluster.data, made["name"])
    assert (outside / "precious").read_text() == "mine" and (outside / "second-name").read_bytes() == second_name
    assert not os.path.lexists(cluster.data / "link-too-many") and not (cluster.data / "folder-too-many").exists()
    cluster.start().wait_promoted().amcheck()


def test_incremental_with_deltas(make):
    cluster, tool = make.pair(rows=60000)
    base = tool.backup()
    cluster.sql("update t set body = 'changed' where id in (7, 30000)")
    made = tool.run("backup", "--json").json
    assert made["type"] == "incremental"
    expected = cluster.digest()
    cluster.sql("update t set body = 'wrong' where id % 900 = 3")
    cluster.stop()
    # Extents that are equal to their base are not what the incremental holds.
    delta(tool, cluster.data, "--backup", base["name"], "--immediate")
    assert_same_files(make, tool, cluster.data, base["name"])
    said = delta(tool, cluster.data, "--backup", made["name"], "--immediate")
    assert said["kept_bytes"] > 0
    assert_same_files(make, tool, cluster.data, made["name"])
    cluster.start().wait_promoted()
    assert cluster.digest() == expected


def test_killed_in_the_middle_and_run_again(make):
    cluster, tool = make.pair(rows=60000)
    made = tool.backup()
    expected = cluster.digest()
    cluster.sql("update t set body = 'changed'")
    cluster.stop()
    running = tool.start("restore", "--delta", "--to", cluster.data, "--backup", made["name"], "--immediate", "--max-rate", "2MiB", "--progress", "json")
    wait_for_phase(running, "copy")
    code, _, _ = end(running, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (cluster.data / "global/pg_control").exists()
    cluster.start(expect_success=False)
    assert not cluster.running
    kept = [sorted(path.name for path in kept.iterdir()) for kept in kept_wal(cluster.data)]
    assert len(kept) == 1
    # Without --delta it would be emptied, the WAL included: refused.
    tool.refuses("restore", "--to", cluster.data, "--backup", made["name"], "--immediate", code=4, naming=["not empty", "--delta"])
    said = delta(tool, cluster.data, "--backup", made["name"], "--immediate")
    assert any("pg_wal.before-restore-" in warning for warning in said["warnings"])
    assert [sorted(path.name for path in kept.iterdir()) for kept in kept_wal(cluster.data)] == kept
    assert_same_files(make, tool, cluster.data, made["name"])
    cluster.start().wait_promoted()
    assert cluster.digest() == expected


def test_an_interrupted_plain_restore_is_gone_on_with(make):
    cluster, tool = make.pair(rows=60000)
    made = tool.backup()
    data = make.folder("target") / "data"
    running = tool.start("restore", "--to", data, "--backup", made["name"], "--immediate", "--max-rate", "4MiB", "--progress", "json")
    wait_for_phase(running, "copy")
    end(running, signal.SIGKILL)
    delta(tool, data, "--backup", made["name"], "--immediate")
    assert not kept_wal(data)
    assert_same_files(make, tool, data, made["name"])


def test_unarchived_segments_are_named_and_the_command_works(make):
    cluster, tool = make.pair(rows=1000)
    made = tool.backup()
    cluster.configure(archive_command="false")
    cluster.restart()
    cluster.add_rows("t", 100)
    segment = cluster.switch_wal()
    cluster.add_rows("t", 100)
    expected = cluster.digest()
    cluster.sql("checkpoint")
    cluster.switch_wal()
    cluster.stop()
    said = delta(tool, cluster.data, "--backup", made["name"], "--immediate")
    named = [warning for warning in said["warnings"] if "pgmint wal push" in warning]
    assert len(named) == 1 and segment in named[0], said["warnings"]
    for name in [word.strip(";") for word in named[0].split() if len(word.strip(";")) == 24 and word.strip(";").isalnum()]:
        tool.run("wal", "push", f"{kept_wal(cluster.data)[0].name}/{name}", cwd=cluster.data)
    delta(tool, cluster.data, "--backup", made["name"], "--latest")
    cluster.start().wait_promoted()
    assert cluster.digest() == expected


def test_tablespaces(make):
    cluster, tool = make.pair(rows=1000)
    place = cluster.tablespace("extra")
    cluster.make_table("in_space", 20000, tablespace="extra")
    made = tool.backup()
    expected = cluster.digest()
    cluster.sql("update in_space set body = 'changed' where id < 20")
    later = cluster.tablespace("later")
    cluster.make_table("in_later", 1000, tablespace="later")
    cluster.stop()
    inside = next(path for path in place.iterdir())
    (inside / "too-many").write_text("x")
    (place / "not-the-servers").write_text("x")
    said = delta(tool, cluster.data, "--backup", made["name"], "--immediate")
    assert said["kept_bytes"] > said["size_bytes"] / 2
    assert not (inside / "too-many").exists() and (place / "not-the-servers").exists() and not list(later.iterdir())
    assert [link.resolve() for link in (cluster.data / "pg_tblspc").iterdir()] == [place]
    assert not list(place.glob("pgmint*"))
    cluster.start().wait_promoted()
    assert cluster.digest() == expected
    # A copy's links lead to the origin's tablespace.
    copied = make.folder("copied") / "data"
    cluster.stop()
    shutil.copytree(cluster.data, copied, symlinks=True)
    for base, folders, files in os.walk(copied):
        for name in [base] + [os.path.join(base, one) for one in files]:
            if not os.path.islink(name):
                give_to_owner(name)
    refused(tool, copied, made, str(place), "--tablespace")


def refused(tool, target, backup, *naming):
    before = tree_snapshot(target)
    tool.refuses("restore", "--delta", "--to", target, "--backup", backup["name"], "--immediate", code=4, naming=list(naming))
    assert tree_snapshot(target) == before


def test_what_is_refused_is_left_alone(make):
    cluster, tool = make.pair(rows=100)
    made = tool.backup()
    tool.refuses("restore", "--delta", "--to", cluster.data, "--backup", made["name"], "--immediate", code=4, naming="running")
    assert cluster.one("select count(*) from t") == 100
    cluster.stop()
    other = make.cluster("other", start=False, fresh=True)
    refused(tool, other.data, made, "another cluster")
    stray = make.folder("stray")
    (stray / "notes.txt").write_text("mine")
    refused(tool, stray, made, "no data directory")
    control = cluster.data / "global/pg_control"
    content = control.read_bytes()
    control.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    refused(tool, cluster.data, made, "cannot be told")


def test_an_empty_target_is_an_ordinary_restore(make):
    _, tool = make.pair(rows=100)
    made = tool.backup()
    data = make.folder("target") / "data"
    said = delta(tool, data, "--backup", made["name"], "--immediate")
    assert "kept_bytes" not in said
    assert_same_files(make, tool, data, made["name"])
