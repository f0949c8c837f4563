"""Remote clusters of 17 and later: the server sends only what changed since the parent, and what is restored is what was there."""
import datetime
import json
import struct

import pytest

from harness.places import run, server_programs, wait_until
from test_clone_safety import make_standby
from test_incremental import assert_recovers, assert_same_as_full, change_everything
from test_incremental_hard_cases import Storm
from test_page_codec import make_variety
from test_remote import limited, remote_of

BY_SUMMARIES = "the blocks that the server's WAL summaries"
ALL_SENT = "all files sent and compared: "

pytestmark = pytest.mark.skipif(not server_programs(17), reason="PostgreSQL 17 is not installed: scripts/install-postgres.sh")


def pair_of(make, version=17, **settings):
    """As make.pair(), of a server that summarises its WAL, with the configuration of a machine that has only its connection."""
    cluster, tool = make.pair(version=version, **{"summarize_wal": "on", "wal_log_hints": "on", **settings})
    cluster.archive_now()
    return cluster, tool, remote_of(make, tool, cluster.connection)


def in_part(remote, *arguments, **keywords):
    """A backup of which only what changed was sent."""
    outcome = remote.run("backup", "--json", *arguments, **keywords)
    made = outcome.json
    assert made["type"] == "incremental" and made["incremental_by"].startswith(BY_SUMMARIES), str(outcome)
    assert made["received_bytes"] > 0
    return made


def opened_clone(make, cluster, tool, *arguments):
    target = make.folder("clone") / "data"
    tool.restore(target, *arguments, "--action", "promote")
    return make.opened(target, cluster.version, name="clone").start().wait_promoted()


def all_sent(remote, because, *arguments, **keywords):
    """One for which the server sent everything, and why."""
    made = remote.run("backup", "--json", *arguments, **keywords).json
    assert made["type"] == "incremental" and made["incremental_by"].startswith(ALL_SENT) and because in made["incremental_by"], made
    return made


def test_what_comes_over_the_network_is_what_changed(make):
    cluster, tool, remote = pair_of(make)
    cluster.sql("create table large as select i, md5(i::text) || md5((i * 7)::text) as body from generate_series(1, 400000) i")
    cluster.sql("vacuum freeze large")  # later scans write no hints
    cluster.archive_now()
    first = remote.backup()
    assert first["received_bytes"] > first["size_bytes"]
    cluster.sql("update large set body = 'changed' where i % 20000 = 0")
    cluster.archive_now()
    made = in_part(remote)
    assert made["parent"] == first["name"] and made["received_bytes"] * 8 < made["size_bytes"], made
    assert "the server sent" in remote.run("backup").out
    assert_same_as_full(make, remote, made)
    assert_recovers(make, remote, cluster, made)


@pytest.mark.parametrize("sums", [True, False], ids=["checksums", "plain"])
def test_whatever_happens_in_between_restores_as_a_full_does(make, sums, seed):
    cluster, tool, remote = pair_of(make, checksums=sums, max_prepared_transactions="20")
    make_variety(cluster)
    cluster.sql("drop table aborted")
    place = cluster.tablespace("other")
    remote.backup()
    first = seed % 900 + 1
    for round in range(3):
        change_everything(cluster, first + round, ["other"])
        made = in_part(remote)
        if round == 1:
            assert_recovers(make, remote, cluster, made, [place])
    assert_same_as_full(make, remote, made, [place])
    change_everything(cluster, first + 3, ["other"])
    assert_recovers(make, remote, cluster, in_part(remote), [place])
    remote.run("verify", "--decompress")


def test_a_page_that_was_cut_off_does_not_come_back_from_the_parent(make):
    """Truncated, then made longer by more than is used: pages that are not used hold zeros, and no WAL names them. The parent has rows there, and the
    server counts on them being taken (pg_combinebackup takes them)."""
    cluster, tool, remote = pair_of(make)
    cluster.sql("create table tail as select i, md5(i::text) || md5((i * 7)::text) as body from generate_series(1, 100000) i")
    cluster.sql("vacuum freeze tail")
    cluster.archive_now()
    remote.backup()
    before = cluster.one("select pg_relation_size('tail')")
    cluster.sql("delete from tail where i > 30000")
    cluster.sql("vacuum tail")
    cut = cluster.one("select pg_relation_size('tail')")
    assert cut < before // 2
    path = cluster.data / cluster.one("select pg_relation_filepath('tail')")
    cluster.stop()
    with open(path, "ab") as file:  # as a server leaves it that dies after an extension
        file.write(bytes(8192 * 60))
    cluster.start()
    cluster.sql("insert into tail select i, 'after' from generate_series(200001, 203000) i")
    cluster.archive_now()
    made = in_part(remote)
    assert made["received_bytes"] * 3 < made["size_bytes"]
    assert_same_as_full(make, remote, made)
    assert_recovers(make, remote, cluster, made)


def test_a_file_number_that_comes_again_is_another_file(make):
    """VACUUM FULL leaves a file behind; once OIDs have come round another table gets its number: same name, another content."""
    cluster, tool, remote = pair_of(make)
    for n in range(12):
        cluster.sql(f"create table filler_{n} (i int)")
    cluster.sql("create table victim as select i, md5(i::text) as t from generate_series(1, 20000) i")
    cluster.sql("create table mover (i int, t varchar(40))")
    first, number = (cluster.one("select pg_relation_filenode(%s)", name) for name in ("filler_0", "victim"))
    for n in range(12):
        cluster.sql(f"drop table filler_{n}")
    cluster.sql("checkpoint")
    cluster.stop()
    run(cluster.bin / "pg_resetwal", "-o", first, "-D", cluster.data)
    cluster.start()
    cluster.archive_now()
    remote.backup()
    cluster.sql("vacuum full victim")
    cluster.sql("checkpoint")
    wait_until(lambda: cluster.sql("truncate mover") or cluster.one("select pg_relation_filenode('mover')") == number, "table mover has the number", every=0)
    cluster.sql("insert into mover select -i, md5((-i)::text) from generate_series(1, 20000) i")
    made = in_part(remote)
    assert_same_as_full(make, remote, made)
    assert_recovers(make, remote, cluster, made)


def test_remote_and_direct_backups_build_on_each_other(make):
    cluster, tool, remote = pair_of(make)
    cluster.make_table("other", 60000)
    cluster.sql("vacuum freeze other")
    direct = tool.backup()
    cluster.sql("update other set body = 'one' where id % 5000 = 0")
    cluster.archive_now()
    made = in_part(remote)
    assert made["parent"] == direct["name"] and made["received_bytes"] * 2 < made["size_bytes"]
    cluster.sql("update other set body = 'two' where id % 7000 = 0")
    cluster.archive_now()
    above = tool.run("backup", "--json").json
    assert above["type"] == "incremental" and above["parent"] == made["name"] and above["received_bytes"] is None
    cluster.sql("delete from other where id % 3 = 0")
    last = in_part(remote)
    assert last["parent"] == above["name"]
    assert_same_as_full(make, remote, last)
    for one in (made, above, last):
        assert_recovers(make, remote, cluster, one)


def test_under_load_every_backup_of_a_chain_recovers(make, seed):
    cluster, tool, remote = pair_of(make)
    place = cluster.tablespace("other")
    with Storm(cluster, seed) as storm:
        wait_until(lambda: storm.done > 60 or storm.unexpected, "the storm has begun")
        remote.backup()
        made = []
        for _ in range(4):
            at = storm.done
            wait_until(lambda: storm.done > at + 40 or storm.unexpected, "something has happened")
            made.append(in_part(remote))
    assert not storm.unexpected and storm.done > 200, (storm.done, storm.unexpected)
    for one in made:
        assert_recovers(make, remote, cluster, one, [place])
    assert_same_as_full(make, remote, in_part(remote), [place])


def test_from_a_standby(make):
    cluster, tool, remote = pair_of(make)
    cluster.sql("create table large as select i, md5(i::text) as body from generate_series(1, 200000) i")
    cluster.sql("vacuum freeze large")
    standby = make_standby(make, cluster)
    far = remote_of(make, tool, standby.connection)

    def caught_up():
        cluster.sql("checkpoint")
        return standby.one("select pg_last_wal_replay_lsn() >= %s::pg_lsn", cluster.lsn())

    def same_once_recovered(one):
        expected = cluster.digest()
        clone = opened_clone(make, cluster, far, "--backup", one["name"], "--immediate")
        assert clone.digest() == expected
        clone.amcheck()
        clone.stop()
    wait_until(caught_up, "the standby has replayed all")
    standby.sql("checkpoint")
    full = far.backup()
    assert full["from_standby"] is True
    cluster.sql("update large set body = 'changed' where i % 50000 = 0")
    cluster.switch_wal()
    wait_until(caught_up, "the standby has replayed all")
    standby.sql("checkpoint")
    made = in_part(far)
    assert made["parent"] == full["name"] and made["from_standby"] is True
    same_once_recovered(made)


def test_a_standby_that_was_promoted_goes_on_from_the_primarys_backup(make):
    cluster, tool, remote = pair_of(make)
    standby = make_standby(make, cluster)
    first = remote.backup()
    cluster.sql("update t set body = 'before' where id % 50 = 1")
    cluster.archive_now()
    wait_until(lambda: standby.one("select pg_last_wal_replay_lsn() >= %s::pg_lsn", cluster.lsn()), "the standby has replayed all")
    cluster.stop()
    standby.archive_with(tool).restart()
    run(standby.bin / "pg_ctl", "-D", standby.data, "-w", "promote")
    standby.sql("update t set body = 'after' where id % 50 = 2")
    standby.archive_now()
    tool.clusters.clear()
    tool.add(standby, name="main").write()
    far = remote_of(make, tool, standby.connection)
    made = in_part(far)
    assert made["parent"] == first["name"] and made["timeline"] == 2
    assert_same_as_full(make, far, made)
    assert_recovers(make, far, standby, made)


# ---- where it cannot be done

def test_before_17_everything_is_sent_and_it_is_said_why(make):
    cluster, tool = make.pair(version=15)
    cluster.archive_now()
    remote = remote_of(make, tool, cluster.connection)
    remote.backup()
    cluster.sql("update t set body = 'x' where id = 7")
    made = all_sent(remote, "PostgreSQL 15 has no incremental base backups")
    assert made["received_bytes"] > made["size_bytes"]
    assert "PostgreSQL 15 has no incremental base backups" in remote.run("show", made["name"]).out
    assert_same_as_full(make, remote, made)


def test_without_summaries_everything_is_sent_and_doctor_names_the_setting(make):
    cluster, tool, remote = pair_of(make, summarize_wal="off")
    remote.backup()
    doctor = remote.run("doctor", "--json", code=range(0, 20)).json
    (check,) = [check for check in doctor["checks"] if check["name"] == "main: WAL summaries"]
    assert "summarize_wal" in check["detail"] and "ALTER SYSTEM SET summarize_wal = on" in (check["hint"] or ""), check
    made = all_sent(remote, "summarize_wal is off on the server")
    cluster.sql("alter system set summarize_wal = on")
    cluster.reload()
    wait_until(lambda: cluster.setting("summarize_wal") == "on", "summaries are on")
    # Of the time before there is none, and the parent is of that time.
    cluster.sql("update t set body = 'x' where id = 7")
    outcome = remote.run("backup", "--json").json
    assert outcome["type"] == "incremental"
    cluster.sql("update t set body = 'y' where id = 8")
    last = in_part(remote)
    assert last["parent"] == outcome["name"] != made["name"]
    doctor = remote.run("doctor", "--json", code=range(0, 20)).json
    assert [check["state"] for check in doctor["checks"] if check["name"] == "main: WAL summaries"] == ["ok"]
    assert_same_as_full(make, remote, last)


def test_summaries_that_are_gone_make_it_send_everything(make):
    cluster, tool, remote = pair_of(make)
    first = remote.backup()
    cluster.sql("update t set body = 'x' where id = 7")
    cluster.archive_now()
    cluster.sql("checkpoint")
    wait_until(lambda: cluster.one("select count(*) from pg_available_wal_summaries() where start_lsn >= %s::pg_lsn", first["start_lsn"]) > 0, "it is summarised")
    for path in (cluster.data / "pg_wal/summaries").iterdir():
        path.unlink()
    made = all_sent(remote, "no WAL summary of")
    assert_same_as_full(make, remote, made)
    assert_recovers(make, remote, cluster, made)


def test_a_summary_in_the_middle_that_is_gone_is_found_by_the_server(make):
    """Only it knows which it needs; it is asked once more, for everything."""
    cluster, tool, remote = pair_of(make)
    first = remote.backup()
    for n in range(3):
        cluster.sql(f"update t set body = 'x' where id = {n}")
        cluster.sql("checkpoint")
        wait_until(lambda: cluster.one("select count(*) from pg_available_wal_summaries() where start_lsn >= %s::pg_lsn", first["start_lsn"]) > n, "it is summarised")
    names = sorted(path for path in (cluster.data / "pg_wal/summaries").iterdir() if path.name.endswith(".summary"))
    names[-2].unlink()
    made = all_sent(remote, "the server takes no incremental base backup")
    assert_same_as_full(make, remote, made)


def test_role_with_replication_alone_is_enough(make):
    cluster, tool, remote = pair_of(make)
    far = remote_of(make, tool, limited(cluster))
    far.backup()
    cluster.sql("update t set body = 'x' where id = 7")
    assert_same_as_full(make, far, in_part(far))


# ---- what no summary tells of

@pytest.mark.parametrize("moved", [False, True], ids=["old", "newer"])
def test_a_page_that_no_summary_names_is_found_when_its_file_comes_whole(make, moved):
    """In no list, and sound by its checksum. With an LSN of before it is told as damage once the turn of its file has come; with a newer one the list is refuted."""
    cluster, tool, remote = pair_of(make)
    cluster.sql("create table marked as select i, md5(i::text) as body from generate_series(1, 60000) i")
    cluster.sql("vacuum freeze marked")
    first = remote.backup()
    cluster.sql("update marked set body = 'y' where i between 100 and 103")
    cluster.sql("checkpoint")
    name = cluster.one("select pg_relation_filepath('marked')")
    high, low = (int(part, 16) for part in cluster.one("select pg_current_wal_insert_lsn()::text").split("/"))
    cluster.archive_now()
    cluster.stop()
    run(cluster.bin / "pg_checksums", "-d", "-D", cluster.data)
    with open(cluster.data / name, "r+b") as file:
        file.seek(8192 * 77 + 8180)
        old = file.read(1)
        file.seek(8192 * 77 + 8180)
        file.write(bytes([old[0] ^ 1]))
        if moved:
            file.seek(8192 * 77)
            file.write(struct.pack("<II", high, low - 64))
    run(cluster.bin / "pg_checksums", "-e", "-D", cluster.data)
    cluster.start()
    expected = cluster.digest()
    if not moved:
        first = in_part(remote)  # sees nothing: block 77 is not sent
    # Four weeks on every file has had its turn.
    later = (datetime.datetime.now() + datetime.timedelta(days=29)).strftime("%Y-%m-%d %H:%M:%S")
    outcome = remote.run("backup", "--json", prefix=("faketime", later), code=8)
    if moved:
        assert outcome.json["type"] == "full" and f"{name} block 77 changed at" in outcome.err, outcome
    else:
        assert outcome.json["parent"] == first["name"] and outcome.json["damaged_pages_count"] == 1
        assert f"{name} block 77 (changed since the last backup, and no WAL says so)" in outcome.err, outcome
    assert cluster.digest() == expected
    assert opened_clone(make, cluster, remote, "--backup", outcome.json["name"], "--immediate").digest() == expected


def test_a_parent_that_is_damaged_makes_the_server_send_everything_once_more(make):
    cluster, tool, remote = pair_of(make)
    cluster.sql("create table large as select i, md5(i::text) as body from generate_series(1, 200000) i")
    cluster.sql("vacuum freeze large")
    first = remote.backup()["name"]
    # Of some extents so much that they are written anew: the rest of them is the parent's.
    cluster.sql("update large set body = 'y' where i < 100000 and i / 5000 % 2 = 0")
    cluster.sql("checkpoint")
    for pack in remote.objects_of("p"):
        content = bytearray(pack.read_bytes())
        for at in range(200, max(201, len(content) - 70_000), 4096):
            content[at] ^= 1
        pack.write_bytes(content)
    outcome = remote.run("backup", "--type", "incremental", "--json", code=8)
    assert "the parent cannot be read" in outcome.err and "as a full backup" in outcome.err, outcome
    made = outcome.json
    assert made["type"] == "full" and made["name"] != first
    assert_recovers(make, remote, cluster, made)


def test_progress_ends_at_its_end(make):
    cluster, tool, remote = pair_of(make)
    cluster.make_table("other", 100000)
    cluster.sql("vacuum freeze other")
    cluster.archive_now()
    remote.backup()
    cluster.sql("update other set body = 'x' where id % 10 = 0")
    cluster.archive_now()
    outcome = remote.run("--progress", "json", "backup", "--json", "--max-rate", "12MiB")
    told = [json.loads(line) for line in outcome.err.splitlines() if line.startswith("{")]
    copies = [one for one in told if one["event"] == "progress" and one["phase"] == "copy" and one["total_bytes"]]
    made = outcome.json
    assert copies[-1]["total_bytes"] < made["size_bytes"] * 0.8, "what is expected is what comes"
    assert 0.8 < copies[-1]["done_bytes"] / copies[-1]["total_bytes"] <= 1 and 0.8 < made["received_bytes"] / copies[-1]["total_bytes"] < 1.2, (copies[-1], made)
