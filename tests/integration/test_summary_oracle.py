"""Change summaries against PostgreSQL's own readers of WAL: they name what those name, block by block."""
import random
from collections import defaultdict

import pytest

from harness.places import wait_until
from harness.waldump import Fork, blocks_named, lsn_number, relations_removed, storage_limits, wal_records
from harness.workload import hard_cases
from test_page_codec import make_variety

SETTINGS = {"wal_keep_size": "4GB", "max_prepared_transactions": "20", "max_locks_per_transaction": "256"}
MAPS = ("fsm", "vm")
HEAP_BLOCKS_OF_A_VM_PAGE = (8192 - 24) * 4  # visibilitymap.c: two bits each behind a page header


class Stretch:
    """Archived segments that hold a workload: what `wal show` says of them, and the records that pg_waldump reads there."""

    def __init__(self, cluster, tool, chance):
        cluster.tablespace("other")
        cluster.archive_now()
        cluster.sql("checkpoint")  # where a summary of PostgreSQL's own begins
        first = cluster.current_segment()
        make_variety(cluster)
        hard_cases(cluster, chance)
        self.said = tool.run("wal", "show", first, cluster.archive_now(timeout=120), "--json").json
        assert self.said["incomplete"] is None
        self.records = wal_records(cluster, self.said["from_lsn"], self.said["to_lsn"])
        self.blocks, self.limits = set(), {}
        for row in self.said["relations"]:
            fork = Fork(row["tablespace"], row["database"], row["relation"], row["fork"])
            self.blocks |= {(fork, block) for low, high in row["ranges"] for block in range(low, high + 1)}
            if row["renewed_from"] is not None:
                self.limits[fork] = row["renewed_from"]

    def is_worth_comparing(self, segments):
        """Guards the test itself: WAL of every sort, over the edges of segments, with an end before a segment's."""
        kinds = {record.rmgr for record in self.records}
        assert {"Btree", "Hash", "Gin", "Gist", "BRIN", "SPGist", "Sequence", "MultiXact", "Generic", "Storage", "Database"} <= kinds, kinds
        assert {fork.fork for fork, _ in self.blocks} >= {"main", "vm", "fsm", "init"}
        assert len(self.blocks) > 3000 and self.said["segments"][0]["count"] > segments
        assert sum(record.what == "SWITCH" for record in self.records) > 2


def assert_equal_sets(ours, theirs):
    assert not sorted(theirs - ours)[:20], "missed"
    assert not sorted(ours - theirs)[:20], "made up"


def lowest(limits):
    found = {}
    for fork, limit in limits:
        found[fork] = min(limit, found.get(fork, limit))
    return found


@pytest.mark.versions
@pytest.mark.parametrize("segment_mb", [1, 16])
def test_summaries_name_exactly_the_blocks_of_pg_waldump(make, version, segment_mb, seed):
    cluster, tool = make.pair(version=version, wal_segsize=segment_mb, **SETTINGS)
    stretch = Stretch(cluster, tool, random.Random(seed))
    stretch.is_worth_comparing(segments=20 if segment_mb == 1 else 3)
    assert_equal_sets(stretch.blocks, blocks_named(stretch.records))

    # What is no block reference: storage that is made, cut, or goes with its database. Of a map that is cut nothing is taken to
    # stay, since what is left of it depends on its layout.
    limits = [(fork, 0 if fork.fork in MAPS else limit) for record in stretch.records for fork, limit in storage_limits(record)]
    assert stretch.limits == lowest(limits)
    assert any(limit > 0 for limit in stretch.limits.values()), "no relation was cut to some blocks"

    # And for people: what commits dropped, each with the LSN before which it was still there.
    dropped = [(lsn_number(event["lsn"]), Fork(event["tablespace"], event["database"], event["relation"], "main"))
               for event in stretch.said["events"] if event["kind"] == "drop"]
    removed = [(record.lsn, fork) for record in stretch.records for fork in relations_removed(record, "COMMIT")]
    assert len(removed) > 700 and set(dropped) <= set(removed)
    # A list that is longer than what is kept of a record over the edge of a segment is left out, and counted; no other is.
    missing = {lsn for lsn, fork in set(removed) - set(dropped)}
    assert len(missing) == stretch.said["events_omitted"]
    behind = {record.lsn: after.lsn for record, after in zip(stretch.records, stretch.records[1:])}
    segment = segment_mb << 20
    assert all(lsn // segment < (behind[lsn] - 1) // segment for lsn in missing), missing


class BlockReferenceTable:
    """What PostgreSQL keeps of one stretch of WAL (walsummarizer.c, blkreftable.c): a cut takes the blocks behind it that were
    named before; the free space map is left out; what a transaction's end removes is cut to nothing as well."""

    def __init__(self):
        self.blocks, self.limits = defaultdict(set), {}

    def cut(self, fork, limit):
        if fork.fork == "fsm" or limit >= self.limits.get(fork, limit + 1):
            return
        self.limits[fork] = limit
        self.blocks[fork] = {block for block in self.blocks[fork] if block < limit}

    def add(self, record):
        for fork, limit in storage_limits(record):
            self.cut(fork, -(-limit // HEAP_BLOCKS_OF_A_VM_PAGE) if fork.fork == "vm" else limit)
        for main in relations_removed(record, "COMMIT", "ABORT"):
            for fork in ("main", "vm", "init"):
                self.cut(main._replace(fork=fork), 0)
        for fork, block in record.blocks:
            if fork.fork != "fsm":
                self.blocks[fork].add(block)


def own_summaries(cluster, from_lsn, to_lsn):
    """{(start, end): {(fork, block, whether it is a limit)}} of PostgreSQL's summaries that begin in this stretch."""
    names = ("main", "fsm", "vm", "init")
    contents = {}
    for start, end in cluster.sql("select start_lsn::text, end_lsn::text from pg_available_wal_summaries() where start_lsn >= %s and start_lsn < %s", from_lsn, to_lsn):
        rows = cluster.sql("select reltablespace::bigint, reldatabase::bigint, relfilenode::bigint, relforknumber, relblocknumber, is_limit_block"
                           " from pg_wal_summary_contents(1, %s, %s)", start, end)
        contents[lsn_number(start), lsn_number(end)] = {(Fork(*where, names[fork]), block, is_limit) for *where, fork, block, is_limit in rows}
    return contents


@pytest.mark.versions
def test_summaries_name_what_postgres_own_summaries_name(make, version, seed):
    """17 and later summarise WAL themselves. What the two differ in is told here, and is exactly that."""
    if version < 17:
        pytest.skip("PostgreSQL summarises WAL itself from 17 on")
    cluster, tool = make.pair(version=version, wal_segsize=1, summarize_wal="on", **SETTINGS)
    stretch = Stretch(cluster, tool, random.Random(seed))
    stretch.is_worth_comparing(segments=20)
    cluster.sql("checkpoint")
    first = stretch.said["from_lsn"]
    (end, checkpoint), = cluster.sql("select redo_lsn::text, checkpoint_lsn::text from pg_control_checkpoint()")
    wait_until(lambda: cluster.one("select summarized_lsn >= %s::pg_lsn from pg_get_wal_summarizer_state()", end), "PostgreSQL has summarised the stretch")
    theirs = own_summaries(cluster, first, end)
    records = wal_records(cluster, first, checkpoint)
    covered = [record for record in records if min(theirs)[0] <= record.lsn < lsn_number(end)]
    assert len(theirs) > 2 and max(theirs)[1] == lsn_number(end)
    assert blocks_named(records) == blocks_named(covered) == blocks_named(stretch.records), "both speak of the same WAL"

    # That what is said here about PostgreSQL's summaries is so.
    for (start, stop), content in theirs.items():
        table = BlockReferenceTable()
        for record in covered:
            if start <= record.lsn < stop:
                table.add(record)
        assert content == {(fork, block, False) for fork in table.blocks for block in table.blocks[fork]} | {(*limit, True) for limit in table.limits.items()}

    # Every block that they name is named. More are: free space maps, and blocks that were cut off later, which no backup will find.
    named = {(fork, block) for content in theirs.values() for fork, block, is_limit in content if not is_limit}
    cut = lowest((fork, limit) for content in theirs.values() for fork, limit, is_limit in content if is_limit)
    assert not named - stretch.blocks
    more = stretch.blocks - named
    assert {(fork, block) for fork, block in more if fork.fork != "fsm" and block < cut.get(fork, block + 1)} == set()
    assert {(fork, block) for fork, block in stretch.blocks if fork.fork == "fsm"} <= more and more

    # Every cut is known as well, but for relations that a transaction's end removed: what comes again under their numbers is
    # made anew first, and that is a cut.
    removed = {main._replace(fork=fork) for record in covered for main in relations_removed(record, "COMMIT", "ABORT") for fork in ("main", "vm", "init")}
    assert cut.keys() - stretch.limits.keys() == removed - stretch.limits.keys()
    assert stretch.limits.keys() - cut.keys() == {fork for fork in stretch.limits if fork.fork == "fsm"}
    for fork in (cut.keys() & stretch.limits.keys()) - removed:
        assert stretch.limits[fork] == (0 if fork.fork == "vm" else cut[fork]), fork
