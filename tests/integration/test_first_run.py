"""From nothing to a restored server: what a user does on the first day."""
import re
import stat

import pytest

from harness.pgmint import tree_snapshot
from harness.places import give_to_owner, owner_folder, wait_until

pytestmark = pytest.mark.quick

BACKUP_FIELDS = {"name", "cluster", "type", "started", "finished", "duration_s", "size_bytes", "stored_bytes", "files", "timeline", "start_lsn",
                 "stop_lsn", "wal_start", "wal_stop", "server_version", "from_standby", "note", "held", "damaged_pages_count"}


def test_init_makes_the_key_file_for_its_owner_alone(make):
    tool = make.pgmint()
    outcome = tool.run("init")
    assert stat.S_IMODE(tool.key_file.stat().st_mode) == 0o600
    assert "recovery key" in outcome.text.lower()


def test_init_json_names_repository_slots_and_recovery_key(make):
    tool = make.pgmint()
    made = tool.run("init", "--json").json
    assert made["repository"] == str(tool.repository)
    assert made["key_file"] == str(tool.key_file)
    assert made["recovery_key"]
    assert sorted(slot["kind"] for slot in made["slots"]) == ["key-file", "recovery"]


def test_init_needs_no_running_server(make):
    cluster = make.cluster(start=False)
    make.pgmint(cluster).init()


def test_second_init_is_refused_and_changes_nothing(make):
    tool = make.pgmint().init()
    before, key = tool.snapshot(), tool.key_file.read_bytes()
    tool.refuses("init", code=4)
    assert tool.snapshot() == before and tool.key_file.read_bytes() == key


def test_init_in_a_place_of_others_is_refused_and_changes_nothing(make):
    """What a cut-off init leaves is passed over (test_crash.py), and nothing that only looks like it."""
    for name in ("keys/authorized", "keys", "notes", "keys/of/somebody"):
        tool = make.pgmint()
        place = owner_folder(tool.repository) / name
        if place.parent != tool.repository:
            owner_folder(place.parent)
            owner_folder(tool.repository / "keys")
        place.write_text("not of pgmint\n")
        give_to_owner(place)
        before = tool.snapshot()
        tool.refuses("init", code=4, naming="is not empty")
        assert tool.snapshot() == before and not tool.key_file.exists()


def test_backup_list_show_restore_latest_gives_the_same_rows(make, pair):
    cluster, tool = pair
    made = tool.run("backup", "--type", "full")
    assert made.code == 0
    cluster.add_rows("t", 500)
    expected = cluster.digest()
    cluster.archive_now()

    listed = tool.list()
    assert listed["name"] == "main" and listed["system_identifier"] == cluster.system_identifier
    (backup,) = listed["backups"]
    assert re.fullmatch(r"\d{8}T\d{6}Z-full", backup["name"])
    assert BACKUP_FIELDS <= backup.keys()
    assert backup["type"] == "full" and backup["timeline"] == 1 and backup["server_version"] // 10000 == cluster.version
    assert 0 < backup["stored_bytes"] < backup["size_bytes"]
    assert re.fullmatch(r"[0-9A-F]{24}", backup["wal_start"])
    assert listed["wal"]["gaps"] == [] and listed["wal"]["max"] >= backup["wal_stop"]
    assert listed["recovery_window"]["from"] < listed["recovery_window"]["to"]

    shown = tool.run("show", backup["name"], "--json").json
    assert BACKUP_FIELDS <= shown.keys()
    assert shown["data_checksums"] is True and shown["wal_segment_size"] == 16 << 20 and shown["block_size"] == 8192

    target = cluster.home / "restored"
    tool.restore(target, "--latest", "--action", "promote")
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    restored = make.opened(target).start().wait_promoted()
    assert restored.digest() == expected
    restored.amcheck()


def test_backup_json_is_the_backup_that_list_shows(pair):
    _, tool = pair
    made = tool.backup("--note", "before the migration")
    assert made["note"] == "before the migration"
    (listed,) = tool.list()["backups"]
    assert listed == made


def test_output_for_people_names_the_backup_and_the_window(pair):
    cluster, tool = pair
    name = tool.backup()["name"]
    cluster.archive_now()
    listed = tool.run("list").out
    assert name in listed and "main" in listed
    assert re.search(r"from .* to ", listed)
    shown = tool.run("show", name).out
    assert name in shown and re.search(r"[0-9A-F]{24}", shown)


def test_two_backups_have_two_names_even_within_a_second(pair):
    _, tool = pair
    names = {tool.backup()["name"], tool.backup()["name"]}
    assert len(names) == 2
    assert tool.names() == sorted(names)


def test_list_of_an_empty_repository_has_no_backups_and_no_window(make):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster).init()
    listed = tool.run("list", "--json").json
    for one in listed["clusters"]:
        assert one["backups"] == [] and one["recovery_window"] is None
    assert tool.run("list").code == 0


def test_repository_files_reveal_no_row_and_no_file_name(make, pair):
    cluster, tool = pair
    cluster.sql("create table secrets (body text)")
    cluster.sql("insert into secrets select 'TOPSECRETVALUE' from generate_series(1, 5000)")
    tool.backup()
    cluster.archive_now()
    for path in tool.objects():
        content = path.read_bytes()
        for clear in (b"TOPSECRETVALUE", b"pg_control", b"postgresql.conf", b"PG_VERSION", b"secrets"):
            assert clear not in content, f"{clear} stands in {path}"


def test_repository_is_closed_to_others(pair):
    _, tool = pair
    tool.backup()
    assert stat.S_IMODE(tool.repository.stat().st_mode) & 0o007 == 0
    for path in tool.objects():
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, path


def test_backup_leaves_the_data_directory_and_the_server_as_they_were(pair):
    cluster, tool = pair
    cluster.sql("checkpoint")
    skip = ("pg_wal", "pg_stat", "global/pg_control", "pg_logical", "base", "pg_xact", "postmaster", "pg_subtrans", "global")
    before = {k: v for k, v in tree_snapshot(cluster.data).items() if not k.startswith(skip)}
    tool.backup()
    after = {k: v for k, v in tree_snapshot(cluster.data).items() if not k.startswith(skip)}
    assert before == after
    wait_until(lambda: cluster.one("select count(*) from pg_stat_activity where backend_type = 'client backend'") == 1, "ours alone: nothing was left open")


def test_global_options_work_from_the_environment(make):
    cluster = make.cluster()
    tool = make.pgmint(cluster).init()
    outcome = tool.run("list", "--json", config=False, env={"PGMINT_CONFIG": str(tool.config)})
    assert "clusters" in outcome.json


def test_cluster_name_may_be_left_out_only_when_one_is_configured(make):
    first, second = make.cluster("one"), make.cluster("two", fresh=True)
    tool = make.pgmint(first, second).init()
    outcome = tool.refuses("backup", code=(2, 3), naming=["one", "two"])
    assert outcome.out == ""
    tool.refuses("backup", "three", code=3, naming="three")


def test_help_and_version_need_no_configuration(make):
    tool = make.pgmint()
    for arguments in (["--help"], ["backup", "--help"], ["restore", "--help"], ["wal", "--help"], ["wal", "push", "--help"], ["key", "--help"], ["--version"]):
        outcome = tool.run(*arguments, config=False, env={"PGMINT_CONFIG": "/nonexistent"})
        assert outcome.out.strip() and not outcome.err.strip()


def test_each_installed_version_backs_up_and_restores(make, version):
    cluster, tool = make.pair(version=version)
    made = tool.backup()
    assert made["server_version"] // 10000 == version
    cluster.add_rows("t", 700)
    expected = cluster.digest()
    cluster.archive_now()
    target = cluster.home / "restored"
    tool.restore(target, "--action", "promote")
    restored = make.opened(target, version).start().wait_promoted()
    assert restored.digest() == expected
    restored.amcheck()
