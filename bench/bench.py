#!/usr/bin/env python3
"""Ratios between pgmint, pgbackrest and pg_basebackup on one cluster; see README.md beside this file."""
import argparse
import json
import os
import pwd
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import logical
import object_store
import simulated

TREE = Path(__file__).resolve().parents[1]
BIN = Path("/usr/lib/postgresql/15/bin")
ROOT = os.getuid() == 0
OWNER = pwd.getpwnam("postgres") if ROOT else pwd.getpwuid(os.getuid())
MEASURES = ("bound", "backup", "restore", "verify", "wal", "codec", "incremental", "logical", "s3", *simulated.TARGETS)
# How pgmint's turns are called, and what they are configured with.
MODES = {"pgmint": "balanced", "pgmint fast": "fast", "pgmint zstd": "zstd:1", "pgmint small": "small"}


def owner_keywords(cwd):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "XDG_"))}
    environment.update(HOME=OWNER.pw_dir, USER=OWNER.pw_name, LC_ALL="C.UTF-8", TZ="UTC")
    keywords = {"cwd": cwd, "env": environment}
    if ROOT:
        keywords.update(user=OWNER.pw_uid, group=OWNER.pw_gid, extra_groups=[])
    return keywords


def reachable(path):
    return subprocess.run(["test", "-x", path], **owner_keywords("/")).returncode == 0


class Spent:
    """One finished command: wall seconds, CPU seconds, peak resident bytes of its largest process, exit code."""

    def __init__(self, seconds, cpu, peak, code):
        self.seconds, self.cpu, self.peak, self.code = seconds, cpu, peak, code


def timed(*command, cwd="/", log=None, may_fail=False):
    with open(log or os.devnull, "ab") as out:
        started = time.monotonic()
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **owner_keywords(cwd))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 and not may_fail:
        tail = Path(log).read_text(errors="replace")[-2000:] if log else ""
        sys.exit(f"bench: {' '.join(map(str, command))} exited {process.returncode}\n{tail}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, process.returncode)


def quiet(*command, cwd="/"):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **owner_keywords(cwd))
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, command))} exited {done.returncode}\n{done.stdout}")
    return done.stdout


def folder_bytes(folder):
    return sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())


def owner_folder(path):
    path.mkdir(parents=True, exist_ok=True)
    if ROOT:
        os.chown(path, OWNER.pw_uid, OWNER.pw_gid)
    path.chmod(0o700)
    return path


class Server:
    """The cluster that everything is measured on."""

    def __init__(self, work, size_mb, pgbench_scale):
        name = f"cluster-{size_mb}" + (f"-pgbench-{pgbench_scale}" if pgbench_scale else "")
        self.data, self.size_mb, self.pgbench_scale = work / name, size_mb, pgbench_scale
        self.sockets = owner_folder(Path(tempfile.mkdtemp(prefix="pgmint-bench.", dir="/tmp")))
        self.log = work / "server.log"
        self.made = work / f"{name}.complete"

    def make(self):
        if self.made.exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        quiet(BIN / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "--data-checksums", "--locale=C.UTF-8", "-E", "UTF8")
        with open(self.data / "postgresql.conf", "a") as file:
            file.write("listen_addresses = ''\nshared_buffers = 512MB\nmax_wal_size = 8GB\narchive_mode = on\narchive_command = 'true'\ncheckpoint_timeout = 1h\n"
                       "autovacuum = off\n")
        self.start()
        self.fill()
        self.stop()
        self.made.touch()

    def fill(self):
        print(subprocess.run([TREE / "scripts/sample_db.py", "create", "--size", str(self.size_mb)], check=True, stdout=subprocess.PIPE, text=True,
                             env=dict(os.environ, PGHOST=str(self.sockets), PGPORT="5432", PGUSER="postgres")).stdout.strip())
        self.make_variety()
        if self.pgbench_scale:
            self.make_pgbench()

    def make_variety(self):
        """Database `variety`: the relation kinds that the sample database has none of, for the codec's table."""
        self.sql("create database variety")
        subprocess.run([BIN / "psql", "-Xq", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-U", "postgres", "-d", "variety", "-f", TREE / "bench/variety.sql"], check=True)

    def make_pgbench(self):
        """pgbench's tables, after transactions enough that their pages are no longer as they were loaded."""
        at_server = ["-h", self.sockets, "-U", "postgres"]
        quiet(BIN / "createdb", *at_server, "pgbench")
        quiet(BIN / "pgbench", *at_server, "-i", "-q", "-s", str(self.pgbench_scale), "pgbench")
        quiet(BIN / "pgbench", *at_server, "-n", "-c", "8", "-j", "2", "-t", "25000", "pgbench")
        self.sql("vacuum", "pgbench")

    def relations(self):
        """{name: file} of the relations of all databases that hold more than a few pages."""
        found = {}
        for database in self.sql("select datname from pg_database where datallowconn and datname <> 'template1'").split():
            listed = self.sql("select c.relname || '=' || pg_relation_filepath(c.oid) from pg_class c where relkind in ('r', 'i', 't', 'm') and c.oid >= 16384 "
                              "and pg_relation_size(c.oid) > 400000 order by relkind desc, 1", database)
            found.update((f"{database}.{line.split('=')[0]}", self.data / line.split("=")[1]) for line in listed.split())
        return found

    def start(self):
        quiet(BIN / "pg_ctl", "-D", self.data, "-l", self.log, "-o", f"-k {self.sockets} -p 5432", "-w", "-t", "300", "start")

    def stop(self):
        if (self.data / "postmaster.pid").exists():
            quiet(BIN / "pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", "300", "stop")

    def sql(self, statement, database="postgres"):
        return quiet(BIN / "psql", "-XAtq", "-h", self.sockets, "-U", "postgres", "-d", database, "-c", statement).strip()

    def archive_with(self, command):
        # .ready files left by another archiver's turn go first: each tool archives only what comes from now on.
        self.sql("alter system set archive_command = 'true'")
        self.sql("select pg_reload_conf()")
        self.sql("checkpoint")
        status = self.data / "pg_wal/archive_status"
        last = self.sql("select pg_walfile_name(pg_switch_wal())")
        while not (status / f"{last}.done").exists() and (self.data / "pg_wal" / last).exists():
            time.sleep(0.05)
        self.sql("alter system set archive_command = '" + command.replace("'", "''") + "'")
        self.sql("select pg_reload_conf()")
        time.sleep(0.3)  # until the archiver has read it


class PgBackRest:
    name = "pgbackrest"

    def __init__(self, work, server):
        self.home, self.server = owner_folder(work / "pgbackrest"), server
        self.repository = self.home / "repository"
        self.config = self.home / "pgbackrest.conf"
        self.log = self.home / "log"

    def reset(self):
        for name in ("repository", "spool", "lock"):
            shutil.rmtree(self.home / name, ignore_errors=True)
            owner_folder(self.home / name)
        self.config.write_text(f"""[global]
repo1-path={self.repository}
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=0123456789abcdef0123456789abcdef
repo1-bundle=y
repo1-retention-full=99
compress-type=zst
compress-level=1
process-max=2
start-fast=y
log-path={self.home}
lock-path={self.home}/lock
spool-path={self.home}/spool
log-level-console=warn
log-level-file=off
[main]
pg1-path={self.server.data}
pg1-socket-path={self.server.sockets}
pg1-port=5432
pg1-user=postgres
""")
        self.config.chmod(0o644)

    def command(self, *arguments):
        return ["pgbackrest", f"--config={self.config}", "--stanza=main", *arguments]

    def create(self):
        self.reset()
        quiet(*self.command("stanza-create"))

    archive_command = property(lambda self: " ".join(self.command("archive-push")) + ' "%p"')

    def backup(self):
        return timed(*self.command("backup", "--type=full"), log=self.log)

    def restore(self, target):
        return timed(*self.command("restore", f"--pg1-path={target}", "--archive-mode=off"), log=self.log)

    def verify(self):
        return timed(*self.command("verify"), log=self.log)

    def push(self, asynchronous):
        return self.command("archive-push", *(["--archive-async"] if asynchronous else []))


class Pgmint:
    def __init__(self, work, server, name="pgmint"):
        self.name, self.server = name, server
        self.home = owner_folder(work / name.replace(" ", "-"))
        self.repository = self.home / "repository"
        self.config = self.home / "pgmint.toml"
        self.log = self.home / "log"
        self.binary = self.home / "pgmint"
        shutil.copy2(os.environ.get("PGMINT_BIN", TREE / "build/release/pgmint"), self.binary)
        self.binary.chmod(0o755)

    def create(self):
        shutil.rmtree(self.repository, ignore_errors=True)
        shutil.rmtree(self.home / "state", ignore_errors=True)
        (self.home / "repository.key").unlink(missing_ok=True)
        self.config.write_text(f"""repository = "{self.repository}"
state_directory = "{self.home}/state"
compression = "{MODES[self.name]}"
[encryption]
key_file = "{self.home}/repository.key"
[cluster.main]
data_directory = "{self.server.data}"
connection = "host={self.server.sockets} port=5432 user=postgres dbname=postgres"
""")
        self.config.chmod(0o644)
        quiet(*self.command("init"))

    def command(self, *arguments):
        return [str(self.binary), "--config", str(self.config), *arguments]

    archive_command = property(lambda self: " ".join(self.command("wal", "push")) + ' "%p"')

    def backup(self):
        return timed(*self.command("backup", "--type", "full", "--jobs", "2"), log=self.log)

    def incremental(self):
        return timed(*self.command("backup", "--jobs", "2"), log=self.log)

    def restore(self, target):
        return timed(*self.command("restore", "--to", str(target), "--jobs", "2"), log=self.log)

    def verify(self):
        # Between two backups of pgmint the archiver served another tool: that gap is named, with exit 8, and has to be all there is.
        before = self.log.stat().st_size
        spent = timed(*self.command("verify", "--read-data"), log=self.log, may_fail=True)
        said = self.log.read_bytes()[before:].decode(errors="replace")
        gaps = sum(": WAL is missing: " in line for line in said.splitlines())
        if spent.code != 0 and not (spent.code == 8 and f"{gaps} FINDINGS: " in said):
            sys.exit(f"bench: verify exited {spent.code}\n{said}")
        return spent

    def push(self, _):
        return self.command("wal", "push")


class Churn(Server):
    """One large table with three indexes, of which few rows change from one backup to the next."""
    ROWS_PER_MB = 3300

    def __init__(self, work, size_mb):
        super().__init__(work, size_mb, 0)
        self.data, self.made = work / f"churn-{size_mb}", work / f"churn-{size_mb}.complete"
        self.rows = size_mb * self.ROWS_PER_MB

    def fill(self):
        self.sql("create table t (id bigint, k bigint, v text, filler text)")
        self.sql(f"insert into t select i, (random() * 1e12)::bigint, md5(i::text), repeat(md5((i * 3)::text), 5) from generate_series(1, {self.rows}) i")
        for column in ("id", "k", "v"):
            self.sql(f"create {'unique ' if column == 'id' else ''}index on t ({column})")
        self.sql("vacuum freeze t")

    def update(self, rows):
        """Rows anywhere, all indexed columns but the key's. Returns the position before."""
        before = self.sql("select pg_current_wal_lsn()")
        self.sql(f"update t set k = (random() * 1e12)::bigint, v = md5(random()::text) where id in "
                 f"(select (random() * {self.rows})::bigint + 1 from generate_series(1, {rows}))")
        self.sql("checkpoint")
        return before

    def changed_since(self, position, work):
        """(pages, their bytes as one zstd-1 frame) of relations by their LSN: what no incremental can do without."""
        high, low = (int(part, 16) for part in position.split("/"))
        after, pages, dump = (high << 32) + low, 0, work / "changed"
        with open(dump, "wb") as out:
            for file in sorted((self.data / "base").rglob("*")):
                if not file.is_file() or not file.name[0].isdigit() or "_" in file.name:
                    continue
                content = file.read_bytes()
                for at in range(0, len(content) - 8191, 8192):
                    words = struct.unpack_from("<II", content, at)
                    if (words[0] << 32) + words[1] > after:
                        out.write(content[at:at + 8192])
                        pages += 1
        quiet("zstd", "-q", "-1", "-f", dump, "-o", f"{dump}.zst")
        stored = Path(f"{dump}.zst").stat().st_size
        for name in (dump, Path(f"{dump}.zst")):
            name.unlink()
        return pages, stored


class BlockPgBackRest(PgBackRest):
    """A version with block incrementals, from another suite."""
    name = "pgbackrest block"

    def __init__(self, work, server):
        super().__init__(work, server)
        self.home = owner_folder(work / "pgbackrest-block")
        self.repository, self.config, self.log = self.home / "repository", self.home / "pgbackrest.conf", self.home / "log"
        prefix = Path("/var/tmp/pgmint-postgres/pgbackrest")
        subprocess.run([TREE / "scripts/install-postgres.sh", "trixie", "pgbackrest", prefix], check=True)
        self.program = prefix / "usr/bin/pgbackrest"

    def reset(self):
        super().reset()
        self.config.write_text(self.config.read_text().replace("repo1-bundle=y\n", "repo1-bundle=y\nrepo1-block=y\n"))

    def command(self, *arguments):
        return [str(self.program), *super().command(*arguments)[1:]]

    def incremental(self):
        return timed(*self.command("backup", "--type=incr"), log=self.log)


class Results:
    def __init__(self):
        self.samples, self.verdicts = {}, []

    def add(self, measure, tool, value):
        self.samples.setdefault(measure, {}).setdefault(tool, []).append(value)

    def median(self, measure, tool):
        values = self.samples.get(measure, {}).get(tool)
        return statistics.median(values) if values else None

    def require(self, text, value, bound, at_least=True, unit="x"):
        """value None: not measured."""
        if value is None:
            return
        met = value >= bound if at_least else value <= bound
        self.verdicts.append((text, value, bound, met))
        print(f"  {text:<58}{value:>8.2f} {unit:<3} {'>=' if at_least else '<='} {bound:g}  {'met' if met else 'MISSED'}")


def measure_bound(work, server, results, rounds):
    """Two decompressing and writing pipelines side by side: what no restore can beat with zstd-1 and two cores."""
    home = owner_folder(work / "bound")
    halves = [[], []]
    sizes = [0, 0]
    files = sorted((f for f in (server.data / "base").rglob("*") if f.is_file()), key=lambda f: -f.stat().st_size)
    for file in files:
        k = 0 if sizes[0] <= sizes[1] else 1
        halves[k].append(str(file.relative_to(server.data)))
        sizes[k] += file.stat().st_size
    for k, half in enumerate(halves):
        (home / f"list{k}").write_text("\n".join(half))
        quiet("bash", "-c", f"tar -C '{server.data}' -cf - -T '{home}/list{k}' | zstd -q -1 -f -o '{home}/half{k}.zst'")
    for _ in range(rounds):
        shutil.rmtree(home / "out", ignore_errors=True)
        owner_folder(home / "out")
        spent = timed("bash", "-c", f"for k in 0 1; do zstd -q -dc '{home}/half'$k.zst | tar -C '{home}/out' -xf - & done; wait; sync -f '{home}/out'")
        results.add("restore", "bound", spent.seconds)
    shutil.rmtree(home, ignore_errors=True)


def measure_backups(work, server, tools, results, rounds, wanted):
    database = folder_bytes(server.data / "base") + folder_bytes(server.data / "global")
    for tool in tools:
        tool.create()
    for number in range(rounds):
        for tool in tools:
            server.archive_with(tool.archive_command)
            before = folder_bytes(tool.repository)
            spent = tool.backup()
            results.add("backup", tool.name, spent.seconds)
            results.add("stored", tool.name, folder_bytes(tool.repository) - before)
            results.add("memory", tool.name, spent.peak)
            results.add("backup cpu", tool.name, spent.cpu)
            print(f"    backup {number + 1}: {tool.name:<13}{spent.seconds:7.2f} s  {database / 1e6 / spent.seconds:6.0f} MB/s  "
                  f"{results.samples['stored'][tool.name][-1] / 1e6:7.0f} MB stored  {spent.cpu:6.1f} s CPU  {spent.peak / 1e6:5.0f} MB peak", flush=True)
        if "backup" in wanted:
            server.archive_with("true")
            target = owner_folder(work / "basebackup")
            shutil.rmtree(target)
            spent = timed(BIN / "pg_basebackup", "-h", server.sockets, "-U", "postgres", "-D", target, "-Ft", "-X", "none", "-c", "fast", "--no-manifest",
                          "--compress=client-zstd:1", log=work / "basebackup.log")
            results.add("backup", "pg_basebackup", spent.seconds)
            results.add("stored", "pg_basebackup", folder_bytes(target))
            shutil.rmtree(target)
            print(f"    backup {number + 1}: pg_basebackup{spent.seconds:6.2f} s", flush=True)
    server.archive_with("true")


def measure_restores(work, tools, results, rounds):
    for number in range(rounds):
        for tool in tools:
            target = work / f"restored-{tool.name.replace(' ', '-')}"
            shutil.rmtree(target, ignore_errors=True)
            owner_folder(target)
            spent = tool.restore(target)
            results.add("restore", tool.name, spent.seconds)
            results.add("memory", tool.name, spent.peak)
            shutil.rmtree(target)
            print(f"    restore {number + 1}: {tool.name:<13}{spent.seconds:6.2f} s  {spent.cpu:6.1f} s CPU", flush=True)


def measure_verify(tools, results, rounds):
    for number in range(rounds):
        for tool in tools:
            spent = tool.verify()
            results.add("verify", tool.name, spent.seconds)
            results.add("memory", tool.name, spent.peak)
            print(f"    verify {number + 1}: {tool.name:<12}{spent.seconds:6.2f} s  {spent.cpu:6.1f} s CPU", flush=True)


def ready_segments(server, count):
    """At least so many finished segments of ordinary WAL with their .ready files; the server is stopped afterwards."""
    server.sql("alter system set archive_command = 'false'")
    server.sql("select pg_reload_conf()")
    time.sleep(0.3)
    status = server.data / "pg_wal/archive_status"
    server.sql("drop table if exists wal_filler")
    server.sql("create table wal_filler as select i, md5(i::text) || md5((i * 7)::text) as x, now() as at, (i % 1000)::numeric / 7 as n from generate_series(1, 10) i")
    while len(list(status.glob("*.ready"))) < count:
        server.sql("insert into wal_filler select i, md5(i::text) || md5((i * 7)::text), now(), (i % 1000)::numeric / 7 from generate_series(1, 1000000) i")
        server.sql("truncate wal_filler")
    server.sql("drop table wal_filler")
    server.stop()
    ready = sorted(p.name[:-6] for p in status.glob("*.ready"))
    names = [name for name in ready if len(name) == 24][:count]
    # Whatever takes ready segments ahead would take these too, and its time would be counted without them.
    for name in set(ready) - set(names):
        (status / f"{name}.ready").rename(status / f"{name}.done")
    return names


def cores():
    """Jiffies of all cores since the start of the machine: busy, and in all."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)  # without idle and iowait


def push_all(server, command, names):
    """As the archiver does: one process a segment, oldest first, .ready becomes .done after exit 0. Seconds, CPU seconds of the pushes, their peak memory, and
    the part of all cores' time that anything took meanwhile."""
    status = server.data / "pg_wal/archive_status"
    started, cpu, peak, before = time.monotonic(), 0.0, 0, cores()
    for name in names:
        for _ in range(100):
            spent = timed(*command, f"pg_wal/{name}", cwd=server.data, may_fail=True, log=server.log)
            cpu, peak = cpu + spent.cpu, max(peak, spent.peak)
            if spent.code == 0:
                break
        else:
            sys.exit(f"bench: {command[0]} could not push {name}; see {server.log}")
        (status / f"{name}.ready").rename(status / f"{name}.done")
    seconds, after = time.monotonic() - started, cores()
    for name in names:
        (status / f"{name}.done").rename(status / f"{name}.ready")
    return seconds, cpu, peak, (after[0] - before[0]) / max(1, after[1] - before[1])


def measure_wal(server, pgmint, pgbackrest, results, rounds, count):
    names = ready_segments(server, count)
    status = server.data / "pg_wal/archive_status"
    for number in range(rounds):
        for label, tool, asynchronous in (("pgbackrest", pgbackrest, False), ("pgbackrest async", pgbackrest, True), ("pgmint", pgmint, False)):
            if tool is pgbackrest:
                server.start()
                tool.create()
                server.stop()
            else:
                tool.create()
            seconds, cpu, peak, busy = push_all(server, tool.push(asynchronous), names)
            results.add("memory", tool.name, peak)
            results.add("wal", label, seconds)
            print(f"    wal {number + 1}: {label:<18}{len(names)} segments in {seconds:6.2f} s  {len(names) / seconds:6.1f}/s  {cpu:6.1f} s CPU in the pushes, cores {busy:.0%} busy", flush=True)
    # One segment alone: nothing else is ready, so nothing is taken ahead.
    pgmint.create()
    for name in names:
        (status / f"{name}.ready").rename(status / f"{name}.done")
    for name in names[:12]:
        (status / f"{name}.done").rename(status / f"{name}.ready")
        push = timed(*pgmint.push(False), f"pg_wal/{name}", cwd=server.data, log=pgmint.log)
        (status / f"{name}.ready").rename(status / f"{name}.done")
        plain = timed("zstd", "-q", "-1", "--single-thread", "-c", f"pg_wal/{name}", cwd=server.data)
        if name != names[0]:  # the first one opens a repository that has never seen this cluster
            results.add("single push beyond compression", "pgmint", (push.cpu - plain.cpu) * 1000)
            results.add("memory", "pgmint", push.peak)


def measure_codec(server, results):
    """Codec alone, one core, every relation: speed of compressing (with its check), of decompressing, and ratio (page_codec_bench.cc)."""
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "page_codec_bench"], cwd=TREE, check=True, stdout=subprocess.DEVNULL)
    server.start()
    relations = server.relations()
    server.stop()
    # One codec's turns lie between the others', and each one's fastest counts: what neighbours on the machine do meanwhile only ever takes time, of some turns a third.
    done = subprocess.run([TREE / "build/release/bench/page_codec_bench", "--benchmark_format=json", "--benchmark_min_time=0.05", "--benchmark_repetitions=7",
                           "--benchmark_enable_random_interleaving=true",
                           *(f"{name}={file}" for name, file in relations.items())], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    table = {}
    for entry in sorted(json.loads(done.stdout)["benchmarks"], key=lambda entry: entry["family_index"]):
        if entry.get("error_occurred"):
            sys.exit(f"bench: {entry['name']}: {entry['error_message']}")
        if entry["run_type"] != "iteration":
            continue
        direction, relation, mode = entry["run_name"].split("/")[:3]  # behind it "manual_time"
        cell = table.setdefault(relation, {}).setdefault(mode, {})
        cell[direction] = max(cell.get(direction, 0), entry["bytes_per_second"] / 1e6)
        cell["ratio"] = entry.get("ratio", cell.get("ratio"))
    modes = list(next(iter(table.values())))
    print("\n  codec alone, one core: MB/s compressing / decompressing / ratio\n" + f"    {'':<36}" + "".join(f"{m:>24}" for m in modes))
    for relation, cells in table.items():
        print(f"    {relation:<36}" + "".join(f"{c['compress']:>10.0f}/{c['decompress']:>6.0f}/{c['ratio']:>6.2f}" for c in cells.values()))
        results.add("codec speed by zstd 1's", "pgmint", cells["balanced"]["compress"] / cells["zstd_1"]["compress"])
        results.add("codec size by zstd 1's", "pgmint", cells["zstd_1"]["ratio"] / cells["balanced"]["ratio"])


def measure_incremental(work, size_mb, results, rounds):
    """Nothing changed, then 4,000 rows changed, for each tool on top of its own backup before."""
    server = Churn(work, size_mb)
    pgmint, peer = Pgmint(work, server), BlockPgBackRest(work, server)
    try:
        server.make()
        server.start()
        quiet("bash", "-c", f"cat '{server.data}'/base/*/* >/dev/null")

        def take(tool, kind):
            stored = lambda: folder_bytes(tool.repository / "backup" if tool is peer else tool.repository)  # noqa: E731
            archive_for(tool)
            before = stored()
            spent = tool.incremental()
            grown = stored() - before
            if tool is pgmint:  # without the WAL that was archived meanwhile
                newest = json.loads(quiet(*tool.command("list", "--json")))["clusters"][0]["backups"][-1]
                grown = newest["stored_bytes"]
                shown = json.loads(quiet(*tool.command("show", newest["name"], "--json")))["settings"]
                results.add(f"{kind}: read", tool.name, int(shown["read_bytes"]))
            results.add(f"{kind}: time", tool.name, spent.seconds)
            results.add(f"{kind}: stored", tool.name, grown)
            results.add("memory", tool.name, spent.peak)
            print(f"    {kind}: {tool.name:<17}{spent.seconds:7.2f} s  {grown / 1e6:9.3f} MB stored  {spent.cpu:6.1f} s CPU  {spent.peak / 1e6:5.0f} MB peak", flush=True)

        def archive_for(tool):
            """pgmint's archive lacks nothing, as it would with a user; the peer's gets what its own backups need."""
            both = f"{pgmint.archive_command} && {peer.archive_command}" if tool is peer else pgmint.archive_command
            server.sql("alter system set archive_command = '" + both.replace("'", "''") + "'")
            server.sql("select pg_reload_conf()")
            time.sleep(0.3)

        server.archive_with("true")
        for tool in (peer, pgmint):
            tool.create()
        for _ in range(rounds):
            for tool in (pgmint, peer):  # each round stands on a full: deltas of rounds before would be folded in between
                archive_for(tool)
                tool.backup()
            started = time.monotonic()
            server.sql("checkpoint; select pg_backup_start('alone', true); select pg_switch_wal(); select labelfile from pg_backup_stop(false)")
            results.add("nothing: the server's own part", "postgresql", time.monotonic() - started)
            for tool in (pgmint, peer):
                take(tool, "nothing")
            archive_for(pgmint)
            before = server.update(4000)
            take(pgmint, "4000 rows")
            pages, stored = server.changed_since(before, work)
            results.add("4000 rows: changed pages", "pages", pages)
            results.add("4000 rows: stored", "zstd-1 of them", stored)
            take(peer, "4000 rows")
        server.archive_with("true")
    finally:
        server.stop()
        shutil.rmtree(server.sockets, ignore_errors=True)
        for tool in (peer, pgmint):
            shutil.rmtree(tool.repository, ignore_errors=True)


def report(results, options):
    print("\n  medians")
    for measure, tools in results.samples.items():
        scale, unit = {"stored": (1e6, "MB"), "memory": (1e6, "MB"), "single push beyond compression": (1, "ms"),
                       "codec speed by zstd 1's": (1, "x"), "4000 rows: changed pages": (1, ""), "4000 rows: stored": (1e6, "MB"), "nothing: stored": (1e3, "kB"),
                       "4000 rows: read": (1e6, "MB"), "dump: stored": (1e6, "MB"), "dump after 1 %: stored": (1e6, "MB"), "dump, nothing changed: stored": (1e3, "kB"), "nothing: read": (1e6, "MB"), "S3 full: requests per 32 MB of the database": (1, ""), "S3 full: requests per 32 MB stored": (1, ""), "S3 incremental, nothing changed: requests": (1, ""), "S3 list: requests": (1, ""), "codec size by zstd 1's": (1, "x"), **simulated.UNITS}.get(measure, (1, "s"))
        figures = [f"{tool} {(max(values) if measure == 'memory' else statistics.median(values)) / scale:.2f}" for tool, values in tools.items()]
        print(f"    {measure:<55} {',  '.join(figures)} {unit}")

    def ratio(measure, slow, fast="pgmint"):
        a, b = results.median(measure, slow), results.median(measure, fast)
        return a / b if a and b else None
    print("\n  ratios (1.00 is equal; more is better for pgmint)")
    for name, speed, size in (("pgmint", 2.2, 0.80), ("pgmint fast", 3.0, 1.0), ("pgmint zstd", 1.5, 1.02)):
        results.require(f"full backup, {MODES[name]}: throughput against pgbackrest", ratio("backup", "pgbackrest", name), speed)
        results.require(f"full backup, {MODES[name]}: stored bytes against pgbackrest", ratio("stored", name, "pgbackrest"), size, at_least=False)
    results.require("full backup: throughput against pg_basebackup", ratio("backup", "pg_basebackup"), 1.0)
    for name, speed in (("pgmint", 2.2), ("pgmint fast", 2.2), ("pgmint zstd", 2.0), ("pgmint small", 2.2)):
        results.require(f"restore, {MODES[name]}: throughput against pgbackrest", ratio("restore", "pgbackrest", name), speed)
    for measure, pick, bound, at_least in (("codec speed by zstd 1's", min, 1.0, True), ("codec size by zstd 1's", max, 1.01, False)):
        values = results.samples.get(measure, {}).get("pgmint")
        results.require(f"{measure}, worst relation", pick(values) if values else None, bound, at_least)
    results.require("restore: throughput against writing and unzstd alone", ratio("restore", "bound"), 0.8)
    results.require("verify: speed against pgbackrest", ratio("verify", "pgbackrest"), 2.0)
    ideal, pages = results.median("4000 rows: stored", "zstd-1 of them"), results.median("4000 rows: changed pages", "pages")
    if pages:
        results.require("incremental: stored against zstd-1 of the changed pages", results.median("4000 rows: stored", "pgmint") / ideal, 1.15, at_least=False)
        results.require("incremental: read against the changed pages", results.median("4000 rows: read", "pgmint") / (pages * 8192), 1.1, at_least=False)
        results.require("incremental: speed against pgbackrest's block incremental", ratio("4000 rows: time", "pgbackrest block"), 3.0)
        results.require("nothing changed: seconds beyond the server's part",
                        results.median("nothing: time", "pgmint") - results.median("nothing: the server's own part", "postgresql"), 0.3, at_least=False, unit="s")
        results.require("nothing changed: stored", results.median("nothing: stored", "pgmint") / 1024, 64, at_least=False, unit="KiB")
    logical.require(results)
    object_store.require(results)
    simulated.require(results)
    results.require("WAL: rate against synchronous archive-push", ratio("wal", "pgbackrest"), 5.0)
    results.require("WAL: rate against asynchronous archive-push", ratio("wal", "pgbackrest async"), 1.0)
    results.require("wal push: CPU beyond compression", results.median("single push beyond compression", "pgmint"), 30, at_least=False, unit="ms")
    peak = [value for tool, values in results.samples.get("memory", {}).items() if tool in MODES for value in values]
    results.require("peak memory", max(peak) / 1e6 if peak else None, 400, at_least=False, unit="MB")
    if options.json:
        Path(options.json).write_text(json.dumps({"size_mb": options.size, "samples": results.samples,
                                                  "verdicts": [dict(zip(("what", "value", "bound", "met"), v)) for v in results.verdicts]}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=3000, metavar="MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pgbench", type=int, default=0, metavar="SCALE", help="pgbench's tables beside the sample database, after churn")
    parser.add_argument("--modes", default="balanced,fast,zstd:1", help="of " + ",".join(MODES.values()) + "; verify, WAL: the first one")
    parser.add_argument("--only", default=",".join(MEASURES), help="of " + ",".join(MEASURES))
    parser.add_argument("--segments", type=int, default=100, help="ready WAL segments to push")
    parser.add_argument("--json", metavar="FILE", help="all samples, for later comparison")
    parser.add_argument("--peers-only", action="store_true", help="leave pgmint out (tries the bench itself)")
    options = parser.parse_args()
    wanted = set(options.only.split(","))
    if not wanted <= set(MEASURES):
        parser.error(f"--only takes {','.join(MEASURES)}")
    work = TREE / "bench-work"
    work.mkdir(exist_ok=True)
    if not reachable(work):
        work = Path("/var/tmp/pgmint-bench")
        work.mkdir(exist_ok=True)
    owner_folder(work).chmod(0o755)
    results = Results()
    simulated.measure(sys.modules[__name__], work, results, wanted)
    if wanted <= set(simulated.TARGETS):
        return report(results, options)
    server = Server(work, options.size, options.pgbench)
    print(f"  {options.size} MB sample database{f', pgbench at scale {options.pgbench}' if options.pgbench else ''}, {options.rounds} rounds, {os.cpu_count()} cores, pgbackrest {quiet('pgbackrest', 'version').split()[-1]}", flush=True)
    try:
        server.make()
        pgbackrest = PgBackRest(work, server)
        ours = [] if options.peers_only else [Pgmint(work, server, name) for name, mode in MODES.items() if mode in options.modes.split(",")]
        pgmint = ours[0] if ours else None
        tools = [pgbackrest, *ours]
        server.start()
        quiet("bash", "-c", f"cat '{server.data}'/base/*/* >/dev/null")  # warm for whoever comes first
        if "bound" in wanted:
            measure_bound(work, server, results, options.rounds)
        if wanted & {"backup", "restore", "verify"}:
            measure_backups(work, server, tools, results, options.rounds if "backup" in wanted else 1, wanted)
        if "restore" in wanted:
            measure_restores(work, tools, results, options.rounds)
        if "verify" in wanted:
            measure_verify(tools[:2], results, options.rounds)
        if "wal" in wanted and pgmint:
            measure_wal(server, pgmint, pgbackrest, results, options.rounds, options.segments)
        if "s3" in wanted and pgmint:
            object_store.measure(sys.modules[__name__], work, server, results, options.rounds, options.segments)
        if "logical" in wanted and pgmint:
            logical.measure(sys.modules[__name__], server, pgmint, results, options.rounds)
        if "incremental" in wanted and pgmint:
            server.stop()
            measure_incremental(work, options.size, results, options.rounds)
        if "codec" in wanted:
            server.stop()
            measure_codec(server, results)
        report(results, options)
    finally:
        server.stop()
        shutil.rmtree(server.sockets, ignore_errors=True)
        for name in ("pgbackrest/repository", "pgbackrest/spool", *(f"{mode.replace(' ', '-')}/repository" for mode in MODES)):
            shutil.rmtree(work / name, ignore_errors=True)


if __name__ == "__main__":
    main()
