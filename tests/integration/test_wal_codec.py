"""WAL of every sort comes back byte for byte in every mode, and is smaller than by zstd or lz4 alone."""
import random
import re

import pytest

from harness.places import give_to_owner

MODES = [("balanced", True), ("balanced", False), ("small", True), ("fast", True), ("fast", False), ("zstd:1", True), ("lz4", True), ("none", True)]

# Inserts, copies, updates with and without full-page images, index builds of every kind, deletes, vacuum, truncation, two-phase and
# subtransactions, large values, logical messages.
WORK = """
create table plain as select i as id, md5(i::text) as hash, now() as at, i / 7.0 as n from generate_series(1, 40000) i;
alter table plain add primary key (id);
create index on plain (hash);
create table docs as select i as id, jsonb_build_object('i', i, 'tags', array[i % 5, i % 11]) as doc, point(i % 100, i % 7) as p from generate_series(1, 5000) i;
create index on docs using gin (doc);
create index on docs using gist (p);
create index on docs using hash (id);
create index on docs using spgist (p);
create index on docs using brin (id);
checkpoint;
update plain set n = n + 1 where id % 3 = 0;
update plain set n = n + 1 where id % 30 = 0;
update docs set p = point(id, id) where id % 2 = 0;
delete from plain where id % 7 = 0;
vacuum plain;
insert into plain select i, md5(i::text), now(), i / 3.0 from generate_series(100001, 110000) i;
create table large as select i as id, repeat(md5(i::text), 3000) as t from generate_series(1, 60) i;
select count(pg_logical_emit_message(true, 'test', repeat('m', 3 * i))) from generate_series(1, 3000) i;
create table parted (id int, at date) partition by range (at);
create table parted_a partition of parted for values from ('2026-01-01') to ('2026-06-01');
create table parted_b partition of parted for values from ('2026-06-01') to ('2027-01-01');
insert into parted select i, date '2026-01-01' + i % 300 from generate_series(1, 5000) i;
truncate docs;
checkpoint;
set wal_compression = on;
update plain set n = n + 2 where id % 5 = 0;
reset wal_compression;
select pg_create_restore_point('here');
"""


@pytest.fixture(scope="module")
def work_done(make_shared):
    """(cluster, names of its segments): at rest. Every segment is kept, and none archived."""
    cluster = make_shared.cluster(start=False)
    cluster.configure(archive_mode="on", archive_command="false", wal_keep_size="2GB", max_wal_size="2GB", autovacuum="off", wal_level="logical")
    cluster.start().make_table("t", 200)
    link = cluster.connect()
    link.autocommit = True
    with link.cursor() as cursor:
        for statement in WORK.split(";"):
            if statement.strip():
                cursor.execute(statement)
        cursor.execute("begin")
        for i in range(200):
            cursor.execute(f"savepoint s{i}")
            cursor.execute("insert into parted values (%s, '2026-03-01')", (i,))
        cursor.execute("commit")
    link.close()
    cluster.switch_wal()
    last = cluster.current_segment()
    cluster.stop()
    return cluster, [n for n in sorted(p.name for p in (cluster.data / "pg_wal").iterdir()) if re.fullmatch(r"[0-9A-F]{24}", n) and n < last]


def store_all(make, cluster, names, mode, check):
    """A repository of its own; bytes that its WAL objects take."""
    tool = make.pgmint(cluster)
    tool.extra = f'compression = "{mode}"\ncompression_check = {str(check).lower()}\n'
    tool.write()
    tool.init()
    for name in names:
        tool.push(cluster.data / "pg_wal" / name)
    return tool, sum(path.stat().st_size for path in tool.objects_of("wal"))


@pytest.mark.parametrize("mode,check", MODES)
def test_every_segment_comes_back(make, work_done, mode, check):
    cluster, names = work_done
    assert len(names) >= 2
    tool, _ = store_all(make, cluster, names, mode, check)
    for name in names:
        copy = tool.home / "copy"
        copy.unlink(missing_ok=True)
        tool.run("wal", "get", name, copy)
        assert copy.read_bytes() == (cluster.data / "pg_wal" / name).read_bytes(), name


def test_it_is_smaller_than_by_the_plain_codecs(make, work_done):
    cluster, names = work_done
    size = {(mode, check): store_all(make, cluster, names, mode, check)[1] for mode, check in MODES}
    assert size["balanced", True] < 0.8 * size["zstd:1", True]
    assert size["balanced", False] == size["balanced", True] == size["small", True]
    assert size["fast", False] < 0.8 * size["lz4", True]
    assert size["fast", True] == size["lz4", True]  # with its check it would be slower than lz4 alone


def test_wal_that_ends_in_the_midst_of_a_record_comes_back(make, work_done, seed):
    """What a crash, or a disk, leaves behind: zeros, or an older segment's bytes, from somewhere on; a record whose checksum is wrong."""
    cluster, names = work_done
    tool = make.pgmint(cluster).init()
    chance = random.Random(seed)
    whole = {name: (cluster.data / "pg_wal" / name).read_bytes() for name in names}
    torn = {}
    for number, name in enumerate(names):
        content = bytearray(whole[name])
        cut = 8192 + chance.randrange(len(content) - 16384)
        if number % 3 == 0:
            content[cut:] = bytes(len(content) - cut)
        elif number % 3 == 1:
            content[cut:] = whole[names[number - 1]][cut:]
        else:
            for _ in range(40):
                content[8192 + chance.randrange(len(content) - 8192)] ^= 1 << chance.randrange(8)
        torn[name] = bytes(content)

    def write_all(contents):
        for name, content in contents.items():
            (cluster.data / "pg_wal" / name).write_bytes(content)
            give_to_owner(cluster.data / "pg_wal" / name)

    write_all(torn)
    try:
        for name in names:
            tool.push(cluster.data / "pg_wal" / name)
            copy = tool.home / "copy"
            copy.unlink(missing_ok=True)
            tool.run("wal", "get", name, copy)
            assert copy.read_bytes() == torn[name], name
    finally:
        write_all(whole)
