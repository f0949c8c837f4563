"""A restored server held against its backup: what is found to be wrong, what is proven, and what is not claimed."""
import html.parser
import json
import os

import psycopg2
import pytest

from harness.places import wait_until

pytestmark = pytest.mark.quick

QUERY = """
[[validation]]
name = "how many"
sql = "select count(*) from transactions"
expect = 3000
database = "shop"
[[validation]]
name = "at least"
sql = "select max(id) from transactions"
expect_at_least = 2000
database = "shop"
"""


def make_shop(cluster):
    cluster.sql("create database shop")
    cluster.sql("create table transactions (id bigint primary key, note text, created_at timestamptz); create table app_users (name text); create role app login; "
                "grant select on transactions to app", database="shop")
    cluster.sql("insert into transactions select i, 'note ' || i, '2026-01-01Z'::timestamptz + i * interval '1 s' from generate_series(1, 3000) i; "
                "insert into app_users select 'user' || i from generate_series(1, 1500) i; analyze; create extension amcheck", database="shop")


@pytest.fixture
def shop(make):
    """A cluster with a database shop, backed up, its transactions counted; and where its restored twin will be."""
    return shop_of(make)


def shop_of(make, version=None, extra=QUERY):
    cluster, tool = make.pair(version=version, rows=10)
    tool.extra = ""
    make_shop(cluster)
    configure(tool, cluster, extra=extra)
    tool.backup()
    return cluster, tool


def configure(tool, cluster, extra=QUERY, login=None, **validation):
    """Tables have to stand behind the cluster's own."""
    tool.clusters = {}
    tool.add(cluster, bin_directory=cluster.bin).write()
    text = tool.config.read_text() + "[cluster.main.validation]\ncount = [\"shop:public.transactions\"]\n"
    text += f"login = {json.dumps(login)}\n" if login else ""
    text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in validation.items())
    tool.write(text + extra)


def restored(make, tool, *arguments, version=None):
    to = make.folder("target") / "data"
    tool.restore(to, *arguments)
    return make.opened(to, version).start().wait_promoted()


def validate(tool, server, *arguments, code=0, **keywords):
    return tool.run("validate", "--connection", server.connection, *arguments, "--json", code=code, **keywords).json


def named(answer, name):
    found = [check for check in answer["checks"] if check["name"] == name]
    assert len(found) == 1, f"{name}: {json.dumps(answer['checks'], indent=1)}"
    return found[0]


def audits(tool, event):
    return [e for e in tool.run("audit", "list", "--json").json["entries"] if e["kind"] == "audit" and event in e["detail"]]


@pytest.mark.versions
def test_a_restored_server_is_proven_and_status_says_so(make, version):
    cluster, tool = shop_of(make, version)
    assert tool.run("status", "--json", code=None).json["clusters"][0]["last_proof"] is None
    assert "last proven restore: never" in tool.run("status", code=None).out
    server = restored(make, tool, version=version)
    configure(tool, cluster, login=f"host={server.sockets} port=5432 user=app dbname=shop")
    answer = validate(tool, server)
    assert answer["ok"] and answer["restored_from_it"] and answer["backup"] == tool.names()[0]
    states = {check["name"]: check["state"] for check in answer["checks"]}
    assert "failed" not in states.values()
    for name in ("origin", "tables of shop", "rows of shop", "login of the application", "query how many", "query at least", "collations", "extensions"):
        assert states[name] == "ok", f"{name}: {states}"
    if version >= 14:
        assert states["pg_amcheck of shop"] == "ok" and states["pg_amcheck of postgres"] == "unknown"
    newest = named(answer, 'newest "public"."transactions"."created_at" in shop')
    assert newest["detail"].startswith("2026-01-01 00:50:00")
    assert answer["replay"]["bytes"] > 0 and answer["replay"]["took_s"] > 0
    proof = tool.run("status", "--json", code=None).json["clusters"][0]["last_proof"]
    assert proof["backup"] == answer["backup"] and proof["checks"] == len(answer["checks"])
    assert "last proven restore: " + answer["backup"] in tool.run("status", code=None).out
    # How fast WAL was replayed is known from here on.
    assert tool.run("plan", "--json").json["time"]["replays_measured"] == 1


def test_rows_that_were_lost_are_found(make, shop):
    _, tool = shop
    server = restored(make, tool)
    server.sql("delete from transactions where id = 17", database="shop")
    answer = validate(tool, server, code=8)
    assert not answer["ok"]
    rows = named(answer, "rows of shop")
    assert rows["state"] == "failed" and "2999" in rows["detail"] and "3000" in rows["detail"]
    assert named(answer, "query how many")["state"] == "failed"
    assert "failed" in audits(tool, "restore validated")[-1]["detail"]
    assert tool.run("status", "--json", code=None).json["clusters"][0]["last_proof"] is None


def test_rows_that_came_after_the_backup_are_no_loss(make, shop):
    cluster, tool = shop
    cluster.sql("insert into transactions select i, 'later', now() from generate_series(3001, 3100) i", database="shop")
    cluster.sql("create table later_table (id int)", database="shop")
    cluster.archive_now()
    configure(tool, cluster, extra="")
    server = restored(make, tool)
    answer = validate(tool, server)
    assert named(answer, "rows of shop")["state"] == "ok"
    assert named(answer, "tables of shop")["state"] == "ok"


def test_estimates_and_dropped_tables_only_warn(make, shop):
    cluster, tool = shop
    server = restored(make, tool)
    server.sql("delete from app_users where name <> 'user1'", database="shop")
    server.sql("vacuum analyze app_users", database="shop")
    answer = validate(tool, server)
    rows = named(answer, "rows of shop")
    assert rows["state"] == "warning" and "app_users" in rows["detail"]
    server.sql("drop table app_users", database="shop")
    answer = validate(tool, server)
    assert named(answer, "tables of shop")["state"] == "warning" and "app_users" in named(answer, "tables of shop")["detail"]
    assert answer["ok"]


def test_a_damaged_index_is_found_by_amcheck(make, shop):
    _, tool = shop
    server = restored(make, tool)
    path = server.data / server.one("select pg_relation_filepath('transactions_pkey')", database="shop")
    server.stop()
    with open(path, "r+b") as file:  # a leaf page without its entries
        file.seek(8192 * 2 + 24)
        file.write(bytes(4000))
    server.start(ignore_checksum_failure="on")
    answer = validate(tool, server, code=8)
    check = named(answer, "pg_amcheck of shop")
    assert check["state"] == "failed" and "transactions_pkey" in check["detail"]


def test_the_application_that_cannot_log_in_is_found(make, shop):
    cluster, tool = shop
    server = restored(make, tool)
    login = f"host={server.sockets} port=5432 user=app dbname=shop"
    server.sql("alter role app nologin")
    configure(tool, cluster, login=login)
    answer = validate(tool, server, code=9)
    check = named(answer, "login of the application")
    assert check["state"] == "failed" and "app" in check["detail"]
    # A login that leads to the origin says nothing of the restored server.
    configure(tool, cluster, login=f"host={cluster.sockets} port=5432 user=app dbname=shop")
    answer = validate(tool, server, code=9)
    assert "another server" in named(answer, "login of the application")["detail"]


@pytest.mark.parametrize("query", ["select 1", "select nothing", "select id from transactions", "insert into transactions values (9999999)", "select null", "select pg_sleep(30)"])
def test_a_query_with_another_answer_is_found(make_shared, module_server, query):
    cluster, tool, server = module_server
    configure(tool, cluster, extra=f'[[validation]]\nname = "q"\nsql = "{query}"\nexpect = 2\ndatabase = "shop"\nlimit = 1\n')
    answer = validate(tool, server, "--no-amcheck", code=8)
    assert named(answer, "query q")["state"] == "failed"
    assert server.one("select count(*) from transactions", database="shop") == 3000


@pytest.fixture(scope="module")
def module_server(make_shared):
    cluster, tool = shop_of(make_shared)
    return cluster, tool, restored(make_shared, tool)


def test_a_slow_answer_is_a_warning_against_the_baseline(module_server):
    cluster, tool, server = module_server
    sleep = '[[validation]]\nname = "slow"\nsql = "select 1 from (select pg_sleep({})) s"\nexpect = 1\n'
    configure(tool, cluster, extra=sleep.format("0.02"))
    assert named(validate(tool, server, "--no-amcheck"), "time of slow")["state"] == "unknown"
    assert 0.02 <= tool.run("validate", "--record-baseline", "--json").json["timings"][0]["median_s"] < 5
    assert named(validate(tool, server, "--no-amcheck"), "time of slow")["state"] == "ok"
    configure(tool, cluster, extra=sleep.format("0.5"), slower_than=3)
    answer = validate(tool, server, "--no-amcheck")
    assert answer["ok"] and named(answer, "time of slow")["state"] == "warning"
    configure(tool, cluster, extra=sleep.format("0.5"), slower_than=1000)
    assert named(validate(tool, server, "--no-amcheck"), "time of slow")["state"] == "ok"


def test_the_origin_itself_proves_nothing(make, shop):
    cluster, tool = shop
    answer = validate(tool, cluster, "--backup", tool.names()[0], "--no-amcheck")
    assert named(answer, "origin")["state"] == "warning" and not answer["restored_from_it"]
    assert not audits(tool, "restore validated")
    assert tool.run("status", "--json", code=None).json["clusters"][0]["last_proof"] is None
    tool.refuses("validate", "--connection", cluster.connection, code=4, naming="--backup")


def test_a_server_of_another_backup_or_cluster_is_not_this_ones_proof(make, shop):
    cluster, tool = shop
    second = tool.backup()["name"]
    server = restored(make, tool, "--backup", tool.names()[0], "--immediate")
    assert named(validate(tool, server, "--backup", second, "--no-amcheck", code=8), "origin")["state"] == "failed"
    other = make.cluster("other", fresh=True)
    assert named(validate(tool, other, "--backup", second, "--no-amcheck", code=8), "origin")["state"] == "failed"
    assert not audits(tool, "restore validated: " + second)


@pytest.mark.versions
def test_a_restored_dump_is_held_against_the_rows_that_were_dumped(make, version):
    cluster = make.cluster("main", version)
    make_shop(cluster)
    tool = make.pgmint()
    tool.add(cluster, bin_directory=cluster.bin).write()
    tool.init()
    dump = tool.run("backup", "--type", "logical", "--json").json
    name = dump["name"]
    # The file that tells how old a database is has whole seconds.
    wait_until(lambda: cluster.one("select clock_timestamp() > date_trunc('second', %s::timestamptz) + interval '1 s'", dump["started"]), "the next second")
    tool.run("restore-db", "--db", "copy", "--from-db", "shop", "--backup", name)
    arguments = ["--backup", name, "--db", "copy", "--from-db", "shop"]
    answer = validate(tool, cluster, *arguments)
    assert answer["ok"] and answer["restored_from_it"]
    assert named(answer, "rows of copy")["state"] == named(answer, "tables of copy")["state"] == "ok"
    assert not validate(tool, cluster, "--backup", name, "--db", "shop", "--from-db", "shop")["restored_from_it"], "the origin"
    cluster.sql("insert into app_users values ('one more')", database="copy")
    assert named(validate(tool, cluster, *arguments, code=8), "rows of copy")["state"] == "failed"
    cluster.sql("drop table app_users", database="copy")
    assert "app_users" in named(validate(tool, cluster, *arguments, code=8), "tables of copy")["detail"]


class Page(html.parser.HTMLParser):
    """What a browser would make of it: tags that close, and no attribute or tag that comes from a name."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.cells = [], set(), "", []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attributes)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_report_is_a_page_that_no_name_can_break(make, shop):
    cluster, tool = shop
    hostile = '"><script>alert(1)</script><img src=x onerror=y>&amp;'
    quoted = '"' + hostile.replace('"', '""') + '"'
    cluster.sql(f"create table {quoted} (created_at timestamptz); insert into {quoted} values ('2026-02-02Z'); create table \"a\nb\" (created_at date)", database="shop")
    tool.backup()
    server = restored(make, tool)
    folder = make.folder("report")
    answer = validate(tool, server, "--no-amcheck", "--report", folder / "here")
    assert json.loads((folder / "here/validation.json").read_text())["checks"] == answer["checks"]
    text = (folder / "here/validation.html").read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == [] and page.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert hostile.replace('"', '""') in page.text or hostile in page.text
    assert "http" not in text and "url(" not in text
    # Written again, it is replaced.
    validate(tool, server, "--no-amcheck", "--report", folder / "here")
    assert sorted(os.listdir(folder / "here")) == ["validation.html", "validation.json"]


def test_a_server_that_is_down_is_exit_9(make, shop):
    cluster, tool = shop
    tool.refuses("validate", "--connection", "host=/nonexistent port=5432", code=9)
    tool.refuses("validate", code=2, naming="--connection")


def test_a_paused_restore_can_be_looked_at(make, shop):
    _, tool = shop
    to = make.folder("target") / "data"
    tool.restore(to, "--immediate", "--action", "pause")
    server = make.opened(to).start()
    answer = validate(tool, server)
    assert answer["ok"] and "recovery" in named(answer, "server")["detail"] and answer["replay"] is None


def test_check_only_shows_every_check_and_writes_nothing(make, shop):
    cluster, tool = shop
    to = make.folder("target") / "data"
    answer = tool.run("restore", "--to", to, "--check-only", "--json").json
    assert not to.exists() and answer["ok"]
    states = {check["name"]: check["state"] for check in answer["checks"]}
    assert states["backup and WAL"] == states["packs"] == states["server programs"] == states["collations"] == states["extensions"] == "ok", answer
    to.mkdir()
    (to / "file").write_text("mine")
    refused = tool.run("restore", "--to", to, "--check-only", "--json", code=4)
    assert not refused.json["ok"]
    assert {c["state"] for c in refused.json["checks"] if c["name"] == "target and space"} == {"failed"}
    assert refused.err.splitlines()[0] == tool.run("restore", "--to", to, code=4).err.splitlines()[0]


def test_check_only_of_a_dump_finds_what_would_fail(make, shop):
    cluster, tool = shop
    name = tool.run("backup", "--type", "logical", "--json").json["name"]
    there = make.cluster("there")

    def check(user="postgres", code=0, *more):
        return tool.run("restore-db", "--host", there.sockets, "--user", user, "--db", "shop", "--backup", name, "--check-only", "--json", *more, code=code)

    states = {c["name"]: c["state"] for c in check().json["checks"]}
    assert set(states.values()) == {"ok"}, states
    assert not there.sql("select 1 from pg_database where datname like 'shop%'")
    # Superuser-only extension, no right to make databases.
    there.sql("create role small login; create role maker login createdb")
    refused = check("small", 4)
    assert {c["name"]: c["state"] for c in refused.json["checks"]}["privileges"] == "failed"
    assert "databases" in refused.err
    # It may be there already, and some services let others make it: nobody is kept from trying.
    assert {c["name"]: c["state"] for c in check("maker", 0).json["checks"]}["extensions"] == "warning"
    # A role that is not there.
    cluster.sql("create role gone; alter table app_users owner to gone", database="shop")
    name = tool.run("backup", "--type", "logical", "--json").json["name"]
    refused = check("postgres", 4)
    assert "gone" in refused.err and {c["name"]: c["state"] for c in refused.json["checks"]}["roles"] == "failed"
    assert check("postgres", 0, "--no-owner").json["ok"]
    restore = tool.run("restore-db", "--host", there.sockets, "--user", "postgres", "--db", "shop", "--backup", name, code=4)
    assert restore.err.splitlines()[-2] == refused.err.splitlines()[-2]
    assert not there.sql("select 1 from pg_database where datname like 'shop%'"), "nothing was made"
    # What a swap would end.
    there.sql("create database shop")
    there.sql("create table t (id int)", database="shop")
    link = psycopg2.connect(host=str(there.sockets), user="postgres", dbname="shop")
    connections = next(c for c in check("postgres", 0, "--no-owner").json["checks"] if c["name"] == "connections")
    assert connections["state"] == "warning" and connections["detail"].startswith("1 ")
    link.close()


def test_an_extension_that_the_server_lacks_is_refused_before_anything_is_made(make, shop):
    cluster, tool = shop
    import shutil
    share = cluster.one("select setting from pg_config where name = 'SHAREDIR'")
    if not os.access(share, os.W_OK):
        pytest.skip("takes a share directory that can be written")
    control = f"{share}/extension/pgmint_test_extension"
    try:
        with open(control + ".control", "w") as file:
            file.write("default_version = '1.0'\nrelocatable = true\n")
        with open(control + "--1.0.sql", "w") as file:
            file.write("create function pgmint_test_extension() returns int language sql as 'select 1';\n")
        cluster.sql("create extension pgmint_test_extension", database="shop")
        physical = tool.backup()["name"]
        name = tool.run("backup", "--type", "logical", "--json").json["name"]
    finally:
        for suffix in (".control", "--1.0.sql"):
            if os.path.exists(control + suffix):
                os.unlink(control + suffix)
    refused = tool.run("restore-db", "--db", "copy", "--from-db", "shop", "--backup", name, code=4)
    assert "pgmint_test_extension" in refused.err
    assert not cluster.sql("select 1 from pg_database where datname like 'copy%'")
    answer = tool.run("restore", "--to", make.folder("target") / "data", "--backup", physical, "--immediate", "--check-only", "--json").json
    extensions = next(c for c in answer["checks"] if c["name"] == "extensions")
    assert extensions["state"] == "warning" and "pgmint_test_extension" in extensions["detail"]
    said = tool.run("restore", "--to", make.folder("target") / "data", "--backup", physical, "--immediate", "--json").json["warnings"]
    assert any("pgmint_test_extension" in warning for warning in said)
    server = restored(make, tool, "--backup", physical, "--immediate")
    check = named(validate(tool, server, "--no-amcheck", "--backup", physical), "extensions")
    assert check["state"] == "warning" and "pgmint_test_extension" in check["detail"]
