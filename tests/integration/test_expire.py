"""expire and collect: what the rules keep restores, what they do not is gone, and nobody takes it for damage."""
import os
import re
import time
from datetime import datetime, timedelta, timezone

import pytest

from harness.places import give_to_owner, wait_until
from harness.schedules import zone_where_it_is


def rules(pgmint, **settings):
    """[cluster.main.retention], as dotted keys of its cluster. No day ends while a test runs."""
    pgmint.clusters["main"] = {k: v for k, v in pgmint.clusters["main"].items() if not k.startswith("retention.")}
    pgmint.clusters["main"]["retention.timezone"] = zone_where_it_is(14)
    pgmint.clusters["main"].update({f"retention.{key}": value for key, value in settings.items()})
    return pgmint.write()


NO_SPANS = {"daily": "none", "weekly": "none", "monthly": "none", "yearly": "none"}


def segments(pgmint):
    return sorted(p.name for p in pgmint.objects() if "wal" in p.parts and re.fullmatch("[0-9A-F]{24}", p.name))


def write_wal(cluster, count=3):
    """So many segments that belong to no backup."""
    for _ in range(count):
        cluster.add_rows("t", 50)
        cluster.archive_now()


@pytest.fixture
def three(pair):
    """Three backups with rows and WAL between them; (cluster, pgmint, names, digest of the table at the end of each)."""
    cluster, pgmint = pair
    rules(pgmint)
    names, digests = [], []
    for _ in range(3):
        write_wal(cluster)
        digests.append(cluster.digest())
        names.append(pgmint.backup()["name"])
    write_wal(cluster)
    return cluster, pgmint, names, digests


def restored_digest(make, pgmint, backup, *target, version=None):
    folder = make.folder("target") / "data"
    pgmint.restore(folder, "--backup", backup, *target, "--action", "promote")
    server = make.opened(folder, version).start().wait_promoted()
    digest = server.digest()
    server.stop()
    return digest


@pytest.mark.quick
def test_of_a_day_the_newest_stays_and_a_dry_run_changes_nothing(three, make):
    cluster, pgmint, names, digests = three
    before = pgmint.snapshot()
    planned = pgmint.run("expire", "--dry-run", "--json").json
    assert planned["dry_run"] is True
    assert planned["forget"] == names[:2]
    assert [k["name"] for k in planned["keep"]] == names[2:]
    assert "daily 30d" in planned["keep"][0]["reason"] and "minimum 1" in planned["keep"][0]["reason"]
    told = pgmint.run("expire", "--dry-run").out
    assert f"{names[2]} is the newer one of" in told and "would go" in told
    assert pgmint.snapshot() == before
    assert pgmint.names() == names

    done = pgmint.run("expire", "--json").json
    assert done["dry_run"] is False and done["forget"] == names[:2]
    assert pgmint.names() == names[2:]
    kinds = [entry["kind"] for entry in pgmint.run("audit", "list", "--json").json["entries"]]
    assert kinds.count("forget") == 2 and kinds.count("floor") == 1

    would = pgmint.run("collect", "--dry-run", "--json").json
    collected = pgmint.run("collect", "--json").json
    assert (would["objects"], would["size_bytes"]) == (collected["objects"], collected["size_bytes"])
    assert collected["size_bytes"] == planned["clusters"][0]["collect"]["size_bytes"] > 0
    assert collected["clusters"][0]["wal_objects"] > 0
    assert len(pgmint.snapshot()) < len(before)

    assert pgmint.run("verify", "--read-data", "--json").json["ok"] is True
    assert pgmint.run("audit", "verify", "--json").json["ok"] is True
    assert pgmint.list()["wal"]["gaps"] == []
    assert "wal-gap" not in pgmint.run("status", "--json", code=(0, 10)).out
    assert restored_digest(make, pgmint, names[2], "--latest") == cluster.digest()
    again = pgmint.run("expire", "--json").json
    assert again["forget"] == [] and again["clusters"][0]["floors"] == []
    assert pgmint.run("collect", "--json").json["objects"] == 0


def test_older_backups_keep_what_makes_them_consistent_and_the_window_everything(three, make):
    cluster, pgmint, names, digests = three
    rules(pgmint, count=3, wal="0d", **NO_SPANS)
    backups = {b["name"]: b for b in pgmint.list()["backups"]}
    at_second = digests[1]
    before = segments(pgmint)
    pgmint.run("expire")
    assert pgmint.names() == names
    pgmint.run("collect")
    left = segments(pgmint)
    needed = {s for b in backups.values() for s in before if b["wal_start"] <= s <= b["wal_stop"]}
    window = {s for s in before if s >= backups[names[2]]["wal_start"]}
    assert set(left) == needed | window
    assert len(left) < len(before)

    assert pgmint.run("verify", "--read-data", "--json").json["ok"] is True
    listed = pgmint.list()
    assert listed["wal"]["gaps"] == []
    assert listed["recovery_window"]["from"] == backups[names[2]]["finished"]
    assert "2 older backups with --immediate" in pgmint.run("list").out
    assert pgmint.run("wal", "status", "--json").json["clusters"][0]["timelines"][0]["gaps"] == []
    assert "wal-gap" not in pgmint.run("status", "--json", code=(0, 10)).out

    # What is gone is not "absent": recovery must not end there as if it were the end of all WAL.
    gone = next(s for s in before if s not in left)
    outcome = pgmint.run("wal", "get", gone, make.folder("out") / gone, cwd=cluster.data, code=range(126, 256))
    assert "let go by expire" in outcome.err

    assert restored_digest(make, pgmint, names[1], "--immediate") == at_second
    assert restored_digest(make, pgmint, names[2], "--latest") == cluster.digest()
    target = make.folder("target") / "data"
    pgmint.refuses("restore", "--to", target, "--backup", names[0], "--latest", code=4, naming=["let go by expire", "--immediate"])
    assert not target.exists()

    # A segment that is lost although a backup needs it is still damage.
    twin = pgmint.copy()
    lost = backups[names[0]]["wal_start"]
    next(p for p in twin.objects() if p.name == lost).unlink()
    findings = twin.run("verify", "--json", code=8).json["findings"]
    assert any(f["kind"] == "wal-gap" and names[0] in f["backups"] for f in findings)
    assert any(g["from"] == lost for g in twin.list()["wal"]["gaps"])


def test_holds_keep_and_a_released_backup_goes(three):
    cluster, pgmint, names, digests = three
    pgmint.run("hold", names[0], "--reason", "audit 2026")
    done = pgmint.run("expire", "--json").json
    assert done["forget"] == [names[1]]
    assert {"name": names[0], "reason": "held: audit 2026"} in done["keep"]
    pgmint.run("collect")
    assert pgmint.run("verify", "--json").json["ok"] is True
    pgmint.run("release", names[0])
    assert pgmint.run("expire", "--json").json["forget"] == [names[0]]


def problems_of(pgmint, code):
    status = pgmint.run("status", "--json", code=None).json
    return [problem for cluster in status["clusters"] for problem in cluster["problems"] if problem["code"] == code]


def test_a_hold_with_an_end_keeps_up_to_it(three):
    cluster, pgmint, names, digests = three
    for when in ("2020-01-01", "yesterday", "0d"):
        pgmint.refuses("hold", names[0], "--reason", "tax", "--until", when, code=2, naming="--until")
    pgmint.run("hold", names[0], "--reason", "tax", "--until", "7y")
    until = datetime.fromisoformat(pgmint.run("show", names[0], "--json").json["held"]["until"].replace("Z", "+00:00"))
    assert timedelta(days=7 * 365) <= until - datetime.now(timezone.utc) <= timedelta(days=7 * 365 + 3)
    assert f"held until {until.year}-" in pgmint.run("list").out
    pgmint.refuses("hold", names[0], "--reason", "longer", code=4, naming=["held until", "pgmint release"])
    assert not problems_of(pgmint, "hold-ending"), "years away"
    pgmint.run("release", names[0])
    pgmint.run("hold", names[0], "--reason", "tax", "--until", "3d")
    ending, = problems_of(pgmint, "hold-ending")
    assert names[0] in ending["message"] and "tax" in ending["message"] and "pgmint hold" in ending["hint"]
    pgmint.run("release", names[0])
    end = datetime.now(timezone.utc) + timedelta(seconds=10)  # beyond the next two commands, however slow
    pgmint.run("hold", names[0], "--reason", "tax", "--until", end.isoformat())
    done = pgmint.run("expire", "--json").json
    assert done["forget"] == [names[1]]
    wait_until(lambda: datetime.now(timezone.utc) > end, "the hold is over")
    # What goes by age goes by the log's time too: something that people do has to come after the end.
    pgmint.run("hold", names[2], "--reason", "a sign of life")
    assert "was held until" in pgmint.run("show", names[0]).out and not problems_of(pgmint, "hold-ending")
    assert pgmint.run("expire", "--dry-run", "--json").json["forget"] == [names[0]]
    assert pgmint.run("expire", "--json").json["forget"] == [names[0]]
    assert pgmint.run("audit", "verify").code == 0
    pgmint.run("collect")
    assert pgmint.run("verify", "--json").json["ok"] is True


def test_minimum_stays_until_somebody_says_yes_and_the_newest_always(three):
    cluster, pgmint, names, digests = three
    rules(pgmint, minimum=2, **NO_SPANS)
    done = pgmint.run("expire", "--json").json
    assert done["forget"] == names[:1]
    assert all("minimum 2" in k["reason"] for k in done["keep"])
    assert pgmint.run("expire", "--yes", "--json").json["forget"] == [names[1]]
    assert pgmint.run("expire", "--yes", "--json").json["forget"] == []
    assert pgmint.names() == names[2:]


def test_the_next_backup_and_push_go_on_above_the_floor(three, make):
    cluster, pgmint, names, digests = three
    rules(pgmint, wal="0d")
    pgmint.run("expire")
    pgmint.run("collect")
    write_wal(cluster)
    name = pgmint.backup()["name"]
    cluster.add_rows("t", 10)
    cluster.archive_now()
    assert pgmint.names() == [names[2], name]
    pgmint.run("expire")
    pgmint.run("collect")
    assert pgmint.names() == [name]
    assert pgmint.run("verify", "--json").json["ok"] is True
    assert restored_digest(make, pgmint, name, "--latest") == cluster.digest()


def test_a_parent_that_goes_harms_no_child(pair, make):
    cluster, pgmint = pair
    names = [pgmint.backup()["name"]]
    for _ in range(2):
        write_wal(cluster, 2)
        made = pgmint.run("backup", "--json").json
        if made["type"] != "incremental":
            pytest.skip("this version makes full backups only")
        names.append(made["name"])
    write_wal(cluster, 1)
    rules(pgmint, count=1, wal="0d", **NO_SPANS)
    assert pgmint.run("expire", "--json").json["forget"] == names[:2]
    assert pgmint.run("collect", "--json").json["objects"] > 0
    assert pgmint.names() == names[2:]
    assert pgmint.run("verify", "--read-data", "--json").json["ok"] is True
    assert restored_digest(make, pgmint, names[2], "--latest") == cluster.digest()
    # And it can be built on: the WAL since its start is there.
    write_wal(cluster, 1)
    child = pgmint.run("backup", "--json").json
    assert child["type"] == "incremental"
    assert restored_digest(make, pgmint, child["name"], "--latest") == cluster.digest()


def test_floors_outlive_a_rebuilt_log(three):
    cluster, pgmint, names, digests = three
    rules(pgmint, count=3, wal="0d", **NO_SPANS)
    pgmint.run("expire")
    pgmint.run("collect")
    pgmint.run("repair", "--rebuild-log", "--yes", code=0)
    assert pgmint.names() == names
    assert pgmint.run("verify", "--json").json["ok"] is True
    # And its backups are still of the moments at which they were made.
    rules(pgmint, count=2, **NO_SPANS)
    assert pgmint.run("expire", "--json").json["forget"] == names[:1]


def test_refusals(pair):
    cluster, pgmint = pair
    pgmint.refuses("expire", "mian", code=3, naming="main")
    nothing = pgmint.run("expire", "--json").json
    assert (nothing["forget"], nothing["keep"], nothing["clusters"][0]["floors"]) == ([], [], [])
    pgmint.backup()
    rules(pgmint, timezone="Europe/Berlln")
    pgmint.refuses("expire", code=3, naming=["Europe/Berlln", "retention"])
    rules(pgmint, dialy="30d")
    pgmint.refuses("expire", code=3, naming=["dialy", "daily"])
    rules(pgmint, daily="month")
    pgmint.refuses("expire", code=3, naming=["daily", "month", "30d"])
    rules(pgmint, timezone="Pacific/Kiritimati")
    assert "Pacific/Kiritimati" in pgmint.run("expire").out


@pytest.mark.versions
def test_on_every_major(make, version):
    cluster, pgmint = make.pair(version)
    write_wal(cluster, 2)
    pgmint.backup()
    write_wal(cluster, 2)
    name = pgmint.backup()["name"]
    write_wal(cluster, 2)
    rules(pgmint, wal="0d")
    pgmint.run("expire")
    assert pgmint.run("collect", "--json").json["clusters"][0]["wal_objects"] > 0
    assert pgmint.names() == [name]
    assert restored_digest(make, pgmint, name, "--latest", version=version) == cluster.digest()


def test_collect_removes_what_killed_writers_left_and_doctor_tells_of_it(make):
    cluster, tool = make.pair(rows=50)
    tool.backup()
    folder = tool.objects_of("p")[0].parent
    old, fresh = folder / ".tmp-0123456789abcdef", folder / ".tmp-fedcba9876543210"
    for path in (old, fresh):
        path.write_bytes(b"x" * 1000)
        give_to_owner(path)
    os.utime(old, (time.time() - 90000,) * 2)
    check = {c["name"]: c for c in tool.run("doctor", "--json").json["checks"]}["temporary files"]
    assert check["state"] == "warning" and "1 " in check["detail"] and check["hint"] == "pgmint collect"
    dry = tool.run("collect", "--dry-run", "--json").json
    assert (dry["temporary_files"], dry["temporary_bytes"]) == (1, 1000) and old.exists()
    done = tool.run("collect", "--json").json
    assert (done["temporary_files"], done["temporary_bytes"]) == (1, 1000) and not old.exists() and fresh.exists()
    assert {c["name"]: c for c in tool.run("doctor", "--json").json["checks"]}["temporary files"]["state"] == "ok"
    tool.run("verify")
