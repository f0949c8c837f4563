"""Every kind of relation that PostgreSQL has, and pages that nobody should have, come back byte for byte in every mode."""
import hashlib
import random
import shutil
import tempfile
from pathlib import Path

import pytest

from harness.places import give_to_owner

MODES = ["balanced", "fast", "small", "none", "zstd:3", "lz4"]

# Index kinds, column types, TOAST of all kinds, and pages that have been written to again.
VARIETY = """
create table narrow as select i as id, i % 7 as k from generate_series(1, 20000) i;
create table wide as select i as id, i % 9 = 0 as flag, repeat('x', i % 40) as note, md5(i::text) as hash, (i * 1.37)::numeric(12, 2) as amount,
  case when i % 3 = 0 then i end as maybe, timestamptz '2026-01-01Z' + i * interval '17 s' as at, 'EUR'::char(3) as currency,
  jsonb_build_object('i', i, 'tags', array[i % 5, i % 11]) as doc, ('10.0.' || i % 256 || '.' || i % 200)::inet as ip from generate_series(1, 12000) i;
alter table wide add primary key (id);
create unique index on wide (hash);
create index on wide (currency);
create index on wide (at);
create index on wide (amount, note);
create index on wide using hash (hash);
create index on wide using brin (at) with (pages_per_range = 1);
create index on wide using gin (doc);
create index on wide (lower(note)) where flag;
create table geometry as select i as id, point(i % 100, i * 7 % 100) as p, box(point(i % 10, 1), point(i % 90, i % 50)) as b,
  int4range(i, i + i % 100) as r, to_tsvector('simple', md5(i::text) || ' word' || i % 50) as words from generate_series(1, 8000) i;
create index on geometry using gist (p);
create index on geometry using gist (b);
create index on geometry using gist (r);
create index on geometry using spgist (p);
create index on geometry using spgist (r);
create index on geometry using gin (words);
create table toasted (id int, plain text, packed text, main_text text, bytes bytea);
alter table toasted alter plain set storage external;
alter table toasted alter main_text set storage main;
insert into toasted select i, repeat(md5(i::text), 150), repeat(md5(i::text), 300), repeat(md5(i::text), 100), decode(repeat(md5((i * 3)::text), 200), 'hex')
  from generate_series(1, 150) i;
create table churned as select * from wide;
create index on churned (hash);
update churned set note = note || 'y' where id % 3 = 0;
delete from churned where id % 5 = 0;
vacuum churned;
insert into churned select * from wide where id % 4 = 0;
update churned set maybe = id where id % 9 = 0;
update churned set note = 'hot' where id % 11 = 0;
create table frozen as select * from wide;
vacuum freeze frozen;
create table pruned (id int, v int) with (fillfactor = 50);
insert into pruned select i, 0 from generate_series(1, 5000) i;
update pruned set v = v + 1;
update pruned set v = v + 1 where id % 2 = 0;
select count(*) from pruned;
create table many_columns as select 1 as a1, 2 as a2, 3 as a3, 4 as a4, 5 as a5, 6 as a6, 7 as a7, 8 as a8, null::int as a9, 'x'::text as a10, null::int as a11,
  i as a12, null::text as a13, i % 2 as a14 from generate_series(1, 6000) i;
create sequence counter;
select setval('counter', 4711);
create materialized view summary as select k, count(*) as n from narrow group by k;
create table parts (id int, at date) partition by range (at);
create table parts_a partition of parts for values from ('2026-01-01') to ('2026-06-01');
create table parts_b partition of parts for values from ('2026-06-01') to ('2027-01-01');
insert into parts select i, date '2026-01-01' + i % 300 from generate_series(1, 6000) i;
create table aborted (id int, t text);
"""


def make_variety(cluster):
    cluster.sql("alter system set autovacuum = off")
    cluster.reload()
    for statement in VARIETY.split(";"):
        if statement.strip():
            cluster.sql(statement)
    link = cluster.connect()
    link.autocommit = False
    with link.cursor() as cursor:
        cursor.execute("insert into aborted select i, 'gone' from generate_series(1, 3000) i")
    link.rollback()
    with link.cursor() as cursor:
        cursor.execute("insert into aborted select i, 'stays' from generate_series(1, 3000) i")
        cursor.execute("savepoint s")
        cursor.execute("select * from aborted for update")
    link.commit()
    link.close()
    cluster.sql("select lo_from_bytea(0, decode(repeat('00ff17', 20000), 'hex'))")
    cluster.sql("checkpoint")


def relation_files(data):
    """{path: SHA-256} of what lies below base and global and names a relation."""
    found = {}
    for folder in ("base", "global"):
        for file in sorted((data / folder).rglob("*")):
            if file.is_file() and file.name[0].isdigit() and not file.name.startswith("pg_"):
                found[str(file.relative_to(data))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def with_mode(tool, mode, check=True):
    tool.extra = f'compression = "{mode}"\ncompression_check = {str(check).lower()}\n'
    tool.write()


@pytest.fixture(scope="module")
def variety(make_shared):
    """(cluster, pgmint), at rest: its files stay as they are."""
    cluster, tool = make_shared.pair(rows=100)
    make_variety(cluster)
    return cluster, tool


@pytest.mark.quick
@pytest.mark.parametrize("mode", MODES)
def test_every_relation_comes_back_byte_for_byte(make, variety, mode):
    cluster, tool = variety
    with_mode(tool, mode)
    name = tool.backup()["name"]
    target = make.folder("t") / "data"
    tool.restore(target, "--backup", name)
    expected = relation_files(cluster.data)
    assert len(expected) > 250
    restored = relation_files(target)
    assert {path for path in expected if restored.get(path) != expected[path]} == set()
    tool.run("verify", "--backup", name, "--read-data")


def test_modes_differ_in_size_as_they_should(variety):
    cluster, tool = variety
    stored = {}
    for mode in ("balanced", "fast", "small", "zstd:1", "lz4", "none"):
        with_mode(tool, mode)
        stored[mode] = tool.backup()["stored_bytes"]
    assert stored["small"] < stored["balanced"] < 0.8 * stored["zstd:1"]
    assert stored["fast"] < 0.8 * stored["lz4"]
    assert stored["lz4"] < stored["none"]


def test_a_trusted_codec_stores_the_same(variety):
    cluster, tool = variety
    sizes = set()
    for check in (True, False):
        with_mode(tool, "balanced", check)
        sizes.add(round(tool.backup()["stored_bytes"], -4))
    assert len(sizes) == 1


def test_a_restore_onto_a_disk_is_the_same_as_into_memory(make, variety):
    """The harness works in memory where there is some: there is no direct I/O in it (docs/adr/0013)."""
    cluster, tool = variety
    with_mode(tool, "balanced")
    name = tool.backup()["name"]
    home = Path(tempfile.mkdtemp(prefix="pgmint-disk-", dir="/var/tmp"))
    give_to_owner(home)
    try:
        tool.restore(home / "data", "--backup", name)
        assert relation_files(home / "data") == relation_files(cluster.data)
    finally:
        shutil.rmtree(home)


def test_damaged_pages_come_back_as_they_are(make, seed):
    """Torn, half-written, overwritten, zeroed pages are content like any other."""
    cluster, tool = make.pair(rows=100, checksums=False)
    make_variety(cluster)
    paths = [row[0] for row in cluster.sql("select pg_relation_filepath(oid) from pg_class where relkind in ('r', 'i', 't', 'm') and relnamespace = 'public'::regnamespace "
                                           "and pg_relation_size(oid) > 100000")]
    cluster.stop()
    chance = random.Random(seed)
    for path in paths:
        content = bytearray((cluster.data / path).read_bytes())
        for _ in range(6):
            page = chance.randrange(len(content) // 8192) * 8192
            kind = chance.randrange(6)
            if kind == 0:  # torn: the second half is another page's
                other = chance.randrange(len(content) // 8192) * 8192
                content[page + 4096:page + 8192] = content[other + 4096:other + 8192]
            elif kind == 1:
                content[page:page + 8192] = bytes(8192)
            elif kind == 2:
                content[page:page + 8192] = chance.randbytes(8192)
            elif kind == 3:  # its line pointers point anywhere
                at = page + 24 + 4 * chance.randrange(40)
                content[at:at + 16] = chance.randbytes(16)
            elif kind == 4:  # initialised, nothing in it
                content[page + 24:page + 8192] = bytes(8168)
            else:
                content[page + chance.randrange(8192)] ^= 1 << chance.randrange(8)
        (cluster.data / path).write_bytes(content)
        give_to_owner(cluster.data / path)
    expected = relation_files(cluster.data)
    cluster.start()
    for mode in ("balanced", "fast"):
        with_mode(tool, mode)
        name = tool.backup(code=8)["name"]  # pages with impossible headers are named
        target = make.folder("t") / "data"
        tool.restore(target, "--backup", name)
        restored = relation_files(target)
        relations = [path for path in expected if path in set(paths)]
        assert len(relations) > 15
        assert {path for path in relations if restored.get(path) != expected[path]} == set()
