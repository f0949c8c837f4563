"""What root does with a repository of PostgreSQL's owner: an administrator types sudo, and nobody is kept out by that afterwards."""
import os
import re
import shutil
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.pgmint import Outcome
from harness.places import OWNER, RUNNING_AS_ROOT, give_to_owner, owner_folder, wait_until

pytestmark = pytest.mark.skipif(not RUNNING_AS_ROOT, reason="only root can be root")


def sudo(tool, *arguments, code=0):
    """pgmint as root, with root's own home and the configuration of the owner."""
    root_home = tool.work.path / "root-home"
    root_home.mkdir(mode=0o700, exist_ok=True)
    command = [str(tool.binary), "--config", str(tool.config), *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(root_home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=90, cwd="/", env=environment)
    outcome = Outcome([str(a) for a in arguments], done.returncode, done.stdout, done.stderr, 0)
    assert code is None or done.returncode == code, outcome
    return outcome


def of_others(*folders):
    """What the owner does not own below, and including, these folders."""
    return [str(path) for folder in folders for path in [Path(folder), *Path(folder).rglob("*")] if path.lstat().st_uid != OWNER.pw_uid and not path.is_symlink()]


@pytest.fixture
def site(make):
    """As the README has it: everything is the owner's. Logs and a mirror have places too, and the state is not in a home."""
    cluster, tool = make.pair()
    logs, mirror = owner_folder(tool.home / "logs", 0o750), owner_folder(tool.home / "mirror")
    tool.extra = f'[logs]\ndirectory = "{logs}"\n[[mirror]]\nname = "far"\nurl = "{mirror}"\n'
    tool.add(cluster, bin_directory=cluster.bin).write()
    tool.backup()
    return cluster, tool, (tool.repository, tool.home / "state", logs, mirror)


@pytest.mark.parametrize("state_is_configured", [True, False])
def test_what_root_did_keeps_the_owner_out_of_nothing(site, state_is_configured):
    cluster, tool, folders = site
    if not state_is_configured:
        tool.config.write_text("".join(line for line in tool.config.read_text().splitlines(True) if not line.startswith("state_directory")))
    [first] = tool.names()
    until = (datetime.now(timezone.utc) + timedelta(days=30)).strftime("%Y-%m-%d")
    for command in (["backup"], ["backup", "--type", "logical"], ["backup", "--type", "config"], ["list"], ["show", first], ["status"], ["doctor"], ["plan"], ["wal", "status"], ["audit", "list"], ["audit", "verify"], ["audit", "anchor"], ["schedule", "show"],
                    ["alert", "check"], ["metrics"], ["report"], ["runbook"], ["hold", first, "--reason", "court", "--until", until], ["release", first], ["verify", "--read-data"],
                    ["expire"], ["collect"], ["replicate"], ["replicate", "--check"], ["key", "list"], ["key", "check"], ["key", "rotate", "--data"], ["repair", "--rebuild-log"]):
        outcome = sudo(tool, *command, code=None)
        # Findings (8, 10) and what doctor still wants (1 and its like) are answers; `repair` finds nothing to repair. All else has to work.
        assert outcome.code == 0 or command[0] in ("doctor", "status", "alert", "repair") and outcome.code not in (2, 7), str(outcome)
    assert of_others(*folders) == []
    cluster.add_rows("t", 10)
    before = tool.names()
    tool.run("backup", "--type", "incremental")
    assert len(tool.names()) == len(before) + 1
    tool.run("verify", "--read-data")
    tool.run("replicate")
    assert re.search(r"^ok +repository: ", tool.run("doctor", code=None).out, re.MULTILINE)


def test_a_restore_by_root_leaves_repository_and_state_to_the_owner(site, make):
    _, tool, folders = site
    target = tool.home / "restored"
    sudo(tool, "restore", "--to", target)
    assert of_others(target, *folders) == []
    tool.backup()


def test_wal_moved_by_root_leaves_data_directory_and_state_to_the_owner(site):
    """An administrator looks why archiving or recovery stands still, and types what PostgreSQL calls: `sudo pgmint wal push`, `sudo pgmint wal get`."""
    cluster, tool, folders = site
    cluster.sql("alter system set archive_command = 'false'")
    cluster.sql("select pg_reload_conf()")
    names = [cluster.switch_wal() for _ in range(4)]
    wal = cluster.data / "pg_wal"
    for name in names:
        sudo(tool, "wal", "push", wal / name)
    sudo(tool, "wal", "get", names[0], wal / "RECOVERYXLOG")
    wait_until(lambda: all(list(wal.glob(f"pgmint-prefetch/*/{name}")) for name in names[1:]), "the prefetcher has fetched what comes next")
    assert of_others(cluster.data, *folders) == []


def test_what_root_makes_somewhere_else_stays_roots(site, tmp_path):
    """A folder of root's is no reason to give anything away."""
    _, tool, _ = site
    tmp_path.chmod(0o700)
    sudo(tool, "runbook", "--to", tmp_path / "runbook.html")
    assert (tmp_path / "runbook.html").stat().st_uid == 0


def test_root_is_led_nowhere_by_the_owners_links(site, tmp_path):
    """Who owns a folder can put links into it. Root creates nothing through them, and gives nothing of others' away."""
    _, tool, folders = site
    logs = folders[2]
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    planted = tmp_path / "planted"
    for book in ("access", "audit", "backup", "restore"):
        file = logs / f"{book}-{today}.log"
        file.unlink(missing_ok=True)
        file.symlink_to(planted)
    outcome = sudo(tool, "list")
    assert "[logs]" in outcome.err, "it is told that nothing is written"
    assert not planted.exists()


@pytest.fixture
def roots_place():
    """Where root alone writes, as in /etc and /srv; not in memory, which is everybody's."""
    place = Path(tempfile.mkdtemp(prefix="pgmint-sudo-", dir="/run"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("is_there", [False, True])
def test_init_by_root_is_for_the_owner_of_the_cluster(make, roots_place, is_there):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster, repository=roots_place / "srv", key_file=roots_place / "etc" / "repository.key")
    if is_there:  # sudo mkdir, and nothing else
        tool.repository.mkdir(mode=0o755)
        tool.key_file.parent.mkdir(mode=0o755)
    outcome = sudo(tool, "init")
    assert f"belongs to {OWNER.pw_name}" in outcome.out and f"sudo -u {OWNER.pw_name} pgmint backup" in outcome.out, outcome
    assert of_others(tool.repository, tool.key_file) == []
    assert tool.key_file.stat().st_mode & 0o777 == 0o600
    cluster.archive_with(tool)
    cluster.start()
    tool.backup()


def test_logs_begun_by_root_are_the_owners(site, roots_place):
    """In /var/log nobody but root can make a folder, and root is the first who runs anything there: `sudo pgmint schedule install`."""
    _, tool, _ = site
    logs = roots_place / "log" / "pgmint"
    tool.extra = f'[logs]\ndirectory = "{logs}"\n'
    tool.write()
    sudo(tool, "schedule", "install", "--print")
    assert of_others(logs) == []
    assert "[logs]" not in tool.run("list").err
    books = "".join(file.read_text() for file in logs.glob("*.log") if not file.is_symlink())
    assert "] began: pgmint " in books and " schedule install --print, by root@" in books and f" list, by {OWNER.pw_name}@" in books, books


def test_init_by_root_refuses_a_place_that_it_could_not_give_away(make):
    """Below a folder that others may change root would be led by their links."""
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster)
    place = tool.work.path / f"everybodys-{cluster.home.name}"
    place.mkdir()
    place.chmod(0o1777)
    closed = place / "closed"
    closed.mkdir(mode=0o755)
    tool.repository = closed / "repository"
    tool.write()
    outcome = sudo(tool, "init", code=4)
    assert "others than root" in outcome.err and not tool.repository.exists()


def test_init_by_root_leaves_a_place_that_is_there_to_whom_it_belongs(make):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster)
    tool.repository.mkdir(mode=0o750)
    give_to_owner(tool.repository)
    sudo(tool, "init")
    assert of_others(tool.repository) == []
