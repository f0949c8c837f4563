"""The schedule and the daemon: a real server, real jobs, made due by what the daemon remembers and not by waiting for a minute."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.pgmint import Pgmint, end
from harness.places import OWNER, RUNNING_AS_ROOT, give_to_owner, owner_folder, wait_until
from harness.schedules import JOBS, memory_of, quiet_defaults, schedule, stamp, zone_where_it_is

NEVER = "[schedule]\n" + "".join(f'{job} = "never"\n' for job in JOBS)


def pair(make, **keywords):
    """A cluster and its pgmint, which finds the programs for configuration backups and dumps wherever the server was unpacked. No job's time comes while a test runs."""
    cluster, pgmint = make.pair(**keywords)
    pgmint.extra = quiet_defaults()
    return cluster, pgmint.add(cluster, bin_directory=cluster.bin).write()


class Daemon:
    """pgmint daemon in the background; its standard error goes to a file, as the journal would have it."""

    def __init__(self, pgmint, env=None, prefix=()):
        self.pgmint = pgmint
        self.log = pgmint.home / f"daemon-{time.monotonic_ns()}.log"
        self.file = open(self.log, "w")
        keywords = pgmint_keywords(pgmint, env)
        self.process = subprocess.Popen([*prefix, str(pgmint.binary), "--config", str(pgmint.config), "daemon"], stdout=subprocess.DEVNULL, stderr=self.file,
                                        stdin=subprocess.DEVNULL, start_new_session=True, **keywords)

    def text(self):
        return self.log.read_text(errors="replace")

    def says(self, *words, timeout=40):
        """Waits for a line that holds all the words; returns it."""
        def line():
            assert self.process.poll() is None or self.found(words), f"the daemon has ended with {self.process.returncode}\n{self.text()}"
            return self.found(words)
        try:
            return wait_until(line, f"the daemon says {words}", timeout)
        except AssertionError as failed:
            raise AssertionError(f"{failed}\n{self.text()}") from None

    def found(self, words):
        return next((line for line in self.text().splitlines() if all(word in line for word in words)), None)

    def signal(self, number):
        self.process.send_signal(number)

    def ends(self, code=0, timeout=40):
        try:
            assert self.process.wait(timeout) == code, self.text()
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon does not end\n{self.text()}") from None
        finally:
            self.file.close()

    def stop(self):
        self.signal(signal.SIGTERM)
        self.ends()

    def children(self):
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split()]


def pgmint_keywords(pgmint, env):
    from harness.places import as_owner
    return as_owner(cwd=pgmint.home, env=env or {})


@pytest.fixture
def daemons():
    """Makes daemons and sees to it that none outlives its test."""
    made = []

    def start(pgmint, **keywords):
        made.append(Daemon(pgmint, **keywords))
        return made[-1]
    yield start
    for daemon in made:
        if daemon.process.poll() is None:
            os.killpg(daemon.process.pid, signal.SIGKILL)
            daemon.process.wait()


def memory_file(pgmint):
    return pgmint.home / "state" / "schedule" / "runs.json"


def remember(pgmint, **ages):
    """What a daemon of before would have left: each job's last run was so long ago, and went well."""
    owner_folder(pgmint.home / "state")
    owner_folder(memory_file(pgmint).parent)
    memory_file(pgmint).write_text(memory_of(**ages))
    give_to_owner(memory_file(pgmint))


def job(pgmint, name, cluster="main"):
    shown = pgmint.run("schedule", "show", "--json").json
    return next(j for c in shown["clusters"] if c["name"] == cluster for j in c["jobs"] if j["job"] == name)


def gone(pid):
    try:
        os.waitpid(pid, os.WNOHANG)  # an orphan comes to this process
    except ChildProcessError:
        pass
    return not Path(f"/proc/{pid}").exists()


# ---- schedule show, and what is configured

@pytest.fixture
def nowhere(make):
    """A configuration whose cluster is not there: enough for what runs nothing."""
    tool = make.pgmint()
    owner_folder(tool.home / "data")
    tool.clusters["main"] = {"data_directory": tool.home / "data", "connection": "host=/var/run/postgresql"}
    return tool.write()


@pytest.mark.quick
def test_show_says_the_runbooks_schedule_by_default(nowhere):
    shown = nowhere.run("schedule", "show", "--json").json
    jobs = {j["job"]: j for j in shown["clusters"][0]["jobs"]}
    assert {name: j["schedule"] for name, j in jobs.items()} == {
        "full": "daily at 01:00", "incremental": "every 6 h", "logical": "never", "config": "weekly on Sunday at 02:00", "expire": "daily at 04:30",
        "collect": "daily at 05:00", "verify": "weekly on Sunday at 05:30"}
    assert all(j["source"] == "default" and j["last"] is None for j in jobs.values())
    assert jobs["logical"]["next"] is None and jobs["logical"]["cron"] is None
    assert shown["daemon"] == {"running": False, "pid": None}
    assert shown["clusters"][0]["delay_s"] <= 300
    expire = datetime.fromisoformat(jobs["expire"]["next"].replace("Z", "+00:00"))
    assert (expire - timedelta(seconds=shown["clusters"][0]["delay_s"])).strftime("%H:%M:%S") == "04:30:00"  # the tests' TZ is UTC
    text = nowhere.run("schedule", "show").out
    assert "at once" in text and "no daemon runs" in text and "archive_command" in text


@pytest.mark.quick
@pytest.mark.parametrize("extra, naming", [
    ('[schedule]\nfull = "sometimes"\n', ["pgmint.toml:", "full", "daily at 01:00"]),
    ('[schedule]\nfull = "61 * * * *"\n', ["minute", "from 0 to 59"]),
    ('[schedule]\nincremental = "every 5 h"\n', ["does not come out even"]),
    ('[schedule]\ntimezone = "Europe/Atlantis"\n', ["Europe/Atlantis"]),
    ('[schedule]\njitter = "a while"\n', ["5 min"]),
    ('[schedule]\nhourly = "daily"\n', ["unknown key"]),
])
def test_a_wrong_schedule_is_refused_by_every_command_that_needs_it(nowhere, extra, naming):
    nowhere.extra = extra
    nowhere.write()
    for command in (["schedule", "show"], ["schedule", "install", "--print"], ["daemon"]):
        nowhere.refuses(*command, code=3, naming=naming)


def test_times_are_those_of_the_configured_zone(nowhere):
    nowhere.extra = '[schedule]\ntimezone = "Asia/Kathmandu"\njitter = "0"\n'
    nowhere.write()
    remember(nowhere)
    assert job(nowhere, "full")["next"].endswith("T19:15:00Z")  # 01:00 at UTC+05:45
    assert "+05:45" in nowhere.run("schedule", "show").out


# ---- the daemon at work

def test_the_first_start_takes_a_first_backup_at_once(make, daemons):
    _, pgmint = pair(make)
    daemon = daemons(pgmint)
    assert "first that is known of" in daemon.says("full backup begins")
    daemon.says("main: full backup ends: done")
    daemon.says("main: configuration backup ends: done")
    backups = pgmint.list()["backups"]
    assert [backup["type"] for backup in backups] == ["full", "config"], "one backup of the cluster, and one of its configuration"
    shown = pgmint.run("schedule", "show", "--json").json
    assert shown["daemon"] == {"running": True, "pid": daemon.process.pid}
    assert job(pgmint, "full")["last"]["result"] == "done"
    assert "daily at 01:00" in pgmint.run("runbook").out, "and the runbook has what is scheduled"
    assert job(pgmint, "incremental")["last"] is None
    assert job(pgmint, "expire")["next"] > stamp(datetime.now(timezone.utc)), "upkeep waits for its time"
    daemon.stop()
    # Another one has nothing to catch up.
    second = daemons(pgmint)
    second.says("the daemon begins")
    wait_until(lambda: pgmint.run("schedule", "show", "--json").json["daemon"]["running"], "it is there")
    second.stop()
    assert "begins" not in second.text().replace("the daemon begins", "")
    assert len(pgmint.names()) == 2


def test_downtime_is_caught_up_once_and_jobs_of_a_cluster_follow_each_other(make, daemons):
    cluster, pgmint = pair(make)
    pgmint.clusters["main"]["retention.timezone"] = zone_where_it_is(14)
    pgmint.write()
    pgmint.backup()
    cluster.add_rows("t", 100)
    remember(pgmint, **{name: timedelta(days=30) for name in JOBS})
    daemon = daemons(pgmint)
    for words in ("full backup ends: done", "configuration backup ends: done", "expiry ends: done", "collection ends: done", "verification ends: done"):
        daemon.says(words)
    assert "late" in daemon.found(["full backup begins", "planned for"])
    daemon.says("incremental backup", "left out")
    daemon.stop()
    text = daemon.text()
    order = re.findall(r"main: ([a-z ]+?) (begins|ends)[,:\n]", text)
    assert len(order) == 2 * 5, text
    assert [what for what, _ in order[::2]] == [what for what, _ in order[1::2]], "each ends before the next begins"
    assert [backup["type"] for backup in pgmint.list()["backups"]] == ["full", "config"], "expiry has let the older full one of this day go"


def test_a_job_that_fails_is_tried_again_within_a_minute(make, daemons):
    cluster, pgmint = pair(make)
    pgmint.extra = schedule(incremental="daily at 01:00")
    pgmint.write()
    remember(pgmint, incremental=timedelta(days=2))
    cluster.stop()
    daemon = daemons(pgmint)
    line = daemon.says("incremental backup ends: FAILED (exit 9)")
    again = datetime.fromisoformat(re.search(r"again at (\S+?)Z", line)[1]).replace(tzinfo=timezone.utc)
    assert 0 < (again - datetime.now(timezone.utc)).total_seconds() <= 61
    wait_until(lambda: job(pgmint, "incremental")["last"]["result"] == "exit 9", "it is remembered")
    daemon.stop()


def test_sighup_takes_a_new_configuration_and_refuses_a_wrong_one(make, daemons):
    cluster, pgmint = pair(make)
    pgmint.extra = NEVER
    pgmint.write()
    daemon = daemons(pgmint)
    daemon.says("the daemon begins")
    good = pgmint.config.read_text()
    pgmint.config.write_text(good.replace("[schedule]", "[schedule]\nfull = 7"))
    daemon.signal(signal.SIGHUP)
    assert "the old one stays" in daemon.says("cannot be read again")
    pgmint.config.write_text(good.replace('config = "never"', 'config = "hourly"'))
    daemon.signal(signal.SIGHUP)
    daemon.says("has been read again: 1 jobs")
    daemon.says("configuration backup ends: done")
    daemon.stop()
    assert [b["type"] for b in pgmint.list()["backups"]] == ["config"]


def slow(make, daemons, **keywords):
    """A daemon in whose full backup nothing comes to an end: the WAL that it waits for is not archived."""
    cluster, pgmint = pair(make)
    pgmint.extra = schedule(full="daily at 01:00")
    pgmint.write()
    cluster.configure(archive_command="false")
    cluster.reload()
    wait_until(lambda: cluster.setting("archive_command") == "false", "the archiver stands still")
    daemon = daemons(pgmint, **keywords)
    daemon.says("full backup begins")
    [child] = wait_until(daemon.children, "its child is there")
    wait_until(cluster.backup_sessions, "the backup is under way")
    return cluster, pgmint, daemon, child


def mend(cluster, pgmint):
    cluster.archive_with(pgmint)
    cluster.reload()


def test_sigterm_ends_the_job_and_the_next_daemon_begins_it_again(make, daemons):
    cluster, pgmint, daemon, child = slow(make, daemons)
    daemon.signal(signal.SIGTERM)
    daemon.ends(0)
    assert gone(child), "no job outlives a daemon that was told to stop"
    assert "cancelled" in daemon.found(["full backup ends"])
    assert pgmint.names() == []
    wait_until(lambda: not cluster.backup_sessions(), "no session is left")
    mend(cluster, pgmint)
    second = daemons(pgmint)
    second.says("full backup ends: done")
    second.stop()


def test_a_second_sigterm_is_immediate(make, daemons):
    _, pgmint, daemon, child = slow(make, daemons)
    os.kill(child, signal.SIGSTOP)  # a job that does not listen
    daemon.signal(signal.SIGTERM)
    daemon.says("told to end")
    daemon.signal(signal.SIGTERM)
    daemon.ends(0)
    wait_until(lambda: gone(child), "the job was killed")


def test_a_killed_job_harms_nobody_and_is_tried_again(make, daemons):
    _, pgmint, daemon, child = slow(make, daemons)
    os.kill(child, signal.SIGKILL)
    assert "again at" in daemon.says("full backup ends: killed")
    assert daemon.process.poll() is None
    assert job(pgmint, "full")["last"]["exit_code"] == 137
    daemon.stop()


@contextlib.contextmanager
def memory_group(limit):
    """A control group that may hold so many bytes, as MemoryMax of the unit has it: its folder, for cgroups of either version."""
    below, name = (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes") if Path("/sys/fs/cgroup/memory").is_dir() else (Path("/sys/fs/cgroup"), "memory.max")
    group = below / f"pgmint-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        group.mkdir()
        (group / name).write_text(str(limit))
        os.chown(group / "cgroup.procs", OWNER.pw_uid, OWNER.pw_gid)
    except OSError as refused:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group of memory can be made here: {refused}")
    try:
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text().split(), "the group is empty")
        group.rmdir()


def test_a_job_that_wants_more_memory_than_the_unit_has_is_killed_alone(make, daemons):
    """What the manual says of MemoryMax. The limit is a control group's, made here: systemd in a container sets none where cgroups are of version 1."""
    cluster, pgmint = pair(make)
    cluster.sql("create table noise as select (random() * 1e9)::int as a, random() as b, random() as c from generate_series(1, 1500000)")
    cluster.sql("checkpoint")
    pgmint.extra = schedule(full="daily at 01:00")
    pgmint.write()
    remember(pgmint, full=timedelta(days=2))
    with memory_group(40 << 20) as group:
        daemon = daemons(pgmint, prefix=("/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"))
        assert "again at" in daemon.says("full backup ends: killed", timeout=90)
        assert daemon.process.poll() is None
        last = job(pgmint, "full")["last"]
        assert last["exit_code"] == 137
        daemon.stop()
    assert pgmint.names() == []
    wait_until(lambda: not cluster.backup_sessions(), "no session is left")
    remember(pgmint, full=timedelta(days=2))  # not to wait for that minute
    with memory_group(4 << 30) as group:
        daemon = daemons(pgmint, prefix=("/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"))
        daemon.says("full backup ends: done", timeout=90)
        daemon.stop()
    assert len(pgmint.names()) == 1


def test_after_kill_9_of_the_daemon_its_job_is_waited_for_and_not_doubled(make, daemons):
    cluster, pgmint, daemon, child = slow(make, daemons)
    daemon.signal(signal.SIGKILL)
    daemon.ends(-9)
    assert not gone(child), "the job goes on by itself"
    assert job(pgmint, "full")["last"]["result"] == "cut off"
    second = daemons(pgmint)
    second.says("nobody saw the end of the full backup")
    second.says("full backup cannot begin", "earlier daemon")
    assert second.children() == []
    second.stop()
    os.kill(child, signal.SIGTERM)
    wait_until(lambda: gone(child), "the job has ended")
    mend(cluster, pgmint)
    third = daemons(pgmint)
    third.says("full backup ends: done")
    third.stop()


def test_a_second_daemon_is_refused(make, daemons):
    tool = make.pgmint()
    owner_folder(tool.home / "data")
    tool.clusters["main"] = {"data_directory": tool.home / "data"}
    tool.extra = NEVER
    tool.write()
    first = daemons(tool)
    first.says("the daemon begins")
    tool.refuses("daemon", code=5, naming=["another daemon", str(first.process.pid)])
    first.stop()
    second = daemons(tool)
    second.says("the daemon begins")
    second.stop()


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 2, "jobs": []}', b'{"version": 1, "jobs": [{"cluster": "main", "job": "full"}]}', b"\x00" * 4096])
def test_a_damaged_memory_is_said_and_leads_to_one_backup_only(make, daemons, content):
    _, pgmint = pair(make, rows=0)
    pgmint.backup()
    remember(pgmint)
    memory_file(pgmint).write_bytes(content)
    daemon = daemons(pgmint)
    daemon.says("what has run is not known")
    daemon.says("configuration backup ends: done")
    daemon.stop()
    assert [b["type"] for b in pgmint.list()["backups"]] == ["full", "incremental", "config"], "nothing was stored twice for it"


def test_a_memory_from_the_future_is_corrected(make, daemons):
    tool = make.pgmint()
    owner_folder(tool.home / "data")
    tool.clusters["main"] = {"data_directory": tool.home / "data"}
    tool.extra = schedule(expire="every minute")
    tool.write()
    remember(tool, expire=timedelta(days=-20 * 365))
    assert job(tool, "expire")["next"] < stamp(datetime.now(timezone.utc) + timedelta(minutes=2))
    daemon = daemons(tool)
    daemon.says("a clock was wrong")
    daemon.stop()


# ---- the service manager

def test_the_daemon_tells_the_service_manager(make, daemons):
    tool = make.pgmint()
    owner_folder(tool.home / "data")
    tool.clusters["main"] = {"data_directory": tool.home / "data"}
    tool.extra = NEVER
    tool.write()
    path = make.work.fresh_socket_folder() / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        give_to_owner(path)
        manager.settimeout(20)
        daemon = daemons(tool, env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"})
        heard = []

        def hears(message):
            while message not in heard:
                heard.append(manager.recv(4096).decode())
        hears("READY=1")
        hears("WATCHDOG=1")
        del heard[:]
        hears("WATCHDOG=1")
        daemon.signal(signal.SIGHUP)
        hears("READY=1")
        assert any(text.startswith("RELOADING=1\nMONOTONIC_USEC=") for text in heard)
        daemon.signal(signal.SIGTERM)
        hears("STOPPING=1")
        daemon.ends()


def test_idle_it_takes_little_memory_and_no_time(make, daemons):
    """Under 30 MB and 0.1 % of a processor: looked at over three seconds, in which it wakes at most once. The best of three looks: what the machine does beside it counts too."""
    _, pgmint = pair(make)
    remember(pgmint)
    daemon = daemons(pgmint)
    daemon.says("the daemon begins")
    wait_until(lambda: pgmint.run("schedule", "show", "--json").json["daemon"]["running"], "it is there")

    def on_processor():
        tasks = Path(f"/proc/{daemon.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    watched, looks = 3.0, []
    while len(looks) < 3 and not (looks and min(looks) <= 0.001 * watched):
        before = on_processor()
        time.sleep(watched)  # the time itself is what is measured
        looks.append(on_processor() - before)
    spent = min(looks)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines())
    resident = int(status["VmRSS"].split()[0]) / 1024
    print(f"resident {resident:.1f} MB, processor {spent * 1000:.2f} ms of {watched:.0f} s")
    assert resident < 30
    assert spent <= 0.001 * watched
    daemon.stop()


# ---- schedule install

def analyze(*arguments):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, stdin=subprocess.DEVNULL)


def unit_of(tool, *arguments):
    folder = owner_folder(tool.home / "units", 0o755)
    done = tool.run("schedule", "install", "--user", OWNER.pw_name, "--to", folder, *arguments)
    return folder / "pgmint.service", done


needs_root = pytest.mark.skipif(not RUNNING_AS_ROOT and OWNER.pw_uid == 0, reason="the service's user is not root")


@pytest.mark.quick
def test_the_unit_is_one_that_systemd_takes_without_a_word(nowhere):
    unit, done = unit_of(nowhere)
    assert "systemctl daemon-reload" in done.err and "systemctl enable --now pgmint" in done.err
    verified = analyze("verify", "--man=no", unit)
    # systemd-analyze loads the whole machine's units: only what it says about ours counts, and then anything does.
    assert verified.returncode == 0, verified.stderr
    assert "pgmint" not in verified.stderr, verified.stderr
    broken = unit.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes")
    unit.write_text(broken)
    assert "pgmint" in analyze("verify", "--man=no", unit).stderr, "this test can fail"


@pytest.mark.quick
def test_the_units_exposure_is_low(nowhere):
    unit, _ = unit_of(nowhere)
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit)
    found = re.search(r"Overall exposure level for pgmint.service: ([0-9.]+)", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    print("exposure", found[1])
    assert float(found[1]) <= 2.0, done.stdout


def test_the_unit_names_what_is_written_and_leaves_a_socket_in_tmp_visible(nowhere):
    unit, _ = unit_of(nowhere)
    text = unit.read_text()
    assert f"ReadWritePaths={nowhere.repository} {nowhere.home / 'state'}\n" in text
    assert "PrivateTmp=yes" in text
    for connection in ("host=/tmp/sockets port=5432", "port=5432 host='/tmp'", "postgresql://%2Ftmp/postgres", "postgresql:///postgres?host=/var/tmp/x", "host=db sslrootcert=/tmp/ca.crt"):
        nowhere.clusters["main"]["connection"] = connection
        nowhere.write()
        unit, _ = unit_of(nowhere)
        assert "PrivateTmp=no" in unit.read_text(), connection


def test_the_unit_leaves_what_channels_need_visible(nowhere):
    for key, lines in (("secret_file", 'type = "webhook"\nurl = "https://hooks.example.com/x"\nsecret_file = "/home/dba/hook.secret"\n'),
                       ("ca_file", 'type = "webhook"\nurl = "https://hooks.example.com/x"\nca_file = "/home/dba/ca.pem"\n'),
                       ("command", 'type = "command"\ncommand = ["/home/dba/page"]\n')):
        nowhere.extra = f'[[alert]]\nname = "a"\n{lines}'
        nowhere.write()
        unit, _ = unit_of(nowhere)
        assert "ProtectHome=no" in unit.read_text(), key
    nowhere.extra = '[[alert]]\nname = "a"\ntype = "command"\ncommand = ["/usr/local/bin/page"]\n'
    nowhere.write()
    assert "ProtectHome=yes" in unit_of(nowhere)[0].read_text()


def test_a_path_with_a_line_feed_never_comes_into_what_root_installs(nowhere):
    text = nowhere.config.read_text()
    nowhere.config.write_text(text + '\n[logs]\ndirectory = "/srv/x\\nExecStartPre=/bin/sh"\n')
    nowhere.refuses("schedule", "install", "--print", "--user", OWNER.pw_name, code=3, naming="control character")


def allowed_calls(unit):
    """What the SystemCallFilter lines of a unit let through."""
    def members(group):
        found = set()
        for line in analyze("syscall-filter", group).stdout.splitlines()[1:]:
            name = line.split("#")[0].strip()
            found |= members(name) if name.startswith("@") else {name}
        return found - {""}
    allowed = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        named = set().union(*(members(word) if word.startswith("@") else {word} for word in words.removeprefix("~").split()))
        allowed = allowed - named if words.startswith("~") else allowed | named
    return allowed


def test_the_unit_allows_what_daemon_and_jobs_call(make, daemons):
    """What all the jobs call is held against what the unit's filter lets through: also where no systemd can be had to run it (test_systemd.py)."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    cluster, pgmint = pair(make, rows=200)
    pgmint.extra = schedule(full="@daily", logical="@daily", config="@daily", expire="@daily", collect="@daily", verify="@daily")
    pgmint.write()
    remember(pgmint, **{name: timedelta(days=3) for name in JOBS})
    counts = pgmint.home / "calls"
    daemon = daemons(pgmint, prefix=("strace", "-f", "-c", "-U", "name,calls", "-o", str(counts)))
    for what in ("full backup", "logical backup", "configuration backup", "expiry", "collection", "verification"):
        daemon.says(f"{what} ends: done", timeout=60)
    os.kill(pgmint.run("schedule", "show", "--json").json["daemon"]["pid"], signal.SIGTERM)
    daemon.ends(0)
    rows = [line.split() for line in counts.read_text().splitlines()]
    called = {row[0] for row in rows if len(row) == 2 and row[1].isdigit()} - {"total"}
    assert {"openat", "signalfd4", "fsync"} <= called, called
    allowed = allowed_calls(unit_of(pgmint)[0])
    assert called <= allowed, sorted(called - allowed)


@pytest.mark.skipif(not RUNNING_AS_ROOT, reason="only root asks for somebody else")
def test_root_is_told_about_the_service_of_the_clusters_owner(nowhere):
    text = nowhere.config.read_text()
    nowhere.config.write_text("".join(line for line in text.splitlines(True) if not line.startswith("state_directory")))
    done = subprocess.run([nowhere.binary, "--config", nowhere.config, "schedule", "show", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env={**{k: v for k, v in os.environ.items() if not k.startswith("XDG_")}, "HOME": "/root"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state_file"] == f"{OWNER.pw_dir}/.local/state/pgmint/schedule/runs.json"


def test_install_replaces_only_what_it_wrote(nowhere):
    unit, _ = unit_of(nowhere)
    unit_of(nowhere)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    nowhere.refuses("schedule", "install", "--user", OWNER.pw_name, "--to", unit.parent, code=4, naming=["pgmint.service", "--yes"])
    assert unit.read_text().startswith("[Service]")
    unit_of(nowhere, "--yes")
    assert "daemon" in unit.read_text()
    before = unit.read_bytes()
    printed = nowhere.run("schedule", "install", "--user", OWNER.pw_name, "--to", unit.parent, "--print").out
    assert printed == before.decode() and unit.read_bytes() == before
    assert nowhere.refuses("schedule", "install", "--user", "root", "--print", code=2, naming="root")
    assert nowhere.refuses("schedule", "install", "--systemd", "--cron", code=2)


def test_the_crontab_runs_each_job_when_the_schedule_says(nowhere):
    nowhere.run("schedule", "install", "--cron", "--user", OWNER.pw_name, "--print")
    lines = [line for line in nowhere.run("schedule", "install", "--cron", "--user", OWNER.pw_name).out.splitlines() if not line.startswith("#")]
    found = {}
    for line in lines:
        fields = line.split(None, 5)
        command = fields[5]
        assert str(nowhere.binary) in command and command.startswith("flock ")
        found[re.search(r"--type (\w+)|(expire|collect|verify)", command)[0].removeprefix("--type ")] = " ".join(fields[:5])
    assert found == {"full": "0 1 * * *", "incremental": "0 */6 * * *", "config": "0 2 * * 0", "expire": "30 4 * * *", "collect": "0 5 * * *", "verify": "30 5 * * 0"}
    nowhere.extra = '[[alert]]\nname = "page"\ntype = "command"\ncommand = ["/bin/true"]\n'
    nowhere.write()
    with_alerts = [line for line in nowhere.run("schedule", "install", "--cron", "--user", OWNER.pw_name).out.splitlines() if not line.startswith("#")]
    extra, = set(with_alerts) - set(lines)
    assert extra.startswith("*/5 * * * * ") and " alert check " in extra
    nowhere.extra = '[schedule]\ntimezone = "Asia/Tokyo"\n'
    nowhere.write()
    nowhere.refuses("schedule", "install", "--cron", "--user", OWNER.pw_name, code=4, naming="time zones")


def test_a_line_of_the_crontab_makes_a_backup(make):
    cluster, pgmint = pair(make)
    pgmint.extra = ""  # cron knows no zones
    pgmint.write()
    lines = pgmint.run("schedule", "install", "--cron").out.splitlines()
    line = next(text for text in lines if "--type full" in text)
    command = line.split(None, 5)[5].replace("\\%", "%")
    from harness.places import run
    run("sh", "-c", command)
    assert len(pgmint.names()) == 1
