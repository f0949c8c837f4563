"""verify remembers what it read: --older-than and --sample read the rest, and never say more than was done."""
import os
import re
import signal
import time

import pytest

from harness.places import flip, wait_until


def packs_of(tool):
    return [path for path in tool.objects() if "p" in path.relative_to(tool.repository).parts]


def verify(tool, *arguments, code=0):
    return tool.run("verify", *arguments, "--json", code=code).json


@pytest.fixture
def tool(scene):
    """A private copy of the repository of two backups; nothing in it has been read yet."""
    return scene.pgmint.copy()


@pytest.mark.quick
def test_what_was_read_is_not_read_again_and_the_report_says_so(tool):
    everything = verify(tool, "--read-data", "--older-than", "30d")
    packs = everything["packs_checked"]
    assert everything["packs_read"] == packs > 1 and everything["packs_skipped_as_proven"] == 0 and everything["oldest_proof"] is None
    assert everything["proven"] == "opened"
    rest = verify(tool, "--read-data", "--older-than", "30d")
    assert rest["packs_read"] == 0 and rest["packs_skipped_as_proven"] == packs and rest["packs_unproven"] == 0
    assert rest["oldest_proof"] and rest["proven"] == "opened"
    assert rest["backups_checked"] == 2 and rest["wal_segments_checked"] == everything["wal_segments_checked"] > 0
    line = tool.run("verify", "--read-data", "--older-than", "30d").out.strip().splitlines()[-1]
    assert re.search(r"of 0 packs and of \d+ WAL files? opened", line) and f"found sound before: {packs} packs and " in line and line.endswith("ago")
    assert verify(tool, "--decompress", "--older-than", "30d")["packs_read"] == packs, "to decompress shows more than to open"
    assert verify(tool, "--read-data")["packs_read"] == packs, "whoever asks for everything gets it"
    audit = [e for e in tool.run("audit", "list", "--json").json["entries"] if "packs verified" in e["detail"]]
    assert len(audit) == 3 and "opened" in audit[0]["detail"] and "decompressed" in audit[1]["detail"]
    assert tool.run("audit", "verify", "--json").json["ok"] is True


@pytest.mark.quick
def test_damage_in_a_proven_pack_is_found_when_it_is_read_and_read_until_it_is_gone(tool):
    verify(tool, "--read-data")
    pack = max(packs_of(tool), key=lambda path: path.stat().st_size)
    mend = flip(pack)
    honest = verify(tool, "--read-data", "--older-than", "30d")
    assert honest["ok"] and honest["packs_read"] == 0 and honest["packs_skipped_as_proven"] == honest["packs_checked"]
    found = verify(tool, "--read-data", code=8)
    assert [pack.name in finding["object"] for finding in found["findings"]] == [True] and found["findings"][0]["backups"]
    for again in (["--older-than", "30d"], ["--sample", "0.01%"], ["--older-than", "30d", "--sample", "100%"]):
        found = verify(tool, "--read-data", *again, code=8)
        assert pack.name in found["findings"][0]["object"] and found["packs_read"] <= 2, again
    status = tool.run("status", "--json", code=(0, 10)).json["clusters"][0]
    assert status["verified"]["damaged_packs"] == 1 and any(problem["code"] == "damage-found" for problem in status["problems"])
    assert any(pack.name in warning for warning in verify(tool)["warnings"]), "without reading nobody can say that it is sound"
    mend()
    assert verify(tool, "--read-data", "--older-than", "30d")["packs_read"] == 1
    last = verify(tool, "--read-data", "--older-than", "30d")
    assert last["packs_read"] == 0 and last["proven"] == "opened" and not last["warnings"]


def test_a_proven_pack_that_goes_missing_or_changes_its_size_is_found_at_once(tool):
    verify(tool, "--read-data")
    pack = max(packs_of(tool), key=lambda path: path.stat().st_size)
    content = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(content[:-1])
    assert pack.name in str(verify(tool, "--read-data", "--older-than", "30d", code=8)["findings"])
    pack.unlink()
    assert pack.name in str(verify(tool, code=8)["findings"])


def test_shares_add_up_to_everything(tool):
    packs = verify(tool)["packs_checked"]
    shares = [verify(tool, "--read-data", "--sample", "20%") for _ in range(5)]
    assert all(share["packs_read"] >= 1 for share in shares)
    assert shares[0]["packs_unproven"] == packs - shares[0]["packs_read"] > 0 and shares[0]["proven"] == "present"
    assert shares[-1]["packs_unproven"] == 0 and shares[-1]["proven"] == "opened"
    line = tool.run("verify", "--decompress", "--sample", "1%").out.strip().splitlines()[-1]
    assert "without a proof of this depth" in line
    verified = tool.run("status", "--json", code=(0, 10)).json["clusters"][0]["verified"]
    assert verified["unproven_packs"] == 0 and verified["packs"] == packs and verified["oldest"] <= verified["newest"]


def test_one_backup_and_one_cluster(tool, scene):
    assert tool.run("show", scene.first, "--json").json["verified"]["packs"] == 0
    first = verify(tool, "--backup", scene.first, "--read-data", "--older-than", "30d")
    assert first["packs_read"] == first["packs_checked"]
    rest = verify(tool, "main", "--read-data", "--older-than", "30d")
    assert rest["packs_skipped_as_proven"] == first["packs_read"] and rest["packs_read"] > 0
    assert tool.run("show", scene.first, "--json").json["verified"]["unproven_packs"] == 0
    assert "all of it" in tool.run("show", scene.first).out


@pytest.mark.quick
@pytest.mark.parametrize("arguments, naming", [
    (["--older-than", "30d"], ["--older-than", "--read-data"]), (["--sample", "5%"], ["--sample", "--decompress"]),
    (["--read-data", "--older-than", "30"], ["30", "period"]), (["--read-data", "--sample", "5"], ["--sample", "5%"]),
    (["--read-data", "--sample", "0%"], ["0%"]), (["--read-data", "--sample", "101%"], ["100%"])])
def test_a_wrong_choice_is_refused_with_what_would_be_right(tool, arguments, naming):
    tool.refuses("verify", *arguments, code=2, naming=naming)


def test_a_repository_that_cannot_be_written_is_verified_with_a_warning(tool):
    verify(tool, "--read-data")  # what it remembers it may use
    logs = [path for path in tool.repository.rglob("log/*") if path.is_dir()]
    outcome = tool.run("verify", "--read-data", prefix=["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=renameat2,linkat,link",
                                                        "-e", "inject=renameat2,linkat,link:error=EROFS"])
    assert logs and "cannot be remembered" in outcome.err
    assert verify(tool, "--read-data", "--older-than", "30d")["packs_read"] == 0


def test_an_interrupted_run_keeps_what_it_proved(make):
    cluster, tool = make.pair(rows=10)
    cluster.sql("create table big as select i, md5(i::text) || md5((i + 1)::text) as words from generate_series(1, 900000) i")
    cluster.sql("checkpoint")
    tool.backup()
    packs = len(packs_of(tool))
    assert packs > 3
    # Held up at each read of packs, so that some are read and others not when the signal comes.
    slow = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=pread64", "-e", "inject=pread64:delay_enter=60000"]
    process = tool.start("--progress", "json", "verify", "--read-data", "--jobs", "1", prefix=slow)
    for line in process.stderr:
        if '"phase": "packs"' in line or '"phase":"packs"' in line:
            if '"done_bytes":0' not in line.replace(" ", ""):
                break
    children = wait_until(lambda: [int(p) for p in os.popen(f"pgrep -P {process.pid}").read().split()], "the traced process")
    os.kill(children[0], signal.SIGINT)
    asked = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, f"{process.returncode}\n{err}"
    assert time.monotonic() - asked < 20
    rest = verify(tool, "--read-data", "--older-than", "30d")
    assert 0 < rest["packs_skipped_as_proven"] < rest["packs_checked"] and rest["packs_read"] > 0
