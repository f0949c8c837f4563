"""A cluster of which only `connection` is configured: the server sends its files, and what is restored is what was there."""
import os
import signal
import struct
import threading

import psycopg2
import pytest

from harness.cluster import Background
from harness.places import wait_until
from test_clone_safety import clone_of, make_standby
from test_several_repositories import Several


def remote_of(make, tool, connection, **settings):
    """A second configuration of the same repository, as on a machine that has no data directory. `tool` stays the server's own."""
    other = make.pgmint(repository=tool.repository, key_file=tool.key_file)
    other.clusters["main"] = {"connection": connection, "environment": "production", **settings}
    return other.write()


def limited(cluster, *grants, attributes="replication"):
    """Connection of a role that has only what it is given."""
    cluster.sql(f"create role backup_role login {attributes}")
    for grant in grants:
        cluster.sql(f"grant {grant} to backup_role")
    return f"host={cluster.sockets} port=5432 user=backup_role dbname=postgres"


def same_after_restore(make, tool, expected, *arguments):
    clone = clone_of(make, tool, *arguments).start().wait_promoted()
    assert clone.digest() == expected
    clone.amcheck()
    return clone


@pytest.mark.quick
def test_full_backup_under_write_load_restores_to_what_was_there(make):
    cluster, tool = make.pair(rows=20000)
    cluster.make_table("fleeting", 2000, unlogged=True)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    load = Background(cluster, "t")
    try:
        made = remote.backup()
    finally:
        load.stop()
    assert made["type"] == "full" and made["damaged_pages_count"] == 0 and made["from_standby"] is False
    expected = cluster.digest()
    cluster.archive_now()
    unlogged = cluster.one("select pg_relation_filepath('fleeting')")
    clone = clone_of(make, remote)
    assert not (clone.data / unlogged).exists() and (clone.data / f"{unlogged}_init").exists()
    clone.start().wait_promoted()
    assert clone.digest() == expected
    clone.amcheck()
    assert remote.run("verify", "--read-data", "--json").json["ok"] is True


def test_backup_restores_to_a_moment_between_two(make):
    cluster, tool = make.pair(rows=500)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    remote.backup()
    cluster.add_rows("t", 100)
    moment, expected = cluster.now(), cluster.digest()
    cluster.add_rows("t", 100)
    cluster.archive_now()
    same_after_restore(make, remote, expected, "--time", moment)


def test_tablespaces_come_along(make):
    cluster, tool = make.pair(rows=100)
    place = cluster.tablespace("fast")
    cluster.make_table("in_space", 30000, tablespace="fast")
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    made = remote.backup()
    (space,) = remote.run("show", made["name"], "--json").json["tablespaces"]
    assert space["location"] == str(place)
    expected = cluster.digest()
    cluster.archive_now()
    same_after_restore(make, remote, expected, "--tablespace", f"{place}={make.folder('space') / 'moved'}")


def test_without_an_archive_the_backup_carries_its_wal(make):
    cluster = make.cluster()
    cluster.make_table("t", 5000)
    remote = make.pgmint()
    remote.clusters["main"] = {"connection": cluster.connection, "environment": "production"}
    remote.write().init()
    expected = cluster.digest()
    outcome = remote.run("backup", "--json")
    assert "archive_mode is off" in outcome.err
    cluster.add_rows("t", 10)
    same_after_restore(make, remote, expected, "--immediate")


def test_a_copy_in_a_second_repository_carries_that_wal_too(make):
    """No repository has it, so that nothing else would bring it there."""
    cluster = make.cluster()
    cluster.make_table("t", 5000)
    remote = Several(make.work)
    make.homes.append(remote.home)
    remote.clusters["main"] = {"connection": cluster.connection, "environment": "production"}
    remote.write().init()
    expected = cluster.digest()
    made = remote.answers("backup", "--wal-timeout", "20")
    assert made["far"]["answer"]["copied_from"] == f"{made['near']['answer']['name']} of repository near"
    remote.away("near")
    same_after_restore(make, remote, expected, "--immediate")


@pytest.mark.parametrize("target", ["--latest", "--immediate"])
def test_standby_under_an_idle_primary(make, target):
    cluster, tool = make.pair(rows=500)
    standby = make_standby(make, cluster)
    cluster.archive_now()
    cluster.sql("checkpoint")
    wait_until(lambda: standby.one("select pg_last_wal_replay_lsn() = %s::pg_lsn", cluster.lsn()), "the standby has replayed all")
    expected = cluster.digest()
    remote = remote_of(make, tool, standby.connection)
    assert remote.backup("--wal-timeout", "20")["from_standby"] is True
    clone = clone_of(make, remote, target).start().wait_promoted(timeout=20)
    assert clone.digest() == expected


def test_second_backup_stores_only_what_differs(make):
    cluster, tool = make.pair(rows=60000)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    first = remote.backup()
    cluster.sql("update t set body = 'changed' where id = 30000")
    second = remote.run("backup", "--json").json
    assert second["type"] == "incremental" and second["stored_bytes"] * 5 < first["stored_bytes"]
    expected = cluster.digest()
    cluster.archive_now()
    same_after_restore(make, remote, expected)


def test_remote_and_direct_backups_build_on_each_other(make):
    cluster, tool = make.pair(rows=30000)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    tool.backup()
    cluster.sql("update t set body = 'one' where id % 5000 = 0")
    assert remote.run("backup", "--json").json["type"] == "incremental"
    cluster.sql("update t set body = 'two' where id % 7000 = 0")
    cluster.archive_now()
    assert tool.run("backup", "--json").json["type"] == "incremental"
    expected = cluster.digest()
    cluster.archive_now()
    same_after_restore(make, tool, expected)


def test_rate_is_kept(make):
    cluster, tool = make.pair(rows=1000)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    rate = 8 << 20
    outcome = remote.run("backup", "--type", "full", "--max-rate", str(rate), "--json")
    assert outcome.seconds > outcome.json["size_bytes"] / rate * 0.8


def test_damaged_page_is_named_and_kept(make):
    cluster, tool = make.pair(rows=5000)
    cluster.sql("checkpoint")
    cluster.archive_now()
    path = cluster.one("select pg_relation_filepath('t')")
    cluster.stop()
    with open(cluster.data / path, "r+b") as file:
        file.seek(3 * 8192 + 5000)
        file.write(b"\xde\xad\xbe\xef")
    cluster.start()
    remote = remote_of(make, tool, cluster.connection)
    outcome = remote.run("backup", "--type", "full", "--json", code=8)
    assert outcome.json["damaged_pages_count"] == 1 and path in outcome.err
    assert remote.run("show", outcome.json["name"], "--json").json["damaged_pages"] == [{"path": path, "block": 3}]


def test_server_that_goes_away_leaves_nothing_listed_and_the_next_run_goes(make):
    cluster, tool = make.pair(rows=50000)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    running = remote.start("backup", "--type", "full", "--max-rate", "2MiB")
    wait_until(lambda: cluster.sql("select 1 from pg_stat_replication where state = 'backup'"), "the server sends")
    cluster.sql("select pg_terminate_backend(pid) from pg_stat_replication where state = 'backup'")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 9, err
    assert "hint:" in err
    assert remote.run("list", "--json").json["clusters"][0]["backups"] == []
    remote.backup()
    assert len(remote.names()) == 1


def test_interrupted_backup_ends_at_once(make):
    cluster, tool = make.pair(rows=50000)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    running = remote.start("backup", "--type", "full", "--max-rate", "1MiB")
    wait_until(lambda: cluster.sql("select 1 from pg_stat_replication where state = 'backup'"), "the server sends")
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode == 130
    wait_until(lambda: not cluster.sql("select 1 from pg_stat_replication where state = 'backup'"), "the server stops sending")


def test_role_without_replication_is_told_what_it_lacks(make):
    cluster, tool = make.pair(rows=10)
    cluster.archive_now()
    remote = remote_of(make, tool, limited(cluster, attributes=""))
    outcome = remote.refuses("backup", code=9, naming=["REPLICATION", "hint:"])
    assert "password" not in outcome.err.lower()
    assert remote.run("list", "--json").json["clusters"][0]["backups"] == []


def test_role_with_replication_alone_is_enough(make):
    cluster, tool = make.pair(rows=300)
    cluster.archive_now()
    remote = remote_of(make, tool, limited(cluster))
    remote.backup()
    expected = cluster.digest()
    cluster.archive_now()
    same_after_restore(make, remote, expected)


def test_line_that_pg_hba_lacks_is_named(make):
    cluster, tool = make.pair(rows=10)
    cluster.archive_now()
    hba = cluster.data / "pg_hba.conf"
    hba.write_text("local all all trust\n")
    cluster.reload()
    remote = remote_of(make, tool, cluster.connection)
    wait_until(lambda: not cluster.sql("select 1 from pg_hba_file_rules where 'replication' = any(database)"), "the file is read")
    remote.refuses("backup", code=9, naming=["pg_hba.conf", "replication"])


def test_commands_that_look_do_so_without_a_data_directory(make):
    cluster, tool = make.pair(rows=10)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    remote.backup()
    cluster.archive_now()
    doctor = remote.run("doctor", "--json").json
    assert doctor["ok"] is True, doctor
    assert any(check["name"] == "main: replication" and check["state"] == "ok" for check in doctor["checks"])
    remote.run("status", "--json", code=(0, 10))
    remote.run("plan", "--latest", "--json")
    cluster.stop()
    assert len(remote.names()) == 1
    assert remote.run("doctor", "--json", code=range(1, 20)).json["ok"] is False
    remote.refuses("backup", code=9, naming="hint:")


def test_memory_does_not_grow_with_the_database(make):
    """What is on its way is bounded (ADR 35): ten times the data may not cost what it holds."""
    cluster, tool = make.pair(rows=100)
    remote = remote_of(make, tool, cluster.connection)

    def peak():
        running = remote.start("backup", "--type", "full", "--json")
        out, err = running.stdout.read(), running.stderr.read()
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0, err
        return usage.ru_maxrss << 10, out

    small, _ = peak()
    cluster.sql("create table large as select i, md5(i::text) || md5((i * 7)::text) as body from generate_series(1, 3000000) i")
    large, _ = peak()
    size = cluster.one("select pg_relation_size('large')")
    assert size > 250 << 20
    assert large < 400 << 20 and large - small < size // 2, (small >> 20, large >> 20, size >> 20)


def test_what_no_wal_tells_of_is_found_by_comparing(make):
    """A page that is newer than the parent and that no WAL names refutes a parent where files are read by lists. What a server sends is compared, all of it."""
    cluster, tool = make.pair(rows=100, checksums=False)
    cluster.sql("create table marked as select i, md5(i::text) as body from generate_series(1, 60000) i")
    remote = remote_of(make, tool, cluster.connection)
    remote.backup()
    cluster.sql("update marked set body = 'y' where (ctid::text::point)[0] between 64 and 74")
    cluster.sql("checkpoint")
    cluster.archive_now()
    path = cluster.data / cluster.one("select pg_relation_filepath('marked')")
    high, low = (int(part, 16) for part in cluster.one("select pg_current_wal_insert_lsn()::text").split("/"))
    cluster.stop()
    page, row = 8192 * 77, 8192 * 77 + 8180
    with open(path, "r+b") as file:
        file.seek(page)
        file.write(struct.pack("<II", high, low - 64))
        file.seek(row)
        old = file.read(1)
        file.seek(row)
        file.write(bytes([old[0] ^ 1]))
    cluster.start()
    expected = cluster.digest()
    made = remote.run("backup", "--type", "incremental", "--json").json
    assert made["type"] == "incremental"
    cluster.archive_now()
    same_after_restore(make, remote, expected, "--backup", made["name"])


def test_a_parent_that_is_damaged_makes_the_server_send_everything_once_more(make):
    """It is found out in the middle of a stream, which cannot be read again: the server starts another one."""
    cluster, tool = make.pair(rows=100)
    cluster.sql("create table large as select i, md5(i::text) as body from generate_series(1, 200000) i")
    remote = remote_of(make, tool, cluster.connection)
    first = remote.backup()["name"]
    cluster.sql("update large set body = 'y' where i % 1000 = 0")
    cluster.sql("checkpoint")
    for pack in remote.objects_of("p"):
        content = bytearray(pack.read_bytes())
        for at in range(200, max(201, len(content) - 70_000), 4096):
            content[at] ^= 1
        pack.write_bytes(content)
    outcome = remote.run("backup", "--type", "incremental", "--json", code=8)
    assert "the parent cannot be read" in outcome.err and "read again, as a full backup" in outcome.err, outcome
    made = outcome.json
    assert made["type"] == "full" and made["name"].endswith("-full") and made["name"] != first
    expected = cluster.digest()
    cluster.archive_now()
    same_after_restore(make, remote, expected, "--backup", made["name"])
    remote.run("verify", "--backup", made["name"], "--read-data")
