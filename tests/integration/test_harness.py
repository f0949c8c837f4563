"""The harness itself: a test suite that cannot start servers or notice a difference proves nothing."""
import pytest

from harness.faults import PowerCutDisk, small_filesystem
from harness.cluster import Background
from harness.places import wait_until


@pytest.mark.quick
def test_cluster_starts_in_each_installed_version(make, version):
    cluster = make.cluster(version=version)
    assert cluster.one("show server_version_num").startswith(str(version))
    assert cluster.one("show data_checksums") == "on"


@pytest.mark.parametrize("segment_mb", [1, 64])
def test_cluster_with_odd_wal_segments_without_checksums(make, segment_mb):
    cluster = make.cluster(wal_segsize=segment_mb, checksums=False, group=True)
    assert cluster.one("show data_checksums") == "off"
    assert cluster.one("show wal_segment_size") == f"{segment_mb}MB"
    assert oct(cluster.data.stat().st_mode & 0o777) == "0o750"


def test_digest_differs_when_one_value_of_one_row_differs(make):
    cluster = make.cluster()
    cluster.make_table("t", 500)
    before = cluster.digest()
    assert before["t"][0] == 500
    cluster.sql("update t set body = body || 'x' where id = 250")
    assert cluster.digest() != before
    cluster.sql("update t set body = 'row 250 ' || md5('250') where id = 250")
    assert cluster.digest() == before  # whatever the order of the rows


def test_killed_server_recovers_with_committed_rows(make):
    cluster = make.cluster()
    cluster.make_table("t", 100)
    load = Background(cluster, "t")
    wait_until(lambda: cluster.one("select count(*) from t") > 120, "the load runs")
    cluster.kill()
    load.stop()
    assert cluster.start().one("select count(*) from t") > 120


def test_power_cut_keeps_what_was_synced_and_loses_the_rest(make):
    disk = PowerCutDisk(make.folder("disk"), 32)
    try:
        (disk.place / "kept").write_text("synced")
        with open(disk.place / "kept") as file:
            import os
            os.fsync(file.fileno())
        fd = os.open(disk.place, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        (disk.place / "lost").write_text("x" * 100_000)
        disk.cut()
        disk.mend()
        assert (disk.place / "kept").read_text() == "synced"
        assert not (disk.place / "lost").exists() or (disk.place / "lost").stat().st_size == 0
    finally:
        disk.remove()


def test_small_filesystem_is_full_when_it_is_full(make):
    with small_filesystem(make.folder("small"), 2) as place:
        with pytest.raises(OSError):
            (place / "f").write_bytes(b"x" * (3 << 20))
