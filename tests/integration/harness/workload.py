"""What applications and administrators do to a cluster, statement by statement, in an order that a seed decides."""
import contextlib


def transactions(cluster, count, database="postgres"):
    """So many sessions without autocommit, each with its cursor."""
    links = []
    for _ in range(count):
        link = cluster.connect(database)
        link.autocommit = False
        links.append(link)

    @contextlib.contextmanager
    def opened():
        try:
            yield [(link, link.cursor()) for link in links]
        finally:
            for link in links:
                link.close()
    return opened()


def with_autocommit(cluster, statements, database="postgres"):
    for statement in statements:
        cluster.sql(statement, database=database)


def shrink_by_vacuum(cluster, n):
    """VACUUM gives the empty end of table t back: SMGR_TRUNCATE of all its forks to some blocks. Then it grows again."""
    cluster.sql("vacuum t")
    before = cluster.one("select pg_relation_size('t')")
    with_autocommit(cluster, ["delete from t where id > (select max(id) * 0.6 from t)", "vacuum t"])
    assert 0 < cluster.one("select pg_relation_size('t')") < before, "VACUUM did not truncate"
    cluster.add_rows("t", 500)


def databases(cluster, n):
    """Made by both strategies, worked in, moved to another tablespace, dropped."""
    for strategy in (" strategy wal_log", " strategy file_copy") if cluster.version >= 15 else ("",):
        name = f"made_{n}{strategy[-4:].strip()}"
        cluster.sql(f"create database {name}{strategy}")
        with_autocommit(cluster, ["create table inside as select i from generate_series(1, 3000) i", "create index on inside (i)", "vacuum inside"], database=name)
        cluster.sql(f"alter database {name} set tablespace other")
        with_autocommit(cluster, ["update inside set i = i + 1 where i % 7 = 0"], database=name)
    cluster.sql(f"drop database {name}")
    cluster.sql(f"create database {name} tablespace other")


def savepoints(cluster, n):
    with transactions(cluster, 1) as [(link, cursor)]:
        for statement in (f"create table saved_{n} (i int primary key, t text)", f"insert into saved_{n} select i, 'a' from generate_series(1, 500) i",
                          "savepoint one", f"create table lost_{n} as select i from generate_series(1, 900) i", f"update saved_{n} set t = 'b'",
                          "rollback to one", f"update saved_{n} set t = 'c' where i % 3 = 0", "savepoint two", f"truncate saved_{n}", "rollback to two",
                          "savepoint three", f"insert into saved_{n} select i, 'd' from generate_series(501, 900) i", "release three"):
            cursor.execute(statement)
        link.commit()
        cursor.execute(f"create index on saved_{n} (t)")
        cursor.execute(f"create table never_{n} as select i from generate_series(1, 700) i")
        link.rollback()


def multixacts(cluster, n):
    """Rows that several transactions lock, and update under others' locks."""
    cluster.sql(f"create table shared_{n} as select i, 0 as v from generate_series(1, 300) i")
    cluster.sql(f"alter table shared_{n} add primary key (i)")
    with transactions(cluster, 3) as sessions:
        for link, cursor in sessions:
            cursor.execute(f"select * from shared_{n} where i % 5 = 0 for key share")
        sessions[0][1].execute(f"update shared_{n} set v = v + 1 where i % 10 = 0")
        for link, cursor in sessions:
            link.commit()
        for link, cursor in sessions:
            cursor.execute(f"select * from shared_{n} where i % 7 = 0 for share")
        sessions[0][0].commit()
        sessions[1][0].rollback()
        sessions[2][0].commit()
    cluster.sql(f"vacuum freeze shared_{n}")


def two_phase(cluster, n):
    with transactions(cluster, 1) as [(link, cursor)]:
        for name, ends in ((f"kept_{n}", "commit"), (f"dropped_{n}", "rollback")):
            cursor.execute(f"create table prepared_{name} as select i from generate_series(1, 800) i")
            cursor.execute(f"prepare transaction '{name}'")
            link.commit()
            link.autocommit = True
            cursor.execute(f"{ends} prepared '{name}'")
            link.autocommit = False


def many_relations(cluster, n):
    """A commit whose list of dropped relations spans pages, and the same as a rollback."""
    made = f"do $$ begin for i in 1..700 loop execute 'create table many_{n}_' || i || ' (a int)'; end loop; end $$"
    dropped = f"do $$ begin for i in 1..700 loop execute 'drop table many_{n}_' || i; end loop; end $$"
    with transactions(cluster, 1) as [(link, cursor)]:
        cursor.execute(made)
        link.commit()
        cursor.execute(dropped)
        link.commit()
        cursor.execute(made)
        link.rollback()


def large_records(cluster, n):
    """Larger than several segments of 1 MiB, and many small ones around it."""
    with_autocommit(cluster, [f"create table around_{n} (i int)", f"insert into around_{n} select generate_series(1, 50)",
                              "select pg_logical_emit_message(true, 'big', repeat('m', 3500000))", f"insert into around_{n} select generate_series(1, 50)",
                              "select pg_logical_emit_message(false, 'big', repeat('n', 1100000))"])


def large_objects(cluster, n):
    with transactions(cluster, 1) as [(link, cursor)]:
        for i in range(3):
            cursor.execute("select lo_from_bytea(0, decode(repeat(md5(%s), 9000), 'hex'))", (f"{n} {i}",))
            made, = cursor.fetchone()
        cursor.execute("select lo_put(%s, 70000, decode(repeat('ab', 5000), 'hex'))", (made,))
        cursor.execute("select lo_truncate(lo_open(%s, x'60000'::int), 30000)", (made,))
        link.commit()
        cursor.execute("select lo_unlink(%s)", (made,))
        link.commit()


def partitions(cluster, n):
    with_autocommit(cluster, [
        f"create table divided_{n} (id int, at date) partition by range (at)", f"create index on divided_{n} (id)",
        f"create table divided_{n}_a partition of divided_{n} for values from ('2026-01-01') to ('2026-06-01')",
        f"create table divided_{n}_b (id int, at date)", f"insert into divided_{n}_b select i, date '2026-07-01' from generate_series(1, 2000) i",
        f"alter table divided_{n} attach partition divided_{n}_b for values from ('2026-06-01') to ('2027-01-01')",
        f"insert into divided_{n} select i, date '2026-01-01' + i % 300 from generate_series(1, 4000) i", f"truncate divided_{n}_a",
        f"insert into divided_{n} select i, date '2026-02-01' from generate_series(1, 300) i", f"alter table divided_{n} detach partition divided_{n}_b",
        f"update divided_{n}_b set id = -id where id % 5 = 0", f"truncate divided_{n}"])


def index_work(cluster, n):
    """Splits, pending lists, overflow pages, revmaps, and what takes them apart again, in every kind of index."""
    with_autocommit(cluster, [
        f"create table indexed_{n} (i int, t text, p point, r int4range, a int[], at timestamptz)",
        f"create index on indexed_{n} (t)", f"create index on indexed_{n} using hash (t)", f"create index on indexed_{n} using gin (a)",
        f"create index on indexed_{n} using gist (p)", f"create index on indexed_{n} using gist (r)", f"create index on indexed_{n} using spgist (p)",
        f"create index on indexed_{n} using spgist (t)", f"create index brin_{n} on indexed_{n} using brin (at) with (pages_per_range = 2)",
        f"insert into indexed_{n} select i, md5(i::text), point(i % 97, i * 7 % 89), int4range(i, i + i % 50), array[i % 13, i % 7, i], "
        "timestamptz '2026-01-01Z' + i * interval '1 min' from generate_series(1, 6000) i",
        f"select brin_summarize_new_values('brin_{n}')", f"select brin_desummarize_range('brin_{n}', 0)",
        f"update indexed_{n} set t = t || 'x', a = a || i where i % 6 = 0", f"delete from indexed_{n} where i % 4 = 0 or i between 1000 and 2500",
        f"vacuum indexed_{n}", f"insert into indexed_{n} select i, md5(i::text), point(i, i), null, array[i], null from generate_series(1, 1500) i",
        f"reindex index brin_{n}", f"reindex index concurrently brin_{n}", f"select gin_clean_pending_list('indexed_{n}_a_idx')"])


def rewrites(cluster, n):
    with_autocommit(cluster, [
        f"create table rewritten_{n} as select i, md5(i::text) as t from generate_series(1, 4000) i", f"create index rewritten_{n}_t on rewritten_{n} (t)",
        f"cluster rewritten_{n} using rewritten_{n}_t", f"vacuum full rewritten_{n}", f"alter table rewritten_{n} alter i type bigint",
        f"alter table rewritten_{n} set unlogged", f"insert into rewritten_{n} select 1, 'unlogged'", f"alter table rewritten_{n} set logged",
        f"alter table rewritten_{n} set tablespace other", f"alter index rewritten_{n}_t set tablespace other",
        f"alter table rewritten_{n} set tablespace pg_default", f"create materialized view seen_{n} as select * from rewritten_{n}",
        f"refresh materialized view seen_{n}", f"create temp table passing_{n} as select * from rewritten_{n}"])


def maps(cluster, n):
    """Visibility maps set, cleared, and thrown away, which is a truncation of that fork alone."""
    with_autocommit(cluster, [
        "create extension if not exists pg_visibility", f"create table seen_all_{n} as select i, 0 as v from generate_series(1, 5000) i", f"vacuum freeze seen_all_{n}",
        f"update seen_all_{n} set v = 1 where i % 900 = 1", f"vacuum seen_all_{n}", f"select pg_truncate_visibility_map('seen_all_{n}')", f"vacuum seen_all_{n}"])


def sequences(cluster, n):
    with_autocommit(cluster, [f"create sequence counter_{n}", f"select nextval('counter_{n}') from generate_series(1, 100)",
                              f"alter sequence counter_{n} restart with 7", f"select setval('counter_{n}', 4711)"])


def extension_access_method(cluster, n):
    """Generic WAL records."""
    with_autocommit(cluster, ["create extension if not exists bloom", f"create table blooming_{n} as select i, i % 7 as k from generate_series(1, 3000) i",
                              f"create index on blooming_{n} using bloom (i, k)", f"insert into blooming_{n} select i, i from generate_series(1, 500) i"])


def compressed_images(cluster, n):
    with cluster.connect() as link, link.cursor() as cursor:
        link.autocommit = True
        for statement in ("set wal_compression = on", f"create table pressed_{n} as select i, repeat('x', 200) as t from generate_series(1, 3000) i", "checkpoint",
                          f"update pressed_{n} set t = t || 'y' where i % 3 = 0"):
            cursor.execute(statement)
    link.close()


def copy_freeze(cluster, n):
    with transactions(cluster, 1) as [(link, cursor)]:
        cursor.execute(f"create table loaded_{n} (i int, t text)")
        cursor.execute(f"copy loaded_{n} from program 'seq -f ''%g,row'' 1 4000' with (format csv, freeze)")
        link.commit()


def switch(cluster, n):
    # Of two in a row the second would switch nothing: a segment that is still empty is left as it is.
    cluster.sql("select pg_logical_emit_message(false, 'test', 'before a switch')")
    cluster.sql("select pg_switch_wal()")


def checkpoint(cluster, n):
    cluster.sql("checkpoint")


HARD_CASES = [shrink_by_vacuum, databases, savepoints, multixacts, two_phase, many_relations, large_records, large_objects, partitions, index_work, rewrites, maps,
              sequences, extension_access_method, compressed_images, copy_freeze]


def hard_cases(cluster, chance):
    """Each of them once, and a switch or a checkpoint in between now and then. The cluster has a table t of
    some thousand rows, a tablespace `other`, and room for prepared transactions and 1,500 locks."""
    work = HARD_CASES + [switch, switch, switch, checkpoint, checkpoint]
    chance.shuffle(work)
    print("order:", " ".join(one.__name__ for one in work))
    for n, one in enumerate(work):
        one(cluster, n)
