"""Killed, full, cut off: what was listed restores, the next run succeeds, nothing is lost in silence.

strace ends or fails the binary at one system call after another of those that an undisturbed run makes: each store operation
of the real program is a crash point. Where there are many, a seeded sample is taken (PGMINT_TEST_SEED replays it).
"""
import collections
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness.cluster import Background
from harness.faults import PowerCutDisk, small_filesystem, strace
from harness.pgmint import end, wait_for_phase
from harness.places import give_to_owner, owner_folder, run, wait_until
from test_clone_safety import clone_of

STORE_CALLS = "fsync,fdatasync,renameat2,linkat,link,unlink,unlinkat,rename,mkdir,mkdirat"


def calls_of(tool, calls, *arguments):
    """The crash points of a command: (call, n) for the n-th of each of these system calls in one undisturbed run, in its order.

    strace counts for each call by itself, and for each thread: the second fsync and the second rename are two points.
    """
    trace = tool.home / "trace"
    tool.run(*arguments, prefix=["strace", "-f", "-qqq", "--seccomp-bpf", "-o", trace, "-e", f"trace={calls}"])
    seen, found = collections.Counter(), {}
    for thread, call in re.findall(r"^(\d+) +(\w+)\(", trace.read_text(), re.M):
        seen[thread, call] += 1
        found[call, seen[thread, call]] = True
    return list(found)


def sampled(found, most, seed):
    """All crash points, or a seeded sample of them with the first and last ones always in."""
    if len(found) <= most:
        return found
    edge = {0, 1, 2, len(found) - 3, len(found) - 2, len(found) - 1}
    rest = random.Random(seed).sample(range(3, len(found) - 3), most - len(edge))
    return [found[i] for i in sorted(edge | set(rest))]


def killed_at(call, n):
    return strace(f"{call}:signal=KILL", n)


def still_right(make, cluster, tool, expected):
    """Every listed backup verifies; the newest restores to the rows expected."""
    tool.run("verify", "--decompress")
    clone = clone_of(make, tool, "--latest").start().wait_promoted()
    assert clone.digest() == expected
    clone.stop("immediate")
    shutil.rmtree(clone.data, ignore_errors=True)


@pytest.mark.parametrize("most", [pytest.param(10, id="sample"), pytest.param(400, id="all", marks=pytest.mark.slow)])
def test_backup_killed_at_a_store_operation(make, seed, most):
    cluster, tool = make.pair(rows=800)
    tool.backup()
    found = calls_of(tool, STORE_CALLS, "backup", "--type", "full")
    assert len({call for call, _ in found}) > 2, f"durable writes that strace cannot see: {found}"
    for call, n in sampled(found, most, seed):
        before = set(tool.names())
        killed = tool.run("backup", "--type", "full", code=None, prefix=killed_at(call, n))
        after = set(tool.names())
        assert before <= after, f"a listed backup vanished after kill at {call} {n}"
        if killed.code == 0:
            assert len(after) == len(before) + 1
    tool.run("verify", "--decompress")
    tool.backup()
    expected = cluster.digest()
    cluster.archive_now()
    still_right(make, cluster, tool, expected)
    tool.run("collect", "--yes")
    still_right(make, cluster, tool, expected)


@pytest.mark.parametrize("calls,error", [("fsync", "EIO"), ("renameat2", "EIO"), ("write,pwrite64", "ENOSPC"), ("mkdir,mkdirat", "EACCES"), ("read,pread64", "EIO")],
                         ids=lambda v: v.split(",")[0])
def test_backup_whose_system_call_fails_reports_it_and_lists_nothing_untrue(make, seed, calls, error):
    cluster, tool = make.pair(rows=800)
    tool.backup()
    for call, n in sampled(calls_of(tool, calls, "backup", "--type", "full"), 6, seed):
        before = set(tool.names())
        started = time.monotonic()
        outcome = tool.run("backup", "--type", "full", code=None, prefix=strace(f"{call}:error={error}", n))
        assert time.monotonic() - started < 60, f"{call} {error} at {n}: a disk that failed is not asked again and again\n{outcome}"
        if "error while loading shared libraries" in outcome.err:
            continue  # the call failed in the loader, before the program began
        assert outcome.code < 100 and outcome.code != 70, f"{call} {error} at {n}\n{outcome}"
        if outcome.code != 0:
            assert outcome.err.strip()
        for name in set(tool.names()) - before:
            tool.run("verify", "--backup", name, "--decompress")
    expected = cluster.digest()
    tool.backup()
    cluster.archive_now()
    still_right(make, cluster, tool, expected)


def test_push_killed_at_every_store_operation(make, seed):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster).init()
    cluster.configure(archive_mode="on", archive_command="false")
    cluster.start().make_table("t", 100)
    names = []

    def prepare():
        cluster.sql("select pg_logical_emit_message(false, 'test', 'x')")
        names.append(cluster.switch_wal())
    prepare()
    tool.push(cluster.data / "pg_wal" / names[-1])  # the cluster's objects exist now
    prepare()
    for call, n in calls_of(tool, STORE_CALLS, "wal", "push", cluster.data / "pg_wal" / names[-1]):
        prepare()
        path = cluster.data / "pg_wal" / names[-1]
        tool.run("wal", "push", path, code=None, prefix=killed_at(call, n))
        tool.push(path)  # as the archiver would
        copy = cluster.home / "copy"
        tool.run("wal", "get", names[-1], copy)
        assert copy.read_bytes() == path.read_bytes(), f"after kill at {call} {n}"
    assert tool.list()["wal"]["gaps"] == []


@pytest.mark.parametrize("call,error", [("fsync", "EIO"), ("renameat2", "EIO"), ("write,pwrite64", "ENOSPC")], ids=lambda v: v.split(",")[0])
def test_push_whose_system_call_fails_never_says_stored(make, seed, call, error):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster).init()
    cluster.configure(archive_mode="on", archive_command="false")
    cluster.start().make_table("t", 100)
    first = cluster.switch_wal()
    tool.push(cluster.data / "pg_wal" / first)
    for n in range(1, 9):
        cluster.sql("select pg_logical_emit_message(false, 'test', 'x')")
        name = cluster.switch_wal()
        path = cluster.data / "pg_wal" / name
        outcome = tool.run("wal", "push", path, code=None, prefix=strace(f"{call}:error={error}", n))
        assert outcome.code < 126
        if outcome.code == 0:  # the failure hit something that does not matter, or came after the last call
            copy = cluster.home / "copy"
            tool.run("wal", "get", name, copy)
            assert copy.read_bytes() == path.read_bytes()
        else:
            assert outcome.err.strip()
            tool.push(path)


@pytest.mark.parametrize("most", [pytest.param(10, id="sample"), pytest.param(150, id="many", marks=pytest.mark.slow)])
def test_restore_killed_never_leaves_a_directory_that_starts_wrong(make, seed, most):
    """pg_control comes last and backup_label first: a half restored directory does not start, or starts right."""
    cluster, tool = make.pair(rows=3000)
    for n in range(30):
        cluster.sql(f"create table many{n} as select i, md5(i::text) from generate_series(1, 300) i")
    tool.backup()
    expected = cluster.digest()
    cluster.archive_now()
    calls = "openat,fsync,renameat2,rename,linkat,ftruncate"
    base = make.folder("targets")
    for call, n in sampled(calls_of(tool, calls, "restore", "--to", base / "whole"), most, seed):
        target = base / f"killed-{call}-{n}"
        killed = tool.restore(target, "--action", "promote", code=None, prefix=killed_at(call, n))
        if killed.code == 0:
            continue
        if target.exists() and (target / "PG_VERSION").exists():
            server = make.opened(target).start(expect_success=False, wait=True)
            if server.running:
                server.wait_promoted()
                assert server.digest() == expected, f"killed at {call} {n}: the server starts, and the rows are wrong"
                server.stop("immediate")
        # The same command again: done, or refused with what to do; after clearing the target it works.
        again = tool.restore(target, "--action", "promote", code=(0, 4))
        if again.code == 4:
            run("rm", "-rf", target)
            tool.restore(target, "--action", "promote")
        shutil.rmtree(target, ignore_errors=True)


def test_server_killed_during_a_backup_fails_it_and_the_next_succeeds(make):
    cluster, tool = make.pair(rows=30000)
    process = tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "2MiB")
    wait_for_phase(process, "copy")
    cluster.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 9, err
    assert tool.names() == []
    cluster.start()
    expected = cluster.digest()
    tool.backup()
    cluster.archive_now()
    still_right(make, cluster, tool, expected)


def test_killed_backup_leaves_the_server_able_to_back_up_at_once(make):
    cluster, tool = make.pair(rows=30000)
    for _ in range(3):
        process = tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "2MiB")
        wait_for_phase(process, "copy")
        end(process)
    tool.backup()
    wait_until(lambda: not cluster.backup_sessions(), "no session is left")


def test_repository_full_is_said_and_survived(make):
    with small_filesystem(make.folder("small"), 24) as place:
        cluster = make.cluster(start=False)
        tool = make.pgmint(cluster, repository=place / "repository")
        cluster.archive_with(tool)
        tool.init()
        cluster.start().make_table("t", 2000)
        tool.backup()
        before = tool.names()
        # Random bytes do not compress: 40 MB cannot fit in what is left. First in a file, of which WAL knows nothing.
        noise = cluster.data / "noise"
        noise.write_bytes(random.randbytes(40 << 20))
        give_to_owner(noise)
        outcome = tool.run("backup", "--type", "full", code=6, timeout=120)
        assert "space" in outcome.err.lower()
        assert tool.names() == before
        tool.run("verify", "--decompress", code=(0, 8))
        noise.unlink()
        # Then in a table: its WAL fills the repository, and a backup that could not end is not begun.
        cluster.sql("create extension pgcrypto")
        failed = cluster.one("select failed_count from pg_stat_archiver")
        cluster.sql("create table noise as select gen_random_bytes(1000) as b from generate_series(1, 40000)")
        wait_until(lambda: cluster.one("select failed_count > %s and last_failed_time > coalesce(last_archived_time, '-infinity') from pg_stat_archiver", failed), "the archiver fails")
        tool.refuses("backup", "--type", "full", code=4, naming="archiving fails", timeout=120)
        assert tool.names() == before
        tool.run("verify", "--decompress", code=(0, 8))
        cluster.sql("drop table noise")
        _remount(place, 256)
        tool.run("collect", "--yes")
        wait_until(lambda: not list((cluster.data / "pg_wal/archive_status").glob("*.ready")), "the archiver has caught up", timeout=75)
        expected = cluster.digest()
        tool.backup()
        cluster.archive_now(timeout=75)
        still_right(make, cluster, tool, expected)
        cluster.stop("immediate")


def _remount(place, size_mb):
    subprocess.run(["mount", "-o", f"remount,size={size_mb}m", place], check=True)


def test_target_full_in_the_middle_is_said_and_does_not_start(make):
    cluster, tool = make.pair(rows=100000)
    tool.backup()
    cluster.archive_now()
    with small_filesystem(make.folder("small"), 90) as place:
        # Enough for the preflight, WAL included, when another process fills the rest meanwhile.
        ballast = place / "ballast"
        process = tool.start("restore", "--to", place / "data", "--max-rate", "10MiB")
        wait_until(lambda: (place / "data").exists() or process.poll() is not None, "the restore writes")
        if process.poll() is None:
            with open(ballast, "wb") as file:
                try:
                    while True:
                        file.write(bytes(1 << 20))
                        file.flush()
                except OSError:
                    pass
        out, err = process.communicate(timeout=90)
        assert process.returncode in (4, 6), err
        assert "space" in err.lower()
        assert not (place / "data" / "global" / "pg_control").exists()


@pytest.mark.parametrize("delay", [0.15, 0.4, 0.8])
def test_power_cut_of_the_repository_disk_during_backups(make, seed, delay):
    home = make.folder("power")
    disk = PowerCutDisk(home, 512)
    try:
        repository = owner_folder(disk.place / "r") / "repository"
        cluster = make.cluster(start=False)
        tool = make.pgmint(cluster, repository=repository)
        cluster.archive_with(tool)
        tool.init()
        cluster.start().make_table("t", 20000)
        first = tool.backup()["name"]
        cluster.archive_now()
        load = Background(cluster, "t")
        process = tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "20MiB")
        time.sleep(delay + random.Random(seed).random() * 0.2)  # the moment of the cut is the point of the test
        acknowledged = {p.name[:-5] for p in (cluster.data / "pg_wal/archive_status").glob("*.done")}
        disk.cut()
        out, err = process.communicate(timeout=60)
        if process.returncode != 0:
            assert process.returncode == 6, err
        load.stop()
        cluster.sql("select pg_stat_reset_shared('archiver')")
        wait_until(lambda: _archiver_idle(tool), "no push holds the disk")
        disk.mend()
        assert first in tool.names()
        tool.run("verify", "--decompress")
        stored = {p.name for p in tool.objects_of("wal")}
        assert {n for n in acknowledged if len(n) == 24} <= stored, "a segment that the archiver was told is stored is gone"
        wait_until(lambda: not list((cluster.data / "pg_wal/archive_status").glob("*.ready")), "the archiver has caught up", timeout=75)
        tool.backup()
        expected = cluster.digest()
        cluster.archive_now(timeout=75)
        still_right(make, cluster, tool, expected)
        cluster.stop("immediate")
    finally:
        for cluster in make.clusters:
            if cluster.pid():
                cluster.stop("immediate")
        disk.remove()


def _archiver_idle(tool):
    return subprocess.run(["pgrep", "-f", f"{tool.config} wal push"], stdout=subprocess.DEVNULL).returncode != 0


def test_power_cut_right_after_a_command_returned_loses_nothing_it_promised(make):
    """Exit 0 means durable: init, key add, hold, push and backup survive a power cut one moment later."""
    disk = PowerCutDisk(make.folder("power"), 512)
    try:
        home = owner_folder(disk.place / "all")
        cluster = make.cluster(start=False)
        tool = make.pgmint(cluster, repository=home / "repository", key_file=home / "repository.key")
        cluster.archive_with(tool)
        tool.init()
        disk.cut()
        disk.mend()
        tool.run("list")
        cluster.start().make_table("t", 500)
        name = tool.backup()["name"]
        disk.cut()
        disk.mend()
        assert tool.names() == [name]
        tool.run("verify", "--decompress")
        tool.run("hold", name, "--reason", "evidence")
        disk.cut()
        disk.mend()
        assert tool.list()["backups"][0]["held"]["reason"] == "evidence"
        cluster.add_rows("t", 10)
        expected = cluster.digest()
        segment = cluster.archive_now(timeout=75)
        disk.cut()
        wait_until(lambda: _archiver_idle(tool), "no push holds the disk")
        disk.mend()
        assert segment in {p.name for p in tool.objects_of("wal")}
        still_right(make, cluster, tool, expected)
        cluster.stop("immediate")
    finally:
        for cluster in make.clusters:
            if cluster.pid():
                cluster.stop("immediate")
        disk.remove()


def test_power_cut_right_after_a_restore_leaves_a_directory_that_starts_right(make):
    cluster, tool = make.pair(rows=5000)
    tool.backup()
    expected = cluster.digest()
    cluster.archive_now()
    disk = PowerCutDisk(make.folder("power"), 512)
    try:
        target = owner_folder(disk.place / "t") / "data"
        tool.restore(target, "--action", "promote")
        disk.cut()
        disk.mend()
        server = make.opened(target).start().wait_promoted()
        assert server.digest() == expected
        server.stop("immediate")
    finally:
        disk.remove()


def test_two_backups_at_once_both_end_well_or_one_is_told_to_wait(make):
    cluster, tool = make.pair(rows=20000)
    processes = [tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "8MiB") for _ in range(2)]
    told = [p.communicate(timeout=80)[1] for p in processes]
    codes = sorted(p.returncode for p in processes)
    assert codes in ([0, 0], [0, 5]), "\n---\n".join(told)
    assert len(tool.names()) == codes.count(0)
    tool.run("verify", "--decompress")


class Changes:
    """A repository with a backup, a held one, WAL and several secrets, and what each command that changes it is given."""

    def __init__(self, make):
        self.cluster = make.cluster(start=False)
        self.tool = tool = make.pgmint(self.cluster)
        recovery = tool.run("init", "--json").json["recovery_key"]
        paper = self.secret("paper", recovery + "\n")
        self.cluster.archive_with(tool)
        self.cluster.start().make_table("t", 50)
        self.free, self.held = tool.backup()["name"], tool.backup()["name"]
        tool.run("hold", self.held, "--reason", "r")
        second, spare, host = tool.home / "second.key", tool.home / "spare.key", tool.home / "host.key"
        for file, role in ((second, "root"), (spare, "root"), (host, "host")):
            tool.run("key", "add", "--file", file, "--role", role)
        given = [tool.key_file, second]
        self.secrets = [{"PGMINT_KEY_FILE": str(file)} for file in given] + [{"PGMINT_RECOVERY_KEY_FILE": str(paper)}]
        spare_slot = max((s for s in tool.run("key", "list", "--json").json["slots"] if s["role"] == "root"), key=lambda s: s["created"])["id"]
        self.arguments = {
            "hold": ["hold", self.free, "--reason", "r"],
            "release": ["release", self.held],
            "collect": ["collect", "--yes"],
            "key-add": ["key", "add", "--file", "new.key"],  # beside the configuration
            "key-remove": ["key", "remove", spare_slot],
            "rotate-data": ["key", "rotate", "--data"],
            "rotate-root": ["key", "rotate", "--root", "--file", second, "--file", spare, "--recovery-key-file", paper],
            "repair": ["repair", "--rebuild-log"],
        }
        self.cluster.stop()

    def secret(self, name, text):
        path = self.tool.home / name
        path.write_text(text)
        path.chmod(0o600)
        return give_to_owner(path)


@pytest.fixture(scope="module")
def changes(make_shared):
    return Changes(make_shared)


VERBS = ["hold", "release", "key-add", "key-remove", "rotate-data", "rotate-root", "repair"]


@pytest.mark.parametrize("most", [pytest.param(8, id="sample"), pytest.param(400, id="all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("verb", VERBS)
def test_change_killed_at_a_store_operation_locks_nobody_out_and_can_be_made_again(changes, seed, verb, most):
    arguments = changes.arguments[verb]
    found = calls_of(changes.tool.copy(), STORE_CALLS, *arguments)
    for call, n in sampled(found, most, seed):
        twin, where = changes.tool.copy(), f"killed at {call} {n}"
        killed = twin.run(*arguments, code=None, prefix=killed_at(call, n))
        assert killed.code != 0, f"not {where}: it never came there"
        for secret in changes.secrets:
            names = [b["name"] for b in twin.run("list", "--json", env=secret).json["clusters"][0]["backups"]]
            assert names == [changes.free, changes.held], where
            twin.run("verify", "--decompress", env=secret)
        twin.run("audit", "verify")
        again = twin.run(*arguments, code=None)
        assert again.code in (0, 1, 4), f"{where}, and again:\n{again}"
        for secret in changes.secrets:
            twin.run("verify", "--decompress", env=secret)
        twin.run("audit", "verify")
        twin.run("key", "rotate", "--data")  # no change of keys is left half done
        held = [b["name"] for b in twin.list()["backups"] if b["held"]]
        assert held == {"hold": [changes.free, changes.held], "release": []}.get(verb, [changes.held]), where
        shutil.rmtree(twin.home, ignore_errors=True)


@pytest.mark.parametrize("most", [pytest.param(8, id="sample"), pytest.param(400, id="all", marks=pytest.mark.slow)])
def test_init_killed_at_a_store_operation_is_made_again_or_was_done(make, seed, most):
    cluster = make.cluster(start=False)
    for call, n in sampled(calls_of(make.pgmint(cluster), STORE_CALLS, "init"), most, seed):
        tool, where = make.pgmint(cluster), f"killed at {call} {n}"
        assert tool.run("init", code=None, prefix=killed_at(call, n)).code != 0, f"not {where}: it never came there"
        again = tool.run("init", "--json", code=(0, 4))
        tool.run("list")
        slots = tool.run("key", "list", "--json").json["slots"]
        assert sorted(s["kind"] for s in slots) == ["key-file", "recovery"], where
        if again.code == 0:
            paper = tool.home / "paper"
            paper.write_text(again.json["recovery_key"] + "\n")
            paper.chmod(0o600)
            tool.run("list", env={"PGMINT_RECOVERY_KEY_FILE": str(give_to_owner(paper))})
        shutil.rmtree(tool.home, ignore_errors=True)


@pytest.mark.parametrize("most", [pytest.param(8, id="sample"), pytest.param(400, id="all", marks=pytest.mark.slow)])
def test_first_push_killed_at_a_store_operation_makes_one_cluster(make, seed, most):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster).init()
    cluster.configure(archive_mode="on", archive_command="false")
    cluster.start().make_table("t", 100)
    path = cluster.data / "pg_wal" / cluster.switch_wal()
    for call, n in sampled(calls_of(tool.copy(), STORE_CALLS, "wal", "push", path), most, seed):
        twin, where = tool.copy(), f"killed at {call} {n}"
        twin.run("wal", "push", path, code=None, prefix=killed_at(call, n))
        twin.push(path)
        twin.run("wal", "get", path.name, twin.home / "copy")
        assert (twin.home / "copy").read_bytes() == path.read_bytes(), where
        assert len(twin.run("list", "--json").json["clusters"]) == 1, where
        twin.run("verify", "--decompress")
        twin.run("audit", "verify")
        assert twin.run("doctor", "--json", code=range(0, 126)).json["checks"], where
        shutil.rmtree(twin.home, ignore_errors=True)


def test_signal_names_are_not_bugs(make):
    """SIGTERM is a cancellation, not a crash."""
    cluster, tool = make.pair(rows=30000)
    process = tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "2MiB")
    wait_for_phase(process, "copy")
    code, out, err = end(process, signal.SIGTERM)
    assert code in (130, 143), err
    assert tool.names() == []


@pytest.mark.parametrize("output", [[], ["--json"]], ids=["text", "json"])
def test_init_that_cannot_read_what_it_made_still_shows_the_recovery_key(make, output):
    """The key exists in that process only: a repository without it is one host away from being lost."""
    cluster = make.cluster(start=False)
    watched = make.pgmint(cluster)
    trace = watched.home / "trace"
    watched.run("init", prefix=["strace", "-f", "-qqq", "-o", trace, "-e", "trace=openat"])
    opened = trace.read_text().splitlines()
    first = max(n for n, line in enumerate(opened, 1) if '"format", O_RDONLY' in line)  # of the finished repository
    assert first < len(opened)
    for n in (first, (first + len(opened)) // 2, len(opened)):
        tool = make.pgmint(cluster)
        outcome = tool.run("init", *output, code=(6, 7, 8), prefix=["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=openat", "-e", f"inject=openat:error=EIO:when={n}+"])
        assert "cannot be read" in outcome.err, f"open {n} of {len(opened)} failed unnoticed\n{outcome}"
        key = outcome.json["recovery_key"] if output else next(line for line in outcome.out.splitlines() if line.startswith("PGMINT-RECOVERY-"))
        paper = tool.home / "paper"
        paper.write_text(key + "\n")
        paper.chmod(0o600)
        give_to_owner(paper)
        tool.run("key", "check", env={"PGMINT_RECOVERY_KEY_FILE": str(paper)})
