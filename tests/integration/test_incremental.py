"""Incremental backups: they cost what changed, and restore to what a full of the same moment restores to, byte for byte."""
import random
import shutil
import signal
from pathlib import Path

import pytest

from harness.cluster import Background
from harness.pgmint import end, wait_for_phase
from harness.places import run
from test_page_codec import make_variety

# What a restore writes itself, what says when a backup was taken, and what PostgreSQL makes anew at each start.
OWN = {"backup_label", "tablespace_map", "postgresql.auto.conf", "recovery.signal", "postgresql.conf", "global/pg_control"}


def incremental(tool, *arguments, **keywords):
    made = tool.run("backup", *arguments, "--json", **keywords).json
    assert made["type"] == "incremental" and made["name"].endswith("-incr"), made
    return made


def files_of(data):
    """{path: bytes} of what a restore wrote, tablespaces by their links; pg_wal apart."""
    found = {}
    roots = [(data, "")] + [(link.resolve(), f"pg_tblspc/{link.name}/") for link in (data / "pg_tblspc").iterdir()]
    for root, prefix in roots:
        for path in root.rglob("*"):
            name = prefix + str(path.relative_to(root))
            if path.is_file() and not path.is_symlink() and not name.startswith("pg_wal/") and name not in OWN:
                found[name] = path.read_bytes()
    return found


def restored_files(make, tool, backup, spaces=()):
    """What a backup restores to, before recovery touches it."""
    home = make.folder("restored")
    maps = [option for place in spaces for option in ("--tablespace", f"{place}={home / Path(place).name}")]
    tool.restore(home / "data", "--backup", backup["name"], "--immediate", *maps)
    found = files_of(home / "data")
    shutil.rmtree(home)
    return found


def assert_same_as_full(make, tool, backup, spaces=()):
    """Nothing is written between the two backups, so what they restore to must be equal."""
    full = tool.backup()
    one, other = restored_files(make, tool, backup, spaces), restored_files(make, tool, full, spaces)
    assert one.keys() == other.keys()
    differing = [name for name in one if one[name] != other[name]]
    for name in differing:
        blocks = [at // 8192 for at in range(0, len(one[name]), 8192) if one[name][at:at + 8192] != other[name][at:at + 8192]]
        print(name, len(one[name]), len(other[name]), blocks[:20])
    assert not differing
    return full


def assert_recovers(make, tool, cluster, backup, spaces=()):
    expected = cluster.digest()
    cluster.archive_now()
    home = make.folder("recovered")
    maps = [option for place in spaces for option in ("--tablespace", f"{place}={home / Path(place).name}")]
    tool.restore(home / "data", "--backup", backup["name"], "--latest", *maps)
    clone = make.opened(home / "data", cluster.version).start().wait_promoted()
    assert clone.digest() == expected
    clone.amcheck()
    clone.stop()


def test_the_second_backup_is_incremental_and_names_what_it_stands_on(make, pair):
    cluster, tool = pair
    first = tool.run("backup", "--json").json
    assert first["type"] == "full" and "there is no backup of this cluster yet" in tool.run("show", first["name"]).out
    cluster.sql("update t set body = 'changed' where id = 77")
    said = tool.run("backup")
    assert f"built on {first['name']}" in said.out and "the blocks that the WAL from" in said.out
    names = tool.names()
    second = tool.run("show", names[-1], "--json").json
    assert second["type"] == "incremental" and second["parent"] == first["name"] and names[-1].endswith("-incr")
    assert "the blocks that the WAL from" in tool.run("show", names[-1]).out
    assert second["stored_bytes"] < first["stored_bytes"] / 4
    tool.run("verify", "--read-data")
    tool.run("verify", "--decompress")


def test_full_is_full_whatever_there_is(make, pair):
    cluster, tool = pair
    tool.backup()
    assert tool.run("backup", "--type", "full", "--json").json["type"] == "full"


def test_nothing_changed_stores_kilobytes(make, pair):
    cluster, tool = pair
    make_variety(cluster)
    tool.backup()
    made = incremental(tool)
    assert made["stored_bytes"] < 64 << 10, made
    assert_same_as_full(make, tool, made)


def change_everything(cluster, seed, spaces):
    """One round of what applications and administrators do."""
    chance = random.Random(seed)
    n = seed % 1000
    version = cluster.version
    file_copy = " strategy file_copy" if version >= 15 and chance.random() < 0.5 else ""
    statements = [
        f"update wide set note = note || 'z' where id % 37 = {n % 37}", f"delete from wide where id % 41 = {n % 41}", "vacuum wide",
        f"insert into wide (id, flag, note, hash, at) select {100000 * (n + 1)} + i, true, 'new', md5(random()::text), now() from generate_series(1, 400) i",
        "update toasted set main_text = main_text || repeat(md5(random()::text), 90) where id % 20 = 3",
        "update geometry set p = point(random() * 100, random() * 100) where id % 50 = 1",
        "truncate narrow", "insert into narrow select i, i from generate_series(1, 9000) i", "vacuum full churned", "reindex table geometry",
        "cluster wide using wide_hash_idx",
        f"create index concurrently made_{n} on wide (note, id)", f"drop index concurrently if exists made_{n - 1}",
        f"create table born_{n} as select i as id, md5(i::text) as t from generate_series(1, 5000) i", f"drop table if exists born_{n - 1}",
        f"select lo_from_bytea(0, decode(repeat(md5('{n}'), 4000), 'hex'))", "select nextval('counter') from generate_series(1, 40)",
        f"create unlogged table quick_{n} as select generate_series(1, 3000) as i", f"alter table quick_{n} set logged",
        "alter table parts detach partition parts_b", "update parts_b set id = id + 1 where id % 9 = 2",
        "alter table parts attach partition parts_b for values from ('2026-06-01') to ('2027-01-01')", "refresh materialized view summary",
        "delete from parts where id > 5000", "vacuum parts_a", "vacuum freeze wide",
        f"begin; create table copied_{n} (i int, t text); copy copied_{n} from program 'seq -f ''%g,row'' 1 4000' with (format csv, freeze); commit",
        f"create database db_{n}{file_copy}", f"drop database if exists db_{n - 1}", f"drop database if exists same; create database same oid {20000000 if version >= 15 else 0}" if version >= 15 else "select 1",
        f"alter table frozen set tablespace {spaces[0] if n % 2 else 'pg_default'}",
        f"begin; insert into narrow select i from generate_series(1, 500) i; prepare transaction 'p{n}'",
    ]
    if cluster.one("select count(*) from pg_prepared_xacts"):
        statements.insert(chance.randrange(6), f"commit prepared 'p{n - 1}'")
    for statement in statements:
        parts = [part.strip() for part in statement.split(";")]
        link = cluster.connect()
        try:
            with link.cursor() as cursor:
                for part in parts:
                    cursor.execute(part)
        finally:
            link.close()


@pytest.mark.parametrize("sums", [True, False], ids=["checksums", "plain"])
def test_whatever_happens_in_between_restores_as_a_full_does(make, version, sums, seed):
    """Every kind of change, over several rounds on one chain. With checksums hints are in the WAL, so that bytes must be equal."""
    cluster, tool = make.pair(version=version, checksums=sums, wal_log_hints="on", max_prepared_transactions="20")
    make_variety(cluster)
    cluster.sql("drop table aborted")
    place = cluster.tablespace("other")
    tool.backup()
    first = seed % 900 + 1
    for round in range(3):
        change_everything(cluster, first + round, ["other"])
        made = incremental(tool)
        assert "the blocks that the WAL from" in tool.run("show", made["name"]).out
        if round == 1:
            # On top of this very backup the next one is built, not on the full that it is compared with.
            assert_recovers(make, tool, cluster, made, [place])
    assert_same_as_full(make, tool, made, [place])
    change_everything(cluster, first + 3, ["other"])
    last = incremental(tool)
    assert_recovers(make, tool, cluster, last, [place])
    tool.run("verify", "--decompress")


def test_under_load_every_backup_of_a_chain_recovers(make, pair, seed):
    cluster, tool = pair
    cluster.make_table("load", 5000)
    load = Background(cluster, "load")
    try:
        backups = [tool.backup()]
        for _ in range(4):
            cluster.sql("update t set body = md5(random()::text) where id %% 13 = %s", random.Random(seed).randrange(13))
            backups.append(incremental(tool))
    finally:
        load.stop()
    for backup in backups[1:]:
        assert_recovers(make, tool, cluster, backup)


def test_a_chain_outlives_its_beginning(make, pair):
    """Each restores alone: what older ones become does not matter."""
    cluster, tool = pair
    first = tool.backup()
    cluster.sql("update t set body = 'x' where id < 500")
    incremental(tool)
    cluster.add_rows("t", 3000)
    last = incremental(tool)
    tool.run("repair", "--rebuild-log")
    assert_recovers(make, tool, cluster, last)
    assert tool.names()[0] == first["name"]


def wal_objects(tool):
    return sorted(path for path in tool.objects_of("wal") if len(path.name) == 24)


@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped"])
def test_a_summary_that_cannot_be_read_makes_it_read_everything(make, pair, harm):
    cluster, tool = pair
    tool.backup()
    cluster.sql("update t set body = 'x' where id % 100 = 1")
    name = cluster.archive_now()
    cluster.archive_now()
    cluster.sql("checkpoint")
    (victim,) = [path for path in wal_objects(tool) if path.name == name]
    data = bytearray(victim.read_bytes())
    if harm == "missing":
        victim.unlink()
    else:
        data[200] ^= 1
        victim.write_bytes(data[:300] if harm == "truncated" else data)
    # The server's own copy would do as well; it is gone.
    own = cluster.data / "pg_wal" / name
    if own.exists():
        own.unlink()
    # What is damaged is told by the exit code as well: older backups will not get past it.
    outcome = tool.run("backup", "--json", code=0 if harm == "missing" else 8)
    made = outcome.json
    assert harm == "missing" or name in outcome.err
    assert made["type"] == "incremental"
    assert "all files read and compared" in tool.run("show", made["name"]).out
    assert name in tool.run("show", made["name"]).out
    one, other = restored_files(make, tool, made), restored_files(make, tool, tool.backup())
    assert one == other


def test_wal_that_is_not_archived_yet_is_read_where_it_is(make, pair):
    """The summaries of what the archiver has not come to are made from the server's own files."""
    cluster, tool = pair
    tool.backup()
    cluster.sql("update t set body = 'x' where id % 100 = 1")
    made = incremental(tool)
    assert "the blocks that the WAL from" in tool.run("show", made["name"]).out
    assert_same_as_full(make, tool, made)


def test_checksums_that_were_switched_on_make_it_a_full(make):
    cluster, tool = make.pair(checksums=False)
    tool.backup()
    cluster.stop()
    run(cluster.bin / "pg_checksums", "-e", "-D", cluster.data)
    cluster.start()
    made = tool.run("backup", "--json").json
    assert made["type"] == "full" and "page checksums were off then" in tool.run("show", made["name"]).out


def test_wal_level_minimal_in_between_makes_it_read_everything(make, pair):
    cluster, tool = pair
    tool.backup()
    cluster.stop()
    cluster.configure(wal_level="minimal", archive_mode="off", max_wal_senders="0")
    cluster.start()
    cluster.sql("begin; create table unlogged_change as select i from generate_series(1, 50000) i; commit")
    cluster.stop()
    cluster.configure(wal_level="replica", max_wal_senders="6")
    cluster.archive_with(tool)
    cluster.start()
    made = tool.run("backup", "--json").json
    assert "all files read and compared" in tool.run("show", made["name"]).out or made["type"] == "full"
    assert_recovers(make, tool, cluster, made)


def test_a_standby_promoted_in_between_goes_on_from_the_primarys_backup(make, pair):
    cluster, tool = pair
    first = tool.backup()
    cluster.sql("update t set body = 'before' where id % 50 = 1")
    cluster.archive_now()
    home = make.folder("promoted")
    tool.restore(home / "data", "--latest", "--keep-archiving")
    cluster.stop()
    clone = make.opened(home / "data", cluster.version, name="main").start().wait_promoted()
    clone.sql("update t set body = 'after' where id % 50 = 2")
    tool.clusters.clear()
    tool.add(clone).write()
    made = incremental(tool)
    shown = tool.run("show", made["name"]).out
    assert "the blocks that the WAL from" in shown and made["timeline"] == 2 and made["parent"] == first["name"], shown
    assert_same_as_full(make, tool, made)


def test_a_parent_that_lost_a_pack_gives_way_to_a_full_and_exits_eight(make, pair):
    cluster, tool = pair
    first = tool.backup()
    cluster.sql("update t set body = 'x' where id % 100 = 1")
    for pack in tool.objects_of("p"):
        pack.unlink()
    outcome = tool.run("backup", "--json", code=8)
    made = outcome.json
    assert made["type"] == "full" and made["name"] != first["name"], outcome
    assert_recovers(make, tool, cluster, made)


def test_an_incremental_that_is_cut_off_leaves_the_next_one_its_parent(make, pair):
    cluster, tool = pair
    first = tool.backup()
    cluster.sql("update t set body = 'x' where id % 100 = 1")
    process = tool.start("backup", "--progress", "json", "--max-rate", "64k")
    wait_for_phase(process, "copy")
    end(process)
    assert process.returncode == -signal.SIGKILL and tool.names() == [first["name"]]
    made = incremental(tool)
    assert made["parent"] == first["name"]
    assert_same_as_full(make, tool, made)


def test_two_at_once_both_build_on_what_was_there(make, pair):
    cluster, tool = pair
    first = tool.backup()
    cluster.sql("update t set body = 'x' where id % 100 = 1")
    other = tool.start("backup", "--json")
    one = tool.run("backup", "--json").json
    out, err = other.communicate(timeout=90)
    assert other.returncode == 0, err
    assert one["parent"] == first["name"] or one["parent"].endswith("-incr")
    assert len(tool.names()) == 3
    for name in tool.names()[1:]:
        assert_recovers(make, tool, cluster, {"name": name})


def packs_of(tool):
    return {path.name for path in tool.objects_of("p")}


def test_a_long_chain_keeps_only_what_is_alive(make, pair):
    """Full backups of the first day go; what the last ones need has moved out of their packs, and the rest can be collected."""
    cluster, tool = pair
    cluster.sql("create table body (id int primary key, t text) with (fillfactor = 60)")
    cluster.sql("insert into body select i, md5(i::text) || md5((i * 7)::text) from generate_series(1, 60000) i")
    first = tool.backup()
    founders = packs_of(tool)
    # Nearly everything is written anew, bit by bit.
    for part in range(6):
        cluster.sql(f"update body set t = md5(random()::text) || md5(random()::text) where id / 64 % 6 = {part}")
        cluster.sql("vacuum body")
        last = incremental(tool)
        tool.run("verify", "--read-data")
    shown = tool.run("show", last["name"], "--json").json
    assert shown["parent"] != first["name"]
    one = restored_files(make, tool, last)
    # As expire would, which does not come with this: the chain's beginning goes with its packs.
    assert one == restored_files(make, tool, tool.backup())
    tool.run("verify", "--decompress")
    assert founders <= packs_of(tool), "nothing goes while its backup is listed"
