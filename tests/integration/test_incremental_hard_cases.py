"""Incremental backups where PostgreSQL, an administrator or another host does what one would rather not think of."""
import random
import threading
from contextlib import contextmanager

import psycopg2
import pytest

from harness.pgmint import wait_for_phase
from harness.places import run, wait_until
from test_incremental import assert_recovers, assert_same_as_full, incremental

BY_WAL = "the blocks that the WAL from"
WHOLE = "all files read and compared"


def method(tool, made):
    return tool.run("show", made["name"]).out


def node_of(cluster, table):
    return cluster.one("select pg_relation_filenode(%s)", table)


# ---- files that are not what they were

@pytest.mark.versions
def test_a_file_number_that_comes_again_is_another_file(make, version):
    """VACUUM FULL leaves a file behind, and once OIDs have come round another table gets its number: same name, another content."""
    cluster, tool = make.pair(version=version)
    for n in range(12):
        cluster.sql(f"create table filler_{n} (i int)")
    cluster.sql("create table victim as select i, md5(i::text) as t from generate_series(1, 20000) i")
    cluster.sql("create table mover (i int, t varchar(40))")  # no TOAST: TRUNCATE takes one number
    first, number = node_of(cluster, "filler_0"), node_of(cluster, "victim")
    for n in range(12):
        cluster.sql(f"drop table filler_{n}")
    cluster.sql("checkpoint")
    cluster.stop()
    run(cluster.bin / "pg_resetwal", "-o", first, "-D", cluster.data)
    cluster.start()
    tool.backup()

    cluster.sql("vacuum full victim")
    cluster.sql("checkpoint")  # only now its old file goes
    assert node_of(cluster, "victim") < number
    wait_until(lambda: cluster.sql("truncate mover") or node_of(cluster, "mover") == number, "table mover has the number", every=0)
    cluster.sql("insert into mover select -i, md5((-i)::text) from generate_series(1, 20000) i")
    assert cluster.one("select pg_relation_size('mover')") > 1 << 20, "not so small that it is read whole anyway"
    made = incremental(tool)
    assert BY_WAL in method(tool, made)
    assert_same_as_full(make, tool, made)
    assert_recovers(make, tool, cluster, made)


def test_zero_pages_that_an_extension_leaves_behind_are_restored(make, pair):
    """A server that dies after it made a relation longer leaves zero pages, and no WAL about them."""
    cluster, tool = pair
    cluster.sql("create table wide as select i, md5(i::text) as t from generate_series(1, 20000) i")
    small, large = (cluster.data / cluster.one("select pg_relation_filepath(%s)", name) for name in ("t", "wide"))
    tool.backup()
    cluster.stop()
    for path in (small, large):
        with open(path, "ab") as file:
            file.write(bytes(8192 * 5))
    cluster.start()
    made = incremental(tool)
    assert BY_WAL in method(tool, made)
    assert_same_as_full(make, tool, made)
    cluster.sql("insert into wide select i, 'after' from generate_series(1, 3000) i")
    last = incremental(tool)
    assert_same_as_full(make, tool, last)
    assert_recovers(make, tool, cluster, last)


# ---- pages that change without WAL

@pytest.mark.versions
def test_visibility_maps_are_what_the_full_has_whatever_the_wal_says(make, version):
    """Clearing a bit neither names the map's page nor moves its LSN, on 13 to 16."""
    cluster, tool = make.pair(version=version)
    cluster.sql("create extension pg_visibility")
    cluster.sql("create table seen as select i, 0 as v from generate_series(1, 30000) i")
    cluster.sql("vacuum freeze seen")
    tool.backup()
    seen = "select count(*) from pg_visibility_map('seen') where all_visible"
    before = cluster.one(seen)
    cluster.sql("update seen set v = 1 where i % 4000 = 1")
    assert cluster.one(seen) < before
    made = incremental(tool)
    assert BY_WAL in method(tool, made)
    assert_same_as_full(make, tool, made)
    home = make.folder("recovered")
    tool.restore(home / "data", "--backup", made["name"], "--immediate")
    clone = make.opened(home / "data", version).start().wait_promoted()
    assert clone.sql("select * from pg_check_visible('seen')") == clone.sql("select * from pg_check_frozen('seen')") == []
    # Wrong bits give wrong answers here, and in no other check.
    clone.sql("create index on seen (i)")
    clone.sql("set enable_seqscan = off; set enable_bitmapscan = off")
    assert clone.one("select sum(v) from seen") == cluster.one("select sum(v) from seen") == 8


def test_hints_that_no_wal_tells_of_are_no_loss(make):
    """Without checksums and wal_log_hints whoever reads a row first marks it, and PostgreSQL writes the page and nothing else."""
    cluster, tool = make.pair(checksums=False, wal_log_hints="off")
    cluster.sql("create table hinted as select i, md5(i::text) as t from generate_series(1, 20000) i")
    cluster.sql("checkpoint")
    path = cluster.data / cluster.one("select pg_relation_filepath('hinted')")
    tool.backup()
    before = path.read_bytes()
    cluster.sql("select count(*) from hinted")
    cluster.sql("checkpoint")
    assert path.read_bytes() != before, "the hints are in the file"
    made = incremental(tool)
    assert BY_WAL in method(tool, made)
    assert made["damaged_pages_count"] == 0
    assert_recovers(make, tool, cluster, made)


def test_wal_that_was_reset_tells_nothing(make, pair):
    """After pg_resetwal there may be changes whose WAL is gone: the chain is broken, and so the summaries say nothing."""
    cluster, tool = pair
    first = tool.backup()
    cluster.sql("create table half as select i, md5(i::text) as t from generate_series(1, 9000) i")
    cluster.archive_now()
    cluster.sql("update half set t = 'only in WAL that goes' where i % 3 = 0")
    cluster.stop()
    run(cluster.bin / "pg_resetwal", "-D", cluster.data)
    cluster.start()
    cluster.sql("update half set t = 'after' where i % 50 = 0")
    made = tool.run("backup", "--json").json
    assert made["type"] == "full" or (WHOLE in method(tool, made) and made["parent"] == first["name"]), method(tool, made)
    assert_recovers(make, tool, cluster, made)


@pytest.mark.parametrize("behind_the_fork", [False, True], ids=["parent-before-the-fork", "parent-behind-the-fork"])
def test_a_primary_that_was_rewound(make, behind_the_fork):
    """pg_rewind writes another history's pages over a primary's own, and no WAL of its own tells of them. A backup from before the
    two parted is a parent all the same; one from behind it, which holds what is lost now, is none."""
    cluster, tool = make.pair(wal_keep_size="1GB")
    cluster.sql("create table wide as select i, md5(i::text) as t from generate_series(1, 20000) i")
    parent = tool.backup()
    cluster.archive_now()
    home = make.folder("promoted")
    tool.restore(home / "data", "--latest", "--keep-archiving")
    other = make.opened(home / "data", cluster.version, name="other").start().wait_promoted()
    cluster.sql("update wide set t = 'lost' where i % 11 = 0")
    if behind_the_fork:
        incremental(tool)
    cluster.stop()
    other.sql("update wide set t = 'kept' where i % 13 = 0")
    other.sql("checkpoint")
    run(cluster.bin / "pg_rewind", "-D", cluster.data, "-R", "--source-server", other.connection)
    other.sql("update wide set t = 'kept as well' where i % 17 = 0")
    reached = other.lsn()
    cluster.start(recovery_target_timeline="latest")  # its configuration is the other's now, which a restore wrote
    wait_until(lambda: cluster.one("select pg_last_wal_replay_lsn() >= %s::pg_lsn", reached), "the old primary has followed")
    other.stop()
    run(cluster.bin / "pg_ctl", "-D", cluster.data, "promote")
    cluster.wait_promoted()
    made = tool.run("backup", "--json").json
    shown = method(tool, made)
    if behind_the_fork:
        assert made["type"] == "full" and "which is no part of the history of timeline 3" in shown, shown
    else:
        assert made["parent"] == parent["name"] and made["timeline"] == 3 and BY_WAL in shown, shown
        assert_same_as_full(make, tool, made)
    assert_recovers(make, tool, cluster, made)


# ---- others who work at the same time

class Storm:
    """Sessions that make, cut, rewrite, move and drop relations until the end, each with a seed of its own. What one refuses
    another (a lock, a table that is gone) is part of it."""

    def __init__(self, cluster, seed, sessions=4):
        self.cluster, self.over, self.done, self.unexpected = cluster, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.work, args=(random.Random(seed + n), n)) for n in range(sessions)]

    def statements(self, chance, n, step):
        mine = f"storm_{n}_{chance.randrange(6)}"
        any_one = f"storm_{chance.randrange(4)}_{chance.randrange(6)}"
        return chance.choice([
            [f"create table if not exists {mine} (i int, t text)", f"create index on {mine} (t)"],
            [f"insert into {any_one} select i, md5(random()::text) from generate_series(1, {chance.randrange(3000)}) i"],
            [f"update {any_one} set t = t || 'x' where i % 3 = 0"], [f"delete from {any_one} where i % 2 = 0", f"vacuum {any_one}"],
            [f"truncate {any_one}"], [f"vacuum full {any_one}"], [f"drop table if exists {mine}"], [f"reindex table {any_one}"],
            [f"alter table {any_one} alter i type bigint"], [f"alter table {any_one} alter i type int"],
            [f"alter table {mine} set unlogged", f"alter table {mine} set logged"],
            [f"alter table {mine} set tablespace other", f"alter table {mine} set tablespace pg_default"],
            ["begin", f"create table passing_{n} as select i from generate_series(1, 2000) i", f"truncate {any_one}", "rollback"],
            ["begin", f"create table moved_{n}_{step} (i int, t text)", f"insert into moved_{n}_{step} select i, 'm' from generate_series(1, 500) i", "commit"],
            [f"create database storm_{n}"], [f"drop database if exists storm_{n}"], ["checkpoint"],
        ])

    def work(self, chance, n):
        step = 0
        while not self.over.is_set():
            step += 1
            link = None
            try:
                link = self.cluster.connect()
                with link.cursor() as cursor:
                    cursor.execute("set lock_timeout = '300ms'")
                    for statement in self.statements(chance, n, step):
                        cursor.execute(statement)
                        self.done += 1
            except (psycopg2.errors.UndefinedTable, psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected, psycopg2.errors.DuplicateDatabase,
                    psycopg2.errors.ObjectInUse, psycopg2.errors.UniqueViolation, psycopg2.errors.DuplicateTable, psycopg2.errors.InternalError,
                    psycopg2.errors.FeatureNotSupported, psycopg2.errors.NumericValueOutOfRange):
                pass
            except Exception as error:  # told by the test
                self.unexpected.append(error)
                return
            finally:
                if link is not None:
                    link.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *ignored):
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.versions
def test_heavy_ddl_while_incrementals_run_is_all_there_after_recovery(make, version, seed):
    cluster, tool = make.pair(version=version)
    place = cluster.tablespace("other")
    with Storm(cluster, seed) as storm:
        wait_until(lambda: storm.done > 60 or storm.unexpected, "the storm has begun")
        tool.backup()
        made = []
        for _ in range(4):
            at = storm.done
            wait_until(lambda: storm.done > at + 65 or storm.unexpected, "something has happened")
            made.append(incremental(tool))
    assert not storm.unexpected and storm.done > 300, (storm.done, storm.unexpected)
    assert all(BY_WAL in method(tool, one) for one in made)
    for one in made:
        assert_recovers(make, tool, cluster, one, [place])
    assert_same_as_full(make, tool, incremental(tool), [place])
    tool.run("verify", "--decompress")


@contextmanager
def other_host(tool):
    """The same cluster and repository, seen by somebody with a state directory of their own."""
    twin = tool.copy(repository_too=False)
    twin.repository = tool.repository
    yield twin.write()


def outcome_of(process):
    out, err = process.communicate(timeout=90)
    assert process.returncode in (0, 5), f"exit {process.returncode}\n{out}\n{err}"
    return process.returncode


def test_two_hosts_at_once_lose_nothing(make, pair):
    cluster, tool = pair
    cluster.sql("create table wide as select i, md5(i::text) as t from generate_series(1, 60000) i")
    tool.backup()
    with other_host(tool) as twin:
        for round in range(3):
            cluster.sql("update wide set t = md5(%s || i::text) where i %% 3 = %s", str(round), round)
            one = tool.start("backup", "--progress", "json", "--max-rate", "2MiB")
            wait_for_phase(one, "copy")
            other = twin.start("backup")
            assert 0 in {outcome_of(other), outcome_of(one)}
    names = tool.names()
    assert names == twin.names() and len(names) >= 4
    tool.run("verify", "--decompress")
    for name in names:
        assert_recovers(make, tool, cluster, {"name": name})


def test_two_hosts_that_begin_at_once_make_one_cluster(make):
    cluster, tool = make.pair(rows=500, init=False)
    tool.init()
    with other_host(tool) as twin:
        both = [tool.start("backup"), twin.start("backup")]
        assert 0 in [outcome_of(process) for process in both]
        listed = twin.run("list", "--json").json["clusters"]
    assert [one["name"] for one in listed] == ["main"]
    for backup in listed[0]["backups"]:
        assert_recovers(make, tool, cluster, backup)


# ---- clocks

def test_a_clock_that_jumps_costs_neither_a_backup_nor_the_way_back(make, pair):
    """2099, 1970 and now again, on the backup's host alone: what is built on what follows from the WAL."""
    cluster, tool = pair

    def at(when, *arguments, **keywords):
        return tool.run(*arguments, prefix=("faketime", when) if when else (), **keywords)
    made = [tool.backup()]
    for round, when in enumerate(("2099-01-01 00:00:00", None, "1970-06-01 00:00:00", None)):
        cluster.sql("update t set body = 'round ' || %s where id %% 7 = %s", round, round)
        one = at(when, "backup", "--json").json
        assert one["type"] == "incremental" and one["parent"] == made[-1]["name"] and BY_WAL in method(tool, one), one
        made.append(one)
    assert sorted(tool.names()) == sorted(one["name"] for one in made)
    # A clock that is ahead lets nothing go that would not go today.
    assert at("2099-06-01 00:00:00", "expire", "--dry-run", "--json").json["forget"] == at(None, "expire", "--dry-run", "--json").json["forget"]
    for one in made:
        assert_recovers(make, tool, cluster, one)
    assert_same_as_full(make, tool, incremental(tool))
