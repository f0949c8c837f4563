"""The unit under a real systemd: a machine boots with server and daemon as services, and every job does its work behind the unit's walls."""
import json
import shutil
import time
from datetime import timedelta

import pytest

from harness.machine import Machine, NoMachine
from harness.places import OWNER, server_programs, wait_until
from harness.schedules import JOBS, memory_of, quiet_defaults, schedule

STATE = f"{OWNER.pw_dir}/.local/state/pgmint"
SOCKETS = "/run/postgresql"
DATA = "/var/lib/postgresql/test"
DROP_IN = "/etc/systemd/system/pgmint.service.d/test.conf"
OWNED = (OWNER.pw_uid, OWNER.pw_gid)

CONFIGURATION = f"""repository = "/var/lib/pgmint"
{{extra}}
[encryption]
key_file = "/etc/pgmint/repository.key"
[cluster.main]
data_directory = "{DATA}"
connection = "host={SOCKETS} user=postgres dbname=postgres"
bin_directory = "{{programs}}"
environment = "production"
{{cluster}}
"""

SERVER_UNIT = f"""[Unit]
Description=The server of the tests
[Service]
Type=notify
User={OWNER.pw_name}
RuntimeDirectory=postgresql
ExecStart={{programs}}/postgres -D {DATA}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
KillSignal=SIGINT
TimeoutStopSec=1min
[Install]
WantedBy=multi-user.target
"""


class Site:
    """The machine, its server, and pgmint as its administrator uses it: by sudo, with the default places."""

    def __init__(self, machine, programs):
        self.machine, self.programs = machine, programs

    def configure(self, extra="", cluster=""):
        self.machine.write("/etc/pgmint/pgmint.toml", CONFIGURATION.format(extra=extra, cluster=cluster, programs=self.programs), 0o640, OWNED)

    def pgmint(self, *arguments, **keywords):
        return self.machine.run("pgmint", *arguments, user=OWNER.pw_name, **keywords)

    def sql(self, text):
        return self.machine.run(self.programs / "psql", "-XAtq", "-h", SOCKETS, "-d", "postgres", "-c", text, user=OWNER.pw_name).stdout.strip()

    def archive(self, command='/usr/local/bin/pgmint wal push "%p"'):
        self.sql(f"alter system set archive_command = '{command}'")
        self.machine.run("systemctl", "reload", "server")
        wait_until(lambda: self.sql("show archive_command") == command, "the archiver has its command")

    def names(self):
        clusters = json.loads(self.pgmint("list", "--json").stdout)["clusters"]
        return [backup["name"] for cluster in clusters for backup in cluster["backups"]]

    def remember(self, **ages):
        self.machine.write(f"{STATE}/schedule/runs.json", memory_of(**ages), 0o600, OWNED)

    def install(self):
        """As the manual says it."""
        self.machine.run("pgmint", "--yes", "schedule", "install")
        self.machine.run("systemctl", "daemon-reload")

    def drop_in(self, *lines):
        self.machine.write(DROP_IN, "\n".join(["[Service]", *lines]) + "\n")
        self.machine.run("systemctl", "daemon-reload")

    def start(self):
        self.machine.run("systemctl", "start", "pgmint")

    def state(self, *names):
        return self.machine.properties("pgmint", "ActiveState", "SubState", "Result", "MainPID", "NRestarts", *names)

    def processes(self):
        """Of the service: its control group's, as systemd sees it."""
        group = self.state("ControlGroup")["ControlGroup"]
        found = self.machine.run("sh", "-c", f"cat /sys/fs/cgroup/systemd{group}/cgroup.procs /sys/fs/cgroup{group}/cgroup.procs 2>/dev/null", code=None)
        return sorted(set(found.stdout.split())) if group else []

    def says(self, *words, **keywords):
        return self.machine.says("pgmint", *words, **keywords)

    def afresh(self):
        """The service is not there, the server is, and the journal of before is gone."""
        self.machine.run("systemctl", "stop", "pgmint", code=None)
        self.machine.run("systemctl", "reset-failed", "pgmint", code=None)
        self.machine.inside(DROP_IN).unlink(missing_ok=True)
        self.machine.run("systemctl", "start", "server")
        self.machine.run("journalctl", "--rotate")
        self.machine.run("journalctl", "--vacuum-time=1us")
        self.configure(schedule())
        self.archive()
        self.remember()
        self.install()
        return self


@pytest.fixture(scope="module")
def built(work, base_version):
    """A machine with a server that archives, a repository, and the unit installed: each as a service that begins when the machine does."""
    try:
        machine = Machine()
    except NoMachine as none:
        pytest.skip(str(none))
    try:
        programs = server_programs(base_version)
        site = Site(machine, programs)
        shutil.copy2(work.binary(), machine.inside("/usr/local/bin/pgmint"))
        machine.folder("/etc/pgmint", owner=(0, 0), mode=0o755)
        machine.folder(DATA)
        machine.write("/etc/systemd/system/server.service", SERVER_UNIT.format(programs=programs))
        site.configure()
        try:
            machine.boot()
        except NoMachine as none:
            pytest.skip(str(none))
        machine.run(programs / "initdb", "-D", DATA, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "--data-checksums", user=OWNER.pw_name)
        with open(machine.inside(f"{DATA}/postgresql.conf"), "a") as file:
            file.write(f"unix_socket_directories = '{SOCKETS}'\nlisten_addresses = ''\nfsync = off\narchive_mode = on\njit = off\n")
        machine.run("pgmint", "init")  # as root, as the README has it: neither the repository nor its key is there
        machine.run("systemctl", "enable", "--now", "server")
        site.archive()
        site.sql("create table t as select generate_series(1, 20000) as i")
        site.install()
        yield site
    finally:
        machine.end()


@pytest.fixture
def site(built):
    return built.afresh()


def reading(url):
    """A request, without curl."""
    return "python3", "-c", f"import urllib.request; print(urllib.request.urlopen('{url}', timeout=20).read().decode())"


def test_enabled_it_begins_with_the_machine_and_takes_its_first_backup(site):
    machine = site.machine
    site.configure(quiet_defaults())  # nothing but the defaults, far from their times
    machine.inside(f"{STATE}/schedule/runs.json").unlink()
    before = set(site.names())
    machine.run("systemctl", "enable", "pgmint")
    machine.power_off()
    machine.boot()
    wait_until(lambda: site.state()["ActiveState"] == "active", "the daemon runs")
    site.says("main: full backup ends: done")
    site.says("main: configuration backup ends: done")
    state = site.state("StatusText", "User")
    assert state["User"] == OWNER.pw_name and state["NRestarts"] == "0"
    assert "next: " in state["StatusText"]
    made = sorted(name.split("-")[-1] for name in set(site.names()) - before)
    assert made == ["config", "full"]
    machine.run("systemctl", "disable", "pgmint")


def test_every_job_does_its_work_behind_the_units_walls(site):
    machine = site.machine
    for folder in ("/srv/mirror", "/var/log/pgmint"):
        machine.folder(folder)
    machine.write("/usr/local/bin/page", "#!/bin/sh\ncat >/dev/null\nlogger -t page \"told: $PGMINT_ALERT_STATE\"\n", 0o755)
    site.configure(schedule(**{job: "@daily" for job in JOBS}) + 'replicate = "hourly"\n[logs]\ndirectory = "/var/log/pgmint"\n[[mirror]]\nname = "far"\nurl = "/srv/mirror"\n'
                   '[[alert]]\nname = "page"\ntype = "command"\ncommand = ["/usr/local/bin/page"]\n[metrics]\nlisten = "127.0.0.1:9891"\n')
    site.install()
    site.remember(**{job: timedelta(days=3) for job in JOBS})
    site.start()
    for what in ("full backup", "logical backup", "configuration backup", "expiry", "collection", "verification"):
        assert "done" in site.says(f"main: {what} ends"), what
    site.remember(incremental=timedelta(days=3), replicate=timedelta(days=3))
    machine.run("systemctl", "restart", "pgmint")
    assert "done" in site.says("main: incremental backup ends")
    assert "done" in site.says("copy to the mirrors ends")
    assert "pgmint_" in machine.run(*reading("http://127.0.0.1:9891/metrics")).stdout
    assert list(machine.inside("/var/log/pgmint").iterdir()) and list(machine.inside("/srv/mirror").iterdir())
    journal = site.machine.journal("pgmint")
    for word in ("permitted", "Permission", "Read-only", "FAILED", "error"):
        assert word not in journal, journal


@pytest.mark.parametrize("folder", ["/home/app", "/tmp/app", "/var/tmp/app"])
@pytest.mark.parametrize("pattern", ["app.conf", "*.conf"])
def test_files_of_a_configuration_backup_are_not_hidden_from_it(site, folder, pattern):
    """A folder that the unit hides is empty to a job: a wildcard would find nothing there, and nobody would know."""
    site.machine.folder(folder, mode=0o755)
    site.machine.write(f"{folder}/app.conf", "key = value\n", owner=OWNED)
    site.configure(schedule(config="@daily"), cluster=f'config_paths = ["{folder}/{pattern}"]')
    site.install()
    site.remember(config=timedelta(days=3))
    site.start()
    assert "done" in site.says("main: configuration backup ends")
    shown = json.loads(site.pgmint("show", site.names()[-1], "--json").stdout)
    assert f"{folder}/app.conf" in json.dumps(shown), shown


def unit_warnings(site):
    checks = json.loads(site.pgmint("doctor", "--json", code=None).stdout)["checks"]
    return [check for check in checks if check["name"] == "service"]


@pytest.mark.parametrize("folder", ["/home/space", "/tmp/space"])
def test_a_tablespace_that_the_unit_hides_fails_the_backup_until_the_unit_is_installed_again(site, folder):
    """It was created behind the unit's back. Without it no backup is one, and doctor knows the remedy."""
    site.configure(schedule(full="@daily"))
    site.install()
    assert unit_warnings(site) == []
    site.machine.folder(folder)
    site.sql(f"create tablespace s location '{folder}'")
    try:
        site.sql("create table s tablespace s as select 1 as i")
        before = site.names()
        site.remember(full=timedelta(days=3))
        site.start()
        site.says("main: full backup ends: FAILED")
        assert site.names() == before
        [warning] = unit_warnings(site)
        assert warning["state"] == "warning" and folder.rsplit("/", 1)[0] in warning["detail"] and "schedule install" in warning["hint"]
        site.install()
        site.remember(full=timedelta(days=3))
        site.machine.run("systemctl", "restart", "pgmint")
        site.says("main: full backup ends: done")
        assert unit_warnings(site) == []
    finally:
        site.sql("drop table if exists s")
        site.sql("drop tablespace s")


def test_outside_of_its_places_it_can_write_nothing(site):
    machine = site.machine
    site.start()
    pid = site.state()["MainPID"]
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0, capabilities
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"

    def writes(path):
        inside = ("nsenter", "--target", pid, "--mount", "--", "runuser", "-u", OWNER.pw_name, "--", "sh", "-c", f"touch {path} && rm {path}")
        return machine.run(*inside, code=None).returncode == 0
    outside = [f"{DATA}/x", f"{OWNER.pw_dir}/x", "/var/log/postgresql/x"]
    machine.folder("/var/log/postgresql")
    for path in outside:
        assert machine.run("sh", "-c", f"touch {path} && rm {path}", user=OWNER.pw_name), "the user itself may"
        assert not writes(path), path
    for path in ("/var/lib/pgmint/x", f"{STATE}/x"):
        assert writes(path), path
    machine.write("/tmp/of-others", "")
    assert machine.run("nsenter", "--target", pid, "--mount", "--", "ls", "/tmp").stdout.strip() == "", "/tmp is its own"


def test_reload_takes_the_new_configuration_and_keeps_the_old_one_when_that_is_wrong(site):
    site.start()
    pid = site.state()["MainPID"]
    site.configure('[schedule]\nfull = 7\n')
    site.machine.run("systemctl", "reload", "pgmint")
    site.says("the old one stays")
    site.configure(schedule(config="@daily"))
    site.machine.run("systemctl", "reload", "pgmint")
    site.says("has been read again")
    state = wait_until(lambda: (s := site.state())["SubState"] == "running" and s, "it is no longer reloading")
    assert state["MainPID"] == pid and state["NRestarts"] == "0"


def test_an_upgrade_under_the_running_daemon_breaks_no_job(site):
    """A package puts another file in the program's place, and restarts nothing by itself: the old one runs on, and what it starts is the new one."""
    site.remember(config=timedelta(days=3))
    site.start()
    pid = site.state()["MainPID"]
    machine = site.machine
    machine.run("cp", "/usr/local/bin/pgmint", "/usr/local/bin/pgmint.dpkg-new")
    machine.run("mv", "/usr/local/bin/pgmint.dpkg-new", "/usr/local/bin/pgmint")
    assert machine.run("readlink", f"/proc/{pid}/exe").stdout.strip().endswith("(deleted)")
    site.configure(schedule(config="@daily"))
    machine.run("systemctl", "reload", "pgmint")
    assert "done" in site.says("main: configuration backup ends")


def test_with_a_wrong_configuration_it_fails_once_and_says_why(site):
    """Tried again for ever it would fill the journal, and look busy to whoever passes by."""
    site.drop_in("RestartSec=100ms")
    site.configure("[schedule]\nfull = 7\n")
    assert site.machine.run("systemctl", "start", "pgmint", code=None).returncode != 0
    time.sleep(1)  # ten times as long as it would take to come back
    state = site.state("ExecMainStatus")
    assert (state["ActiveState"], state["ExecMainStatus"], state["NRestarts"]) == ("failed", "3", "0")
    assert "pgmint.toml" in site.machine.journal("pgmint")
    errors = site.machine.run("journalctl", "--no-pager", "-o", "cat", "-u", "pgmint", "-p", "err").stdout
    assert "pgmint.toml" in errors, "the journal knows an error from a remark"
    site.configure(schedule())
    site.start()
    assert site.state()["ActiveState"] == "active"


def under_way(site):
    """A service whose full backup does not end: its WAL is not archived. Returns the daemon's id."""
    site.archive("false")
    site.configure(schedule(full="@daily"))
    site.remember(full=timedelta(days=3))
    site.start()
    site.says("full backup begins")
    wait_until(lambda: len(site.processes()) == 2, "the job is a process of the service")
    return site.state()["MainPID"]


def test_stop_ends_the_job_and_the_next_start_takes_it_up_again(site):
    under_way(site)
    before = site.names()
    started = time.monotonic()
    site.machine.run("systemctl", "stop", "pgmint")
    took = time.monotonic() - started
    state = site.state()
    assert (state["ActiveState"], state["Result"]) == ("inactive", "success")
    assert took < 30 and site.processes() == []
    assert "cancelled" in site.says("full backup ends")
    assert site.names() == before
    site.archive()
    site.start()
    site.says("full backup ends: done")
    assert len(site.names()) == len(before) + 1


def test_killed_it_comes_back_and_its_job_begins_again(site):
    site.drop_in("RestartSec=100ms")
    pid = under_way(site)
    before = site.names()
    job = set(site.processes()) - {pid}
    site.machine.run("kill", "-KILL", pid)
    state = wait_until(lambda: (s := site.state())["ActiveState"] == "active" and s["MainPID"] not in (pid, "0") and s, "it is back")
    assert state["NRestarts"] == "1"
    assert not job & set(site.processes()), "systemd has ended what the killed one left"
    site.archive()
    site.says("full backup ends: done")
    assert len(site.names()) == len(before) + 1


def test_a_daemon_that_hangs_is_replaced(site):
    site.drop_in("RestartSec=100ms", "WatchdogSec=4s", "TimeoutAbortSec=1s")
    site.start()
    pid = site.state()["MainPID"]
    time.sleep(6)  # longer than the watchdog allows: it is fed
    assert site.state()["MainPID"] == pid
    site.machine.run("kill", "-STOP", pid)
    state = wait_until(lambda: (s := site.state())["ActiveState"] == "active" and s["MainPID"] not in (pid, "0") and s, "another one is there")
    assert state["NRestarts"] == "1"
    assert "watchdog" in site.machine.journal("pgmint").lower()


def test_the_machine_goes_down_while_a_backup_runs(site):
    """Within seconds, and what comes up again begins the backup anew and leaves nothing half."""
    under_way(site)
    before = site.names()
    started = time.monotonic()
    site.machine.run("systemctl", "enable", "pgmint")
    site.machine.power_off()
    took = time.monotonic() - started
    assert took < 40, f"{took:.0f} s"
    site.machine.boot()
    wait_until(lambda: site.state()["ActiveState"] == "active", "the daemon runs")
    site.archive()
    site.says("full backup ends: done")
    assert len(site.names()) == len(before) + 1
    site.pgmint("verify", "--read-data")
    site.machine.run("systemctl", "disable", "pgmint")
