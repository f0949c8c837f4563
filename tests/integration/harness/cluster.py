"""A real PostgreSQL cluster: initdb (through a template), configuration, start, stop, kill, questions in SQL."""
import os
import signal
import subprocess
from pathlib import Path

import psycopg2

from .places import as_owner, give_to_owner, run, server_programs, wait_until

BASE_CONFIGURATION = {
    "listen_addresses": "", "port": "5432", "fsync": "off", "shared_buffers": "32MB", "max_connections": "30", "wal_level": "replica",
    "max_wal_size": "512MB", "autovacuum": "off", "lc_messages": "C", "timezone": "UTC", "max_wal_senders": "6", "logging_collector": "off",
    "archive_timeout": "0", "track_commit_timestamp": "on", "log_min_messages": "info",
    "jit": "off",  # the unpacked majors have no LLVM beside them
}


def quoted(value):
    return "'" + str(value).replace("'", "''") + "'"


class Cluster:
    """Borrows `work`; stop() or the fixture's end stops the server. `home` holds data, log and whatever the test adds."""

    def __init__(self, work, name, version, data=None):
        self.work, self.name, self.version = work, name, version
        self.home = work.fresh(name)
        self.data = Path(data) if data else self.home / "data"
        self.sockets = work.fresh_socket_folder()
        self.log = self.home / "log"
        self.bin = server_programs(version)
        assert self.bin, f"PostgreSQL {version} is not installed"
        self.running = False

    # ---- making

    def initdb(self, wal_segsize=16, checksums=True, group=False, fresh=False, **settings):
        """fresh: an initdb of its own, so a system identifier of its own; otherwise a copy of a shared template."""
        label = f"template-{self.version}-{wal_segsize}-{'sums' if checksums else 'plain'}-{'g' if group else 'o'}"
        template = self.work.path / label
        target = self.data if fresh else template
        if fresh or not template.exists():
            arguments = [self.bin / "initdb", "-D", target, "-U", "postgres", "-A", "trust", "-N", "--locale=C.UTF-8", "-E", "UTF8",
                         f"--wal-segsize={wal_segsize}"]
            if checksums:
                arguments.append("--data-checksums")
            elif self.version >= 18:
                arguments.append("--no-data-checksums")
            if group:
                arguments.append("-g")
            if not fresh:
                self.work.path.chmod(0o777)
            run(*arguments)
            self.work.path.chmod(0o755)
        if not fresh:
            run("cp", "-a", "--reflink=auto", template, self.data)
        self.configure(**{**BASE_CONFIGURATION, "unix_socket_directories": self.sockets, **settings})
        return self

    def configure(self, **settings):
        """Appends to postgresql.conf; the last line wins. Takes effect at the next start or reload()."""
        with open(self.data / "postgresql.conf", "a") as file:
            file.writelines(f"{key} = {quoted(value)}\n" for key, value in settings.items())

    def archive_with(self, pgmint):
        """archive_command as the manual shows it. The server is (re)started by the test."""
        self.configure(archive_mode="on", archive_command=f'{pgmint.binary} --config {pgmint.config} wal push "%p"')
        return self

    # ---- running

    def start(self, expect_success=True, wait=True, **settings):
        """settings: given on the server's command line, so they beat what a restored directory says."""
        options = {"unix_socket_directories": self.sockets, "port": 5432, "listen_addresses": "", **settings}
        text = " ".join(f"-c {key}='{value}'" for key, value in options.items())
        done = subprocess.run([self.bin / "pg_ctl", "-D", self.data, "-l", self.log, "-o", text, "-t", "60", "-w" if wait else "-W", "start"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90, **as_owner(cwd=self.home))
        self.running = done.returncode == 0
        if expect_success:
            assert self.running, f"server did not start: {done.stdout}\n{self.log_text()[-4000:]}"
        return self

    def stop(self, mode="fast"):
        if self.pid():
            run(self.bin / "pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop", timeout=90, check=False)
        self.running = False
        return self

    def restart(self, **settings):
        return self.stop().start(**settings)

    def reload(self):
        run(self.bin / "pg_ctl", "-D", self.data, "reload")

    def pid(self):
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError, IndexError):
            return None

    def kill(self):
        """kill -9 of the postmaster and all its children, then waits until they are gone."""
        pid = self.pid()
        children = subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.PIPE, text=True).stdout.split()
        family = [pid] + [int(child) for child in children]
        for one in family:
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                pass

        def gone(one):
            try:
                os.waitpid(one, os.WNOHANG)  # ours to reap where we are the subreaper; a zombie still blocks postmaster.pid
            except ChildProcessError:
                pass
            return not Path(f"/proc/{one}").exists()
        wait_until(lambda: all(gone(one) for one in family), "the killed server is gone")
        self.running = False

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # ---- asking

    @property
    def connection(self):
        return f"host={self.sockets} port=5432 user=postgres dbname=postgres"

    def connect(self, database="postgres"):
        link = psycopg2.connect(host=str(self.sockets), port=5432, user="postgres", dbname=database, connect_timeout=10)
        link.autocommit = True
        return link

    def sql(self, statement, *parameters, database="postgres"):
        """Rows as a list of tuples ([] where there are none)."""
        link = self.connect(database)
        try:
            with link.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            link.close()

    def one(self, statement, *parameters, database="postgres"):
        return self.sql(statement, *parameters, database=database)[0][0]

    def digest(self, database="postgres"):
        """{table: (rows, order-independent hash of them)} of all ordinary tables in public."""
        tables = [row[0] for row in self.sql("select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace "
                                             "and relpersistence = 'p' order by relname", database=database)]
        return {t: self.sql(f'select count(*), coalesce(sum(hashtextextended(t::text, 7)), 0)::text from "{t}" t', database=database)[0]
                for t in tables}

    def make_table(self, name, rows, database="postgres", tablespace=None, unlogged=False):
        """Rows of about 120 bytes, compressible about as well as business data."""
        where = f" tablespace {tablespace}" if tablespace else ""
        self.sql(f"create {'unlogged' if unlogged else ''} table {name} (id bigint primary key, body text, at timestamptz){where}", database=database)
        return self.add_rows(name, rows, database)

    def add_rows(self, name, rows, database="postgres"):
        self.sql(f"insert into {name} select i, 'row ' || i || ' ' || md5(i::text), '2026-01-01Z'::timestamptz + i * interval '1 s' "
                 f"from generate_series((select coalesce(max(id), 0) + 1 from {name}), (select coalesce(max(id), 0) + %s from {name})) i", rows,
                 database=database)
        return self

    # ---- WAL

    def lsn(self):
        return self.one("select pg_current_wal_lsn()::text")

    def now(self):
        """The server's clock, in PostgreSQL's own output form."""
        return self.one("select clock_timestamp()::text")

    def current_segment(self):
        return self.one("select pg_walfile_name(pg_current_wal_insert_lsn())")

    def switch_wal(self):
        """Ends the current segment; returns its name."""
        name = self.current_segment()
        self.sql("select pg_logical_emit_message(false, 'test', 'x')")
        self.sql("select pg_switch_wal()")
        return name

    def archived(self, name):
        return (self.data / "pg_wal/archive_status" / (name + ".done")).exists()

    def archive_now(self, timeout=30):
        """Switches WAL and waits until everything before is archived; returns the name of the segment."""
        name = self.switch_wal()
        done = lambda: len(list((self.data / "pg_wal/archive_status").glob("*.done")))
        wait_until(lambda: self.archived(name), f"{name} is archived\n{self.log_text()[-1500:]}", timeout, progress=done)
        return name

    def is_promoted(self):
        try:
            return self.one("select not pg_is_in_recovery()")
        except psycopg2.OperationalError:
            return False

    def wait_promoted(self, timeout=30):
        replayed = lambda: self.log_text().count("restored log file")
        wait_until(self.is_promoted, f"recovery has ended: {self.log_text()[-1500:]}", timeout, progress=replayed)
        return self

    def wait_paused(self, timeout=30):
        state = "pg_get_wal_replay_pause_state()" if self.version >= 14 else "case when pg_is_wal_replay_paused() then 'paused' end"
        wait_until(lambda: self.one(f"select {state}") == "paused", f"recovery is paused: {self.log_text()[-1500:]}", timeout)
        return self

    def control(self):
        """pg_controldata as a dictionary."""
        text = run(self.bin / "pg_controldata", self.data, env={"LC_ALL": "C"}).stdout
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}

    @property
    def system_identifier(self):
        return self.control()["Database system identifier"]

    def backup_sessions(self):
        """Backend pids of sessions that pgmint holds."""
        return [pid for (pid,) in self.sql("select pid from pg_stat_activity where application_name like 'pgmint%' and pid <> pg_backend_pid()")]

    def tablespace(self, name):
        place = give_to_owner_folder(self.home / f"space_{name}")
        self.sql(f"create tablespace {name} location {quoted(place)}")
        return place

    def setting(self, name):
        return self.one("select current_setting(%s)", name)

    def amcheck(self):
        """pg_amcheck over all databases; raises on any finding. Before 14, which brought it: every index against its table."""
        for (database,) in self.sql("select datname from pg_database where datallowconn"):
            self.sql("create extension if not exists amcheck", database=database)
            if self.version < 14:
                self.sql("select bt_index_check(i.indexrelid, true) from pg_index i join pg_class c on c.oid = i.indexrelid"
                         " join pg_am a on a.oid = c.relam where a.amname = 'btree' and i.indisvalid and c.relpersistence <> 't'", database=database)
        if self.version < 14:
            return
        run(self.bin / "pg_amcheck", "-h", self.sockets, "-U", "postgres", "--all", "--heapallindexed", timeout=120)


def give_to_owner_folder(path):
    path.mkdir(mode=0o700)
    return give_to_owner(path)


class Background:
    """Rows that keep coming from another session until stop(), after which none comes any more."""

    NAME = "background-load"

    def __init__(self, cluster, table):
        self.cluster, self.table = cluster, table
        self.process = subprocess.Popen([cluster.bin / "psql", "-X", "-q", f"host={cluster.sockets} user=postgres dbname=postgres application_name={self.NAME}"],
                                        stdin=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_owner(cwd="/"))
        self.process.stdin.write(f"insert into {table} (id, body, at) select coalesce(max(id),0)+1, md5(random()::text), now() from {table} \\watch 0.005\n")
        self.process.stdin.flush()

    def stop(self):
        self.process.kill()
        self.process.wait()
        # Its server process may have an insert in hand, and commits it before it sees that nobody is there.
        wait_until(self.gone, "the server has ended the session of the load")

    def gone(self):
        try:
            return self.cluster.one("select count(*) from pg_stat_activity where application_name = %s", self.NAME) == 0
        except psycopg2.OperationalError:
            return True  # the server was ended, and the session with it
