"""Dumps of the sample database: against pg_dump writing to /dev/null, again after 1 % of the rows changed, and back in the order of need."""
import json
import os
import shutil

HIGH = '["users", "accounts", "transactions"]'
# Without the table that two thirds of the rows are in: what the order of need gives where the critical tables are the smaller part.
SMALLER_HIGH = '["users", "accounts", "audit_logs"]'


def load(bench, server, pgmint, *tables):
    """A load's JSON, into a new database on a server that has nothing else to write."""
    server.sql("drop database if exists loaded")
    server.sql("checkpoint")
    os.sync()
    return json.loads(bench.quiet(*pgmint.command("restore-db", "--db", "loaded", "--from-db", "dumped", "--backup", "latest", "--json", "--log-level", "error", "--progress", "none", *tables)))


def measure(bench, server, pgmint, results, rounds):
    at_server = ["-h", server.sockets, "-U", "postgres"]
    # A copy: the sample database stays as it is for whoever measures next.
    server.sql("drop database if exists dumped")
    server.sql("create database dumped template mint_replica")
    server.sql("checkpoint")
    os.sync()  # the copy's pages would be written back under the first dump, whose ever it is
    tables = server.sql("select count(*) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace", "dumped")
    print(f"    database of {int(server.sql('select pg_database_size(' + chr(39) + 'dumped' + chr(39) + ')')) / 1e6:.0f} MB, {tables} tables", flush=True)
    try:
        def dump(kind):
            spent = bench.timed(*pgmint.command("backup", "--type", "logical", "--database", "dumped", "--jobs", "2"), log=pgmint.log)
            newest = json.loads(bench.quiet(*pgmint.command("list", "--json")))["clusters"][0]["backups"][-1]
            results.add(f"{kind}: time", pgmint.name, spent.seconds)
            results.add(f"{kind}: stored", pgmint.name, newest["stored_bytes"])
            results.add("memory", pgmint.name, spent.peak)
            print(f"    {kind}: pgmint {spent.seconds:.2f} s, {newest['stored_bytes'] / 1e6:.1f} MB stored of {newest['size_bytes'] / 1e6:.0f}, {spent.cpu:.1f} s CPU, {spent.peak / 1e6:.0f} MB peak", flush=True)

        for _ in range(rounds):
            spent = bench.timed("bash", "-c", f"'{bench.BIN}/pg_dump' -h '{server.sockets}' -U postgres -Fc -Z0 dumped | cat > /dev/null")
            results.add("dump: time", "pg_dump", spent.seconds)
            print(f"    dump: pg_dump -Fc -Z0 {spent.seconds:.2f} s, {spent.cpu:.1f} s CPU", flush=True)
            # What these cores allow: the same, compressed and written, without a word of pgmint.
            kept = pgmint.repository.parent / "reference.zst"
            spent = bench.timed("bash", "-c", f"'{bench.BIN}/pg_dump' -h '{server.sockets}' -U postgres -Fc -Z0 dumped | zstd -q -1 -T2 > '{kept}'")
            results.add("dump: time", "zstd -1", spent.seconds)
            print(f"    dump: pg_dump -Fc -Z0 | zstd -1 -T2 {spent.seconds:.2f} s, {kept.stat().st_size / 1e6:.1f} MB, {spent.cpu:.1f} s CPU", flush=True)
            kept.unlink()
            pgmint.create()
            dump("dump")
        server.sql("update transactions set amount = amount + 1 where ctid in (select ctid from transactions where hashint8(id) % 100 = 7)", "dumped")
        server.sql("update audit_logs set action = action || '!' where hashint8(id) % 100 = 7", "dumped")
        dump("dump after 1 %")
        dump("dump, nothing changed")

        configured = pgmint.config.read_text()
        for number in range(min(rounds, 2)):
            for what, high in (("critical tables", HIGH), ("critical tables, the smaller part", SMALLER_HIGH)):
                pgmint.config.write_text(f"{configured}[recovery]\nhigh = {high}\n")
                # What the order of need cannot do better than: nothing but these tables.
                alone = load(bench, server, pgmint, *(word for table in json.loads(high) for word in ("--table", table)))["took_s"]
                loaded = load(bench, server, pgmint)
                of_all = f"load, {what} first"
                results.add(f"{of_all}: all", pgmint.name, loaded["took_s"])
                results.add(f"{of_all}: usable", pgmint.name, loaded["ready_s"]["high"])
                results.add(f"{of_all}: alone", pgmint.name, alone)
                listed = high.strip("[]").replace('"', "'")
                part = float(server.sql(f"select sum(pg_total_relation_size(oid)) filter (where relname in ({listed})) / sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace", "loaded"))
                print(f"    load {number + 1}: {loaded['took_s']:.2f} s, {what} ({part:.2f} of all bytes) after {loaded['ready_s']['high']:.2f} s; these alone {alone:.2f} s", flush=True)
    finally:
        for name in ("dumped", "loaded"):
            server.sql(f"drop database if exists {name}")
        shutil.rmtree(pgmint.repository, ignore_errors=True)


def require(results):
    def ratio(a, b):
        return a / b if a is not None and b else None
    median = results.median
    results.require("dump: time against pg_dump -Fc -Z0 alone", ratio(median("dump: time", "pgmint"), median("dump: time", "pg_dump")), 1.15, at_least=False)
    results.require("dump after 1 % changed: stored of the first", ratio(median("dump after 1 %: stored", "pgmint"), median("dump: stored", "pgmint")), 0.05, at_least=False)
    for what in ("critical tables", "critical tables, the smaller part"):
        of_all = f"load, {what} first"
        results.require(f"{of_all}: usable after this part", ratio(median(f"{of_all}: usable", "pgmint"), median(f"{of_all}: all", "pgmint")), 0.40, at_least=False)
        results.require(f"{of_all}: usable, by these alone", ratio(median(f"{of_all}: usable", "pgmint"), median(f"{of_all}: alone", "pgmint")), 1.1, at_least=False)
