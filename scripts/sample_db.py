#!/usr/bin/env python3
"""The sample finance database `mint_replica`: made, measured, written to.

    sample_db.py create [--size MB] [--seed N] [--db NAME] [--jobs N]
    sample_db.py digest [--db NAME] [--json]
    sample_db.py load --seconds N [--rate TPS] [--clients N] [--db NAME]

Connects as PGHOST, PGPORT and PGUSER say. The rows follow from the seed alone: every value is a hash of (row id, seed),
made inside the server, so two runs with one seed and size hold the same rows (not the same pages: sessions interleave).
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TABLES = ["users", "accounts", "transactions", "budgets", "audit_logs"]

# Rows for one MB of database, indexes included (measured: see calibrate in bench/README.md).
ROWS_PER_MB = {"users": 110, "accounts": 220, "transactions": 2900, "budgets": 220, "audit_logs": 920}

SCHEMA = """
create table users (
  id bigint not null, email text not null, full_name text not null, password_hash text not null,
  country char(2) not null, created_at timestamptz not null, last_login_at timestamptz, settings jsonb not null);
create table accounts (
  id bigint not null, user_id bigint not null, name text not null, kind text not null, iban text not null,
  currency char(3) not null, balance numeric(14,2) not null, opened_at timestamptz not null, closed boolean not null);
create table transactions (
  id bigint not null, account_id bigint not null, amount numeric(12,2) not null, currency char(3) not null,
  category text not null, merchant text not null, description text, reference text not null,
  created_at timestamptz not null);
create table budgets (
  id bigint not null, user_id bigint not null, category text not null, month date not null,
  amount numeric(10,2) not null, note text, created_at timestamptz not null);
create table audit_logs (
  id bigint not null, user_id bigint not null, action text not null, ip inet not null, payload jsonb not null,
  created_at timestamptz not null);
"""

INDEXES = {
    "users": ["alter table users add primary key (id)", "create index users_created_at on users (created_at)",
              "create unique index users_email on users (email)"],
    "accounts": ["alter table accounts add primary key (id)", "create index accounts_user_id on accounts (user_id)"],
    "transactions": ["alter table transactions add primary key (id)",
                     "create index transactions_account_id on transactions (account_id)",
                     "create index transactions_created_at on transactions (created_at)"],
    "budgets": ["alter table budgets add primary key (id)", "create index budgets_user_id on budgets (user_id)"],
    "audit_logs": ["alter table audit_logs add primary key (id)",
                   "create index audit_logs_created_at on audit_logs (created_at)"],
}

FIRST = "Ada Bruno Chidi Dana Elif Femi Greta Hugo Ines Jonas Kira Luca Mina Noor Oskar Petra Quinn Rosa Sami Tova".split()
LAST = "Abara Brandt Costa Dubois Eriksen Fischer Garcia Horvat Ivanova Jensen Keller Lindqvist Moreau Novak Okafor Petrov".split()
MERCHANTS = ("Corner Bakery|Metro Transit|Northwind Energy|Blue Bottle|Harbour Books|Alpine Outdoor|City Pharmacy|Cloud Nine Air|"
             "Green Grocer|Old Mill Cinema|Pixel Games|Quick Fuel|Riverside Gym|Sunrise Insurance|Tidal Telecom|Union Rent").split("|")
CATEGORIES = "groceries transport utilities dining books outdoor health travel housing leisure salary transfer".split()
ACTIONS = "login logout transfer.create transfer.confirm budget.update profile.update card.block export.request".split()


def pick(words, hash_sql):
    """SQL: one of the words, by a hash."""
    return "(array[" + ",".join("'%s'" % word for word in words) + "])[1 + abs(%s %% %d)]" % (hash_sql, len(words))


def insert_sql(table, first, last, seed, counts):
    """INSERT of the rows first..last of a table. h, k, m are independent 64-bit hashes of (id, seed, table)."""
    salt = seed * 16 + TABLES.index(table)
    rows = ("(select i, hashint8extended(i, %d) as h, hashint8extended(i, %d) as k, md5(i || ':%d') as m "
            "from generate_series(%d::bigint, %d) i) s" % (salt, salt + (1 << 40), salt, first, last))
    users, accounts = counts["users"], counts["accounts"]
    values = {
        "users": "i, lower(%s) || '.' || i || '@example.org', %s || ' ' || %s, m || md5(m), "
                 "(array['DE','FR','SE','NG','US','JP'])[1 + abs(h %% 6)], '2021-01-01Z'::timestamptz + i * interval '97 s', "
                 "case when k %% 5 = 0 then null else '2025-01-01Z'::timestamptz + abs(k %% 20000000) * interval '1 s' end, "
                 "jsonb_build_object('theme', case when h %% 2 = 0 then 'dark' else 'light' end, 'limit', abs(k %% 5000), 'mfa', h %% 3 = 0)"
                 % (pick(FIRST, "h"), pick(FIRST, "h"), pick(LAST, "k")),
        "accounts": f"i, 1 + abs(h % {users}), " + pick(["Main", "Savings", "Joint", "Travel"], "k") + ", "
                    + pick(["checking", "savings", "credit"], "h") + ", 'DE' || lpad(abs(k % 100000000000)::text, 20, '0'), "
                    "(array['EUR','USD','SEK'])[1 + abs(k % 3)], (h % 100000000)::numeric / 100, "
                    "'2021-01-01Z'::timestamptz + i * interval '53 s', k % 40 = 0",
        "transactions": f"i, 1 + abs(h % {accounts}), (k % 500000)::numeric / 100, (array['EUR','USD','SEK'])[1 + abs(k % 3)], "
                        + pick(CATEGORIES, "h") + ", " + pick(MERCHANTS, "k") + ", "
                        "case when h % 3 = 0 then null else 'Card payment ' || abs(k % 10000) || ' at terminal ' || abs(h % 90000) end, "
                        "m, '2022-01-01Z'::timestamptz + i * interval '1.7 s'",
        "budgets": f"i, 1 + abs(h % {users}), " + pick(CATEGORIES, "k") + ", date '2022-01-01' + (abs(h % 48) * 30)::int, "
                   "abs(k % 200000)::numeric / 100, case when h % 4 = 0 then 'carry over ' || left(m, 8) end, "
                   "'2022-01-01Z'::timestamptz + i * interval '61 s'",
        "audit_logs": f"i, 1 + abs(h % {users}), " + pick(ACTIONS, "h") + ", ('10.' || abs(h % 256) || '.' || abs(k % 256) || '.7')::inet, "
                      "jsonb_build_object('request', m, 'agent', 'mint-app/' || abs(k % 9) || '.' || abs(h % 30), 'ok', h % 50 <> 0, "
                      "'changes', jsonb_build_array(abs(k % 100000), abs(h % 100000)), 'session', left(md5(m), 16)), "
                      "'2022-01-01Z'::timestamptz + i * interval '2.3 s'",
    }[table]
    return f"insert into {table} select {values} from {rows}"


def psql(database, *commands, output=False):
    """Runs commands in one psql session; a failure ends the program with psql's own message."""
    arguments = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database]
    for command in commands:
        arguments += ["-c", command]
    environment = dict(os.environ, PGTZ="UTC", PGOPTIONS=os.environ.get("PGOPTIONS", "") + " -c client_min_messages=warning")
    done = subprocess.run(arguments, env=environment, text=True, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("sample_db: psql failed")
    return done.stdout if output else None


def create(database, size_mb, seed, jobs):
    counts = {table: max(20, rows * size_mb) for table, rows in ROWS_PER_MB.items()}
    psql("postgres", f"create database {database} template template0 encoding 'UTF8'")
    psql(database, SCHEMA)
    tasks = []
    for table in TABLES:
        chunk = max(20_000, counts[table] // (jobs * 4))
        for first in range(1, counts[table] + 1, chunk):
            tasks.append((table, first, min(counts[table], first + chunk - 1)))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda task: psql(database, insert_sql(*task, seed, counts)), tasks))
        statements = [sql for table in ("transactions", "audit_logs", "users", "accounts", "budgets") for sql in INDEXES[table]]
        # Large sorts in memory: the index builds are half of the time otherwise.
        list(pool.map(lambda sql: psql(database, "set maintenance_work_mem = '256MB'", sql), statements))
        list(pool.map(lambda table: psql(database, f"vacuum analyze {table}"), TABLES))
    for table in ("transactions", "audit_logs"):
        psql(database, f"create sequence {table}_id_seq owned by {table}.id start {counts[table] + 1}",
             f"alter table {table} alter id set default nextval('{table}_id_seq')")


def digest(database):
    """{table: {"rows", "digest"}} of the sample tables that exist; independent of row order and page layout."""
    present = psql(database, "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace "
                             "order by relname", output=True).split()
    result = {}
    for table in present:
        line = psql(database, "set max_parallel_workers_per_gather = 2", "set min_parallel_table_scan_size = '1MB'",
                    f"select count(*), coalesce(sum(hashtextextended(t::text, 42)), 0) from {table} t", output=True)
        rows, value = line.strip().split("|")
        result[table] = {"rows": int(rows), "digest": value}
    return result


LOAD = """\\set account random(1, :accounts)
\\set user random(1, :users)
\\set cents random(-50000, 50000)
begin;
update accounts set balance = balance + :cents / 100.0 where id = :account;
insert into transactions (account_id, amount, currency, category, merchant, description, reference, created_at)
  values (:account, :cents / 100.0, 'EUR', 'dining', 'Blue Bottle', 'live', md5(random()::text), clock_timestamp());
insert into audit_logs (user_id, action, ip, payload, created_at)
  values (:user, 'transfer.create', '10.0.0.1', jsonb_build_object('account', :account, 'cents', :cents), clock_timestamp());
commit;
"""


def load(database, seconds, rate, clients):
    pgbench = shutil.which("pgbench") or "/usr/lib/postgresql/15/bin/pgbench"
    accounts, users = psql(database, "select (select max(id) from accounts), (select max(id) from users)", output=True).strip().split("|")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(LOAD)
        script.flush()
        arguments = [pgbench, "-n", "-f", script.name, "-T", str(seconds), "-c", str(clients), "-D", f"accounts={accounts}", "-D", f"users={users}"]
        if rate:
            arguments += ["-R", str(rate)]
        bench = subprocess.Popen(arguments + [database])
        signal.signal(signal.SIGTERM, lambda *_: bench.terminate())
        return bench.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("create", "digest", "load"):
        one = verbs.add_parser(verb)
        one.add_argument("--db", default="mint_replica")
        if verb == "create":
            one.add_argument("--size", type=int, default=300, metavar="MB")
            one.add_argument("--seed", type=int, default=1)
            one.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
        if verb == "digest":
            one.add_argument("--json", action="store_true")
        if verb == "load":
            one.add_argument("--seconds", type=int, required=True)
            one.add_argument("--rate", type=int, default=0, help="transactions a second; 0 is as fast as it goes")
            one.add_argument("--clients", type=int, default=2)
    options = parser.parse_args()
    if options.verb == "create":
        started = time.monotonic()
        create(options.db, options.size, options.seed, options.jobs)
        size = int(psql(options.db, "select pg_database_size(current_database())", output=True))
        seconds = time.monotonic() - started
        print(f"{options.db}: {size / 1e6:.0f} MB in {seconds:.1f} s ({size / 1e6 / seconds:.0f} MB/s), seed {options.seed}")
    elif options.verb == "digest":
        result = digest(options.db)
        if options.json:
            print(json.dumps(result))
        else:
            for table, one in result.items():
                print(f"{table:<14}{one['rows']:>12,} rows  digest {one['digest']}")
    else:
        sys.exit(load(options.db, options.seconds, options.rate, options.clients))


if __name__ == "__main__":
    main()
