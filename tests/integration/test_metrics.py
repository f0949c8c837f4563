"""pgmint metrics: what a real Prometheus reads of a real cluster, and what it must not be told."""
import os
import time

import pytest

from harness.monitoring import metric, metrics_of
from harness.places import owner_folder, run, wait_until


def read(pgmint, **keywords):
    return metrics_of(pgmint.run("metrics", **keywords).out)


@pytest.mark.quick
@pytest.mark.versions
def test_metrics_say_what_status_knows_and_promtool_finds_nothing_to_complain_of(make, version):
    cluster, pgmint = make.pair(version)
    backup = pgmint.backup()
    cluster.archive_now()
    text = pgmint.run("metrics").out
    checked = run("sh", "-c", 'promtool check metrics < "$1"', "sh", save(pgmint, text), check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", ""), checked.stderr

    metrics, status = metrics_of(text), pgmint.run("status", "--json").json["clusters"][0]
    own = {"cluster": "main"}
    assert metric(metrics, "pgmint_repository_up") == 1 and metric(metrics, "pgmint_build_info") == 1
    assert abs(metric(metrics, "pgmint_metrics_timestamp_seconds") - time.time()) < 60
    assert metric(metrics, "pgmint_last_backup_size_bytes", type="full", **own) == backup["size_bytes"]
    assert metric(metrics, "pgmint_last_backup_stored_bytes", type="full", **own) == backup["stored_bytes"]
    assert metric(metrics, "pgmint_last_backup_duration_seconds", type="full", **own) == pytest.approx(backup["duration_s"])
    assert abs(metric(metrics, "pgmint_last_backup_timestamp_seconds", type="full", **own) - time.time()) < 60
    assert metric(metrics, "pgmint_backups", type="full", **own) == 1
    assert metric(metrics, "pgmint_rpo_objective_seconds", **own) == status["rpo"]["objective_s"] == 3600
    assert metric(metrics, "pgmint_rpo_exposure_seconds", **own) < 60
    assert metric(metrics, "pgmint_recovery_window_start_timestamp_seconds", **own) <= metric(metrics, "pgmint_recovery_window_end_timestamp_seconds", **own)
    assert metric(metrics, "pgmint_wal_gaps", **own) == 0 and metric(metrics, "pgmint_archiver_failing", **own) == 0 and metric(metrics, "pgmint_server_up", **own) == 1
    assert metric(metrics, "pgmint_verified_bytes", **own) == 0 < metric(metrics, "pgmint_unverified_bytes", **own)
    assert metric(metrics, "pgmint_repository_stored_bytes", kind="wal", **own) > 0
    assert 0 < metric(metrics, "pgmint_repository_free_bytes") < metric(metrics, "pgmint_repository_size_bytes")
    assert 0 < metric(metrics, "pgmint_data_free_bytes", **own) < metric(metrics, "pgmint_data_size_bytes", **own)
    assert metric(metrics, "pgmint_problems", code="recovery-key-untested", cluster="", severity="warning") == 1
    assert abs(metric(metrics, "pgmint_key_created_timestamp_seconds", kind="key-file") - time.time()) < 120
    assert metric(metrics, "pgmint_last_run_exit_code", verb="backup --type full", **own) == 0 and metric(metrics, "pgmint_run_failed", verb="backup --type full", **own) == 0

    pgmint.run("verify", "--read-data")
    after = read(pgmint)
    assert metric(after, "pgmint_unverified_bytes", **own) == 0 < metric(after, "pgmint_verified_bytes", **own)
    assert abs(metric(after, "pgmint_verified_oldest_timestamp_seconds", **own) - time.time()) < 60


def save(pgmint, text):
    file = pgmint.home / "metrics.txt"
    file.write_text(text)
    return file


def test_a_gap_and_a_failing_archiver_are_counted(make):
    cluster, pgmint = make.pair()
    pgmint.backup()
    cluster.archive_now()
    cluster.add_rows("t", 100)
    lost = cluster.archive_now()
    cluster.archive_now()
    for path in pgmint.objects():
        if lost in path.name:
            path.unlink()
    cluster.configure(archive_command="false")
    cluster.reload()
    cluster.switch_wal()
    wait_until(lambda: cluster.one("select last_failed_time is not null from pg_stat_archiver"), "the archiver has failed")
    metrics = read(pgmint)
    assert metric(metrics, "pgmint_wal_gaps", cluster="main") == 1
    assert metric(metrics, "pgmint_archiver_failing", cluster="main") == 1
    assert metric(metrics, "pgmint_problems", code="wal-gap", cluster="main", severity="problem") == 1


def test_a_cluster_without_a_backup_could_lose_everything(make):
    cluster, pgmint = make.pair()
    metrics = read(pgmint)
    assert metric(metrics, "pgmint_rpo_exposure_seconds", cluster="main") == float("inf")
    assert metric(metrics, "pgmint_problems", code="no-backup", cluster="main", severity="problem") == 1
    cluster.stop()
    metrics = read(pgmint)
    assert metric(metrics, "pgmint_server_up", cluster="main") == 0
    assert not [name for name, _ in metrics if name == "pgmint_archiver_failing"], "nobody knows"


def test_a_failed_run_is_seen_until_the_same_goes_well(make):
    cluster, pgmint = make.pair()
    cluster.stop()
    pgmint.run("backup", code=9)
    failed = read(pgmint)
    assert metric(failed, "pgmint_last_run_exit_code", verb="backup") == 9 and metric(failed, "pgmint_run_failed", verb="backup") == 1
    pgmint.run("expire", "--dry-run", code=(0, 4))
    pgmint.run("backup", "--wal-timeout", "soon", code=2)
    pgmint.run("backup", "nosuch", code=3)
    assert {labels for name, labels in read(pgmint) if name == "pgmint_last_run_exit_code"} == {
        labels for name, labels in failed if name == "pgmint_last_run_exit_code"}, "a typing mistake or a dry run is no run"
    cluster.start()
    pgmint.run("backup")
    healed = read(pgmint)
    assert metric(healed, "pgmint_last_run_exit_code", verb="backup") == 0 and metric(healed, "pgmint_run_failed", verb="backup") == 0


def test_a_killed_run_is_seen(make):
    _, pgmint = make.pair()
    backup = pgmint.start("backup", "--max-rate", "200k", "--progress", "none")
    wait_until(lambda: list((pgmint.home / "state/runs").glob("backup@main*")), "the run is noted")
    assert metric(read(pgmint), "pgmint_run_failed", verb="backup") == 0, "it is under way"
    backup.kill()
    backup.communicate()
    metrics = read(pgmint)
    assert metric(metrics, "pgmint_run_failed", verb="backup") == 1 and metric(metrics, "pgmint_last_run_exit_code", verb="backup") == 137


def test_a_textfile_is_replaced_whole_and_a_repository_that_is_gone_leaves_no_old_numbers(make):
    cluster, pgmint = make.pair()
    pgmint.backup()
    folder = owner_folder(pgmint.home / "collector", 0o755)
    file = folder / "pgmint.prom"
    assert pgmint.run("metrics", "--textfile", file).out == ""
    before = metrics_of(file.read_text())
    assert metric(before, "pgmint_backups", cluster="main", type="full") == 1
    assert os.stat(file).st_mode & 0o777 == 0o644 and [p.name for p in folder.iterdir()] == ["pgmint.prom"]
    pgmint.repository.rename(pgmint.home / "away")
    pgmint.run("metrics", "--textfile", file, code=(4, 6))
    gone = metrics_of(file.read_text())
    assert metric(gone, "pgmint_repository_up") == 0
    assert not [name for name, _ in gone if name == "pgmint_last_backup_timestamp_seconds"], "what was true once is not told as if it were now"
    pgmint.refuses("metrics", "--textfile", folder / "pgmint.txt", code=2, naming=".prom")
    pgmint.refuses("metrics", "--json", code=2, naming="status")
    pgmint.refuses("metrics", "--listen", "0.0.0.0:9891", code=2, naming="this host alone")
    pgmint.refuses("metrics", "--listen", "127.0.0.1:0", "--textfile", file, code=2, naming="one of both")


def test_a_nearly_full_disk_an_old_key_and_missing_dumps_are_problems(make):
    cluster, pgmint = make.pair()
    pgmint.backup()
    assert not {"repository-space", "data-space", "key-old", "logical-old"} & {dict(labels).get("code") for _, labels in read(pgmint)}
    pgmint.extra = '[health]\ndisk_free_min = "900TB"\nlogical_age_max = "1d"\n'
    pgmint.write(pgmint.config.read_text() + pgmint.extra)
    metrics = read(pgmint)
    assert metric(metrics, "pgmint_problems", code="repository-space", cluster="", severity="problem") == 1
    assert metric(metrics, "pgmint_problems", code="data-space", cluster="main", severity="problem") == 1
    assert metric(metrics, "pgmint_problems", code="logical-old", cluster="main", severity="warning") == 1
    later = read(pgmint, prefix=("faketime", "-f", "+400d"))
    assert metric(later, "pgmint_problems", code="key-old", cluster="", severity="warning") >= 1
    assert metric(later, "pgmint_problems", code="verify-old", cluster="main", severity="warning") == 2, "of packs, and of WAL"
