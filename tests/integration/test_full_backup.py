"""A backup taken while the database changes underneath it."""
import threading

import pytest

from harness.cluster import Background
from harness.pgmint import wait_for_phase
from harness.places import run, wait_until
from test_clone_safety import clone_of, load_until_backed_up, make_standby


@pytest.mark.quick
def test_backup_under_load_holds_every_row_committed_before_it_ended(make, pair):
    cluster, tool = pair
    cluster.make_table("busy", 10)
    load = Background(cluster, "busy")
    wait_until(lambda: cluster.one("select count(*) from busy") > 20, "the load runs")
    tool.backup()
    load.stop()
    expected = cluster.digest()
    cluster.archive_now()
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected
    clone.amcheck()


def test_relations_dropped_truncated_extended_and_created_meanwhile(make):
    cluster, tool = make.pair(rows=100)
    for n in range(40):
        cluster.sql(f"create table churn{n} as select i, repeat(md5(i::text), 8) as x from generate_series(1, 400) i")
    stop, failures = threading.Event(), []

    def churn():
        n = 0
        link = cluster.connect()
        cursor = link.cursor()
        try:
            while not stop.is_set():
                k = n % 40
                cursor.execute(f"drop table if exists churn{k}")
                cursor.execute(f"create table churn{k} as select i, repeat(md5(i::text), 8) as x from generate_series(1, {200 + n % 900}) i")
                cursor.execute(f"truncate churn{(k + 7) % 40}")
                cursor.execute(f"insert into churn{(k + 7) % 40} select i, repeat('y', 200) from generate_series(1, 300) i")
                cursor.execute(f"vacuum churn{(k + 3) % 40}")
                n += 1
        except Exception as error:  # shown by the assertion below
            failures.append(error)
        link.close()
    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for _ in range(3):
            tool.backup()
    finally:
        stop.set()
        worker.join()
    assert not failures
    expected = cluster.digest()
    cluster.archive_now()
    for name in tool.names():
        clone = clone_of(make, tool, "--backup", name).start().wait_promoted()
        assert clone.digest() == expected
        clone.amcheck()
        clone.stop()


def test_database_dropped_and_created_meanwhile(make):
    cluster, tool = make.pair(rows=100)
    stop = threading.Event()

    def churn():
        n = 0
        while not stop.is_set():
            cluster.sql(f"create database d{n}")
            if n:
                cluster.sql(f"drop database d{n - 1}")
            n += 1
    worker = threading.Thread(target=churn)
    worker.start()
    try:
        tool.backup()
        tool.backup()
    finally:
        stop.set()
        worker.join()
    expected = cluster.sql("select datname from pg_database order by 1")
    cluster.archive_now()
    clone = clone_of(make, tool, "--backup", tool.names()[0]).start().wait_promoted()
    assert clone.sql("select datname from pg_database order by 1") == expected
    clone.amcheck()


@pytest.mark.quick
def test_unlogged_tables_come_back_empty_and_temporary_ones_not_at_all(make, pair):
    cluster, tool = pair
    cluster.make_table("fast", 3000, unlogged=True)
    link = cluster.connect()
    with link.cursor() as cursor:
        cursor.execute("create temporary table temp_rows as select * from generate_series(1, 50000) i")
        cursor.execute("select pg_relation_filepath('temp_rows')")
        temporary = cursor.fetchone()[0]
    unlogged = cluster.one("select pg_relation_filepath('fast')")
    cluster.sql("checkpoint")
    tool.backup()
    link.close()
    cluster.archive_now()
    clone = clone_of(make, tool)
    assert not (clone.data / temporary).exists()
    assert not (clone.data / unlogged).exists() and (clone.data / (unlogged + "_init")).exists()
    clone.start().wait_promoted()
    assert clone.one("select count(*) from fast") == 0
    clone.make_table("after", 10)
    clone.sql("insert into fast values (1, 'works', now())")


def test_files_that_must_not_be_in_a_backup_are_not_restored(make, pair):
    cluster, tool = pair
    for name in ("pg_stat_tmp/junk", "pg_notify/junk", "pg_snapshots/junk", "pg_wal/junk", "base/pgsql_tmp/pgsql_tmp1.0", "backup_label.old", "pg_internal.init.99"):
        path = cluster.data / name
        run("mkdir", "-p", path.parent)
        run("cp", cluster.data / "PG_VERSION", path)
    tool.backup()
    clone = clone_of(make, tool, "--immediate")
    for name in ("pg_stat_tmp/junk", "pg_notify/junk", "pg_snapshots/junk", "pg_wal/junk", "base/pgsql_tmp/pgsql_tmp1.0", "backup_label.old", "pg_internal.init.99",
                 "postmaster.pid", "postmaster.opts"):
        assert not (clone.data / name).exists(), name
    assert (clone.data / "backup_label").exists()


@pytest.mark.parametrize("segment_mb", [1, 64])
def test_odd_wal_segment_sizes(make, segment_mb):
    cluster, tool = make.pair(rows=1000, wal_segsize=segment_mb)
    made = tool.backup()
    assert tool.run("show", made["name"], "--json").json["wal_segment_size"] == segment_mb << 20
    cluster.add_rows("t", 20000 if segment_mb == 1 else 500)
    moment = cluster.now()
    expected = cluster.digest()
    cluster.add_rows("t", 10)
    cluster.archive_now()
    assert tool.list()["wal"]["gaps"] == []
    clone = clone_of(make, tool, "--time", moment).start().wait_promoted()
    assert clone.digest() == expected


def test_record_that_spans_many_small_segments(make):
    cluster, tool = make.pair(rows=10, wal_segsize=1)
    tool.backup()
    cluster.sql("create table big (x text); alter table big alter x set storage external")
    cluster.sql("insert into big select string_agg(md5(i::text), '') from generate_series(1, 150000) i")
    cluster.sql("select pg_logical_emit_message(true, 'test', repeat('z', 5000000))")
    cluster.add_rows("t", 10)
    expected = cluster.digest()
    cluster.archive_now()
    assert clone_of(make, tool).start().wait_promoted().digest() == expected


def test_cluster_without_checksums(make):
    cluster, tool = make.pair(rows=3000, checksums=False)
    made = tool.backup()
    assert tool.run("show", made["name"], "--json").json["data_checksums"] is False
    expected = cluster.digest()
    cluster.archive_now()
    assert clone_of(make, tool).start().wait_promoted().digest() == expected


def corrupt_page(cluster, table, block):
    """Flips a byte in the middle of a page on disk while the server does not hold it."""
    path = cluster.one("select pg_relation_filepath(%s)", table)
    cluster.restart()
    with open(cluster.data / path, "r+b") as file:
        file.seek(block * 8192 + 5000)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x55]))
    return path


@pytest.mark.quick
def test_corrupted_page_is_named_counted_and_does_not_stop_the_backup(make):
    cluster, tool = make.pair(rows=5000)
    cluster.sql("checkpoint")
    path = corrupt_page(cluster, "t", 3)
    outcome = tool.run("backup", "--type", "full", "--json", code=8)
    assert path in outcome.err and "3" in outcome.err
    made = outcome.json
    assert made["damaged_pages_count"] == 1
    shown = tool.run("show", made["name"], "--json").json
    assert shown["damaged_pages"] == [{"path": path, "block": 3}]
    assert made["name"] in tool.names()
    # It restores, page for page as it was, and says that a page was bad already (show names it).
    target = make.folder("clone") / "data"
    told = tool.restore(target, "--immediate", "--action", "promote")
    assert "damaged" in told.err and made["name"] in told.err
    assert (target / path).read_bytes()[3 * 8192:4 * 8192] == (cluster.data / path).read_bytes()[3 * 8192:4 * 8192]


def test_zero_page_is_sound_and_a_torn_zero_header_is_not(make):
    cluster, tool = make.pair(rows=5000)
    cluster.sql("checkpoint")
    path = cluster.one("select pg_relation_filepath('t')")
    cluster.stop()
    with open(cluster.data / path, "r+b") as file:
        file.seek(2 * 8192)
        file.write(bytes(8192))  # all zero: what a crash after extension leaves
        file.seek(4 * 8192)
        file.write(bytes(24))  # header zero, rest not: damage
    cluster.start()
    made = tool.run("backup", "--type", "full", "--json", code=8).json
    assert tool.run("show", made["name"], "--json").json["damaged_pages"] == [{"path": path, "block": 4}]


def test_hundreds_of_small_relations(make):
    cluster, tool = make.pair(rows=10)
    cluster.sql("do $$ begin for i in 1..300 loop execute format('create table many%s (x int primary key, y text)', i); "
                "execute format('insert into many%s select i, md5(i::text) from generate_series(1, 3) i', i); end loop; end $$")
    expected = cluster.digest()
    made = tool.backup()
    assert made["files"] > 900
    cluster.archive_now()
    assert clone_of(make, tool).start().wait_promoted().digest() == expected


def test_backup_of_a_standby_while_the_primary_writes(make):
    cluster, tool = make.pair(rows=500)
    standby = make_standby(make, cluster)
    tool.clusters["main"].update(data_directory=standby.data, connection=standby.connection)
    tool.write()
    load_until_backed_up(cluster, tool)
    (made,) = tool.list()["backups"]
    assert made["from_standby"] is True
    cluster.add_rows("t", 30)
    expected = cluster.digest()
    cluster.archive_now()
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected
    clone.amcheck()


@pytest.mark.parametrize("target", ["--latest", "--immediate"])
def test_backup_of_a_standby_under_an_idle_primary_ends(make, target):
    """POSTGRES.md 6: nothing switches WAL there, so a plain wait for the archiver would never end."""
    cluster, tool = make.pair(rows=500)
    standby = make_standby(make, cluster)
    cluster.archive_now()
    cluster.sql("checkpoint")
    wait_until(lambda: standby.one("select pg_last_wal_replay_lsn() = %s::pg_lsn", cluster.lsn()), "the standby has replayed all")
    expected = cluster.digest()
    tool.clusters["main"].update(data_directory=standby.data, connection=standby.connection)
    tool.write()
    outcome = tool.run("backup", "--type", "full", "--json", "--wal-timeout", "20", timeout=60, code=(0, 9))
    if outcome.code == 9:
        assert tool.names() == []
        pytest.fail(f"an idle primary blocks the backup of its standby\n{outcome}")
    clone = clone_of(make, tool, target).start().wait_promoted()
    assert clone.digest() == expected
    if target == "--immediate":  # and no later, once there is more to replay
        cluster.add_rows("t", 10)
        cluster.archive_now()
        assert clone_of(make, tool, target).start().wait_promoted().digest() == expected


def test_backup_of_a_standby_whose_primary_was_shut_down(make):
    """The checkpoint that the backup starts from, of the primary's shutdown, is the last record there is."""
    cluster, tool = make.pair(rows=500)
    standby = make_standby(make, cluster)
    cluster.archive_now()
    cluster.stop()  # and gone: left alone it would still log which transactions run, after some 20 s
    wait_until(lambda: standby.one("select pg_last_wal_replay_lsn() > %s::pg_lsn", cluster.control()["Latest checkpoint location"]),
               "the standby has replayed the primary's shutdown")
    expected = standby.digest()
    standby.sql("checkpoint")
    tool.clusters["main"].update(data_directory=standby.data, connection=standby.connection)
    tool.write()
    name = tool.backup("--wal-timeout", "20", timeout=60)["name"]
    assert "consistent_after" not in tool.run("show", name, "--json").json["settings"]
    assert clone_of(make, tool, "--latest").start().wait_promoted().digest() == expected
    # PostgreSQL would read no record after which it could find that it is consistent, and refuse to come up.
    tool.refuses("restore", "--to", make.folder("refused") / "data", "--immediate", code=4, naming="--latest")
    cluster.start()
    cluster.add_rows("t", 10)
    cluster.archive_now()
    assert clone_of(make, tool, "--immediate").start().wait_promoted().digest() == expected


def test_promotion_during_the_backup_of_a_standby_discards_it(make):
    cluster, tool = make.pair(rows=30000)
    standby = make_standby(make, cluster)
    tool.clusters["main"].update(data_directory=standby.data, connection=standby.connection)
    tool.write()
    process = tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "2MiB", "--wal-timeout", "20")
    wait_for_phase(process, "copy")
    standby.sql("select pg_promote()")
    out, err = process.communicate(timeout=80)
    assert process.returncode == 9, err
    assert tool.names() == []


@pytest.mark.quick
def test_backup_without_archiving_fails_within_its_limit_and_lists_nothing(make):
    cluster = make.cluster()
    cluster.make_table("t", 100)
    tool = make.pgmint(cluster).init()
    outcome = tool.refuses("backup", "--type", "full", "--wal-timeout", "2", code=(4, 9), naming="archive_command", timeout=40)
    assert tool.names() == [] and outcome.seconds < 30


def test_wal_that_arrives_late_is_waited_for(make):
    cluster, tool = make.pair(rows=100)
    good = cluster.setting("archive_command")
    cluster.sql("alter system set archive_command = 'false'")
    cluster.sql("select pg_reload_conf()")
    process = tool.start("--progress", "json", "backup", "--type", "full", "--wal-timeout", "60")
    wait_until(lambda: list((cluster.data / "pg_wal/archive_status").glob("*.ready")), "the last segment waits for the archiver")
    assert process.poll() is None
    link = cluster.connect()
    with link.cursor() as cursor:
        cursor.execute("alter system set archive_command = %s", (good,))
        cursor.execute("select pg_reload_conf()")
    link.close()
    process.communicate(timeout=80)
    assert process.returncode == 0
    assert len(tool.names()) == 1


@pytest.mark.parametrize("setting", ["statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"])
def test_time_outs_of_the_server_do_not_end_the_held_session(make, setting):
    cluster, tool = make.pair(rows=20000)
    if setting == "idle_session_timeout" and cluster.version < 14:
        pytest.skip("14 brought it")
    cluster.sql(f"alter system set {setting} = '300ms'")
    cluster.sql("select pg_reload_conf()")
    tool.backup("--max-rate", "8MiB")


def test_killed_session_fails_the_backup_and_lists_nothing(make):
    cluster, tool = make.pair(rows=30000)
    process = tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "2MiB")
    wait_for_phase(process, "copy")
    assert cluster.backup_sessions()
    cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgmint%'")
    process.communicate(timeout=60)
    assert process.returncode == 9
    assert tool.names() == []
    tool.backup()


def test_data_directory_of_another_server_is_refused(make):
    archiving = {"archive_mode": "on", "archive_command": "true"}
    one, two = make.cluster("one", **archiving), make.cluster("two", fresh=True, **archiving)
    tool = make.pgmint().init()
    tool.clusters["main"] = {"data_directory": one.data, "connection": two.connection}
    tool.write()
    tool.refuses("backup", "--type", "full", code=(3, 4, 9), naming="data_directory")
    assert tool.names() == [] if tool.run("list", "--json").json["clusters"] else True
