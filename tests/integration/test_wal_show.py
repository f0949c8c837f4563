"""`wal show`: what archived WAL changed, so that a person finds the place to go back to."""
from harness.waldump import lsn_number


def test_it_finds_where_a_table_was_dropped_and_recovery_stops_before(make, pair):
    cluster, tool = pair
    tool.backup()
    first = cluster.current_segment()
    expected = cluster.digest()["t"]
    node, database = cluster.one("select pg_relation_filenode('t')"), cluster.one("select oid from pg_database where datname = 'postgres'")
    cluster.sql("select pg_create_restore_point('before_the_release')")
    cluster.sql("drop table t")
    cluster.make_table("after", 10)
    last = cluster.archive_now()
    said = tool.run("wal", "show", first, last, "--json").json
    (drop,) = [event for event in said["events"] if event["kind"] == "drop" and event["relation"] == node]
    assert (drop["tablespace"], drop["database"]) == (1663, int(database)) and drop["time"]
    assert [point["name"] for point in said["restore_points"]] == ["before_the_release"]
    assert lsn_number(said["restore_points"][0]["lsn"]) <= lsn_number(drop["lsn"]) < lsn_number(said["to_lsn"])
    shown = tool.run("wal", "show", first, last).out
    assert f"drop 1663/{database}/{node}: {drop['lsn']}, transaction {drop['xid']}" in shown and "restore point before_the_release" in shown

    home = make.folder("before")
    tool.restore(home / "data", "--lsn", drop["lsn"], "--exclusive")
    clone = make.opened(home / "data", cluster.version).start().wait_promoted()
    assert clone.digest() == {"t": expected}


def test_it_says_what_is_not_there(pair):
    cluster, tool = pair
    first = cluster.archive_now()
    assert tool.run("wal", "show", first).out
    tool.refuses("wal", "show", "0000000100000000000000FE", code=1, naming="not archived")
    tool.refuses("wal", "show", first, "0000000100000000000000FE", code=1, naming="000000010000000000000002 is not archived")
    tool.refuses("wal", "show", "yesterday", code=2, naming="not the name of a WAL segment")
    tool.refuses("wal", "show", first, "00000001.history", code=2)
