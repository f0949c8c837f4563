"""What is packaged for Prometheus, Alertmanager and Grafana, with the real programs and the metrics of a real cluster."""
import json
import re
import shutil
import signal
import urllib.request

import pytest

from harness.monitoring import PACKAGING, Alertmanager, HookSink, MailSink, Prometheus, free_port, metrics_of, promtool
from harness.places import TREE, run, wait_until

RULES = PACKAGING / "prometheus"


@pytest.fixture
def closing():
    """Closes what it is given, the last first."""
    things = []

    def keep(thing):
        things.append(thing)
        return thing
    yield keep
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def folder(work):
    """A copy of the packaged rules that their owner can read wherever the tree lies."""
    made = work.fresh("monitoring")
    for file in RULES.iterdir():
        shutil.copy(file, made)
        (made / file.name).chmod(0o644)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.quick
def test_rules_do_what_their_tests_say(folder):
    promtool("check", "rules", folder / "pgmint.rules.yml")
    promtool("test", "rules", folder / "pgmint.rules.test.yml", folder / "pgmint.rules.days.test.yml")
    run(shutil.which("amtool"), "check-config", folder / "alertmanager.example.yml")
    # Each rule is tried, and a rule that is wrong fails.
    text, tests = (folder / "pgmint.rules.yml").read_text(), "".join(f.read_text() for f in folder.glob("*.test.yml"))
    for alert in re.findall(r"- alert: (\w+)", text):
        assert f"alertname: {alert}" in tests, f"{alert} has no test"
    (folder / "pgmint.rules.yml").write_text(text.replace("pgmint_wal_gaps > 0", "pgmint_wal_gaps > 2"))
    assert promtool("test", "rules", folder / "pgmint.rules.test.yml", check=False).returncode != 0


class Exporter:
    """pgmint metrics --listen, until close()."""

    def __init__(self, pgmint):
        self.process = pgmint.start("metrics", "--listen", "127.0.0.1:0", "--every", "1")
        self.port = int(re.search(r":(\d+)/metrics", self.process.stderr.readline()).group(1))

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 130, err


def history(make):
    """A pgmint of which every metric has something to say."""
    cluster, pgmint = make.pair()
    pgmint.write(pgmint.config.read_text() + '[[alert]]\nname = "page"\ntype = "command"\ncommand = ["/bin/true"]\n')
    pgmint.backup()
    cluster.add_rows("t", 10)
    cluster.archive_now()
    pgmint.run("backup")
    pgmint.run("verify", "--read-data")
    pgmint.run("alert", "check")
    return cluster, pgmint


def expressions_of_dashboard():
    dashboard = json.loads((PACKAGING / "grafana/pgmint.json").read_text())
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(found) > 20
    return [(title, expression.replace("$instance", ".*").replace("$cluster", ".*")) for title, expression in found]


@pytest.mark.versions
def test_prometheus_scrapes_alertmanager_tells_and_every_panel_shows_something(make, version, folder, closing):
    cluster, pgmint = history(make)
    exporter = closing(Exporter(pgmint))
    hook, mail = closing(HookSink()), closing(MailSink())
    (folder / "alertmanager.yml").write_text(
        f"global: {{smtp_smarthost: '127.0.0.1:{mail.port}', smtp_from: 'am@localhost', smtp_require_tls: false, smtp_hello: localhost}}\n"
        "route: {receiver: all, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
        f"receivers: [{{name: all, webhook_configs: [{{url: '{hook.url}'}}], email_configs: [{{to: ops@localhost}}]}}]\n")
    alertmanager = closing(Alertmanager(folder, folder / "alertmanager.yml"))
    rules = folder / "pgmint.rules.yml"
    rules.write_text(re.sub(r"\n *for: \w+", "", rules.read_text()))  # nobody waits ten minutes here
    prometheus = closing(Prometheus(folder, f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager.port}']}}]}}]}}
scrape_configs: [{{job_name: pgmint, static_configs: [{{targets: ['127.0.0.1:{exporter.port}']}}]}}]
"""))
    alertmanager.wait_ready()
    prometheus.wait_ready()
    wait_until(lambda: prometheus.query("pgmint_build_info"), "Prometheus has scraped pgmint")
    for title, expression in expressions_of_dashboard():
        wait_until(lambda: prometheus.query(expression), f"panel {title} shows something: {expression}")  # a scrape that was late empties all of them until the next

    def fired():
        return {alert["labels"]["alertname"] for message in hook.messages for alert in message["alerts"] if alert["status"] == "firing"}
    wait_until(lambda: "PgmintProblem" in fired(), "the key that nobody tried is told")
    assert not {"PgmintWalGap", "PgmintRpoBreached", "PgmintRepositoryUnreadable"} & fired()
    pgmint.repository.rename(pgmint.home / "away")
    wait_until(lambda: "PgmintRepositoryUnreadable" in fired(), "the missing repository is told")
    wait_until(lambda: any(b"PgmintRepositoryUnreadable" in content.replace(b"=\r\n", b"") for _, _, content in mail.mails), "and mailed")


def test_the_daemon_tells_and_serves_by_itself(make):
    _, pgmint = make.pair()
    out, port = pgmint.home / "messages", free_port()
    never = "".join(f'{job} = "never"\n' for job in ("full", "incremental", "logical", "config", "expire", "collect", "verify"))
    pgmint.write(pgmint.config.read_text() + f'[schedule]\n{never}[[alert]]\nname = "page"\ntype = "command"\ncommand = ["/bin/sh", "-c", "cat >> {out}"]\n[metrics]\nlisten = "127.0.0.1:{port}"\n')
    daemon = pgmint.start("daemon")
    try:
        def page():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    return metrics_of(answer.read().decode())
            except OSError:
                return {}
        wait_until(lambda: ("pgmint_server_up", frozenset({("cluster", "main")})) in page(), "the daemon serves what a child has gathered")
        wait_until(lambda: out.exists() and "no-backup" in out.read_text(), "the daemon has told that there is no backup")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=20)
    assert daemon.returncode == 0


def test_every_metric_is_written_and_every_one_written_is_in_the_manual(make):
    _, pgmint = history(make)
    written = {name for name, _ in metrics_of(pgmint.run("metrics").out)}
    pgmint.backup()  # of which nothing was read yet
    written |= {name for name, _ in metrics_of(pgmint.run("metrics").out)}
    used = set()
    for text in [(RULES / "pgmint.rules.yml").read_text(), *(expression for _, expression in expressions_of_dashboard())]:
        used |= set(re.findall(r"pgmint_\w+", text))
    assert used <= written, f"nobody writes {used - written}"
    manual = (TREE / "docs/manual/alerts.md").read_text().split("## Metrics")[1]
    documented = set(re.findall(r"`(pgmint_\w+)`", manual))
    for start in ("pgmint_last_backup",):  # written short there
        documented |= {start + end for end in re.findall(r"`(_\w+)`", manual)}
    documented |= {"pgmint_recovery_window_end_timestamp_seconds"}
    assert written <= documented, f"not in the manual: {written - documented}"
