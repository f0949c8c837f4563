"""Alerts: what goes out when something is wrong with a real cluster, to real receivers, and that it is told once."""
import email
import email.policy
import json
import os
import re
import socket
import ssl
import stat
import time
from pathlib import Path

import pytest

from harness.monitoring import Certificates, HookSink, MailSink, metric, metrics_of
from harness.places import TREE, flip, give_to_owner, owner_folder, wait_until


class Alerts:
    """A configured pgmint, its channels as lines of TOML, and what its commands answer."""

    def __init__(self, pgmint):
        self.pgmint, self.base = pgmint, pgmint.config.read_text()

    def channels(self, *tables):
        self.pgmint.write(self.base + "".join("[[alert]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()) for table in tables))
        return self

    def check(self, code=0, **keywords):
        return self.pgmint.run("alert", "check", "--json", code=code, **keywords).json

    def later(self, offset, code=0):
        return self.check(code=code, prefix=("faketime", "-f", offset))


def secret_file(pgmint, name, text):
    path = pgmint.home / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(give_to_owner(path))


def command_channel(pgmint, name="page"):
    """A channel that appends each message to a file; returns (table, messages())."""
    out = owner_folder(pgmint.home / name) / "messages"
    table = {"name": name, "type": "command", "command": ["/bin/sh", "-c", f"cat >> {out}"]}
    return table, lambda: [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def events(message):
    return {(problem["event"], problem["code"]) for problem in message["problems"]}


@pytest.fixture
def healthy(make):
    """(cluster, pgmint) of which nothing is wrong but a recovery key that nobody tried."""
    cluster, pgmint = make.pair()
    pgmint.backup()
    return cluster, pgmint


@pytest.fixture
def sinks():
    made = []

    def start(kind, *arguments, **keywords):
        made.append(kind(*arguments, **keywords))
        return made[-1]
    yield start
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def certificates(work):
    return Certificates(work.path / "certificates")


@pytest.mark.quick
@pytest.mark.versions
def test_a_failed_backup_is_told_once_and_its_recovery_once(make, version):
    cluster, pgmint = make.pair(version)
    pgmint.backup()
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({**table, "least": "problem"})
    assert alerts.check()["open_problems"] == 0 and messages() == []
    cluster.stop()
    pgmint.run("backup", code=9)
    cluster.start()
    answer = alerts.check()
    assert answer["channels"] == [{"name": "page", "told": 1, "error": None, "held_back": False, "waiting": False}]
    message, = messages()
    problem, = message["problems"]
    assert (problem["event"], problem["code"], problem["cluster"], problem["severity"]) == ("new", "run-failed", "main", "problem")
    assert "backup of main failed" in problem["message"] and "exit status 9" in problem["message"] and "last went well" in problem["message"]
    alerts.check()
    assert len(messages()) == 1, "it was told"
    pgmint.backup()
    alerts.check()
    alerts.check()
    assert [events(m) for m in messages()] == [{("new", "run-failed")}, {("recovered", "run-failed")}]


def test_a_gap_a_breach_and_a_failing_archiver_are_one_message(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels(table)
    cluster.archive_now()
    cluster.add_rows("t", 10)
    lost = cluster.archive_now()
    cluster.add_rows("t", 10)
    cluster.archive_now()
    for path in pgmint.objects():
        if lost in path.name:
            path.unlink()
    cluster.configure(archive_command="false")
    cluster.reload()
    cluster.add_rows("t", 10)
    cluster.switch_wal()
    wait_until(lambda: cluster.one("select last_failed_time is not null from pg_stat_archiver"), "the archiver has failed")
    alerts.later("+2h")
    message, = messages()
    assert {("new", "wal-gap"), ("new", "archiver-failing"), ("new", "rpo-breached")} <= events(message)
    gap = next(p for p in message["problems"] if p["code"] == "wal-gap")
    assert gap["subject"] == lost and "pgmint backup main" in gap["hint"]
    # Of a server that cannot be asked nobody knows whether its archiver works again.
    cluster.stop()
    alerts.later("+130min")
    assert ("new", "server-unreachable") in events(messages()[-1]) and ("recovered", "archiver-failing") not in events(messages()[-1])


def test_reminders_come_after_four_hours_and_then_daily(healthy):
    cluster, pgmint = healthy
    pgmint.clusters["main"]["environment"] = "development"  # in two days nothing else comes up, which would bring the reminder along
    pgmint.write()
    cluster.stop()
    pgmint.run("backup", code=9)
    cluster.start()
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({**table, "least": "problem"})
    told = []
    for hours in (0, 1, 3, 5, 10, 27, 30, 40):
        before = len(messages())
        alerts.later(f"+{hours}h")
        if any(p["code"] == "run-failed" for m in messages()[before:] for p in m["problems"]):
            told.append(hours)
    assert told == [0, 5, 30], told


def test_a_repository_that_cannot_be_read_ends_nothing(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels(table)
    alerts.check()
    assert events(messages()[0]) == {("new", "recovery-key-untested")}
    away = pgmint.repository.rename(pgmint.home / "away")
    alerts.check()
    assert events(messages()[1]) == {("new", "repository-unreadable")}
    away.rename(pgmint.repository)
    alerts.check()
    assert events(messages()[2]) == {("recovered", "repository-unreadable")}


def test_a_nearly_full_disk_and_an_old_key_are_told(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    Alerts(pgmint).channels(table)
    pgmint.write(pgmint.config.read_text() + '[health]\ndisk_free_min = "900TB"\n')
    pgmint.run("alert", "check", prefix=("faketime", "-f", "+370d"))
    found = {p["code"]: p for m in messages() for p in m["problems"]}
    assert found["repository-space"]["severity"] == found["data-space"]["severity"] == "problem"
    assert re.search(r"of .* are free \(.* %\)", found["repository-space"]["message"])
    assert found["key-old"]["severity"] == "warning" and found["verify-old"]["severity"] == "warning"
    assert {p["subject"] for m in messages() for p in m["problems"] if p["code"] == "verify-old"} == {None, "WAL"}, "of packs, and of WAL"


VERIFICATION = re.search(r"```python\n(.*?)```", (TREE / "docs/manual/alerts.md").read_text() if (TREE / "docs/manual/alerts.md").exists() else "", re.DOTALL)


def test_a_webhook_is_signed_as_the_manual_verifies_it(healthy, sinks, certificates):
    cluster, pgmint = healthy
    hook = sinks(HookSink, tls=certificates.context())
    secret = "correct horse battery staple"
    alerts = Alerts(pgmint).channels({"name": "hook", "type": "webhook", "url": hook.url, "ca_file": str(certificates.ca), "secret_file": secret_file(pgmint, "hook.secret", secret)})
    alerts.check()
    (headers, body), = hook.requests
    assert json.loads(body)["kind"] == "alert" and headers["Content-Type"] == "application/json"
    assert headers["Pgmint-Id"] == json.loads(body)["id"]
    names = {}
    exec(VERIFICATION.group(1), names)  # the snippet that the manual shows
    good = names["is_from_pgmint"]
    assert good(secret, headers, body)
    assert not good("another secret of the length", headers, body)
    assert not good(secret, headers, body + b" ")
    assert not good(secret, {**headers, "Pgmint-Timestamp": str(int(headers["Pgmint-Timestamp"]) + 1)}, body)
    old = str(int(time.time()) - 3600)
    signed = names["signature"](secret, old, body)
    assert not good(secret, {"Pgmint-Timestamp": old, "Pgmint-Signature": signed}, body), "a message of an hour ago may be sent again by anybody"


@pytest.mark.parametrize("wrong", ["stranger", "name", "tls12", "no-ca"])
def test_only_the_right_server_is_told_over_tls_1_3(healthy, sinks, certificates, wrong):
    cluster, pgmint = healthy
    pair = certificates.other_name if wrong == "name" else certificates.good
    hook = sinks(HookSink, tls=certificates.context(pair, ssl.TLSVersion.TLSv1_2 if wrong == "tls12" else None))
    table = {"name": "hook", "type": "webhook", "url": hook.url}
    if wrong != "no-ca":
        table["ca_file"] = str(certificates.stranger if wrong == "stranger" else certificates.ca)
    page, messages = command_channel(pgmint)
    answer = Alerts(pgmint).channels(table, page).check(code=6)
    assert hook.requests == []
    assert answer["channels"][0]["error"] and answer["channels"][1]["error"] is None
    # The other channel hears of it, in the same check.
    failing = [p for m in messages() for p in m["problems"] if p["code"] == "alert-channel-failing"]
    assert failing and failing[0]["subject"] == "hook" and failing[0]["severity"] == "problem"
    assert "/hook" not in json.dumps(messages()), "of a URL nothing but the host is told"


def test_a_channel_that_fails_is_tried_again_and_misses_nothing(healthy, sinks):
    cluster, pgmint = healthy
    hook = sinks(HookSink, answers=[404])
    alerts = Alerts(pgmint).channels({"name": "hook", "type": "webhook", "url": hook.url})
    alerts.check(code=6)
    listed = pgmint.run("alert", "list", "--json").json
    assert listed["channels"][0]["failing_since"] and "404" in listed["channels"][0]["error"]
    assert listed["open"][0]["told"] == {}
    alerts.check()
    assert [events(m) for m in hook.messages] == [{("new", "recovery-key-untested")}] * 2, "the first was refused"
    assert hook.messages[0]["id"] == hook.messages[1]["id"], "it tells the same"
    assert pgmint.run("alert", "list", "--json").json["channels"][0]["failing_since"] is None
    assert pgmint.run("alert", "check", "--json").json["channels"][0]["told"] == 0


def test_an_overloaded_server_is_asked_again_at_once_and_a_redirect_is_not_followed(healthy, sinks):
    cluster, pgmint = healthy
    hook = sinks(HookSink, answers=[503])
    alerts = Alerts(pgmint).channels({"name": "hook", "type": "webhook", "url": hook.url})
    alerts.check()
    assert len(hook.messages) == 2 and hook.messages[0]["id"] == hook.messages[1]["id"], "the same message: a receiver can tell"
    hook.answers[:] = [302]
    answer = pgmint.run("alert", "test", "--json", code=6).json
    assert "redirect" in answer["channels"][0]["error"] and len(hook.messages) == 3


def read_mail(mail):
    return email.message_from_bytes(mail[2], policy=email.policy.default)


@pytest.mark.parametrize("how", ["starttls", "smtps", "loopback"])
def test_mail_is_delivered_and_logged_in_under_tls(healthy, sinks, certificates, how):
    cluster, pgmint = healthy
    login = ("backup", "pässword of mail")
    mail = sinks(MailSink, tls=None if how == "loopback" else certificates.context(), implicit=how == "smtps", login=login)
    table = {"name": "mail", "type": "smtp", "server": mail.server, "from": "pgmint@db1.example", "to": ["ops@example.com", "dba@example.com"],
             "user": login[0], "password_file": secret_file(pgmint, "mail.password", login[1])}
    if how != "loopback":
        table["ca_file"] = str(certificates.ca)
    Alerts(pgmint).channels(table).check()
    (sender, recipients, _), = mail.mails
    message = read_mail(mail.mails[0])
    assert sender == "pgmint@db1.example" and recipients == ["ops@example.com", "dba@example.com"]
    assert "warning recovery-key-untested" in message["Subject"] and message["Auto-Submitted"] == "auto-generated" and message["Message-ID"]
    text = message.get_content()
    assert "no key that lives off this host has ever been tried" in text and "next: PGMINT_RECOVERY_KEY_FILE" in text
    assert mail.logins[-1][:2] == login and (how == "loopback" or mail.logins[-1][2]), "never a password without TLS"


def test_a_mail_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(healthy, sinks):
    cluster, pgmint = healthy
    mail = sinks(MailSink, answers=["451 later"])
    Alerts(pgmint).channels({"name": "mail", "type": "smtp", "server": mail.server, "from": "a@b.example", "to": ["ops@example.com"]}).check()
    assert len(mail.mails) == 1
    mail.answers[:] = ["550 never", "550 never"]
    answer = pgmint.run("alert", "test", "--json", code=6).json
    assert answer["channels"][0]["error"] and len(mail.answers) == 1, "it was asked once"


def test_a_mail_server_without_tls_gets_neither_password_nor_mail(healthy, sinks, certificates):
    cluster, pgmint = healthy
    mail = sinks(MailSink, login=("backup", "secret of the mail"))
    table = {"name": "mail", "type": "smtp", "server": mail.server, "from": "a@b.example", "to": ["ops@example.com"], "ca_file": str(certificates.ca),
             "user": "backup", "password_file": secret_file(pgmint, "mail.password", "secret of the mail")}
    alerts = Alerts(pgmint).channels(table)
    refused = pgmint.run("alert", "test", code=6)
    assert mail.logins == [] and mail.mails == []
    assert "secret of the mail" not in refused.text
    table["password_file"] = secret_file(pgmint, "open.password", "x")
    os.chmod(table["password_file"], 0o644)
    alerts.channels(table)
    assert "chmod" in pgmint.run("alert", "test", code=6).text, "a password that others can read is none"


def test_alert_test_says_what_each_answered_and_doctor_remembers(healthy, sinks):
    cluster, pgmint = healthy
    hook = sinks(HookSink)
    page, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({"name": "hook", "type": "webhook", "url": hook.url}, page, {"name": "broken", "type": "command", "command": ["/bin/sh", "-c", "echo password=hunter2 >&2; exit 3"]})

    def doctor():
        return {c["name"]: c for c in pgmint.run("doctor", "--json", code=None).json["checks"]}
    assert doctor()["alert channel hook delivers"]["state"] == "warning" and "pgmint alert test hook" in doctor()["alert channel hook delivers"]["hint"]
    answer = pgmint.run("alert", "test", "--json", code=6).json
    assert [(c["name"], c["ok"]) for c in answer["channels"]] == [("hook", True), ("page", True), ("broken", False)]
    assert "ended with 3" in answer["channels"][2]["error"] and "hunter2" not in json.dumps(answer)
    assert hook.messages[0]["kind"] == messages()[0]["kind"] == "test" and hook.messages[0]["problems"] == []
    checks = doctor()
    assert checks["alert channel hook delivers"]["state"] == "ok" and checks["alert channel broken delivers"]["state"] == "failed"
    pgmint.refuses("alert", "test", "nosuch", code=3, naming=["nosuch", "hook"])


def test_without_a_state_directory_to_write_it_tells_once_and_says_so(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels(table)
    state = pgmint.home / "state"
    before = set(Path("/dev/shm").glob("pgmint-alerts-*"))
    state.chmod(0o500)
    for _ in range(4):
        alerts.check()
    message, = messages()
    assert events(message) == {("new", "alert-state-unwritable"), ("new", "recovery-key-untested")}, "never a storm"
    refuge, = set(Path("/dev/shm").glob("pgmint-alerts-*")) - before
    assert stat.S_IMODE(refuge.stat().st_mode) == 0o700
    state.chmod(0o700)
    alerts.check()
    assert [events(m) for m in messages()[1:]] == [{("recovered", "alert-state-unwritable")}], "what was told meanwhile is known"
    assert not refuge.exists()


def test_two_checks_at_a_time_tell_once(healthy):
    cluster, pgmint = healthy
    out = owner_folder(pgmint.home / "slow") / "messages"
    Alerts(pgmint).channels({"name": "slow", "type": "command", "command": ["/bin/sh", "-c", f"cat >> {out}; while [ ! -e {out}.go ]; do /bin/sleep 0.02; done"]})
    first = pgmint.start("alert", "check")
    wait_until(out.exists, "the first check is telling")
    pgmint.refuses("alert", "check", code=5, naming="another")
    (out.parent / "messages.go").touch()
    first.communicate(timeout=30)
    assert first.returncode == 0 and len(out.read_text().splitlines()) == 1


def test_wrong_channels_are_named_with_their_line(make):
    pgmint = make.pgmint()
    base = pgmint.config.read_text()
    for table, words in [('name = "a"', ["type"]), ('type = "webhook"\nurl = "https://h/"', ["name"]), ('name = "a"\ntype = "webhook"\nurl = "http://hooks.example.com/T0/secret"', ["TLS"]),
                         ('name = "a"\ntype = "webhook"\nurl = "https://user:hunter2@h/"', ["password"]), ('name = "a"\ntype = "smtp"\nserver = "smtp://h"\nfrom = "a@b"\nto = ["x"]', ["address"]),
                         ('name = "a"\ntype = "command"\ncommand = ["page"]', ["absolute"]), ('name = "a"\ntype = "command"\ncommand = ["/bin/true"]\nurl = "https://h/"', ["url", "command"]),
                         ('name = "a"\ntype = "command"\ncommand = ["/bin/true"]\nrepeat = "often"', ["repeat"]), ('name = "a"\ntype = "pager"', ["webhook"]),
                         ('name = "a"\ntype = "command"\ncommand = ["/bin/true"]\n[[alert]]\nname = "a"\ntype = "command"\ncommand = ["/bin/true"]', ["two"]),
                         ('name = "a"\ntype = "command"\ncomand = ["/bin/true"]', ["comand", "command"])]:
        pgmint.write(f"{base}[[alert]]\n{table}\n")
        refused = pgmint.refuses("alert", "check", code=3, naming=words)
        assert re.search(r"pgmint\.toml:\d+:", refused.err) and "hunter2" not in refused.text and "T0/secret" not in refused.text
    pgmint.write(base)
    pgmint.refuses("alert", "check", code=3, naming="[[alert]]")
    pgmint.write(base + '[metrics]\nlisten = "0.0.0.0:9891"\n')
    pgmint.refuses("alert", "list", code=3, naming="this host alone")


def test_metrics_count_what_is_open_and_channels_that_fail(healthy):
    cluster, pgmint = healthy
    table, _ = command_channel(pgmint)
    Alerts(pgmint).channels(table, {"name": "broken", "type": "command", "command": ["/bin/false"]}).check(code=6)
    metrics = metrics_of(pgmint.run("metrics").out)
    assert metric(metrics, "pgmint_alerts_open", severity="warning") == 1 and metric(metrics, "pgmint_alerts_open", severity="problem") == 1
    assert metric(metrics, "pgmint_alert_channel_failing", channel="broken") == 1 and metric(metrics, "pgmint_alert_channel_failing", channel="page") == 0
    assert abs(metric(metrics, "pgmint_alert_check_timestamp_seconds") - time.time()) < 60


def test_state_on_disk_is_for_its_owner_alone(healthy):
    cluster, pgmint = healthy
    table, _ = command_channel(pgmint)
    Alerts(pgmint).channels(table).check()
    for path in [pgmint.home / "state/alerts.json", *(pgmint.home / "state/runs").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_note_that_cannot_be_read_ends_nothing(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({**table, "least": "problem"})
    cluster.stop()
    pgmint.run("backup", code=9)
    cluster.start()
    alerts.check()
    assert metric(metrics_of(pgmint.run("metrics").out), "pgmint_run_notes_unreadable") == 0
    note, = (pgmint.home / "state/runs").glob("backup@main*")
    note.write_text("{")
    alerts.check()
    assert [events(m) for m in messages()] == [{("new", "run-failed")}, {("new", "state-unreadable")}], "nobody knows whether the run was made good"
    refused = pgmint.run("metrics", code=6)
    assert metric(metrics_of(refused.out), "pgmint_run_notes_unreadable") == 1 and note.name in refused.err
    pgmint.run("backup")
    alerts.check()
    assert events(messages()[-1]) == {("recovered", "run-failed"), ("recovered", "state-unreadable")}


def test_alert_list_does_not_say_that_nothing_is_open_when_it_does_not_know(healthy):
    cluster, pgmint = healthy
    table, _ = command_channel(pgmint)
    alerts = Alerts(pgmint).channels(table)

    def open_metrics():
        return [name for name, _ in metrics_of(pgmint.run("metrics", code=None).out) if name == "pgmint_alerts_open"]
    before = pgmint.run("alert", "list")
    assert "no alert check has run" in before.out and "nothing is open" not in before.out
    assert pgmint.run("alert", "list", "--json").json["checked"] is None and open_metrics() == []
    alerts.check()
    assert pgmint.run("alert", "list", "--json").json["checked"] and open_metrics()
    book = pgmint.home / "state/alerts.json"
    for damage in (lambda: book.write_text("{"), lambda: (book.unlink(), book.mkdir())):
        damage()
        refused = pgmint.refuses("alert", "list", code=6, naming=str(book))
        assert "nothing is open" not in refused.text and "no alert check has run" not in refused.text
        assert open_metrics() == []
        pgmint.run("metrics", code=6)


def test_a_command_that_went_well_and_now_fails_of_its_configuration_is_told(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint)
    good = alerts.base
    # The name is gone, as after an edit of the configuration; cron goes on naming it.
    alerts.base = good.replace("[cluster.main]", "[cluster.other]")
    alerts.channels({**table, "least": "problem"})
    pgmint.run("backup", "main", code=3)
    pgmint.run("backup", "mian", code=3)
    alerts.check()
    failed = [p for m in messages() for p in m["problems"] if p["code"] == "run-failed"]
    assert [(p["cluster"], p["event"]) for p in failed] == [("main", "new")], "a name that never was a run's is a typing mistake"
    assert "exit status 3" in failed[0]["message"]


def test_a_channel_that_keeps_failing_is_asked_more_rarely_and_at_once_with_what_is_new(healthy, sinks):
    cluster, pgmint = healthy
    hook = sinks(HookSink, answers=[404] * 20)
    alerts = Alerts(pgmint).channels({"name": "hook", "type": "webhook", "url": hook.url})
    asked = []
    for minutes in range(0, 60, 5):
        before = len(hook.requests)
        answer = alerts.later(f"+{minutes}min", code=6)["channels"][0]
        assert "404" in answer["error"] and answer["waiting"] is (len(hook.requests) == before)
        if not answer["waiting"]:
            asked.append(minutes)
    assert asked == [0, 5, 15, 35]
    assert len({m["id"] for m in hook.messages}) == 1
    cluster.stop()
    pgmint.run("backup", code=9)
    alerts.later("+56min", code=6)
    assert len(hook.requests) == 5 and ("new", "run-failed") in events(hook.messages[-1])
    assert hook.messages[-1]["id"] != hook.messages[0]["id"]


def codes_of(pgmint, **keywords):
    return {problem["code"] for one in pgmint.run("status", "--json", code=None, **keywords).json["clusters"] for problem in one["problems"]}


def test_a_cluster_that_cannot_be_read_silences_no_other(make):
    first, pgmint = make.pair(rows=10)
    pgmint.backup("main")
    broken, = (pgmint.repository / "c").iterdir()
    second, _ = make.pair(rows=10, init=False, pgmint=pgmint, name="second", fresh=True)
    pgmint.backup("second")
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels(table)
    first.stop()
    alerts.check()
    assert ("new", "server-unreachable") in events(messages()[-1])
    mend = flip(sorted((broken / "log").rglob("*"))[-1])
    second.stop()
    alerts.check()
    told = {(p["event"], p["code"], p["cluster"]) for p in messages()[-1]["problems"]}
    assert told == {("new", "cluster-unreadable", "main"), ("new", "server-unreachable", "second")}, "and nothing of the first is over"
    status = pgmint.run("status", "--json", code=None)
    assert status.code not in (0, 10)
    of = {one["name"]: one for one in status.json["clusters"]}
    assert of["main"]["problems"][0]["code"] == "cluster-unreadable" and of["main"]["verified"] is None and of["main"]["wal"] is None
    assert of["second"]["last_backup"] and of["second"]["recovery_window"]
    metrics = pgmint.run("metrics", code=None)
    assert metrics.code == status.code
    metrics = metrics_of(metrics.out)
    assert metric(metrics, "pgmint_repository_up") == 1
    assert metric(metrics, "pgmint_cluster_up", cluster="main") == 0 and metric(metrics, "pgmint_cluster_up", cluster="second") == 1
    assert [dict(labels)["cluster"] for name, labels in metrics if name == "pgmint_damaged_packs"] == ["second"], "of the other nothing is known"
    assert metric(metrics, "pgmint_problems", code="cluster-unreadable", cluster="main", severity="problem") == 1
    assert "cluster-unreadable" in pgmint.run("doctor", code=None).text
    mend()
    first.start()
    alerts.check()
    assert {("recovered", "cluster-unreadable"), ("recovered", "server-unreachable")} == events(messages()[-1])


def test_a_backup_from_a_clock_that_was_ahead_is_not_the_newest(healthy):
    cluster, pgmint = healthy
    right, = pgmint.names()
    pgmint.backup(prefix=("faketime", "-f", "+365d"))
    now = pgmint.run("status", "--json", code=None).json["clusters"][0]
    assert "clock-wrong" in {p["code"] for p in now["problems"]} and now["last_backup"]["name"] == right
    assert "backup-old" not in codes_of(pgmint)
    assert "backup-old" in codes_of(pgmint, prefix=("faketime", "-f", "+20d"))
    stamp = metric(metrics_of(pgmint.run("metrics", code=None).out), "pgmint_last_backup_timestamp_seconds", cluster="main", type="full")
    assert abs(stamp - time.time()) < 300
    table, messages = command_channel(pgmint)
    Alerts(pgmint).channels(table).check()
    assert ("new", "clock-wrong") in events(messages()[0])


def test_of_dumps_alone_damage_is_told_too(make):
    cluster, pgmint = make.pair()
    pgmint.clusters["main"]["bin_directory"] = str(cluster.bin)
    pgmint.write()
    pgmint.run("backup", "--type", "logical")
    assert codes_of(pgmint) == {"no-backup"}
    manifest, = (pgmint.repository / "c").glob("*/snap/*")
    flip(manifest)
    assert codes_of(pgmint) == {"no-backup", "manifest-damaged"}


def test_a_run_that_does_not_end_is_told(make):
    cluster, pgmint = make.pair()
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({**table, "least": "problem"})
    backup = pgmint.start("backup", "--max-rate", "200k", "--progress", "none")
    wait_until(lambda: list((pgmint.home / "state/runs").glob("backup@main*")), "the run is noted")
    alerts.later("+23h")
    assert not [m for m in messages() if ("new", "run-too-long") in events(m)]
    alerts.later("+25h")
    assert ("new", "run-too-long") in events(messages()[-1])
    backup.kill()
    backup.communicate()
    alerts.later("+26h")
    assert {("new", "run-failed"), ("recovered", "run-too-long")} <= events(messages()[-1])


def test_an_incremental_backup_does_not_make_good_a_full_one_that_failed(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({**table, "least": "problem"})
    cluster.stop()
    pgmint.run("backup", "--type", "full", code=9)
    cluster.start()
    alerts.check()
    pgmint.run("backup")
    alerts.check()
    assert [events(m) for m in messages()] == [{("new", "run-failed")}]
    assert messages()[0]["problems"][0]["subject"] == "backup --type full"
    cluster.stop()
    pgmint.run("backup", code=9)
    cluster.start()
    pgmint.backup()
    alerts.check()
    assert events(messages()[-1]) == {("recovered", "run-failed")}, "a full one is a backup too"


def test_a_look_that_does_not_end_is_given_up_and_told(healthy):
    cluster, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint)
    alerts.base += '[health]\nlook_time_max = "1s"\n'
    alerts.channels({**table, "least": "problem"})
    cluster.stop()
    address = cluster.sockets / ".s.PGSQL.5432"
    with socket.socket(socket.AF_UNIX) as silent:  # takes connections, and never says a word
        silent.bind(str(address))
        give_to_owner(address)
        silent.listen()
        alerts.check()
    address.unlink()
    message, = messages()
    assert events(message) == {("new", "repository-unreadable")} and "within" in message["problems"][0]["message"]
    cluster.start()
    alerts.base = alerts.base.replace('"1s"', '"2m"')
    alerts.channels({**table, "least": "problem"}).check()
    assert events(messages()[-1]) == {("recovered", "repository-unreadable")}


def test_a_failed_run_that_is_not_to_be_repeated_is_dismissed_and_the_next_failure_is_told(healthy):
    _, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({**table, "least": "problem"})
    typo = ("backup", "--type", "logical", "--database", "typo")
    run = "backup logical of main (typo)"
    pgmint.run(*typo, code=4)
    alerts.check()
    told, = messages()[-1]["problems"]
    assert told["code"] == "run-failed" and f"pgmint alert dismiss '{run}'" in told["hint"]
    assert f"pgmint alert dismiss '{run}'" in pgmint.run("alert", "list").out
    pgmint.refuses("alert", "dismiss", "backup of main", code=1, naming=["backup of main", run])
    assert pgmint.run("alert", "dismiss", run, "--json").json["exit_code"] == 4
    alerts.check()
    alerts.check()
    assert [events(m) for m in messages()] == [{("new", "run-failed")}, {("recovered", "run-failed")}]
    assert metric(metrics_of(pgmint.run("metrics").out), "pgmint_run_failed", verb="backup logical", part="typo") == 0
    entry, = [e for e in pgmint.run("audit", "list", "--json").json["entries"] if e["operation"] == "alert dismiss" and e["exit_code"] == 0]
    assert run in entry["command"] and entry["actor"]
    pgmint.refuses("alert", "dismiss", run, code=1, naming=["none"])
    # That failure was dismissed, and no other.
    pgmint.run(*typo, code=4)
    alerts.check()
    assert events(messages()[-1]) == {("new", "run-failed")}
    # What was to show one moment is a run of its own: a plain dump is less.
    pgmint.run("backup", "--type", "logical", "--consistent", "--database", "typo", code=4)
    pgmint.run("alert", "dismiss", "backup logical --consistent of main (typo)")


def test_nothing_is_dismissed_where_nobody_would_know_who_did(healthy):
    _, pgmint = healthy
    table, messages = command_channel(pgmint)
    alerts = Alerts(pgmint).channels({**table, "least": "problem"})
    pgmint.run("backup", "--type", "logical", "--database", "typo", code=4)
    away = pgmint.repository.rename(pgmint.repository.with_name("away"))
    pgmint.run("alert", "dismiss", "backup logical of main (typo)", code={4, 6})
    away.rename(pgmint.repository)
    alerts.check()
    assert events(messages()[-1]) == {("new", "run-failed")}
