"""Where secrets must not be: core dumps, argument lists and environments of children, output, logs, state, and the repository."""
import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psycopg2
import pytest

from harness.places import as_owner, give_to_owner, wait_until

PLANTED = {"password": "planted:pass\\word 'of PostgreSQL", "passphrase": "planted-passphrase-of-a-slot", "s3": "planted-secret-access-key"}


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.fixture
def guarded(make):
    """(cluster, tool): the server asks for a password; the configuration holds it, and secrets for a store; a passphrase slot stands beside the key file."""
    cluster, tool = make.pair()
    tool.clusters["main"]["bin_directory"] = cluster.bin
    cluster.sql("set password_encryption = 'scram-sha-256'; create role keeper superuser login password 'x'")
    cluster.sql("create table kept (id int); insert into kept select generate_series(1, 1000)", database="postgres")
    sql = PLANTED["password"].replace("'", "''")
    cluster.sql(f"set password_encryption = 'scram-sha-256'; set standard_conforming_strings = on; alter role keeper password '{sql}'")
    (cluster.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all keeper scram-sha-256\n")
    cluster.sql("select pg_reload_conf()")
    tool.clusters["main"]["connection"] = f"host={cluster.sockets} port=5432 user=keeper password={quoted(PLANTED['password'])} dbname=postgres"
    tool.extra = f'[s3]\naccess_key_id = "KEY"\nsecret_access_key = "{PLANTED["s3"]}"\n'
    tool.write()
    tool.config.chmod(0o600)
    phrase = tool.home / "a.passphrase"
    phrase.write_text(PLANTED["passphrase"] + "\n")
    phrase.chmod(0o600)
    give_to_owner(phrase)
    tool.run("key", "add", "--passphrase-file", phrase)
    return cluster, tool


def secrets_of(tool):
    key = next(line for line in tool.key_file.read_text().splitlines() if line and not line.startswith("#"))
    return [*PLANTED.values(), PLANTED["password"].replace(":", "\\:").replace("\\w", "\\\\w"), key]


def assert_clean(tool, what, content):
    for secret in secrets_of(tool):
        assert secret.encode() not in content, f"{what} holds {secret!r}"


def children_of(pid):
    """Those of all its threads, and theirs. Threads and processes come and go while this looks."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += [int(child), *children_of(int(child))]
    return found


def test_no_child_is_told_a_secret_where_others_can_read_it(guarded):
    cluster, tool = guarded
    holder = psycopg2.connect(cluster.connection)
    holder.cursor().execute("begin; lock table kept in access exclusive mode")
    run = tool.start("backup", "--type", "logical", "--database", "postgres", "--log-level", "debug", "--progress", "plain")
    programs = {}

    def look():
        assert run.poll() is None, run.communicate()
        for pid in [run.pid, *children_of(run.pid)]:
            try:
                programs[pid] = Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
        return any(b"pg_dump" in command.split(b"\0")[0] for command, _ in programs.values()) and cluster.one("select count(*) from pg_locks where not granted") != 0

    wait_until(look, "pg_dump waits for the lock: it has logged in")
    for command, environment in programs.values():
        assert_clean(tool, f"the arguments of {command.split(bytes(1))[0]}", command)
        assert_clean(tool, f"the environment of {command.split(bytes(1))[0]}", environment)
    holder.close()
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert_clean(tool, "output", (out + err).encode())


def test_nothing_that_is_written_holds_a_secret(guarded):
    cluster, tool = guarded
    tool.extra = f'[logs]\ndirectory = "{tool.home}/logs"\n' + tool.extra
    tool.write()
    tool.config.chmod(0o600)
    wrong = {"PGMINT_PASSPHRASE_FILE": str(tool.home / "a.passphrase")}
    said = b""
    for command, env in ([("backup", "--type", "full"), {}], [("list",), wrong], [("key", "list"), wrong], [("key", "check"), wrong], [("status",), {}], [("doctor",), {}], [("backup", "--type", "config"), {}],
                         [("runbook",), {}], [("schedule", "show"), {}], [("policy", "aws", "--role", "writer"), {}], [("verify", "--read-data"), {}], [("report",), {}], [("audit", "list"), {}]):
        for form in ([], ["--json"]):
            outcome = tool.run(*command, *form, "--log-level", "debug", code=None, env=env)
            said += (outcome.out + outcome.err).encode()
    cluster.sql("alter role keeper password 'another'")
    said += tool.run("backup", "--type", "full", "--log-level", "debug", code=9).err.encode()
    assert_clean(tool, "output", said)
    looked_at = 0
    for path in sorted(tool.home.rglob("*")):
        if path.is_file() and path not in (tool.config, tool.key_file, tool.home / "a.passphrase"):
            assert_clean(tool, path, path.read_bytes())
            looked_at += 1
    assert looked_at > 20 and any((tool.home / "logs").iterdir()) and any((tool.home / "state").iterdir())


def dumps_of(directory, command, when):
    """The core files that `command` leaves in `directory` when it is ended by SIGSEGV once `when()` holds."""
    process = subprocess.Popen(["prlimit", "--core=unlimited:", *map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **as_owner(cwd=directory, env={}))
    wait_until(lambda: process.poll() is not None or when(process), "it runs")
    assert process.poll() is None, process.stderr.read()
    os.kill(process.pid, signal.SIGSEGV)
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGSEGV
    return [path for path in Path(directory).iterdir() if path.name.startswith("core")]


def test_no_core_dump_is_written(guarded, make):
    cluster, tool = guarded
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or "|" in pattern:
        pytest.skip(f"core_pattern is {pattern}: where a core would go is this machine's business")
    place = make.work.fresh("cores")
    give_to_owner(place)
    assert dumps_of(place, ["sleep", "600"], lambda process: Path(f"/proc/{process.pid}/comm").read_text().strip() == "sleep"), "what can dump core leaves a file here"
    for path in place.iterdir():
        path.unlink()
    command = [tool.binary, "--config", tool.config, "backup", "--type", "full", "--max-rate", "64k"]

    def reads(process):
        for fd in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.readlink(fd).startswith(str(cluster.data)):
                    return True
        return False
    assert dumps_of(place, command, reads) == []
    tool.run("backup", "--type", "full")


def test_keys_lie_in_memory_that_is_locked(guarded):
    _, tool = guarded
    found = {check["name"]: check for check in tool.run("doctor", "--json", code=None).json["checks"]}
    assert found["key memory"]["state"] == "ok"
    found = {check["name"]: check for check in tool.run("doctor", "--json", code=None, prefix=("prlimit", "--memlock=0:0")).json["checks"]}
    assert found["key memory"]["state"] == "warning" and "ulimit" in found["key memory"]["hint"]
