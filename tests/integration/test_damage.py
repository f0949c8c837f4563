"""A damaged repository: verify finds it, restore never yields wrong data in silence."""
import random
import shutil

import pytest

from harness.pgmint import remove_tree
from harness.places import run, wait_until

KINDS = {  # of a path inside the repository
    "format": lambda parts: parts[0] == "format",
    "key slot": lambda parts: parts[0] == "keys",
    "key ring": lambda parts: "keyring" in parts,
    "log entry": lambda parts: "log" in parts,
    "snapshot": lambda parts: "snap" in parts,
    "pack": lambda parts: len(parts) > 2 and parts[2] == "p",
    "WAL": lambda parts: "wal" in parts,
}


@pytest.fixture(scope="module")
def wounded(scene):
    """(pgmint over a private copy, its objects by kind, rows expected from restoring `second` to latest)."""
    def fresh():
        tool = scene.pgmint.copy()
        run("chmod", "-R", "u+w", tool.repository)
        kinds = {kind: [p for p in tool.objects() if of(p.relative_to(tool.repository).parts)] for kind, of in KINDS.items()}
        return tool, kinds
    return fresh


def restore_or_refuse(make, scene, tool, what):
    """A restore either is refused, or the server holds exactly the right rows."""
    target = make.folder("target") / "data"
    outcome = tool.restore(target, "--backup", scene.second, "--latest", "--action", "promote", code=None)
    if outcome.code != 0:
        assert outcome.err.strip(), f"{what}: failed without a word"
        assert outcome.code in (1, 3, 4, 6, 7, 8), f"{what}\n{outcome}"
        return "refused"
    server = make.opened(target)
    server.start(expect_success=False)
    if not server.running:
        return "recovery stopped"
    # PostgreSQL 13 says that it is ready before it reads the last segment, and may end over that.
    wait_until(lambda: server.is_promoted() or not server.pid(), f"{what}: recovery has ended")
    if not server.pid():
        return "recovery stopped"
    assert server.digest() == scene.final, f"{what}: restored with exit 0, and the rows are wrong"
    server.stop("immediate")
    shutil.rmtree(target, ignore_errors=True)
    return "right"


def answers_of_verify(kind, at=None):
    """Exit codes of verify over a damaged object. The version and the suite in an object's header (docs/format/README.md) may be a newer
    pgmint's, whose log, rings and format this one must not judge: then it says so, and nothing else."""
    codes = (7, 8) if kind in ("key slot", "key ring", "format") else (8,)
    return (4, *codes) if at in (8, 9, 11) and kind in ("key ring", "format", "log entry") else codes


def both_verifications(tool, codes, what):
    """What is damaged is found by opening alone, and by decompressing."""
    for depth in ("--read-data", "--decompress"):
        outcome = tool.run("verify", depth, code=None)
        assert outcome.code in codes, f"{what}, {depth}\n{outcome}"


def test_every_kind_of_object_stands_in_the_repository(wounded):
    _, kinds = wounded()
    assert all(kinds.values()), {k: len(v) for k, v in kinds.items()}


@pytest.mark.quick
def test_sound_repository_verifies(scene):
    result = scene.pgmint.run("verify", "--read-data", "--json").json
    assert result["ok"] is True and result["findings"] == []
    assert result["backups_checked"] == 2 and result["packs_checked"] > 0 and result["wal_segments_checked"] > 0 and result["bytes_read"] > 0
    scene.pgmint.run("verify")
    scene.pgmint.run("verify", "--backup", scene.first, "--read-data")
    scene.pgmint.run("verify", "--backup", scene.first, "--decompress")


def test_verify_claims_what_it_did_and_no_more(scene):
    """The last line, and `proven` for programs: present, opened, decompressed."""
    verify = lambda *depth: (scene.pgmint.run("verify", *depth).out.strip().splitlines()[-1], scene.pgmint.run("verify", "--json", *depth).json)
    line, result = verify()
    assert result["proven"] == "present" and result["bytes_read"] == 0
    assert "read:" not in line and "--read-data" in line
    line, result = verify("--read-data")
    assert result["proven"] == "opened" and result["packs_only_hashed"] == 0
    assert line.endswith("every record opened, none decompressed")
    for depth in (["--decompress"], ["--read-data", "--decompress"]):
        line, result = verify(*depth)
        assert result["proven"] == "decompressed"
        assert line.endswith("every record opened and decompressed")


@pytest.mark.quick
@pytest.mark.parametrize("kind", KINDS)
def test_flipped_byte_is_found_and_never_restored(make, scene, wounded, kind, seed):
    chosen = random.Random(seed)
    for _ in range(3):
        tool, kinds = wounded()
        path = chosen.choice(kinds[kind])
        content = bytearray(path.read_bytes())
        at = chosen.randrange(len(content))
        content[at] ^= 1 << chosen.randrange(8)
        path.write_bytes(content)
        what = f"{path.relative_to(tool.repository)} byte {at} of {len(content)} flipped"
        both_verifications(tool, answers_of_verify(kind, at), what)
        restore_or_refuse(make, scene, tool, what)
        remove_tree(tool.home)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_object_is_found_and_never_restored(make, scene, wounded, kind, seed):
    chosen = random.Random(seed)
    for keep in (0.0, 0.5, 0.99):
        tool, kinds = wounded()
        path = chosen.choice(kinds[kind])
        content = path.read_bytes()
        path.write_bytes(content[:int(len(content) * keep)])
        what = f"{path.relative_to(tool.repository)} cut to {keep:.0%}"
        both_verifications(tool, answers_of_verify(kind), what)
        restore_or_refuse(make, scene, tool, what)
        remove_tree(tool.home)


@pytest.mark.quick
@pytest.mark.parametrize("kind", KINDS)
def test_removed_object_is_found_and_never_passed_over(make, scene, wounded, kind, seed):
    chosen = random.Random(seed)
    tool, kinds = wounded()
    candidates = kinds[kind]
    if kind == "WAL":  # the segments a restore needs, not the labels nor what is older; the newest one's absence is not damage
        oldest = scene.pgmint.list()["backups"][0]["wal_start"]
        candidates = sorted((p for p in candidates if len(p.name) == 24 and p.name >= oldest), key=lambda p: p.name)[:-1]
    if kind == "key slot":
        pytest.skip("a removed slot is a removed slot; the other opens the repository")
    if kind == "log entry":
        candidates = sorted(candidates)[:-1]  # without its head the log is a shorter log; see the client's memory below
    path = chosen.choice(candidates)
    path.unlink()
    what = f"{path.relative_to(tool.repository)} removed"
    both_verifications(tool, (4, 7, 8) if kind in ("key ring", "format") else (8,), what)
    restore_or_refuse(make, scene, tool, what)


@pytest.mark.parametrize("kind", ["log entry", "snapshot", "pack", "WAL"])
def test_objects_swapped_with_another_of_their_kind_are_found(make, scene, wounded, kind, seed):
    chosen = random.Random(seed)
    tool, kinds = wounded()
    one, other = chosen.sample([p for p in kinds[kind] if kind != "WAL" or len(p.name) == 24], 2)
    spare = tool.home / "spare"
    shutil.copy2(one, spare)
    shutil.copy2(other, one)
    shutil.copy2(spare, other)
    what = f"{one.relative_to(tool.repository)} and {other.relative_to(tool.repository)} swapped"
    both_verifications(tool, (8,), what)
    restore_or_refuse(make, scene, tool, what)


@pytest.mark.parametrize("at", [8, 20, 100], ids=["version", "repository", "body"])
def test_one_damaged_key_slot_does_not_keep_the_others_from_opening(wounded, at):
    tool, kinds = wounded()
    (recovery,) = [path for path in kinds["key slot"] if "recovery" in path.name]
    content = bytearray(recovery.read_bytes())
    content[at] ^= 4
    recovery.write_bytes(content)
    tool.run("list")
    assert recovery.name in tool.run("verify", code=8).text


def test_finding_names_the_object_and_the_backups_it_hurts(scene, wounded):
    tool, kinds = wounded()
    path = max(kinds["pack"], key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    result = tool.run("verify", "--read-data", "--json", code=8).json
    assert result["ok"] is False and result["proven"] is None
    finding = next(f for f in result["findings"] if path.name in f["object"])
    assert finding["backups"] and set(finding["backups"]) <= {scene.first, scene.second}
    told = tool.run("verify", "--read-data", code=8).text
    assert path.name in told and finding["backups"][0] in told


def test_verify_without_read_data_finds_missing_and_short_objects(wounded):
    tool, kinds = wounded()
    kinds["pack"][0].unlink()
    tool.run("verify", code=8)
    tool, kinds = wounded()
    content = kinds["pack"][0].read_bytes()
    kinds["pack"][0].write_bytes(content[:-1])
    tool.run("verify", code=8)


def test_empty_log_beside_other_objects_is_damage_not_a_new_repository(scene, wounded):
    tool, kinds = wounded()
    for path in kinds["log entry"]:
        path.unlink()
    tool.run("list", code=8)
    tool.run("verify", code=8)
    outcome = tool.run("backup", "--type", "full", code=8)
    assert "rebuild-log" in outcome.err


def test_log_rolled_back_is_noticed_by_a_client_that_saw_more(scene, wounded):
    """Clients remember the highest (seq, hash) seen and refuse to go back."""
    tool, kinds = wounded()
    tool.run("list")
    newest = max(kinds["log entry"])
    newest.unlink()
    outcome = tool.run("list", code=(0, 8))
    verified = tool.run("verify", code=8)
    assert verified.text.strip() and outcome.text.strip()


@pytest.mark.quick
def test_repair_rebuilds_a_log_that_lost_an_entry(make, scene, wounded):
    tool, kinds = wounded()
    sorted(kinds["log entry"])[2].unlink()
    tool.run("repair", "--rebuild-log", "--yes")
    assert tool.names() == [scene.first, scene.second]
    tool.run("verify", "--decompress")
    assert restore_or_refuse(make, scene, tool, "rebuilt log") == "right"


@pytest.mark.quick
def test_repair_rebuilds_the_log_from_the_snapshots(make, scene, wounded):
    tool, kinds = wounded()
    for path in kinds["log entry"]:
        path.unlink()
    tool.run("repair", "--rebuild-log", "main", "--yes")
    assert tool.names() == [scene.first, scene.second]
    tool.run("verify", "--decompress")
    assert restore_or_refuse(make, scene, tool, "rebuilt log") == "right"


@pytest.mark.parametrize("told", ["nothing", "id", "id and name"])
def test_a_lost_log_is_rebuilt_whichever_way_the_cluster_is_told(scene, wounded, told):
    tool, kinds = wounded()
    cluster_id = kinds["log entry"][0].relative_to(tool.repository).parts[1]
    for path in kinds["log entry"]:
        path.unlink()
    if told == "id and name":  # as on a host where nothing is configured but the repository
        tool.clusters.clear()
        tool.write()
        outcome = tool.refuses("repair", "--rebuild-log", cluster_id, code=4, naming="--name")
        assert cluster_id in outcome.err
    tool.run("repair", "--rebuild-log", *{"nothing": [], "id": [cluster_id], "id and name": [cluster_id, "--name", "main"]}[told])
    assert tool.names("main") == [scene.first, scene.second]


def test_a_name_that_another_log_bears_is_not_given_to_the_lost_one(make):
    tool = make.pgmint(make.cluster(start=False), make.cluster("other", start=False, fresh=True)).init()
    lost = next(c["id"] for c in tool.run("list", "--json").json["clusters"] if c["name"] == "other")
    min(path for path in tool.objects_of("log") if lost in path.parts).unlink()
    told = tool.run("repair", "--rebuild-log", "main", "--json").json
    assert told["cluster"] != lost
    told = tool.run("repair", "--rebuild-log", "other", "--json").json
    assert told["cluster"] == lost


def test_restore_from_manifest_needs_no_log(make, scene, wounded):
    tool, kinds = wounded()
    for path in kinds["log entry"]:
        path.unlink()
    target = make.folder("target") / "data"
    tool.restore(target, "--from-manifest", "--backup", scene.second, "--latest", "--action", "promote")
    assert make.opened(target).start().wait_promoted().digest() == scene.final


def test_restore_from_a_read_only_repository(make, scene, wounded):
    tool, _ = wounded()
    run("chmod", "-R", "a-w", tool.repository)
    target = make.folder("target") / "data"
    tool.restore(target, "--backup", scene.second, "--latest", "--action", "promote")
    assert make.opened(target).start().wait_promoted().digest() == scene.final
    run("chmod", "-R", "u+w", tool.repository)


def test_pack_swapped_with_that_of_another_repository_is_found(make, scene, wounded):
    tool, kinds = wounded()
    other = make.pgmint(scene.cluster).init()
    # Another repository of the same cluster: same names inside, other keys.
    path = kinds["pack"][0]
    strange = other.objects_of("keys")[0]
    shutil.copy2(strange, path)
    tool.run("verify", "--read-data", code=8)
