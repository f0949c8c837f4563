"""Remote clusters of 17 and later: the server sends only what changed since the parent, and what is restored is what was there."""
import pytest

from harness.places import server_programs, wait_until
from test_clone_safety import make_standby
from test_incremental import assert_recovers, assert_same_as_full, change_everything
from test_page_codec import make_variety
from test_remote import remote_of

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
