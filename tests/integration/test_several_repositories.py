"""Several repositories at once: everything goes into each, one that is away holds none of the others back and catches up, and what is looked for is found in the first that has it."""
import concurrent.futures
import fcntl
import json
import shutil
import subprocess
import time

import pytest

from harness.pgmint import Pgmint, give_to_owner, toml_value, wait_for_phase
from harness.places import wait_until
from test_clone_safety import clone_of


class Several(Pgmint):
    """Two repositories, each with a key of its own."""

    NAMES = ("near", "far")

    def place(self, name):
        return self.home / name

    def write(self, text=None):
        lines = [f"state_directory = {toml_value(self.home / 'state')}", self.extra]
        for name in self.NAMES:
            lines += ["[[repository]]", f'name = "{name}"', f"url = {toml_value(self.place(name))}", "[repository.encryption]", f"key_file = {toml_value(self.home / (name + '.key'))}"]
        for name, settings in self.clusters.items():
            lines += [f"[cluster.{name}]"] + [f"{key} = {toml_value(value)}" for key, value in settings.items()]
        return super().write("\n".join(lines) + "\n")

    def answers(self, *arguments, **keywords):
        """What each repository answered, by name."""
        document = self.run(*arguments, "--json", **keywords).json
        return {one["repository"]: one for one in document["repositories"]}

    def names_in(self, repository):
        return [backup["name"] for cluster in self.run("list", "--repository", repository, "--json").json["clusters"] for backup in cluster["backups"]]

    def away(self, name):
        self.place(name).rename(self.home / f"{name}.away")

    def back(self, name):
        (self.home / f"{name}.away").rename(self.place(name))


@pytest.fixture
def several(make):
    tool = Several(make.work)
    make.homes.append(tool.home)
    cluster, tool = make.pair(pgmint=tool)
    return cluster, tool


@pytest.mark.quick
def test_what_is_backed_up_is_in_each_and_comes_back_from_either(make, several):
    cluster, tool = several
    made = tool.answers("backup")
    assert set(made) == {"near", "far"} and all(one["exit_code"] == 0 for one in made.values())
    for name in tool.NAMES:
        assert tool.names_in(name) == [made[name]["answer"]["name"]]
    cluster.add_rows("t", 500)
    cluster.archive_now()
    expected = cluster.digest()
    listed = tool.run("list")
    assert listed.out.index("repository near") < listed.out.index("repository far")
    for one in tool.answers("wal", "status").values():
        assert one["answer"]["clusters"][0]["timelines"][0]["segments"] > 0
    tool.run("verify", "--read-data")
    for gone in (None, "near"):
        if gone:
            tool.away(gone)
        target = make.folder("clone") / "data"
        said = tool.restore(target)
        assert ("recovery asks the repository far alone" in said.err) == bool(gone), said
        clone = make.opened(target, name="clone").start().wait_promoted()
        assert clone.digest() == expected
        clone.stop()


def test_recovery_goes_on_in_the_next_repository_when_the_first_goes_away(make, several):
    """And does not take the end of what is left for the end of all: whoever knows that says so."""
    cluster, tool = several
    tool.run("backup")
    for _ in range(3):
        cluster.add_rows("t", 200)
        cluster.archive_now()
    expected = cluster.digest()
    target = make.folder("clone") / "data"
    tool.restore(target)
    tool.away("near")
    clone = make.opened(target, name="clone").start(expect_success=False)
    wait_until(lambda: "add --repository far" in clone.log_text(), "recovery is told that it may not be the end")
    wait_until(lambda: "database system is shut down" in clone.log_text(), "the server ends")
    assert "restored log file" in clone.log_text() and "looking in the next repository" in clone.log_text()
    command = next(line for line in (target / "postgresql.auto.conf").read_text().splitlines() if line.startswith("restore_command"))
    with open(target / "postgresql.auto.conf", "a") as conf:
        conf.write(command.replace(" wal get ", " --repository far wal get ") + "\n")
    clone.start().wait_promoted()
    assert clone.digest() == expected


def reads_of_the_database(cluster, tool, *arguments, code=0):
    """How many physical backups the server has been asked for, by its log."""
    before = cluster.log_text().count("pg_backup_start")
    outcome = tool.run("backup", *arguments, "--json", code=code)
    return cluster.log_text().count("pg_backup_start") - before, {one["repository"]: one for one in outcome.json["repositories"]} if "repositories" in outcome.json else outcome.json


@pytest.fixture
def watched(several):
    """The server logs who starts backups."""
    cluster, tool = several
    cluster.sql("alter system set log_statement = 'all'")
    cluster.sql("select pg_reload_conf()")
    wait_until(lambda: cluster.one("show log_statement") == "all", "the server logs statements")
    return cluster, tool


def test_one_read_of_the_database_feeds_all(make, watched):
    """The second backup is a copy of the first: of one moment, under its own keys, built on its own parent; and restores alone."""
    cluster, tool = watched
    for step in range(3):
        cluster.add_rows("t", 400)
        reads, made = reads_of_the_database(cluster, tool, *(["--type", "full"] if step == 0 else []))
        assert reads == 1, step
        near, far = made["near"]["answer"], made["far"]["answer"]
        assert far["copied_from"] == f"{near['name']} of repository near" and near["copied_from"] is None
        assert far["name"] != near["name"] and far["type"] == near["type"] == ("full" if step == 0 else "incremental")
        for same in ("start_lsn", "stop_lsn", "timeline", "started", "finished", "size_bytes", "files", "server_version"):
            assert far[same] == near[same], same
    assert f"copied from {near['name']}" in " ".join(tool.run("show", far["name"], "--repository", "far").out.split())
    # What far has missed, its next copy has.
    tool.away("far")
    for _ in range(2):
        cluster.add_rows("t", 300)
        reads_of_the_database(cluster, tool, code=6)
    tool.back("far")
    cluster.add_rows("t", 50)
    reads, made = reads_of_the_database(cluster, tool)
    assert reads == 1 and made["far"]["answer"]["type"] == "incremental"
    cluster.archive_now()
    expected = cluster.digest()
    tool.run("verify", "--read-data")
    tool.away("near")
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected
    clone.stop()


def test_a_backup_has_what_waits_on_the_host_sent_on(watched):
    """WAL that was pushed while a repository was away waits for whoever is to send it on, and he may be at rest, or somebody slow: the backup does not take it for lost."""
    cluster, tool = watched
    reads_of_the_database(cluster, tool)
    tool.away("far")
    cluster.add_rows("t", 50)
    cluster.archive_now()
    (place,) = (tool.home / "state" / "spool").iterdir()
    wait_until((place / ".send").exists, "somebody was to send on")
    with open(place / ".send", "r+") as lock:
        wait_until(lambda: got_lock(lock), "nobody sends on")
        tool.back("far")
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            made = beside.submit(reads_of_the_database, cluster, tool)
            # Longer than a copy waits for WAL, and a backup for what PostgreSQL has archived, where nothing waits.
            time.sleep(17)
            assert not made.done()
            fcntl.flock(lock, fcntl.LOCK_UN)
            reads, answers = made.result()
    assert reads == 1 and answers["far"]["answer"]["copied_from"] == f"{answers['near']['answer']['name']} of repository near"
    # And where it is the repository that is read for.
    with open(place / ".send", "r+") as lock:
        tool.away("far")
        cluster.archive_now()
        wait_until(lambda: got_lock(lock), "nobody sends on")
        tool.back("far")
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            made = beside.submit(tool.run, "backup", "--repository", "far", "--reuse", "0")
            time.sleep(20)
            assert not made.done()
            fcntl.flock(lock, fcntl.LOCK_UN)
            made.result()


def got_lock(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_copy_that_cannot_be_made_is_a_read_of_the_database(watched):
    cluster, tool = watched
    # Runs cannot tell each other: no reason for not making a backup.
    running = tool.home / "state" / "running"
    running.parent.mkdir(exist_ok=True)
    running.write_text("in the way")
    reads, _ = reads_of_the_database(cluster, tool)
    assert reads == 1
    reads, _ = reads_of_the_database(cluster, tool, "--repository", "far", "--reuse", "1")
    assert reads == 1
    running.unlink()
    # Asked for by name, it is read: nobody made it for another one now.
    reads, made = reads_of_the_database(cluster, tool, "--repository", "far")
    assert reads == 1 and made["copied_from"] is None
    cluster.add_rows("t", 100)
    reads, made = reads_of_the_database(cluster, tool, "--repository", "near")
    reads, made = reads_of_the_database(cluster, tool, "--repository", "far", "--reuse", "0")
    assert reads == 1 and made["copied_from"] is None
    reads, made = reads_of_the_database(cluster, tool, "--reuse", "0")
    assert reads == 2 and all(one["answer"]["copied_from"] is None for one in made.values())
    # It is there, and cannot be read: what stands at its place is damaged.
    cluster.add_rows("t", 3000)
    reads_of_the_database(cluster, tool, "--repository", "near", "--type", "full")
    newest = max(tool.place("near").glob("c/*/p/*/*"), key=lambda path: (path.stat().st_mtime_ns, path.stat().st_size))
    packs = sorted(tool.place("near").glob("c/*/p/*/*"), key=lambda path: path.stat().st_mtime_ns)[-6:]
    assert newest in packs
    for pack in packs:
        pack.chmod(0o600)
        content = bytearray(pack.read_bytes())
        for at in range(72, len(content), 512):
            content[at] ^= 1
        pack.write_bytes(content)
    before = cluster.log_text().count("pg_backup_start")
    outcome = tool.run("backup", "--repository", "far", "--reuse", "3600", "--json")
    assert "is not copied" in outcome.err and outcome.json["copied_from"] is None
    assert cluster.log_text().count("pg_backup_start") == before + 1
    tool.run("verify", "--read-data", "--repository", "far")
    # Neither does one that is away hold the other back.
    tool.away("near")
    failed = tool.answers("backup", code=6)
    assert failed["near"]["exit_code"] == 6 and failed["far"]["answer"]["copied_from"] is None


def test_a_job_waits_for_what_is_read_for_the_repository_before_it(watched):
    """As the daemon and cron start them: one for each repository, at the same moment."""
    cluster, tool = watched
    reads_of_the_database(cluster, tool)
    cluster.add_rows("t", 20000)
    before = cluster.log_text().count("pg_backup_start")
    near = tool.start("backup", "--type", "incremental", "--repository", "near", "--max-rate", "1MiB", "--json", "--progress", "json")
    wait_for_phase(near, "copy")
    far = tool.start("backup", "--type", "incremental", "--repository", "far", "--reuse", "600", "--json", "--progress", "none")
    answers = {}
    for name, process in (("near", near), ("far", far)):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        answers[name] = json.loads(out)
    assert answers["far"]["copied_from"] == f"{answers['near']['name']} of repository near"
    assert cluster.log_text().count("pg_backup_start") == before + 1


def test_one_that_is_away_holds_none_back_and_catches_up(make, several):
    cluster, tool = several
    tool.run("backup")
    tool.away("far")
    cluster.add_rows("t", 700)
    names = [cluster.archive_now(timeout=60) for _ in range(2)]
    failed = tool.answers("backup", code=6)
    assert failed["near"]["exit_code"] == 0 and failed["far"]["exit_code"] == 6
    assert "error" in failed["far"]["answer"]
    assert len(tool.names_in("near")) == 2
    # Of the failure there is a note of its own, which does not end with what goes well in the other one, and can be dismissed.
    tool.run("alert", "dismiss", "backup of main (repository far)")
    tool.refuses("alert", "dismiss", "backup of main (repository near)", code=1)
    waiting = tool.answers("wal", "status", code=6)
    assert waiting["near"]["answer"]["waiting"] is None
    # Its WAL is durable on this host, PostgreSQL has let go of it, and what one repository lacks is told by alerts.
    assert cluster.one("select last_archived_wal from pg_stat_archiver") >= names[-1]
    assert {p.name for p in (tool.home / "state" / "spool").rglob("0000*")} >= set(names)
    tool.back("far")
    wait_until(lambda: not [p for p in (tool.home / "state" / "spool").rglob("0000*") if p.is_file()], "what waited was sent on", timeout=60)
    made = tool.answers("backup")
    assert made["far"]["answer"]["name"].endswith("-incr") and made["far"]["exit_code"] == 0
    cluster.archive_now()
    expected = cluster.digest()
    tool.run("verify", "--read-data")
    tool.away("near")
    clone = clone_of(make, tool).start().wait_promoted()
    assert clone.digest() == expected


def test_absent_wal_is_absent_only_when_all_agree(make, several):
    cluster, tool = several
    tool.run("backup")
    last = cluster.archive_now()
    after = f"{int(last, 16) + 16:024X}"
    where = make.folder("wal")
    give_to_owner(where)
    assert tool.run("wal", "get", after, where / "x", cwd=cluster.data, code=1).code == 1
    shutil.move(tool.place("near") / "c", tool.home / "c.away")
    refused = tool.run("wal", "get", after, where / "x", cwd=cluster.data, code=None)
    assert refused.code > 125, refused
    assert not (where / "x").exists()
    assert tool.run("wal", "get", last, where / "y", cwd=cluster.data).code == 0, "the other one has it"


def test_a_command_about_one_asks_which(several):
    cluster, tool = several
    asked = tool.refuses("key", "rotate", "--data", code=3, naming=("2 repositories", "--repository near"))
    assert "key rotate" in asked.err
    tool.refuses("list", "--repository", "nowhere", code=3, naming=("nowhere", "near, far"))
    tool.run("backup")
    tool.run("key", "rotate", "--data", "--repository", "far")
    assert {name: json.dumps(one["answer"]) != "null" for name, one in tool.answers("status", code=None).items()} == {"near": True, "far": True}
    own = tool.names_in("far")[0]
    assert own in tool.run("show", own).out, "looked for in near, found in far"
    assert "repository near" not in tool.run("verify", "--backup", own).out, "the one that has it is verified"
    tool.refuses("show", "20200101T000000Z-full", code=1, naming="20200101T000000Z-full")
    tool.run("backup")
    tool.run("verify", "--read-data")


def test_a_mirror_is_of_one_and_metrics_tell_of_each(make, several):
    cluster, tool = several
    tool.extra = f"""[[mirror]]
name = "copy"
url = {toml_value(tool.home / 'copy')}
repository = "far"
"""
    tool.write().run("backup")
    copied = tool.answers("replicate")
    assert copied["near"]["answer"]["mirrors"] == [] and [one["name"] for one in copied["far"]["answer"]["mirrors"]] == ["copy"]
    there = tool.run("list", "--repository", tool.home / "copy", "--json", env={"PGMINT_KEY_FILE": str(tool.home / "far.key")}).json
    assert [b["name"] for b in there["clusters"][0]["backups"]] == tool.names_in("far")
    up = [line for line in tool.run("metrics").out.splitlines() if line.startswith("pgmint_repository_up")]
    assert up == ['pgmint_repository_up{repository="near"} 1', 'pgmint_repository_up{repository="far"} 1']
    tool.away("near")
    told = tool.run("metrics", code=6).out
    assert 'pgmint_repository_up{repository="near"} 0' in told and 'pgmint_repository_up{repository="far"} 1' in told
    assert 'pgmint_cluster_up{repository="far",cluster="main"} 1' in told and 'pgmint_cluster_up{repository="near"' not in told
    checked = subprocess.run(["promtool", "check", "metrics"], input=told, capture_output=True, text=True, check=False)
    assert checked.returncode in (0, 3), checked  # 3: remarks of style


def test_a_report_of_each(several):
    _, tool = several
    tool.backup()
    answers = tool.answers("report")
    assert set(answers) == {"near", "far"} and all(one["answer"]["clusters"][0]["backups"] for one in answers.values())
    assert tool.run("report").out.count("Backup report") == 2
    tool.run("report", "--html", "--to", tool.home / "all.html")
    for name in tool.NAMES:
        page = (tool.home / f"all-{name}.html").read_text()
        assert str(tool.place(name)) in page and page.count("<html") == 1
    tool.refuses("report", "--html", code=2, naming="--to")
    tool.run("report", "--html", "--to", tool.home / "one.html", "--repository", "near")
    assert (tool.home / "one.html").exists()
