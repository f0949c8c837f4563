"""Least privilege: the roles of `pgmint roles` do their work on every version, and nothing else."""
import subprocess

import psycopg2
import pytest

from harness.places import as_owner


def make_roles(cluster, tool, *arguments, database="postgres"):
    sql = tool.run("roles", *arguments).out
    for _ in range(2):  # it may be run again
        done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", cluster.connection.replace("dbname=postgres", f"dbname={database}")], input=sql, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **as_owner(cwd=tool.home))
        assert done.returncode == 0, done.stderr
    return sql


def connect_as(tool, cluster, role):
    tool.clusters["main"]["bin_directory"] = cluster.bin
    tool.clusters["main"]["connection"] = cluster.connection.replace("user=postgres", f"user={role}")
    tool.write()


def denied(cluster, role, statement, database="postgres"):
    link = psycopg2.connect(host=str(cluster.sockets), port=5432, user=role, dbname=database)
    link.autocommit = True
    try:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            link.cursor().execute(statement)
            pytest.fail(f"{role} could: {statement}")
    finally:
        link.close()


def test_backups_of_every_type_without_a_superuser(make, version):
    cluster, tool = make.pair(version, rows=300)
    make_roles(cluster, tool)
    cluster.sql("create table guarded (id int); insert into guarded select generate_series(1, 10); alter table guarded enable row level security; "
                "create policy few on guarded using (id < 3)")
    if cluster.version < 14:
        cluster.sql("grant select on all tables in schema public to pgmint_backup")
    connect_as(tool, cluster, "pgmint_backup")
    full = tool.backup()
    second = tool.run("backup")
    assert full["type"] == "full" and "-incr" in second.out, str(second)
    dump = tool.run("backup", "--type", "logical", "--database", "postgres", "--json").json
    assert dump["databases"][0]["rows"] >= 310
    config = tool.run("backup", "--type", "config", "--json").json
    assert config["name"].endswith("-config") and not config["warnings"], config["warnings"]
    clone = make.opened(tool.home / "restored", version) if tool.restore(tool.home / "restored") else None
    assert clone is not None
    for statement in ("create table mine (i int)" if cluster.version >= 15 else "create schema mine", "insert into guarded values (1)", "create role other", "create database other",
                      "copy guarded to program 'cat'", "select pg_read_file('PG_VERSION')", "delete from pg_authid", "select pg_reload_conf()"):
        denied(cluster, "pgmint_backup", statement)


def test_monitoring_sees_state_and_no_rows(make, version):
    cluster, tool = make.pair(version, rows=50)
    tool.backup()
    make_roles(cluster, tool, "--role", "monitor")
    connect_as(tool, cluster, "pgmint_monitor")
    status = tool.run("status", "--json").json["clusters"][0]
    assert status["state"] in ("ok", "warning") and "server-unreachable" not in [p["code"] for p in status["problems"]]
    checks = {c["name"]: c["state"] for c in tool.run("doctor", "--json").json["checks"]}
    assert checks["main: server"] == "ok" and checks["main: archiving"] == "ok"
    cluster.sql("create table secrets (i int)")
    for statement in ("select * from secrets", "create role other", "select pg_switch_wal()", "create database other"):
        denied(cluster, "pgmint_monitor", statement)
    tool.refuses("backup", code=9)


def test_restoring_dumps_without_a_superuser(make, version):
    cluster, tool = make.pair(version, rows=10)
    cluster.sql("create role mint_app login")
    cluster.sql("create database shop owner mint_app")
    cluster.sql("create table users (id int primary key, name text); insert into users select i, 'user ' || i from generate_series(1, 500) i; alter table users owner to mint_app",
                database="shop")
    connect_as(tool, cluster, "postgres")
    tool.run("backup", "--type", "logical", "--database", "shop")
    make_roles(cluster, tool, "--role", "restore", "--owner", "mint_app")
    connect_as(tool, cluster, "pgmint_restore")
    restored = tool.run("restore-db", "--db", "copy", "--from-db", "shop", "--backup", "latest", "--json").json
    assert restored["rows"] == 500
    assert cluster.one("select tableowner from pg_tables where tablename = 'users'", database="copy") == "mint_app"
    # Over the one that is there: it may rename what belongs to a role that it is a member of.
    tool.run("restore-db", "--db", "shop", "--backup", "latest")
    assert cluster.one("select count(*) from users", database="shop") == 500
    cluster.sql("revoke connect on database postgres from public; grant connect on database postgres to pgmint_restore; create table other (i int)")
    for statement in ("select * from other", "create role more", "copy other to program 'cat'"):
        denied(cluster, "pgmint_restore", statement)


def test_names_are_quoted_and_one_role_alone_can_be_had(make):
    cluster, tool = make.pair(rows=5)
    sql = make_roles(cluster, tool, "--prefix", 'o\'ps "x" ', "--role", "monitor", "--role", "backup")
    assert "CREATEDB NOSUPERUSER" not in sql
    names = [row[0] for row in cluster.sql("select rolname from pg_roles where rolname like 'o''ps%' order by 1")]
    assert names == ['o\'ps "x" backup', 'o\'ps "x" monitor']
    tool.refuses("roles", "--role", "monitor", "--owner", "a", code=2, naming=["restore"])
    tool.refuses("roles", "--role", "admin", code=2, naming=["monitor"])
