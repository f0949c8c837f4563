"""What pg_waldump reads in a stretch of WAL, as data: what change summaries are held against."""
import re
from collections import namedtuple

from .places import run

Fork = namedtuple("Fork", "tablespace database relation fork")
Record = namedtuple("Record", "lsn rmgr what description blocks")

FORKS = ("main", "fsm", "vm", "init")
WHOLE_DATABASE = 0  # as relation: every one of the database

_RECORD = re.compile(r"rmgr: (\S+) .*?, lsn: ([0-9A-F]+/[0-9A-F]+), prev [0-9A-F/]+, desc: (\S*) ?(.*)")
_BLOCK = re.compile(r"blkref #\d+: rel (\d+)/(\d+)/(\d+) fork (\w+) blk (\d+)")
_PATH = re.compile(r"(?:(base)/(\d+)|(global)|pg_tblspc/(\d+)/[^/]+/(\d+))/(\d+)(?:_(fsm|vm|init))?$")


def lsn_number(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def fork_of_path(path):
    """"base/5/16384_vm", as records about storage name it."""
    base, database, shared, space, space_database, relation, fork = _PATH.match(path).groups()
    where = (1663, int(database)) if base else (1664, 0) if shared else (int(space), int(space_database))
    return Fork(*where, int(relation), fork or "main")


def wal_records(cluster, first, last_end, timeline=1):
    """All records that begin at or behind LSN `first` and before `last_end`, in order. Of a running server."""
    # Left to itself pg_waldump asks any file of the folder how long segments are, also one that is just being made and has no bytes yet.
    def segment(position):
        text = f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
        return cluster.data / "pg_wal" / f"{timeline:08X}{cluster.one('select pg_walfile_name(%s::pg_lsn)', text)[8:]}"
    text = run(cluster.bin / "pg_waldump", "-b", "-t", timeline, "-s", first, "-e", last_end, segment(lsn_number(first)), segment(lsn_number(last_end) - 1), timeout=120).stdout
    records = []
    for line in text.splitlines():
        if found := _RECORD.match(line):
            rmgr, lsn, what, description = found.groups()
            records.append(Record(lsn_number(lsn), rmgr, what, description, []))
        elif found := _BLOCK.search(line):
            space, database, relation, fork, block = found.groups()
            records[-1].blocks.append((Fork(int(space), int(database), int(relation), fork), int(block)))
        elif line.strip():
            raise AssertionError(f"pg_waldump wrote a line that is not understood: {line!r}")
    return records


def blocks_named(records):
    return {block for record in records for block in record.blocks}


def storage_limits(record):
    """[(fork, limit)]: storage that the record makes, cuts, or that it drops with its whole database."""
    if record.rmgr == "Storage" and record.what == "CREATE":
        return [(fork_of_path(record.description.split()[0]), 0)]
    if record.rmgr == "Storage" and record.what == "TRUNCATE":
        path, blocks, flags = re.match(r"(\S+) to (\d+) blocks flags (\d+)", record.description).groups()
        main = fork_of_path(path)
        return [(main._replace(fork=fork), int(blocks)) for bit, fork in ((1, "main"), (2, "vm"), (4, "fsm")) if int(flags) & bit]
    if record.rmgr == "Database":
        # "copy dir 1663/1 to 1663/16394", "create dir 1663/16394", "dir 1663/16394 16400/16394"
        places = re.findall(r"(\d+)/(\d+)", record.description)
        return [(Fork(int(space), int(database), WHOLE_DATABASE, "main"), 0) for space, database in (places if record.what == "DROP" else places[-1:])]
    return []


def relations_removed(record, *ends):
    """Main forks of what the end of a transaction ("COMMIT", "ABORT") removes, be it prepared or not."""
    if record.rmgr != "Transaction" or record.what.removesuffix("_PREPARED") not in ends:
        return []
    found = re.search(r"; rels:([^;]*)", record.description)
    return [fork_of_path(path) for path in found.group(1).split()] if found else []
