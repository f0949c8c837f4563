"""The auditor's page: what is kept and until when, what was proven, who can open it."""
from datetime import datetime, timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest

from harness.schedules import zone_where_it_is


class Page(HTMLParser):
    """Text of all cells, and everything that would be fetched from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.fetched, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]
        if tag in ("script", "iframe", "object", "embed"):
            self.fetched.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.quick
def test_an_auditor_finds_what_is_kept_until_when_and_what_was_proven(make):
    cluster, tool = make.pair(rows=50)
    name = tool.backup()["name"]
    report = tool.run("report", "--json").json
    main = report["clusters"][0]
    assert [b["name"] for b in main["backups"]] == [name] and main["backups"][0]["kept_because"] and main["restores"] == []
    assert main["verified"]["packs"] == 0 and main["recovery_window"] and {s["kind"] for s in report["slots"]} == {"key-file", "recovery"}
    tool.run("restore-db", "--list", code=(0, 1))
    tool.run("restore", "--to", tool.home / "looked", "--check-only")
    assert "No restore was ever made" in tool.run("report").out  # looking is not bringing back
    tool.run("hold", name, "--reason", "audit <2026> & more")
    tool.run("verify", "--read-data")
    tool.restore(tool.home / "restored")
    tool.refuses("restore", "--to", tool.home / "restored", code=4)
    main = tool.run("report", "--json").json["clusters"][0]
    assert main["verified"]["packs"] > 0 and ["exit 0" in r["outcome"] for r in main["restores"]] == [False, True]
    page = tool.home / "report.html"
    tool.run("report", "--html", "--to", page)
    text = page.read_text()
    parsed = Page(text)
    assert parsed.fetched == [] and "<2026>" not in text
    told = "\n".join(parsed.texts)
    for expected in (name, "audit <2026> & more", "key-file", main["log"]["head"], str(tool.repository)):
        assert expected in told, expected
    assert page.stat().st_mode & 0o777 == 0o640


def test_until_when_follows_the_rules(make):
    cluster, tool = make.pair(rows=50)
    tool.clusters["main"].update({"retention.daily": "10d", "retention.weekly": "none", "retention.monthly": "none", "retention.yearly": "none", "retention.timezone": zone_where_it_is(14)})
    tool.write()
    first, second = tool.backup()["name"], tool.backup()["name"]
    kept = {b["name"]: b["kept_until"] for b in tool.run("report", "--json").json["clusters"][0]["backups"]}
    assert kept[second] is None  # the newest one stays however old it is
    assert kept[first] is None  # already to go: a newer one of its day is there
    third = tool.backup()["name"]
    tool.clusters["main"]["retention.minimum"] = 1
    tool.clusters["main"]["retention.window"] = "5d"
    tool.write()
    backups = {b["name"]: b for b in tool.run("report", "--json").json["clusters"][0]["backups"]}
    goes = (datetime.now(ZoneInfo(tool.clusters["main"]["retention.timezone"])).date() + timedelta(days=6)).isoformat()
    assert backups[first]["kept_until"] == backups[second]["kept_until"] == goes
    assert backups[third]["kept_until"] is None
    # What the report says is what expire does.
    assert tool.run("expire", "--dry-run", "--json").json["forget"] == []
