"""A restored server held against its backup: what is found to be wrong, what is proven, and what is not claimed."""
import html.parser
import json
import os
import re
import time

import psycopg2
import pytest

from harness.places import owner_folder, server_programs, wait_until

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


def configure(tool, cluster, extra=QUERY, login=None, count=("shop:public.transactions",), **validation):
    """Tables have to stand behind the cluster's own."""
    tool.clusters = {}
    tool.add(cluster, bin_directory=cluster.bin).write()
    text = tool.config.read_text() + f"[cluster.main.validation]\ncount = {json.dumps(list(count))}\n"
    text += f"login = {json.dumps(login)}\n" if login else ""
    text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in validation.items())
    tool.write(text + extra)


def restored(make, tool, *arguments, version=None):
    to = make.folder("target") / "data"
    tool.restore(to, *arguments)
    return make.opened(to, version).start().wait_promoted()


def validate(tool, server, *arguments, code=0, **keywords):
    return tool.run("validate", "--connection", server.connection, *arguments, "--json", code=code, **keywords).json


def last_proof(tool):
    return tool.run("status", "--json", code=None).json["clusters"][0]["last_proof"]


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
    assert "collations without a version" not in states and "record of the databases" not in states
    proof = last_proof(tool)
    unknown = [check for check in answer["checks"] if check["state"] == "unknown"]
    assert unknown, "amcheck is in one database only, there is no baseline"
    assert proof["backup"] == answer["backup"] and answer["proven"] and answer["unproven"] is None
    assert proof["checks"] == len(answer["checks"]) - len(unknown) and proof["not_made"] == len(unknown), "what was not looked at is no check"
    assert proof["restored"] == answer["restored"] and proof["restored"][:19] <= proof["time"][:19]
    said = tool.run("status", code=None).out
    assert "last proven restore: " + answer["backup"] in said and f"({proof['checks']} checks, {len(unknown)} not made)" in said
    # How fast WAL was replayed is known from here on.
    assert tool.run("plan", "--json").json["time"]["replays_measured"] == 1


def test_one_restore_is_proven_once_however_often_one_looks(make, shop):
    cluster, tool = shop
    server = restored(make, tool)
    first = validate(tool, server, "--no-amcheck")
    assert first["proven"] and len(audits(tool, "restore validated")) == 1
    again = validate(tool, server, "--no-amcheck")
    assert again["ok"] and again["restored_from_it"] and not again["proven"] and "already" in again["unproven"]
    assert len(audits(tool, "restore validated")) == 1
    # Who sees more says so, of the same restore; its replay is one measure.
    server.sql("alter role app login")
    configure(tool, cluster, login=f"host={server.sockets} port=5432 user=app dbname=shop")
    more = validate(tool, server, "--no-amcheck")
    assert more["proven"] and more["restored"] == first["restored"]
    assert len(audits(tool, "restore validated")) == 2 and last_proof(tool)["checks"] > len([c for c in first["checks"] if c["state"] != "unknown"])
    assert tool.run("plan", "--json").json["time"]["replays_measured"] == 1
    # Another restore of the same backup is another proof.
    wait_until(lambda: time.time() > (server.data / "backup_label.old").stat().st_mtime + 1.1, "the next second, as files are dated")
    configure(tool, cluster)
    assert validate(tool, restored(make, tool), "--no-amcheck")["proven"]


def test_a_restore_of_long_ago_is_not_proven_by_the_server_that_came_of_it(make, shop):
    """A production server that was restored once keeps backup_label.old for good."""
    _, tool = shop
    server = restored(make, tool)
    label = server.data / "backup_label.old"
    now = time.time()
    for age, word in ((8 * 86400, "7 days"), (400 * 86400, "7 days"), (-7200, "clock")):
        os.utime(label, (now - age, now - age))
        answer = validate(tool, server, "--no-amcheck")
        assert answer["ok"] and answer["restored_from_it"] and not answer["proven"]
        assert word in answer["unproven"] and named(answer, "origin")["state"] == "warning"
        assert not audits(tool, "restore validated") and last_proof(tool) is None
    os.utime(label, (now - 6 * 86400, now - 6 * 86400))
    assert validate(tool, server, "--no-amcheck")["proven"]
    assert "6 d" in next(line for line in tool.run("status", code=None).out.splitlines() if "last proven restore" in line), "the age is the restore's"
    # An older restore that is looked at later is not the last one.
    os.utime(label, (now - 6.5 * 86400, now - 6.5 * 86400))
    before = last_proof(tool)
    assert validate(tool, server, "--no-amcheck")["proven"] and last_proof(tool)["restored"] == before["restored"]


def test_what_could_not_be_looked_at_when_the_backup_was_taken_is_not_there(make):
    cluster, tool = make.pair(rows=10)
    make_shop(cluster)
    cluster.sql("create database shut")
    cluster.sql("create extension file_fdw; create server files foreign data wrapper file_fdw; create table parted (id int) partition by range (id); "
                "create table parted_1 partition of parted for values from (0) to (10); "
                "create foreign table parted_2 partition of parted for values from (10) to (20) server files options (filename '/nonexistent/pgmint')", database="shop")
    hba = cluster.data / "pg_hba.conf"
    usual = hba.read_text()
    hba.write_text("local shut all reject\n" + usual)
    cluster.reload()
    wait_until(lambda: refused(cluster, "shut"), "the database is shut")
    count = ["shop:public.transactions", "shop:public.parted"]
    configure(tool, cluster, extra="", count=count)
    backup = tool.backup()["name"]
    configure(tool, cluster, extra="", count=[*count, "shop:public.app_users"])
    answer = tool.run("restore", "--to", make.folder("checked") / "data", "--check-only", "--json").json
    assert next(c for c in answer["checks"] if c["name"] == "extensions")["state"] == "unknown"
    to = make.folder("target") / "data"
    tool.restore(to)
    (to / "pg_hba.conf").write_text(usual)
    server = make.opened(to).start().wait_promoted()
    server.sql("create table new_one (id int)", database="shut")
    answer = validate(tool, server, "--no-amcheck")
    assert answer["backup"] == backup and answer["ok"]
    for name in ("record of the databases", "tables of shut", "rows of shut", 'count of "shop"."public"."parted"', 'count of "shop"."public"."app_users"'):
        assert named(answer, name)["state"] == "unknown", name
    assert named(answer, "tables of shop")["state"] == named(answer, "rows of shop")["state"] == "ok"
    assert not [c for c in answer["checks"] if c["name"].startswith("count of") and "transactions" in c["name"]]
    # A database that is not there is missed, whatever the backup knew of it.
    server.sql("drop database shut")
    assert named(validate(tool, server, "--no-amcheck", code=9), "database shut")["state"] == "failed"


def refused(cluster, database):
    try:
        cluster.sql("select 1", database=database)
    except psycopg2.OperationalError:
        return True
    return False


def test_rows_that_the_role_may_not_see_are_unknown(make, shop):
    _, tool = shop
    server = restored(make, tool)
    server.sql("create role looker login; grant select on app_users to looker", database="shop")
    connection = server.connection.replace("user=postgres", "user=looker")

    def look(code=0):
        return tool.run("validate", "--connection", connection, "--backup", tool.names()[0], "--no-amcheck", "--json", code=code).json

    def hidden(answer):
        check = named(answer, "rows of shop")
        return check["state"] == "unknown" and "transactions" in check["detail"]

    configure(tool, make.clusters[0], extra="")
    assert hidden(look()), "permission denied is no loss of rows"
    # Row security: what a policy hides would be counted as lost, or, had all been hidden on the origin too, as well.
    server.sql("grant select on transactions to looker; alter table transactions enable row level security; create policy few on transactions using (id < 10)", database="shop")
    answer = look()
    assert hidden(answer)
    assert named(answer, 'newest "public"."transactions"."created_at" in shop')["state"] == "unknown", "the newest that may be seen is not the newest"
    assert named(answer, "origin")["state"] == "unknown" and not answer["proven"]
    server.sql("alter table transactions disable row level security", database="shop")
    assert named(look(), "rows of shop")["state"] == "ok"
    # Where the role may read the label, and not when it was written, the restore has no date.
    server.sql("grant execute on function pg_read_file(text, bigint, bigint, boolean) to looker")
    answer = look()
    assert answer["restored_from_it"] and named(answer, "origin")["state"] == "unknown" and answer["restored"] is None
    assert not answer["proven"] and "pg_stat_file" in answer["unproven"] and not audits(tool, "restore validated")
    server.sql("grant execute on function pg_stat_file(text) to looker")
    answer = look()
    assert answer["proven"] and named(answer, "origin")["state"] == "ok" and len(audits(tool, "restore validated")) == 1
    server.sql("delete from transactions where id = 5", database="shop")
    assert named(look(8), "rows of shop")["state"] == "failed"


def test_collations_without_a_version_are_unknown(make, shop):
    _, tool = shop
    server = restored(make, tool)
    server.sql("set allow_system_table_mods = on; update pg_collation set collversion = null where collname = 'de-x-icu'", database="shop")
    answer = validate(tool, server, "--no-amcheck")
    check = named(answer, "collations without a version")
    assert check["state"] == "unknown" and "de-x-icu in shop" in check["detail"]
    server.sql("set allow_system_table_mods = on; update pg_collation set collversion = '1' where collname = 'de-x-icu'", database="shop")
    answer = validate(tool, server, "--no-amcheck")
    assert named(answer, "collations")["state"] == "warning" and "de-x-icu" in named(answer, "collations")["detail"]
    assert "collations without a version" not in {c["name"] for c in answer["checks"]}
    if server.version < 15:
        return
    # The default of a database, of which the catalog says nothing.
    server.sql("create database german locale_provider icu icu_locale 'de' template template0")
    server.sql("update pg_database set datcollversion = null where datname = 'german'")
    check = named(validate(tool, server, "--no-amcheck"), "collations without a version")
    assert check["state"] == "unknown" and "database german" in check["detail"]


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
    # The same server, in whatever time zone the role lives.
    server.sql("alter role app login; alter role app set timezone = 'Asia/Tokyo'; alter role app set datestyle = 'German'")
    assert named(validate(tool, server, "--no-amcheck"), "login of the application")["state"] == "ok"
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
    answer = validate(tool, server, "--no-amcheck")
    took, = answer["timings"]  # on a machine that stalls it may be slow
    is_slow = took["median_s"] > 3 * took["baseline_s"] and took["median_s"] > 0.05
    assert named(answer, "time of slow")["state"] == ("warning" if is_slow else "ok"), answer
    configure(tool, cluster, extra=sleep.format("2"), slower_than=3)
    answer = validate(tool, server, "--no-amcheck")
    assert answer["ok"] and named(answer, "time of slow")["state"] == "warning"
    configure(tool, cluster, extra=sleep.format("2"), slower_than=1000)
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
    cluster.sql("create table more (id int); create extension if not exists pg_stat_statements", database="copy")
    surplus = named(validate(tool, cluster, *arguments), "tables of copy")
    assert surplus["state"] == "warning" and '"public"."more"' in surplus["detail"] and "app_users" not in surplus["detail"]
    cluster.sql("drop table more; insert into app_users values ('one more')", database="copy")
    assert named(validate(tool, cluster, *arguments, code=8), "rows of copy")["state"] == "failed"
    cluster.sql("drop table app_users", database="copy")
    assert "app_users" in named(validate(tool, cluster, *arguments, code=8), "tables of copy")["detail"]


def test_a_dump_of_several_databases_is_proven_by_all_of_them(make):
    cluster = make.cluster("main")
    make_shop(cluster)
    cluster.sql("create database first")
    tool = make.pgmint()
    tool.add(cluster, bin_directory=cluster.bin).write()
    tool.init()
    dump = tool.run("backup", "--type", "logical", "--database", "first", "--database", "shop", "--json").json
    there = make.cluster("there")
    there.sql("create role app login")
    wait_until(lambda: there.one("select clock_timestamp() > date_trunc('second', %s::timestamptz) + interval '1 s'", dump["started"]), "the next second")
    for name in ("first", "shop"):
        tool.run("restore-db", "--host", there.sockets, "--user", "postgres", "--db", name, "--backup", dump["name"])
    # When a database was made cannot be told in another tablespace: one that is known does not speak for it.
    place = make.folder("space")
    there.sql(f"create tablespace other location '{place}'")
    there.sql("alter database shop set tablespace other")
    answer = validate(tool, there, "--backup", dump["name"], "--no-amcheck")
    assert named(answer, "origin of first")["state"] == "ok" and named(answer, "origin of shop")["state"] == "unknown"
    assert answer["ok"] and not answer["restored_from_it"] and not answer["proven"] and not audits(tool, "restore validated")
    there.sql("alter database shop set tablespace pg_default")
    answer = validate(tool, there, "--backup", dump["name"], "--no-amcheck")
    assert answer["restored_from_it"] and answer["proven"] and audits(tool, "restore validated")


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


    # The time in which nobody resumed it is no replay.
    server.sql("select pg_wal_replay_resume()")
    server.wait_promoted()
    answer = validate(tool, server, "--no-amcheck")
    assert answer["ok"] and "recovery" not in named(answer, "server")["detail"] and answer["replay"] is None


def replaying(make, tool, how):
    """A restored server that already answers, and still has WAL before it: `how` is shell that runs before each fetch of a segment."""
    to = make.folder("target") / "data"
    tool.restore(to, "--latest")
    with open(to / "postgresql.auto.conf") as file:
        command = re.findall(r"^restore_command = '(.*)'$", file.read(), re.M)[-1]
    with open(to / "postgresql.auto.conf", "a") as file:
        file.write(f"restore_command = '{how} && {command}'\n")
    return make.opened(to).start()


def test_what_is_not_replayed_yet_is_waited_for(make, shop):
    """A server answers as soon as it is consistent: what it shows then is not yet what the WAL behind the backup makes of it."""
    cluster, tool = shop
    for number in range(5):
        cluster.sql(f"create table late_{number} as select 1 as i")
        cluster.archive_now()
    server = replaying(make, tool, "sleep 2")
    assert server.one("select pg_is_in_recovery()"), "this test shows nothing where it has ended"
    done = tool.run("validate", "--connection", server.connection, "--no-amcheck", "--json")
    assert done.json["ok"] and "recovery" not in named(done.json, "server")["detail"]
    assert "waiting for its end" in done.err
    assert not server.one("select pg_is_in_recovery()") and server.one("select i from late_4") == 1


def test_a_recovery_that_was_paused_before_its_end_is_no_proof(make, shop):
    cluster, tool = shop
    for number in range(5):
        cluster.sql(f"create table late_{number} as select 1 as i")
        cluster.archive_now()
    server = replaying(make, tool, "sleep 2")
    server.sql("select pg_wal_replay_pause()")
    answer = validate(tool, server, "--no-amcheck", code=9)
    assert not answer["ok"] and "paused" in named(answer, "server")["detail"] and last_proof(tool) is None
    server.sql("select pg_wal_replay_resume()")
    assert validate(tool, server, "--no-amcheck")["ok"] and last_proof(tool) is not None


def test_a_standby_is_not_waited_for(make, shop):
    _, tool = shop
    to = make.folder("target") / "data"
    tool.restore(to, "--latest")
    (to / "recovery.signal").rename(to / "standby.signal")
    server = make.opened(to).start()
    answer = validate(tool, server, "--no-amcheck", timeout=30)
    assert answer["ok"] and "a standby" in named(answer, "server")["detail"]


@pytest.mark.slow
def test_a_recovery_that_does_not_go_on_is_no_proof(make, shop):
    cluster, tool = shop
    for number in range(3):
        cluster.sql(f"create table late_{number} as select 1 as i")
        cluster.archive_now()
    server = replaying(make, tool, f"if [ %f = {tool.list()['wal']['max']} ]; then sleep 600; fi")
    answer = validate(tool, server, "--no-amcheck", code=9)
    assert not answer["ok"] and "has not gone on for 1 min" in named(answer, "server")["detail"]
    assert last_proof(tool) is None


def test_a_recovery_that_went_on_after_a_stop_is_no_measure(make, shop):
    _, tool = shop
    to = make.folder("target") / "data"
    tool.restore(to, "--immediate", "--action", "pause")
    server = make.opened(to).start()
    wait_until(lambda: server.one("select pg_is_wal_replay_paused()"), "recovery has begun")
    server.stop()
    wait_until(lambda: time.time() > (to / "backup_label.old").stat().st_ctime + 1.1, "the next second, as files are dated")
    server.start(recovery_target_action="promote").wait_promoted()
    answer = validate(tool, server, "--no-amcheck")
    assert answer["ok"] and answer["restored_from_it"] and answer["replay"] is None


def test_icu_of_this_host_is_held_against_that_of_the_backup(make, shop):
    cluster, tool = shop
    to = make.folder("target") / "data"

    def look():
        checks = tool.run("restore", "--to", to, "--check-only", "--json").json["checks"]
        return next((check for check in checks if check["name"] == "collations of ICU"), None)

    assert look() is None, "nothing is sorted by ICU"
    cluster.sql('create table icu_names (name text collate "de-x-icu" primary key)', database="shop")
    tool.backup()
    version = cluster.one("""select pg_collation_actual_version(oid) from pg_collation where collname = 'und-x-icu'""")
    check = look()
    # Programs of another distribution, as tests have them of some majors, may need a newer C library than this process has.
    expected = {"ok"} if cluster.bin.is_relative_to("/usr") else {"ok", "unknown"}
    assert check["state"] in expected and f"version {version}" in check["detail"], check
    folder = owner_folder(make.folder("programs"))

    def programs(source):
        (folder / "postgres").unlink(missing_ok=True)
        (folder / "postgres").symlink_to(source)
        tool.clusters["main"]["bin_directory"] = folder
        tool.write()

    programs("/bin/true")
    check = look()
    assert check["state"] == "warning" and "without ICU" in check["detail"] and "shop" in check["detail"]
    assert any("collations of ICU" in warning for warning in tool.restore(to, "--json").json["warnings"]), "a warning, and no refusal"
    to = make.folder("second") / "data"
    script = folder / "script"
    script.write_text("#!/bin/sh\nexec postgres\n")
    script.chmod(0o755)
    programs(script)
    assert look()["state"] == "unknown"
    if cluster.version != 13 and server_programs(13):
        # Another distribution's, with another ICU. Those of newer ones need a newer C library than this process has, and stay unknown.
        programs(server_programs(13) / "postgres")
        check = look()
        assert check["state"] == "warning" and all(word in check["detail"] for word in ("REINDEX", "REFRESH VERSION", version, "of shop")), check


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
    wait_until(lambda: there.one("select count(*) from pg_stat_activity where datname = 'shop'") == 1, "the session that made the table has gone")
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
