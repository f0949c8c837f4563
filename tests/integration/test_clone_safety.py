"""A clone started beside its origin must not touch the origin: its archive, its standbys, its publications, its tablespaces."""
import os
import re
import stat

import pytest

from harness.pgmint import tree_snapshot
from harness.places import owner_folder, run, wait_until


def clone_of(make, tool, *arguments, action="promote"):
    target = make.folder("clone") / "data"
    tool.restore(target, *arguments, "--action", action)
    return make.opened(target, name="clone")


@pytest.mark.quick
def test_clone_archives_nothing_into_the_origins_repository(make, pair):
    cluster, tool = pair
    tool.backup()
    cluster.archive_now()
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.setting("archive_mode") == "off"
    before = tool.snapshot()
    for _ in range(3):
        clone.add_rows("t", 50)
        clone.switch_wal()
    clone.sql("checkpoint")
    clone.stop()
    assert {k: v for k, v in tool.snapshot().items() if "/wal/" in k} == {k: v for k, v in before.items() if "/wal/" in k}
    assert not list((clone.data / "pg_wal/archive_status").glob("*.ready"))


def test_keep_archiving_is_the_way_to_have_it_otherwise(make, pair):
    cluster, tool = pair
    tool.backup()
    cluster.archive_now()
    clone = clone_of(make, tool, "--keep-archiving").start().wait_promoted()
    assert clone.setting("archive_mode") == "on"


def test_restore_in_the_clusters_own_place_archives_on(make, pair):
    cluster, tool = pair
    tool.backup()
    cluster.archive_now()
    cluster.stop()
    cluster.data.rename(cluster.home / "old")
    tool.restore(cluster.data, "--latest", "--action", "promote")
    cluster.start().wait_promoted()
    assert cluster.setting("archive_mode") == "on"
    cluster.archive_now()


@pytest.mark.quick
def test_clone_follows_nobody_and_subscribes_to_nothing(make):
    cluster, tool = make.pair(rows=50)
    cluster.sql("alter system set primary_conninfo = 'host=/nonexistent user=repl'")
    cluster.sql("alter system set primary_slot_name = 'slot_of_production'")
    cluster.sql("alter system set recovery_target_name = 'left over'")
    cluster.sql("alter system set recovery_target_action = 'shutdown'")
    tool.backup()
    cluster.archive_now()
    clone = clone_of(make, tool)
    settings = (clone.data / "postgresql.auto.conf").read_text()
    assert "left over" not in settings
    clone.start().wait_promoted()
    assert clone.setting("primary_conninfo") == "" and clone.setting("primary_slot_name") == ""
    assert clone.setting("max_logical_replication_workers") == "0"
    assert clone.setting("recovery_target_name") == ""


def test_subscription_of_the_origin_does_not_run_in_the_clone(make):
    publisher = make.cluster("publisher", wal_level="logical")
    publisher.sql("create table p (x int)")
    publisher.sql("create publication pub for table p")
    cluster, tool = make.pair(rows=10, fresh=True)
    cluster.sql("create table p (x int)")
    cluster.sql("create subscription s connection %s publication pub", publisher.connection)
    publisher.sql("insert into p select generate_series(1, 10)")
    wait_until(lambda: cluster.one("select count(*) from p") == 10, "the subscriber has the rows")
    tool.backup()
    cluster.archive_now()
    clone = clone_of(make, tool).start().wait_promoted()
    active = publisher.one("select active_pid from pg_replication_slots where slot_name = 's'")
    publisher.sql("insert into p select generate_series(11, 20)")
    wait_until(lambda: cluster.one("select count(*) from p") == 20, "the real subscriber goes on")
    assert publisher.one("select active_pid from pg_replication_slots where slot_name = 's'") == active
    assert clone.one("select count(*) from p") == 10
    clone.stop()
    cluster.stop()


@pytest.mark.quick
def test_tablespace_of_a_clone_lies_where_the_mapping_says(make):
    cluster, tool = make.pair(rows=50)
    place = cluster.tablespace("extra")
    cluster.make_table("in_space", 300, tablespace="extra")
    made = tool.backup()
    shown = tool.run("show", made["name"], "--json").json
    assert [space["location"] for space in shown["tablespaces"]] == [str(place)]
    cluster.add_rows("in_space", 50)
    expected = cluster.digest()
    cluster.archive_now()
    cluster.sql("checkpoint")
    elsewhere = make.folder("spaces") / "extra"
    before = tree_snapshot(place)
    clone = clone_of(make, tool, "--tablespace", f"{place}={elsewhere}").start().wait_promoted()
    assert clone.digest() == expected
    oid = shown["tablespaces"][0]["oid"]
    assert os.readlink(clone.data / "pg_tblspc" / str(oid)) == str(elsewhere)
    clone.add_rows("in_space", 1000)
    clone.sql("checkpoint")
    clone.sql("drop table in_space")
    clone.stop()
    assert tree_snapshot(place) == before  # the origin's directory: untouched
    assert cluster.digest() == expected


def test_tablespace_map_cannot_bring_the_origins_directory_back(make):
    """POSTGRES.md 21: the server recreates links from tablespace_map over remapped ones."""
    cluster, tool = make.pair(rows=10)
    place = cluster.tablespace("extra")
    cluster.make_table("in_space", 50, tablespace="extra")
    tool.backup()
    cluster.archive_now()
    elsewhere = make.folder("spaces") / "extra"
    clone = clone_of(make, tool, "--tablespace", f"{place}={elsewhere}")
    content = (clone.data / "tablespace_map").read_text() if (clone.data / "tablespace_map").exists() else ""
    assert str(place) not in content
    for link in (clone.data / "pg_tblspc").iterdir():
        assert os.readlink(link) == str(elsewhere)


def test_in_place_tablespace_stays_a_directory(make):
    cluster, tool = make.pair(rows=10)
    link = cluster.connect()
    with link.cursor() as cursor:
        cursor.execute("set allow_in_place_tablespaces = on")
        cursor.execute("create tablespace inplace location ''")
    link.close()
    cluster.make_table("in_place", 200, tablespace="inplace")
    expected = cluster.digest()
    tool.backup()
    cluster.archive_now()
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected
    (entry,) = list((clone.data / "pg_tblspc").iterdir())
    assert entry.is_dir() and not entry.is_symlink()


def test_clone_without_a_mapping_works_once_the_origin_is_gone(make):
    cluster, tool = make.pair(rows=10)
    place = cluster.tablespace("extra")
    cluster.make_table("in_space", 50, tablespace="extra")
    expected = cluster.digest()
    tool.backup()
    cluster.archive_now()
    cluster.stop()
    place.rename(cluster.home / "space_moved_away")
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected
    assert place.is_dir()


def test_symlinked_pg_wal_becomes_a_directory_of_the_clone(make):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster)
    cluster.archive_with(tool)
    tool.init()
    elsewhere = cluster.home / "wal-disk"
    (cluster.data / "pg_wal").rename(elsewhere)
    run("ln", "-s", elsewhere, cluster.data / "pg_wal")
    cluster.start().make_table("t", 100)
    tool.backup()
    expected = cluster.digest()
    cluster.archive_now()
    before = set(os.listdir(elsewhere))
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected
    wal = clone.data / "pg_wal"
    assert os.path.realpath(wal) != str(elsewhere)
    clone.switch_wal()
    clone.stop()
    assert not [n for n in set(os.listdir(elsewhere)) - before if n.startswith("00000002")]


def test_standby_signal_of_a_standbys_backup_is_not_restored(make):
    cluster, tool = make.pair(rows=200)
    standby = make_standby(make, cluster)
    tool.clusters["main"].update(data_directory=standby.data, connection=standby.connection)
    tool.write()
    load_until_backed_up(cluster, tool)
    cluster.archive_now()
    clone = clone_of(make, tool)
    assert not (clone.data / "standby.signal").exists()
    clone.start().wait_promoted()
    assert clone.setting("primary_conninfo") == ""
    clone.amcheck()


def make_standby(make, primary):
    standby = make.cluster("standby", primary.version, start=False, data=primary.home / "standby-data")
    run(standby.bin / "pg_basebackup", "-h", primary.sockets, "-U", "postgres", "-D", standby.data, "-R", "-X", "stream", "-c", "fast")
    standby.configure(unix_socket_directories=standby.sockets, hot_standby="on")
    standby.start()
    wait_until(lambda: standby.one("select count(*) from t") == primary.one("select count(*) from t"), "the standby has caught up")
    return standby


def load_until_backed_up(primary, tool):
    """Backup of a standby while the primary writes and switches WAL, as a busy primary does."""
    process = tool.start("backup", "--type", "full", "--json", "--wal-timeout", "60")

    def step():
        if process.poll() is not None:
            return True
        primary.add_rows("t", 20)
        primary.switch_wal()
        return False
    wait_until(step, "the backup ends", timeout=60, every=0.2)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def test_configuration_outside_the_data_directory_is_backed_up_and_put_in_place(make):
    """Debian keeps postgresql.conf, pg_hba.conf and pg_ident.conf in /etc (POSTGRES.md 5)."""
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster)
    cluster.archive_with(tool)
    tool.init()
    etc = owner_folder(cluster.home / "etc")
    owner_folder(etc / "conf.d")
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        run("mv", cluster.data / name, etc / name)
    with open(etc / "postgresql.conf", "a") as file:
        file.write(f"data_directory = '{cluster.data}'\nhba_file = '{etc}/pg_hba.conf'\nident_file = '{etc}/pg_ident.conf'\ninclude_dir = 'conf.d'\n")
    (etc / "conf.d" / "extra.conf").write_text("work_mem = '7MB'\n")
    cluster.start(config_file=etc / "postgresql.conf")
    cluster.make_table("t", 100)
    made = tool.backup()
    shown = tool.run("show", made["name"], "--json").json
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf", "extra.conf"):
        assert any(path.endswith("/" + name) for path in shown["config_files"]), name
    expected = cluster.digest()
    cluster.archive_now()
    target = make.folder("clone") / "data"
    told = tool.restore(target, "--latest", "--action", "promote")
    assert "postgresql.conf" in told.text  # restore says where they went
    clone = make.opened(target, name="clone").start().wait_promoted()
    assert clone.digest() == expected
    assert clone.setting("data_directory") == str(target)
    assert clone.setting("hba_file") == str(target / "pg_hba.conf")


@pytest.mark.parametrize("group", [False, True], ids=["0700", "0750"])
def test_modes_and_links_are_those_of_the_origin(make, group):
    cluster, tool = make.pair(rows=10, group=group)
    (cluster.data / "pg_hba.conf").chmod(0o640 if group else 0o600)
    tool.backup()
    cluster.archive_now()
    clone = clone_of(make, tool)
    assert stat.S_IMODE(clone.data.stat().st_mode) == (0o750 if group else 0o700)
    for name in ("base", "global", "pg_wal", "PG_VERSION", "global/pg_control", "pg_hba.conf"):
        assert stat.S_IMODE((clone.data / name).stat().st_mode) == stat.S_IMODE((cluster.data / name).stat().st_mode), name
    for name in ("pg_notify", "pg_replslot", "pg_dynshmem", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_wal/archive_status"):
        assert (clone.data / name).is_dir(), name


def test_settings_that_may_not_shrink_are_checked_before_the_restore(make):
    cluster, tool = make.pair(rows=10)
    tool.backup()
    cluster.configure(max_connections=20)  # below what pg_control will say once the server ran with 30
    cluster.archive_now()
    clone = clone_of(make, tool).start().wait_promoted()
    assert re.fullmatch(r"\d+", clone.setting("max_connections"))
