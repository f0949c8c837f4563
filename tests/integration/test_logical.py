"""Dumps: into the repository and back into a running server, whole, in parts, in the order of need; damaged, killed, refused."""
import re
import shutil
import signal
import subprocess
import threading

import pytest

from test_clone_safety import make_standby

from harness.pgmint import end, wait_for_phase
from harness.places import give_to_owner, wait_until

SCHEMA = """
create schema app;
create role app_owner;
create role app_reader login;
create type app.mood as enum ('good', 'bad');
create table app.users (id bigint primary key, email text unique not null, mood app.mood default 'good');
create table app.accounts (id bigint generated always as identity primary key, user_id bigint not null references app.users, balance numeric(12, 2));
create table app.transactions (id bigserial primary key, account_id bigint not null references app.accounts, amount numeric(12, 2), note text, created_at timestamptz default now());
create index on app.transactions (created_at);
create table app.audit_logs (id bigint, line jsonb, at date) partition by range (at);
create table app.audit_logs_1 partition of app.audit_logs for values from ('2026-01-01') to ('2026-07-01');
create table app.audit_logs_2 partition of app.audit_logs for values from ('2026-07-01') to ('2027-01-01');
create index on app.audit_logs using gin (line);
create table app.files (name text, content oid);
create view app.rich as select u.email, sum(a.balance) from app.users u join app.accounts a on a.user_id = u.id group by 1;
create materialized view app.daily as select date_trunc('day', created_at) d, count(*) from app.transactions group by 1;
create function app.touch() returns trigger language plpgsql as $$ begin new.note := coalesce(new.note, 'none'); return new; end $$;
create trigger touch before insert on app.transactions for each row execute function app.touch();
grant usage on schema app to app_reader, app_owner;
grant select on app.users to app_reader;
alter table app.users owner to app_owner;
comment on table app.users is 'who';
"""
DATA = """
insert into app.users select i, 'user' || i || '@example.org', case when i % 3 = 0 then 'bad' else 'good' end::app.mood from generate_series(1, 2000) i;
insert into app.accounts (user_id, balance) select 1 + i % 2000, i / 7.0 from generate_series(1, 4000) i;
insert into app.transactions (account_id, amount, note) select 1 + i % 4000, i / 3.0, case when i % 5 = 0 then E'a\\\\b\\n\\tc' || i end from generate_series(1, 30000) i;
insert into app.audit_logs select i, jsonb_build_object('n', i, 'who', 'user' || i % 77), date '2026-01-01' + i % 360 from generate_series(1, 5000) i;
insert into app.files select 'file' || i, lo_from_bytea(0, decode(repeat(md5(i::text), 100 * i), 'hex')) from generate_series(1, 5) i;
refresh materialized view app.daily;
"""
TABLES = ["users", "accounts", "transactions", "audit_logs", "audit_logs_1", "audit_logs_2", "daily"]


@pytest.fixture
def shop(make, base_version):
    return make_shop(make, base_version)


def make_shop(make, version):
    cluster = make.cluster("main", version)
    cluster.sql("create database shop")
    cluster.sql(SCHEMA, database="shop")
    cluster.sql(DATA, database="shop")
    tool = make.pgmint()
    tool.add(cluster, bin_directory=cluster.bin).write()
    return cluster, tool.init()


def digest(cluster, database, tables=TABLES):
    return {t: cluster.sql(f"select count(*), coalesce(sum(hashtextextended(t::text, 7)), 0)::text from app.{t} t", database=database)[0] for t in tables}


def objects(cluster, database):
    """Everything that a catalog says of the schema but oids."""
    return {
        "constraints": cluster.sql("select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'app'::regnamespace order by 1, 2", database=database),
        "indexes": cluster.sql("select indexdef from pg_indexes where schemaname = 'app' order by 1", database=database),
        "triggers": cluster.sql("select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by 1", database=database),
        "relations": cluster.sql("select relname, relkind::text, relowner::regrole::text, relacl::text from pg_class where relnamespace = 'app'::regnamespace order by 1", database=database),
        "sequences": cluster.sql("select sequencename, last_value from pg_sequences order by 1", database=database),
        "large objects": cluster.sql("select f.name, md5(lo_get(f.content)) from app.files f order by 1", database=database),
        "comment": cluster.sql("select obj_description('app.users'::regclass)", database=database),
    }


def dump(tool, *arguments, **keywords):
    return tool.run("backup", "--type", "logical", "--database", "shop", *arguments, "--json", **keywords).json


def load(tool, database, *arguments, **keywords):
    return tool.run("restore-db", "--db", database, *arguments, "--json", **keywords).json


def test_what_was_dumped_comes_back_whole_on_every_major(make, version):
    cluster, tool = make_shop(make, version)
    taken = dump(tool, "--note", "before the release")
    assert taken["type"] == "logical" and taken["note"] == "before the release"
    (database,) = taken["databases"]
    assert database["rows"] == 2000 + 4000 + 30000 + 5000 + 5
    assert database["tables"] == 6
    answer = load(tool, "copy", "--from-db", "shop", "--backup", taken["name"])
    assert answer["rows"] == database["rows"] and answer["kept_as"] is None and answer["differences"] == []
    assert digest(cluster, "copy") == digest(cluster, "shop")
    assert objects(cluster, "copy") == objects(cluster, "shop")
    tool.run("verify", "--decompress")


def test_the_runbooks_commands_by_their_own_names(shop, make):
    cluster, tool = shop
    folder = make.folder("names")
    for name in ("backup-db", "restore-db"):
        (folder / name).symlink_to(tool.binary)
    environment = {"PGMINT_CONFIG": str(tool.config), "TZ": "Europe/Berlin"}

    def run(name, *arguments, code=0):
        from harness.places import as_owner
        done = subprocess.run([str(folder / name), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **as_owner(cwd=folder, env=environment))
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    run("restore-db", "--list", code=1)
    run("backup-db", "--host", str(cluster.sockets), "--db", "shop", "--user", "postgres")
    (line,) = run("restore-db", "--list").splitlines()
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) \| \d+\.\d[KMG]B \| (shop_(\d{8})_(\d{6})\.sql\.gz\.enc)", line)
    assert match and "".join(match.groups()[:3]) == match[8] and "".join(match.groups()[3:6]) == match[9]
    before = digest(cluster, "shop")
    cluster.sql("delete from app.transactions where id % 2 = 0", database="shop")
    text = run("restore-db", "--host", str(cluster.sockets), "--db", "shop", "--user", "postgres", "--backup", match[7])
    assert digest(cluster, "shop") == before
    kept = re.search(r"shop_before_\w+", text)[0]
    assert cluster.one("select count(*) from app.transactions", database=kept) == 15000
    # The same name selects it everywhere.
    assert tool.run("show", match[7], "--json", env={"TZ": "Europe/Berlin"}).json["type"] == "logical"


def test_a_second_dump_stores_what_changed(shop):
    cluster, tool = shop
    cluster.sql("insert into app.transactions (account_id, amount, note) select 1 + i % 4000, i / 3.0, md5(i::text) from generate_series(1, 200000) i", database="shop")
    first = dump(tool)
    again = dump(tool)
    assert again["parent"] == first["name"] and again["stored_bytes"] < 40_000
    cluster.sql("update app.transactions set amount = amount + 1 where id % 100 = 7", database="shop")
    changed = dump(tool)
    assert changed["stored_bytes"] < first["stored_bytes"] / 20
    # Each restores by itself, whatever becomes of the others.
    cluster.sql("refresh materialized view app.daily", database="shop")  # as loading does
    before = digest(cluster, "shop")
    names = [first["name"], again["name"]]
    tool.run("verify", "--decompress")
    load(tool, "third", "--from-db", "shop", "--backup", changed["name"])
    assert digest(cluster, "third") == before
    load(tool, "first", "--from-db", "shop", "--backup", names[0])
    assert digest(cluster, "first") != before


def test_critical_tables_come_first_and_are_usable_while_the_rest_goes_on(shop):
    cluster, tool = shop
    tool.write(tool.config.read_text() + '\n[recovery]\nhigh = ["users", "accounts", "transactions"]\nmedium = ["audit_logs*"]\n')
    cluster.sql("create table app.bulk as select i, repeat(md5(i::text), 20) as t from generate_series(1, 60000) i", database="shop")
    dump(tool)
    before, shape = digest(cluster, "shop"), objects(cluster, "shop")
    answer = tool.run("restore-db", "--db", "shop", "--backup", "latest", "--json")
    ready = answer.json["ready_s"]
    assert list(ready) == ["high", "medium", "rest"] and ready["high"] < ready["medium"] < ready["rest"]
    assert "critical service can start now" in answer.err
    assert answer.err.index("critical service can start") < answer.err.index("class medium")
    assert digest(cluster, "shop") == before
    assert objects(cluster, "shop") == shape


def test_a_database_or_a_role_that_is_read_only_by_default_is_filled_all_the_same(shop, monkeypatch):
    cluster, tool = shop
    tool.extra = '[recovery]\nhigh = ["users", "accounts", "transactions"]\n'
    tool.write()
    before, shape = digest(cluster, "shop"), objects(cluster, "shop")
    cluster.sql("alter database shop set default_transaction_read_only = on")
    dump(tool)
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=8MB")
    load(tool, "shop", "--backup", "latest")  # settings and name come back behind the first class
    assert digest(cluster, "shop") == before and objects(cluster, "shop") == shape
    cluster.sql(f"begin read write; alter role {cluster.one('select current_user')} set default_transaction_read_only = on; commit")
    load(tool, "copy", "--from-db", "shop", "--backup", "latest")
    assert digest(cluster, "copy") == before and objects(cluster, "copy") == shape
    tool.clusters["main"]["connection"] += " options='-c statement_timeout=1h'"
    tool.write()
    load(tool, "third", "--from-db", "shop", "--backup", "latest")
    assert digest(cluster, "third") == before


def test_one_table_alone(shop):
    cluster, tool = shop
    dump(tool)
    expected = digest(cluster, "shop")
    cluster.sql("drop table app.transactions cascade", database="shop")
    answer = load(tool, "shop", "--backup", "latest", "--table", "app.transactions")
    assert answer["tables"] == 1 and answer["kept_as"] is None
    assert digest(cluster, "shop", ["transactions"]) == {"transactions": expected["transactions"]}
    assert cluster.one("select count(*) from pg_indexes where tablename = 'transactions'", database="shop") == 2
    tool.refuses("restore-db", "--db", "shop", "--backup", "latest", "--table", "nothing*", code=1, naming=["nothing*"])


def test_other_rows_than_were_dumped_are_never_swapped_in_nor_called_usable(shop):
    cluster, tool = shop
    # An index whose expression takes rows from another table: once here, and once more wherever it is built.
    cluster.sql("create function app.take(text) returns text language plpgsql as $$ begin delete from app.audit_logs_1 where id = (select min(id) from app.audit_logs_1); return $1; end $$", database="shop")
    cluster.sql("create function app.taken(text) returns text immutable language plpgsql as $$ begin return app.take($1); end $$", database="shop")
    cluster.sql("create index on app.files (app.taken(name))", database="shop")
    tool.write(tool.config.read_text() + '\n[recovery]\nhigh = ["audit_logs*", "files"]\n')
    taken = dump(tool)
    before, databases = digest(cluster, "shop"), cluster.sql("select datname from pg_database order by 1")
    refused = tool.refuses("restore-db", "--db", "shop", "--backup", "latest", code=8, naming=["audit_logs_1", "dumped", "as it was"])
    assert "can start" not in refused.err and "can be used" not in refused.err
    assert digest(cluster, "shop") == before and cluster.sql("select datname from pg_database order by 1") == databases
    looked = tool.run("restore-db", "--db", "look", "--from-db", "shop", "--backup", taken["name"], "--json", code=8)
    assert len(looked.json["differences"]) == 1 and "audit_logs_1" in looked.json["differences"][0]
    assert "can start" not in looked.err and "as many as" not in looked.text
    assert cluster.one("select count(*) from app.users", database="look") == 2000


def test_data_alone_comes_to_the_rows_that_are_there(shop):
    cluster, tool = shop
    cluster.sql("create table app.log (line text); insert into app.log select i from generate_series(1, 10) i", database="shop")
    dump(tool)
    answer = load(tool, "shop", "--backup", "latest", "--table", "app.log", "--data-only")
    assert answer["rows"] == 10 and answer["differences"] == []
    assert cluster.one("select count(*) from app.log", database="shop") == 20


def test_rows_that_go_in_through_the_partitions_root_are_not_held_against_one_of_them(shop):
    cluster, tool = shop
    cluster.sql("create table app.moods (mood app.mood, n int) partition by hash (mood)", database="shop")
    for i in range(2):
        cluster.sql(f"create table app.moods_{i} partition of app.moods for values with (modulus 2, remainder {i})", database="shop")
    cluster.sql("insert into app.moods select case when i % 2 = 0 then 'good' else 'bad' end::app.mood, i from generate_series(1, 100) i", database="shop")
    dump(tool)
    answer = load(tool, "copy", "--from-db", "shop", "--backup", "latest")
    assert answer["uncounted_tables"] == 2
    assert cluster.one("select count(*) from app.moods", database="copy") == 100


def test_names_that_look_like_sql(shop):
    cluster, tool = shop
    name = 'a WITH TEMPLATE = "b'
    cluster.sql("create database " + '"' + name.replace('"', '""') + '"')
    cluster.sql('create table "t WITH ""x" as select 1 as a', database=name)
    tool.run("backup", "--type", "logical", "--database", name)
    for target in (name + "2", name):  # made, and swapped
        load(tool, target, "--from-db", name, "--backup", "latest")
        assert cluster.one('select a from "t WITH ""x"', database=target) == 1


def test_a_restored_database_belongs_to_whom_it_did_with_its_settings_and_grants(shop):
    cluster, tool = shop
    cluster.sql("create role mint_app; create role reader")
    for statement in ("alter database shop owner to mint_app", "alter database shop set search_path to app, public", "alter database shop connection limit 40",
                      "alter role reader in database shop set work_mem to '7MB'", "revoke connect on database shop from public", "grant connect on database shop to reader",
                      "comment on database shop is 'DATABASE shop; it''s here'", "alter database shop set my.note to 'a; DATABASE shop \\ b'"):
        cluster.sql(statement)

    def described(name):
        return cluster.sql("select pg_get_userbyid(datdba), datconnlimit, (select array_agg(x::text order by x::text) from unnest(datacl) x), shobj_description(oid, 'pg_database'), "
                           "(select array_agg(setrole::regrole::text || array_to_string(setconfig, '|') order by setrole) from pg_db_role_setting where setdatabase = d.oid) "
                           "from pg_database d where datname = %s", name)

    original = described("shop")
    assert original[0][0] == "mint_app" and original[0][1] == 40
    dump(tool)
    assert load(tool, "copy", "--from-db", "shop", "--backup", "latest")["warnings"] == []
    assert described("copy") == original
    load(tool, "shop", "--backup", "latest")  # swapped
    assert described("shop") == original
    load(tool, "mine", "--from-db", "shop", "--backup", "latest", "--no-owner")
    mine = described("mine")
    assert mine[0][0] == "postgres" and mine[0][1] == 40 and mine[0][2] is None and "reader" not in str(mine[0][4])
    # What cannot be had is told; the rows are there all the same.
    for (database,) in cluster.sql("select datname from pg_database where datname <> 'mine' and not datistemplate and datname <> 'postgres'"):
        cluster.sql(f'revoke all on database "{database}" from reader; alter role reader in database "{database}" reset all')
    cluster.sql("drop role reader")
    told = load(tool, "later", "--from-db", "shop", "--backup", "latest")["warnings"]
    assert len(told) == 2 and all("reader" in warning for warning in told), told


def test_dumps_come_back_when_the_log_is_rebuilt(shop):
    cluster, tool = shop
    first = dump(tool)
    cluster.sql("update app.transactions set amount = amount + 1 where id % 100 = 7", database="shop")
    second = dump(tool)
    configuration = tool.run("backup", "--type", "config", "--json").json
    names = [first["name"], second["name"], configuration["name"]]
    for path in tool.objects_of("log"):
        path.unlink()
    tool.run("repair", "--rebuild-log", "main", "--yes")
    assert tool.names() == names
    tool.run("collect")
    tool.run("verify", "--decompress")
    cluster.sql("refresh materialized view app.daily", database="shop")  # as loading does
    load(tool, "copy", "--from-db", "shop", "--backup", second["name"])
    assert digest(cluster, "copy") == digest(cluster, "shop")
    assert dump(tool)["parent"] == second["name"]


def test_a_restore_that_fails_changes_nothing(shop):
    cluster, tool = shop
    dump(tool)
    before = digest(cluster, "shop")
    databases = cluster.sql("select datname from pg_database order by 1")
    cluster.sql("create role gone; alter table app.files owner to gone", database="shop")
    dump(tool)
    cluster.sql("alter table app.files owner to postgres; drop role gone", database="shop")
    tool.refuses("restore-db", "--db", "shop", "--backup", "latest", code=4, naming=["gone", "--no-owner"])
    assert cluster.sql("select datname from pg_database order by 1") == databases
    load(tool, "mine", "--from-db", "shop", "--backup", "latest", "--no-owner")
    assert digest(cluster, "mine") == before
    # Tables that are there already are not touched, and pg_restore's own words are told.
    tool.refuses("restore-db", "--db", "shop", "--backup", "latest", "--table", "app.users", "--no-owner", code=9, naming=["already exists"])
    assert digest(cluster, "shop") == before


def test_refusals(shop):
    cluster, tool = shop
    tool.refuses("restore-db", "--db", "shop", code=2, naming=["--backup", "--list"])
    tool.refuses("restore-db", "--backup", "latest", code=2, naming=["--db"])
    tool.refuses("restore-db", "--db", "shop", "--backup", "shop_20200101_000000.sql.gz.enc", code=1, naming=["shop_20200101_000000"])
    tool.refuses("backup", "--type", "logical", "--database", "shpo", code=4, naming=["shpo", "shop"])
    tool.refuses("backup", "--database", "shop", code=2, naming=["--type logical"])
    taken = dump(tool)
    tool.refuses("restore", "--backup", taken["name"], "--to", tool.home / "target", code=4, naming=[taken["name"], "restore-db"])
    tool.refuses("restore-db", "--db", "other", "--from-db", "nothing", "--backup", taken["name"], code=1, naming=["nothing", "shop"])
    cluster.stop()
    tool.refuses("backup", "--type", "logical", code=9, naming=["server running"])


def test_a_dump_that_is_killed_or_interrupted_lists_nothing_and_the_next_one_goes_on(shop):
    cluster, tool = shop
    cluster.sql("insert into app.transactions (account_id, amount, note) select 1 + i % 4000, i, md5(i::text) from generate_series(1, 300000) i", database="shop")
    for how, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        process = tool.start("backup", "--type", "logical", "--database", "shop", "--progress", "json")
        wait_for_phase(process, "dump")
        got, out, err = end(process, how)
        assert got == code, err
        assert tool.names() == []
        wait_until(lambda: cluster.one("select count(*) from pg_stat_activity where application_name = 'pg_dump'") == 0, "pg_dump is left over")
    dump(tool)
    load(tool, "copy", "--from-db", "shop", "--backup", "latest")
    cluster.sql("refresh materialized view app.daily", database="shop")  # as loading does
    assert digest(cluster, "copy") == digest(cluster, "shop")


def test_a_server_that_goes_away_ends_the_dump(shop):
    cluster, tool = shop
    cluster.sql("insert into app.transactions (account_id, amount, note) select 1 + i % 4000, i, md5(i::text) from generate_series(1, 300000) i", database="shop")
    process = tool.start("backup", "--type", "logical", "--database", "shop", "--progress", "json")
    wait_for_phase(process, "dump")
    cluster.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 9 and "pg_dump" in err
    cluster.start()
    assert tool.names() == []


def test_damage_in_a_dump_is_found_and_never_loaded_in_silence(shop):
    cluster, tool = shop
    dump(tool)
    before = digest(cluster, "shop")
    pack = max(tool.objects_of("p"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o640)
    pack.write_bytes(content)
    give_to_owner(pack)
    found = tool.run("verify", "--read-data", code=8)
    assert pack.name in found.text
    tool.refuses("restore-db", "--db", "shop", "--backup", "latest", code=8)
    assert digest(cluster, "shop") == before
    assert [row for row in cluster.sql("select datname from pg_database") if "restoring" in row[0]] == []


def test_dumps_age_and_go_and_what_later_ones_need_stays(shop):
    cluster, tool = shop
    first = dump(tool)
    cluster.sql("update app.transactions set amount = amount + 1 where id % 100 = 7", database="shop")
    second = dump(tool)
    tool.write(tool.config.read_text() + '\n[cluster.main.retention]\ndaily = "none"\nweekly = "none"\nmonthly = "none"\nyearly = "none"\n')
    tool.run("expire", "--yes")
    tool.run("collect")
    assert tool.names() == [second["name"]] and first["name"] not in tool.names()
    tool.run("verify", "--decompress")
    load(tool, "copy", "--from-db", "shop", "--backup", second["name"])
    assert digest(cluster, "copy") == digest(cluster, "shop")


def test_a_password_is_never_seen(shop, make):
    """Neither in messages nor in the arguments of pg_dump, which every user of the machine can read."""
    cluster, tool = shop
    tool.clusters["main"]["connection"] = cluster.connection + " password=sesame42"
    tool.write()
    holder = cluster.connect("shop")
    holder.cursor().execute("begin; lock table app.users")  # pg_dump waits for it, with all of its arguments there to be read
    process = tool.start("backup", "--type", "logical", "--database", "shop", "--log-level", "debug")
    wait_until(lambda: cluster.one("select count(*) from pg_stat_activity where application_name = 'pg_dump' and wait_event_type = 'Lock'") == 1, "pg_dump waits for the lock")
    arguments = subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE, text=True, check=True).stdout
    holder.close()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "pg_dump" in arguments and "sesame42" not in arguments + out + err


def shell(script, folder):
    from harness.places import as_owner
    done = subprocess.run(["bash", "-o", "pipefail", "-ec", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **as_owner(cwd=folder))
    assert done.returncode == 0, script + "\n" + done.stdout + done.stderr
    return done.stdout


def secret_file(folder, name, text):
    path = folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    give_to_owner(path)
    return path


def test_an_export_is_opened_by_openssl_gunzip_and_pg_restore(shop, make):
    cluster, tool = shop
    dump(tool)
    folder = make.folder("export")
    secret = secret_file(folder, "pass", "open sesame")
    (line,) = tool.run("restore-db", "--list").out.splitlines()
    name = line.split(" | ")[2]
    (made,) = tool.run("export", name, "--to", folder / "out", "--passphrase-file", secret, "--json").json["files"]
    assert made["file"].endswith("/" + name)
    shell("sha256sum -c *.sha256", folder / "out")
    listed = shell(f"openssl enc -d -aes-256-cbc -pbkdf2 -pass file:../pass -in {name} | gunzip > ../plain && {cluster.bin}/pg_restore --list ../plain", folder / "out")
    assert "TABLE DATA app transactions" in listed
    tool.refuses("export", name, "--to", folder / "out", "--passphrase-file", secret, code=4, naming=["exists"])
    # And back, byte for byte, under its own moment.
    tool.run("import", folder / "out" / name, "--passphrase-file", secret)
    again = tool.run("export", tool.names()[-1], "--to", folder / "again", "--passphrase-file", secret, "--json").json["files"][0]
    shell(f"openssl enc -d -aes-256-cbc -pbkdf2 -pass file:pass -in {again['file']} | gunzip | cmp - plain", folder)
    tool.refuses("export", name, "--to", folder / "more", "--passphrase-file", secret, code=4, naming=["two backups", *tool.names()])
    tool.refuses("export", tool.names()[0], "--to", folder / "more", code=3, naming=["passphrase"])


@pytest.mark.parametrize("openssl", ["-pbkdf2", "-salt", "-md md5"])
@pytest.mark.parametrize("compress", ["-Z0", "-Z6"])
def test_files_of_the_old_scripts_come_in(shop, make, openssl, compress):
    cluster, tool = shop
    folder = make.folder("old")
    secret = secret_file(folder, "pass", "open sesame")
    name = "shop_20240120_010000.sql.gz.enc"
    shell(f"{cluster.bin}/pg_dump -h {cluster.sockets} -U postgres -Fc {compress} shop | gzip | openssl enc -aes-256-cbc {openssl} -pass file:pass -out {name} 2> /dev/null", folder)
    before = digest(cluster, "shop")
    wrong = secret_file(folder, "wrong", "open barley")
    tool.refuses("import", folder / name, "--passphrase-file", wrong, code=7, naming=["passphrase"])
    tool.refuses("import", folder / name, code=7, naming=["encrypted", "--passphrase-file"])
    assert tool.run("import", folder / name, "--passphrase-file", secret, "--json").json["dump"] == name
    assert [row.split(" | ")[2] for row in tool.run("restore-db", "--list").out.splitlines()] == [name]
    # It was taken when its name says; how long that took, nobody knows.
    backup = tool.list()["backups"][-1]
    assert (backup["started"], backup["duration_s"], backup["imported_from"]) == ("2024-01-20T01:00:00Z", None, name)
    assert backup["server_version"] == int(cluster.one("show server_version_num"))
    assert re.search(r"2024-01-20 01:00:00\+00 +- .* imported$", tool.run("list").out, re.M)
    shown = tool.run("show", name).out
    assert re.search(r"^imported +20\S+ \S+$", shown, re.M) and "took" not in shown
    loaded = load(tool, "copy", "--from-db", "shop", "--backup", name)
    assert digest(cluster, "copy") == before
    # No rows are counted inside compressed data, and the answer does not say that they were.
    assert loaded["uncounted_tables"] == (loaded["tables"] if compress == "-Z6" else 0)
    told = tool.run("restore-db", "--db", "again", "--from-db", "shop", "--backup", name).out
    assert ("as many as were dumped" in told) == (compress == "-Z0") and ("not counted" in told) == (compress == "-Z6")


def test_what_is_no_dump_or_is_cut_off_does_not_come_in(shop, make):
    cluster, tool = shop
    folder = make.folder("bad")
    shell(f"{cluster.bin}/pg_dump -h {cluster.sockets} -U postgres shop > plain.sql", folder)
    shell(f"{cluster.bin}/pg_dump -h {cluster.sockets} -U postgres -Fc -Z0 shop > whole; head -c 100000 whole > cut; gzip -c whole > whole.gz; head -c 100000 whole.gz > cut.gz", folder)
    tool.refuses("import", folder / "plain.sql", code=8, naming=["custom format", "psql"])
    tool.refuses("import", folder / "nothing", code=1, naming=["nothing"])
    for name in ("cut", "cut.gz"):
        tool.refuses("import", folder / name, code=8, naming=[name])
    assert tool.run("list", "--json").json["clusters"] == [] or tool.names() == []


class CountsInTwo:
    """Counts up in database a, then in b, as fast as it can: any moment shows as many in a as in b, or one more."""

    def __init__(self, cluster):
        self.links = [cluster.connect(name) for name in ("a", "b")]
        self.rounds, self.stopped = 0, False
        self.thread = threading.Thread(target=self.count)

    def count(self):
        a, b = (link.cursor() for link in self.links)
        while not self.stopped:
            a.execute("update counter set n = n + 1")
            b.execute("update counter set n = n + 1")
            self.rounds += 1

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.rounds > 20, "the counters are counted")
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()
        for link in self.links:
            link.close()


def test_pg_dump_takes_no_core_from_the_server_that_feeds_it(make, base_version):
    cluster = make.cluster("main", base_version)
    cluster.sql("create table t as select generate_series(1, 10) as i")
    programs = make.folder("programs")
    noted = programs / "noted"
    for program in ("pg_dump", "pg_dumpall"):
        (programs / program).write_text(f"#!/bin/sh\necho {program} \"$1\" $(chrt -p $$ | head -1) >> {noted}\nexec {cluster.bin}/{program} \"$@\"\n")
        (programs / program).chmod(0o755)
    tool = make.pgmint()
    tool.add(cluster, bin_directory=programs).write()
    tool.init().run("backup", "--type", "logical", "--database", "postgres")
    dumps = [line for line in noted.read_text().splitlines() if "--version" not in line]
    assert len(dumps) >= 2 and all(line.endswith("SCHED_BATCH") for line in dumps), noted.read_text()


def wrapped_programs(make, cluster, *, before="", after):
    """A folder of client programs: each runs between two pieces of shell."""
    programs = make.folder("programs")
    for program in ("pg_dump", "pg_dumpall", "pg_restore"):
        (programs / program).write_text(f'#!/bin/sh\n{before}\n{cluster.bin}/{program} "$@"\nstatus=$?\n{after}\nexit $status\n')
        (programs / program).chmod(0o755)
    return programs


def bytes_a_call(noted, kind):
    """Of each run: how much its reads or writes took, on average; "r" or "w"."""
    runs = [dict(line.split(": ") for line in run.splitlines()) for run in noted.read_text().split("\n\n") if run.strip()]
    return [int(run[f"{kind}char"]) / int(run[f"sysc{kind}"]) for run in runs]


def test_the_streams_of_dumps_and_loads_pass_in_large_pieces(make, base_version):
    cluster = make.cluster("main", base_version)
    cluster.sql("create table bulk as select i, repeat(md5(i::text), 20) as t from generate_series(1, 60000) i")
    noted = make.folder("noted")
    programs = wrapped_programs(make, cluster, after=f"{{ cat /proc/$$/io; echo; }} >> {noted}/${{0##*/}}")
    tool = make.pgmint()
    tool.add(cluster, bin_directory=programs).write()
    tool.init().run("backup", "--type", "logical", "--database", "postgres")
    load(tool, "back", "--host", str(cluster.sockets), "--user", "postgres", "--from-db", "postgres", "--backup", "latest")
    assert cluster.one("select count(*) from bulk", database="back") == 60000
    assert max(bytes_a_call(noted / "pg_dump", "w")) > 32 << 10
    assert max(bytes_a_call(noted / "pg_restore", "r")) > 32 << 10


@pytest.mark.parametrize("stdbuf", ["exit 125", "echo cannot be preloaded >&2; shift 2; exec \"$@\""])
def test_a_stdbuf_that_does_not_work_here_is_not_used(make, base_version, stdbuf):
    cluster = make.cluster("main", base_version)
    cluster.sql("create table t as select generate_series(1, 10) as i")
    tools = make.folder("tools")
    (tools / "stdbuf").write_text(f"#!/bin/sh\n{stdbuf}\n")
    (tools / "stdbuf").chmod(0o755)
    # Nothing else that is called stdbuf is in this PATH.
    for name in ("sh", "cat"):
        (tools / name).symlink_to(shutil.which(name))
    tool = make.pgmint()
    tool.add(cluster, bin_directory=cluster.bin).write()
    tool.init()
    taken = tool.run("backup", "--type", "logical", "--database", "postgres", "--json", env={"PATH": str(tools)}).json
    assert taken["warnings"] == []
    load(tool, "back", "--host", str(cluster.sockets), "--user", "postgres", "--from-db", "postgres", "--backup", "latest")
    assert cluster.one("select count(*) from t", database="back") == 10


def make_two(make, version):
    cluster = make.cluster("main", version)
    for name in ("a", "b"):
        cluster.sql(f"create database {name}")
        cluster.sql("create table counter as select 0 as n", database=name)
        cluster.sql("create table bulk as select i, repeat(md5(i::text), 20) as t from generate_series(1, 5000) i", database=name)
    tool = make.pgmint()
    tool.add(cluster, bin_directory=cluster.bin).write()
    return cluster, tool.init()


def counted(cluster, tool, taken):
    """What a dump's two databases say, restored."""
    seen = []
    for name in ("a", "b"):
        load(tool, f"{name}_back", "--host", str(cluster.sockets), "--user", "postgres", "--from-db", name, "--backup", taken["name"])
        seen.append(cluster.one("select n from counter", database=f"{name}_back"))
        assert cluster.one("select count(*) from bulk", database=f"{name}_back") == 5000
        cluster.sql(f"drop database {name}_back")
    return seen


def test_dumps_of_one_moment_show_the_same_transactions_in_every_database(make, version):
    cluster, tool = make_two(make, version)
    with CountsInTwo(cluster) as load_of_two:
        taken = tool.run("backup", "--type", "logical", "--consistent", "--json").json
        rounds = load_of_two.rounds
        told = tool.run("backup", "--type", "logical", "--consistent").out
        apart = tool.run("backup", "--type", "logical", "--database", "a", "--database", "b").out
    assert "show one moment" in told and "roles and tablespaces are not part of it" in told
    assert "one after the other" in apart and "one moment" not in apart
    assert taken["consistent"]["databases"] == ["a", "b", "postgres"]
    assert taken["started"] <= taken["consistent"]["at"] <= taken["finished"]
    a, b = counted(cluster, tool, taken)
    assert b <= a <= b + 1 and 20 < a <= rounds + 1
    assert tool.run("show", taken["name"], "--json").json["consistent"] == taken["consistent"]
    assert re.search(r"^consistent +as of 20\S+Z: a, b, postgres", tool.run("show", taken["name"]).out, re.M)
    last = tool.names()[-1]
    assert tool.run("show", last, "--json").json["consistent"] is None
    assert re.search(r"^consistent +each database in itself", tool.run("show", last).out, re.M)
    assert cluster.sql("select pid from pg_stat_activity where state like 'idle in transaction%'") == []
    tool.refuses("backup", "--consistent", code=2, naming=["--type logical"])


def test_the_configuration_asks_for_dumps_of_one_moment(make, base_version):
    cluster, tool = make_two(make, base_version)
    tool.clusters["main"]["consistent_dumps"] = True
    tool.write()
    assert tool.run("backup", "--type", "logical", "--database", "b", "--database", "a", "--json").json["consistent"]["databases"] == ["b", "a"]


def test_a_moment_whose_rows_were_truncated_before_they_could_be_locked_is_given_up_for_a_later_one(make, base_version):
    cluster, tool = make_two(make, base_version)
    link = cluster.connect("b")
    cursor = link.cursor()
    cursor.execute("begin; truncate bulk; update counter set n = 77")
    process = tool.start("backup", "--type", "logical", "--consistent")
    wait_until(lambda: cluster.one("select count(*) from pg_locks where not granted") > 0, "pg_dump waits for the lock, with the snapshot of before")
    cursor.execute("commit")
    link.close()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "(in 2 attempts)" in out
    load(tool, "back", "--from-db", "b", "--backup", tool.names()[-1])
    assert (cluster.one("select count(*) from bulk", database="back"), cluster.one("select n from counter", database="back")) == (0, 77)


@pytest.mark.parametrize("paused", [False, True])
def test_a_standby_stops_replay_for_the_moment_alone(make, base_version, paused):
    cluster, tool = make_two(make, base_version)
    cluster.make_table("t", 10)
    standby = make_standby(make, cluster)
    tool.clusters["main"].update(data_directory=standby.data, connection=standby.connection)
    tool.write()
    if cluster.version < 14:  # which does not say when replay stands still
        tool.refuses("backup", "--type", "logical", "--consistent", code=4, naming=["PostgreSQL 13"])
        return
    # A dump's snapshot holds replay back, and the delay counts from when replay was last up to date: never, while rows are counted without a pause.
    standby.sql("alter system set max_standby_streaming_delay = -1")
    standby.sql("select pg_reload_conf()")
    state = "select pg_get_wal_replay_pause_state()"
    with CountsInTwo(cluster):
        wait_until(lambda: standby.one("select n from counter", database="b") > 20, "the standby follows")
        if paused:
            standby.sql("select pg_wal_replay_pause()")
        # Replay removes what the moment shows as soon as it may: no row is lost in any of them.
        for _ in range(1 if paused else 6):
            taken = tool.run("backup", "--type", "logical", "--consistent", "--json").json
            assert {d["name"]: d["rows"] for d in taken["databases"]} == {"a": 5001, "b": 5001, "postgres": 10}
        assert standby.one(state) == ("paused" if paused else "not paused")
    a, b = counted(cluster, tool, taken)
    assert b <= a <= b + 1 and a > 20
    assert taken["consistent"]["databases"] == ["a", "b", "postgres"]


def test_a_standby_whose_replay_may_not_be_stopped_is_refused(make, base_version):
    if base_version < 14:
        pytest.skip("13 has no pg_read_all_data, and its standbys are refused whoever asks")
    cluster, tool = make_two(make, base_version)
    cluster.make_table("t", 10)
    cluster.sql("create role dumper login; grant pg_read_all_data to dumper; grant execute on function pg_control_system to dumper")
    standby = make_standby(make, cluster)
    tool.clusters["main"].update(data_directory=standby.data, connection=standby.connection.replace("user=postgres", "user=dumper"))
    tool.write()
    tool.refuses("backup", "--type", "logical", "--consistent", code=4, naming=["dumper", "GRANT EXECUTE", "--consistent"])
    assert tool.names() == []
    cluster.sql("grant execute on function pg_wal_replay_pause, pg_wal_replay_resume to dumper")  # in the database of the connection
    wait_until(lambda: standby.one("select has_function_privilege('dumper', 'pg_wal_replay_resume()', 'EXECUTE')"), "the grant has arrived")
    assert tool.run("backup", "--type", "logical", "--consistent", "--json").json["consistent"]["databases"] == ["a", "b", "postgres"]
    assert standby.one("select pg_get_wal_replay_pause_state()") == "not paused"
