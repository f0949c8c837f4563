"""Keys, holds, the audit log, collection: who can open the repository, and what may go from it."""
import json
import os
import re

import pytest

from harness.pgmint import end, wait_for_phase
from harness.places import RUNNING_AS_ROOT, give_to_owner, wait_until


def secret_file(tool, name, text):
    path = tool.home / name
    path.write_text(text)
    path.chmod(0o600)
    return give_to_owner(path)


def opened_with(tool, **encryption):
    """The same repository through another key."""
    tool.encryption = encryption
    return tool.write()


@pytest.mark.quick
def test_second_key_file_opens_and_the_first_can_be_removed(make):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    first = next(s for s in tool.run("key", "list", "--json").json["slots"] if s["kind"] == "key-file")
    second = tool.home / "second.key"
    tool.run("key", "add", "--file", second)
    assert second.stat().st_mode & 0o777 == 0o600
    slots = tool.run("key", "list", "--json").json["slots"]
    assert sorted(s["kind"] for s in slots) == ["key-file", "key-file", "recovery"]
    opened_with(tool, key_file=second)
    assert len(tool.names()) == 1
    tool.run("key", "remove", first["id"], "--yes")
    assert len(tool.names()) == 1
    opened_with(tool, key_file=tool.key_file)
    tool.refuses("list", code=7)


@pytest.mark.quick
def test_passphrase_opens_the_repository(make):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    secret = secret_file(tool, "passphrase", "correct horse battery staple\n")
    tool.run("key", "add", "--passphrase-file", secret)
    opened_with(tool, passphrase_file=secret)
    assert len(tool.names()) == 1
    tool.run("verify", "--decompress")
    wrong = secret_file(tool, "wrong", "incorrect horse\n")
    opened_with(tool, passphrase_file=wrong)
    outcome = tool.refuses("list", code=7)
    assert "incorrect" not in outcome.text


@pytest.mark.quick
def test_recovery_key_restores_when_the_host_is_gone(make):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster)
    cluster.archive_with(tool)
    recovery = tool.run("init", "--json").json["recovery_key"]
    cluster.start().make_table("t", 200)
    tool.backup()
    expected = cluster.digest()
    cluster.archive_now()
    status = tool.run("status", "--json", code=(0, 10)).json
    assert "recovery-key-untested" in [w["code"] for w in status["warnings"]]
    tool.key_file.unlink()  # the host burnt down; the paper did not
    opened_with(tool, recovery_key_file=secret_file(tool, "paper", recovery + "\n"))
    target = make.folder("target") / "data"
    tool.restore(target, "--action", "promote")
    # The restored server asks `wal get` with the same configuration.
    assert make.opened(target).start().wait_promoted().digest() == expected
    status = tool.run("status", "--json", code=(0, 10)).json
    assert "recovery-key-untested" not in [w["code"] for w in status["warnings"]]


def test_recovery_key_with_a_slip_of_the_pen_is_refused_as_such(make):
    tool = make.pgmint(make.cluster(start=False))
    recovery = tool.run("init", "--json").json["recovery_key"]
    body = re.sub(r"[^A-Za-z0-9]", "", recovery)
    at = recovery.index(body[-3])
    other = "A" if recovery[at] != "A" else "B"
    opened_with(tool, recovery_key_file=secret_file(tool, "paper", recovery[:at] + other + recovery[at + 1:] + "\n"))
    tool.refuses("list", code=7)
    opened_with(tool, recovery_key_file=secret_file(tool, "paper2", "  " + recovery.lower() + " \n\n"))
    tool.run("list", code=(0, 7))  # case and spaces: forgiven or refused, never a crash


@pytest.mark.quick
def test_recovery_key_that_takes_three_of_five_people(make):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster)
    cluster.archive_with(tool)
    for wrong in (["--shares", "5"], ["--needed", "2"], ["--shares", "1", "--needed", "1"], ["--shares", "33", "--needed", "2"], ["--shares", "3", "--needed", "4"], ["--shares", "x", "--needed", "2"]):
        tool.refuses("init", *wrong, code=2, naming="--shares 5 --needed 3")
    assert not tool.repository.exists()
    said = tool.run("init", "--shares", "5", "--needed", "3").out
    assert "PGMINT-RECOVERY" not in said
    shares = [line for line in said.splitlines() if line.startswith("PGMINT-SHARE-1:")]
    assert len(set(shares)) == 5 and "any 3 of them open" in said.lower(), said
    cluster.start().make_table("t", 100)
    name = tool.backup()["name"]
    mine = tool.encryption

    def paper(*lines):
        return opened_with(tool, recovery_key_file=secret_file(tool, "paper", "\n".join(lines) + "\n"))

    paper(shares[4], "# hers", shares[0].lower(), shares[2])
    assert tool.names() == [name]
    assert "recovery" in tool.run("key", "check").out
    for two in ((shares[0], shares[1]), (shares[3], shares[3], shares[1])):
        paper(*two)
        tool.refuses("list", code=7, naming="3 are needed")
    paper(shares[0], shares[1], shares[2][:-1] + ("A" if shares[2][-1] != "A" else "B"))
    tool.refuses("list", code=7, naming="share 3 of those given has a typing mistake")
    # Another key in shares of its own, beside it.
    opened_with(tool, **mine)
    tool.refuses("key", "add", "--file", tool.home / "more.key", "--shares", "3", "--needed", "2", code=2, naming="--recovery")
    added = tool.run("key", "add", "--recovery", "--shares", "3", "--needed", "2", "--json").json
    assert added["recovery_key"] is None and added["recovery_shares"]["needed"] == 2 and len(added["recovery_shares"]["shares"]) == 3
    paper(shares[0], added["recovery_shares"]["shares"][0], shares[1])
    tool.refuses("list", code=7, naming="not made together")
    paper(*added["recovery_shares"]["shares"][1:])
    assert tool.names() == [name]


def test_last_slot_cannot_be_removed(make):
    tool = make.pgmint(make.cluster(start=False)).init()
    slots = tool.run("key", "list", "--json").json["slots"]
    recovery = next(s for s in slots if s["kind"] == "recovery")
    mine = next(s for s in slots if s["kind"] == "key-file")
    tool.run("key", "remove", recovery["id"], "--yes")
    tool.refuses("key", "remove", mine["id"], "--yes", code=4)
    tool.run("list")
    tool.refuses("key", "remove", "no-such-slot", "--yes", code=1, naming="no-such-slot")


@pytest.mark.quick
@pytest.mark.parametrize("what", ["--data", "--root"])
def test_backups_and_wal_from_before_a_rotation_restore_after_it(make, what):
    cluster, tool = make.pair(rows=100)
    tool.backup()
    cluster.add_rows("t", 10)
    cluster.archive_now()
    tool.run("key", "rotate", what, *(["--yes"] if what == "--root" else []))
    cluster.add_rows("t", 10)
    first = cluster.digest()
    cluster.archive_now()
    second = tool.backup()["name"]
    cluster.add_rows("t", 10)
    expected = cluster.digest()
    cluster.archive_now()
    assert first != expected
    tool.run("verify", "--decompress")
    for arguments in (["--backup", tool.names()[0]], ["--backup", second]):
        target = make.folder("target") / "data"
        tool.restore(target, *arguments, "--latest", "--action", "promote")
        server = make.opened(target).start().wait_promoted()
        assert server.digest() == expected
        server.stop("immediate")


def test_root_rotation_asks_for_the_other_secrets_and_keeps_the_slots_it_gets(make):
    cluster = make.cluster(start=False)
    tool = make.pgmint(cluster)
    paper = secret_file(tool, "paper", tool.run("init", "--json").json["recovery_key"] + "\n")
    tool.refuses("key", "rotate", "--root", code=(2, 4), naming="--recovery-key-file")
    tool.run("key", "rotate", "--root", "--recovery-key-file", paper)
    tool.run("list")
    assert tool.run("list", env={"PGMINT_RECOVERY_KEY_FILE": str(paper)}).code == 0
    tool.run("key", "rotate", "--root", "--yes")
    tool.run("list")
    tool.refuses("list", code=7, env={"PGMINT_RECOVERY_KEY_FILE": str(paper)})


def test_a_rotation_that_was_cut_off_is_named_and_ended_by_another(make):
    cluster, tool = make.pair(rows=50)
    backup = tool.backup()["name"]
    keys = tool.repository / "keys"
    old = {slot.name: slot.read_bytes() for slot in keys.iterdir()}
    tool.run("key", "rotate", "--root", "--yes")
    for name, content in old.items():  # as if it had stopped before it removed them
        (keys / name).write_bytes(content)
        give_to_owner(keys / name)
    tool.run("list")
    assert "a rotation of the root key was cut off" in json.dumps(tool.run("doctor", "--json", code=range(0, 126)).json["checks"])
    tool.refuses("key", "rotate", "--data", code=4, naming="key rotate --root")
    tool.refuses("key", "add", "--file", tool.home / "third.key", code=4, naming="key rotate --root")
    tool.backup()
    tool.run("key", "rotate", "--root", "--yes")
    tool.run("key", "rotate", "--data")
    assert not set(old) & {slot.name for slot in keys.iterdir()}
    assert "was cut off" not in json.dumps(tool.run("doctor", "--json").json["checks"])
    target = make.folder("target") / "data"
    tool.restore(target, "--backup", backup, "--immediate")
    tool.run("verify", "--decompress")


def test_rotation_of_the_data_key_rewrites_no_data(make):
    cluster, tool = make.pair(rows=2000)
    tool.backup()
    packs = {p: p.stat().st_mtime_ns for p in tool.objects_of("p")}
    tool.run("key", "rotate", "--data")
    assert {p: p.stat().st_mtime_ns for p in tool.objects_of("p")} == packs


def test_key_check_says_which_slots_open(make):
    tool = make.pgmint(make.cluster(start=False)).init()
    outcome = tool.run("key", "check")
    assert "key-file" in outcome.text or str(tool.key_file) in outcome.text


@pytest.mark.parametrize("role,allowed,denied", [("maintenance", ["list", "verify --read-data"], ["restore"]), ("host", ["list", "backup --type full"], [])])
def test_role_opens_what_it_may_and_no_more(make, role, allowed, denied):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    cluster.archive_now()
    key = tool.home / f"{role}.key"
    tool.run("key", "add", "--file", key, "--role", role)
    opened_with(tool, key_file=key)
    for command in allowed:
        tool.run(*command.split())
    for command in denied:
        target = make.folder("t") / "data"
        tool.refuses(command, "--to", target, code=7)
        assert not target.exists()
    tool.refuses("key", "rotate", "--root", code=7)


def test_a_maintenance_key_claims_only_what_it_compared(make):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    cluster.archive_now()
    key = tool.home / "janitor.key"
    tool.run("key", "add", "--file", key, "--role", "maintenance")
    opened_with(tool, key_file=key)
    for depth in ("--read-data", "--decompress"):
        outcome = tool.run("verify", depth)
        assert "SHA-256 alone" in outcome.out and "opened" not in outcome.out.replace("this key cannot open", "")
        assert "WAL" in outcome.err
        result = tool.run("verify", depth, "--json").json
        assert result["proven"] == "committed" and result["packs_only_hashed"] == result["packs_checked"] > 0
    pack = max((path for path in tool.objects() if "p" in path.parts), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 4
    pack.chmod(0o600)
    pack.write_bytes(content)
    assert pack.name in tool.run("verify", "--read-data", code=8).out


# ---- hold, collect, audit


@pytest.mark.quick
def test_hold_keeps_and_release_lets_go(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    tool.run("hold", name, "--reason", "court order 7")
    held = tool.list()["backups"][0]["held"]
    assert held["reason"] == "court order 7" and held["since"]
    assert "court order 7" in tool.run("show", name).out
    tool.run("release", name)
    assert tool.list()["backups"][0]["held"] is None
    tool.refuses("hold", name, code=2, naming="--reason")


def test_collect_removes_what_a_killed_backup_left_and_nothing_else(make):
    cluster, tool = make.pair(rows=60000)
    tool.backup()
    before = {str(p) for p in tool.objects_of("p")}
    process = tool.start("--progress", "json", "backup", "--type", "full", "--max-rate", "4MiB")
    wait_for_phase(process, "copy")
    wait_until(lambda: {str(p) for p in tool.objects_of("p")} - before or process.poll() is not None, "it has put something", timeout=40)
    end(process)
    dry = tool.run("collect", "--dry-run", "--json").json
    assert dry["dry_run"] is True
    assert before <= {str(p) for p in tool.objects_of("p")}
    tool.run("collect", "--yes")
    assert before <= {str(p) for p in tool.objects_of("p")}
    tool.run("verify", "--decompress")


@pytest.mark.quick
def test_audit_lists_every_change_and_verifies(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    tool.run("hold", name, "--reason", "audit")
    tool.run("release", name)
    entries = tool.run("audit", "list", "--json").json["entries"]
    assert [e["seq"] for e in entries] == list(range(entries[0]["seq"], entries[0]["seq"] + len(entries)))
    kinds = [e["kind"] for e in entries]
    for earlier, later in (("begin", "snap"), ("snap", "hold"), ("hold", "release")):
        assert kinds.index(earlier) < kinds.index(later)
    assert all(e["time"] and e["actor"] for e in entries)
    assert tool.run("audit", "verify", "--json").json["ok"] is True
    assert name in tool.run("audit", "list").out


def test_audit_verify_finds_a_changed_entry(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    tool.run("hold", name, "--reason", "audit")
    entries = sorted(tool.objects_of("log"))
    for path in (entries[1], entries[-1]):
        original = path.read_bytes()
        damaged = bytearray(original)
        damaged[len(damaged) // 2] ^= 4
        path.chmod(0o600)
        path.write_bytes(damaged)
        result = tool.run("audit", "verify", "--json", code=8).json
        assert result["ok"] is False and result["entries"] <= len(entries) and (result["void"] or result["broken"])
        for broken in result["broken"]:
            assert broken["cluster"] == "main" and broken["reason"]
        path.write_bytes(original)
    tool.run("audit", "verify")


def test_status_is_ok_after_a_fresh_backup_and_doctor_finds_nothing_failed(make):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    cluster.archive_now()
    status = tool.run("status", "--json", code=0).json
    (one,) = status["clusters"]
    assert one["state"] in ("ok", "warning") and one["rpo"]["objective_s"] == 3600
    examined = tool.run("doctor", "--json").json
    assert examined["ok"] is True
    states = {check["name"]: check["state"] for check in examined["checks"]}
    for sound in ("configuration", "key file", "repository", "temporary files", "main: server", "main: privileges", "main: archiving", "main: clock", "main: decryption"):
        assert states[sound] == "ok", examined
    # Nothing runs it, and nobody has restored it: to be said, and no failure.
    for missing in ("schedule", "main: last verified", "main: last restored"):
        assert states[missing] == "warning", examined
    assert all(check["hint"] for check in examined["checks"] if check["state"] != "ok")


def test_status_without_a_backup_is_a_breach(make):
    cluster = make.cluster()
    tool = make.pgmint(cluster).init()
    status = tool.run("status", "--json", code=10).json
    assert status["clusters"][0]["state"] == "breached" and status["clusters"][0]["last_backup"] is None


def test_doctor_names_a_failing_archiver(make):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    cluster.sql("alter system set archive_command = 'false'")
    cluster.sql("select pg_reload_conf()")
    cluster.switch_wal()
    wait_until(lambda: cluster.one("select failed_count from pg_stat_archiver") > 0, "the archiver fails", timeout=30)
    examined = tool.run("doctor", "--json", code=range(1, 126)).json
    assert any(c["state"] == "failed" and "archive" in (c["name"] + c["detail"]).lower() for c in examined["checks"])


@pytest.mark.skipif(not RUNNING_AS_ROOT, reason="needs a second user")
def test_key_file_of_another_user_is_refused(make):
    tool = make.pgmint(make.cluster(start=False)).init()
    os.chown(tool.key_file, 65534, 65534)
    tool.refuses("list", code=7, naming=str(tool.key_file))
