"""Emergency recovery: a plan brings a lost database and what reads from it back, in order; interruptions cost one step."""
import hashlib
import json
import os
import pty
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from harness.places import as_owner, give_to_owner, run, wait_until
from harness.pgmint import end


@pytest.fixture
def port():
    """A port that is held until the test ends, and at which a server with SO_REUSEADDR can listen all the same."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


class Plan:
    """A plan file made of steps; each step is a name, a group and lines of TOML."""

    def __init__(self, folder, name="Mint Replica Lite"):
        self.folder, self.path = folder, folder / "plan.toml"
        self.head, self.steps = [f"name = {json.dumps(name)}", 'scope = "database host"'], []

    def step(self, name, group="application", **keys):
        lines = ["[[step]]", f"name = {json.dumps(name)}", f'group = "{group}"']
        self.steps.append("\n".join(lines + [f"{key} = {self.value(value)}" for key, value in keys.items()]))
        return self.write()

    @staticmethod
    def value(value):
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{key} = {Plan.value(one)}" for key, one in value.items()) + " }"
        return json.dumps(value if isinstance(value, (list, bool, int)) else str(value))

    def write(self):
        self.path.write_text("\n".join(self.head + self.steps) + "\n")
        give_to_owner(self.path)
        return self


@pytest.fixture
def bare(make):
    """A pgmint without a repository that can be reached, and a folder for a plan: an emergency as it can be."""
    return make.pgmint(), Plan(make.folder("plan"))


def incidents(tool):
    return sorted(p for p in (tool.home / "state" / "recovery").iterdir() if p.is_dir())


def journal_of(incident):
    return json.loads((incident / "journal").read_text().rsplit("\nsha256 ", 1)[0])


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def number_in(path):
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), f"{path} is written"))


class Page(BaseHTTPRequestHandler):
    """Answers with what `answers` of its class gives, and then with 200."""

    def do_GET(self):
        self.send_response(next(self.answers, 200))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.quick
def test_a_lost_database_and_its_application_come_back(pair, make, port):
    cluster, tool = pair
    folder = make.folder("app")
    told = folder / "told"
    tool.backup()
    cluster.archive_now()
    before = cluster.digest()
    cluster.stop("immediate")
    subprocess.run(["rm", "-rf", cluster.data], check=True)

    options = f"-c unix_socket_directories={cluster.sockets} -c port=5432 -c listen_addresses="
    plan = Plan(folder)
    plan.head.append(f'[notify]\ncommand = ["sh", "-c", "cat >> {told}"]\n[[contact]]\nname = "Ann"\nphone = "+49 30 1"')
    plan.step("restore the cluster", "database", restore={"cluster": "main", "to": cluster.data})
    plan.step("start PostgreSQL", "database", command=[str(cluster.bin / "pg_ctl"), "-D", str(cluster.data), "-l", str(cluster.log), "-o", options, "-w", "start"],
              check={"sql": "SELECT count(*) FROM t", "expect": "2000"}, timeout="60s")
    plan.step("start the application", "application", check={"http": f"http://127.0.0.1:{port}/plan.toml", "status": 200}, timeout="30s",
              command=["sh", "-c", f"echo $PGMINT_STEP $PGMINT_INCIDENT; cd {folder}; {sys.executable} -m http.server --bind 127.0.0.1 {port} >/dev/null 2>&1 & echo $! > {folder}/app.pid"])
    plan.step("interface", "api", check={"tcp": f"127.0.0.1:{port}"})
    plan.step("jobs", "jobs", command=["true"], check={"command": ["test", "-s", str(folder / "app.pid")]})
    report = folder / "report"
    try:
        done = tool.run("recover", plan.path, "--scope", "disk of db1", "--report", report, "--json",
                        env={"SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22", "SUDO_USER": "ann"})
        answer = done.json
        assert answer["exit_code"] == 0 and answer["state"] == "ended" and answer["failed"] == []
        assert [step["state"] for step in answer["steps"]] == ["done"] * 5
        cluster.wait_promoted()
        assert cluster.digest() == before
        for text in ("step 1 of 5 (restore the cluster): starts, at most 6 h 00 min", "step 2 of 5 (start PostgreSQL): done in"):
            assert text in done.err, done
        run = answer["runs"][0]
        assert (run["sudo_user"], run["ssh_client"]) == ("ann", "192.0.2.7") and "@" in run["actor"]
        assert "disk of db1" in answer["scope"] and all(step["attempts"][0]["duration_s"] >= 0 for step in answer["steps"])
        markdown = (report / "report.md").read_text()
        for text in ("sudo of ann", "192.0.2.7", "disk of db1", "start the application", answer["incident"]):
            assert text in markdown
        assert json.loads((report / "report.json").read_text())["incident"] == answer["incident"]
        messages = [json.loads(line) for line in told.read_text().splitlines()]
        assert [m["event"] for m in messages] == ["recovery-started"] + ["recovery-group-done"] * 4 + ["recovery-ended"]
        assert messages[0]["contacts"][0]["name"] == "Ann" and [m["group"] for m in messages[1:5]] == ["database", "application", "api", "jobs"]
        said = (incidents(tool)[0] / "step-03.1.log").read_text()
        assert said.split() == ["start", "the", "application", answer["incident"]]
        # It is over: the same command is another incident, whose restore does not write over a running server.
        again = tool.run("recover", plan.path, "--only", "interface", "--json").json
        assert again["incident"] != answer["incident"]
    finally:
        if (folder / "app.pid").exists():
            os.kill(int((folder / "app.pid").read_text()), signal.SIGKILL)
        cluster.stop("immediate")


def test_a_restore_that_is_refused_ends_the_recovery_with_its_words(pair, make):
    cluster, tool = pair
    tool.backup()
    plan = Plan(make.folder("plan")).step("restore", "database", restore={"cluster": "main", "to": cluster.data})
    plan.step("after", "application", command=["touch", str(plan.folder / "after")], check="none")
    failed = tool.run("recover", plan.path, "--json", code=10)
    step = failed.json["steps"][0]
    assert step["attempts"][0]["exit_code"] == 4 and "is running" in step["attempts"][0]["outcome"]
    assert not (plan.folder / "after").exists() and cluster.one("select 1") == 1
    tool.key_file.rename(tool.home / "away")
    assert tool.run("recover", plan.path, "--json", code=7).json["exit_code"] == 7


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on_where_it_was_interrupted(bare, how):
    tool, plan = bare
    first, second = plan.folder / "first", plan.folder / "second"
    plan.step("first", command=["sh", "-c", f"echo x >> {first}"], check={"command": ["test", "-s", str(first)]})
    # The first time it hangs, with a child and a grandchild; then it works.
    hang = f"[ -e {second} ] && exit 0; echo $$ > {second}.pid; sleep 600 & echo $! > {second}.child; touch {second}; wait"
    plan.step("second", command=["sh", "-c", hang], check={"command": ["test", "-e", str(second)]}, timeout="5m")
    plan.step("third", "api", command=["touch", str(plan.folder / "third")], check={"command": ["test", "-e", str(plan.folder / "third")]})
    running = tool.start("recover", plan.path)
    child, leader = number_in(Path(f"{second}.child")), number_in(Path(f"{second}.pid"))
    wait_until(second.exists, "the second step hangs")
    code, _, err = end(running, how)
    if how == signal.SIGKILL:
        assert not gone(child), "nobody was there to end it"
        # Two at once: the step is still alive, its recovery is not.
    else:
        assert code == 130 and "goes on where it was" in err
        assert gone(child) and gone(leader)
    done = tool.run("recover", plan.path, "--json")
    assert gone(child) and gone(leader)
    steps = done.json["steps"]
    assert [len(step["attempts"]) for step in steps] == [1, 2, 1]
    assert steps[0]["note"] == "done before, and checked again" and steps[1]["attempts"][0]["outcome"] == "interrupted"
    assert first.read_text() == "x\n" and done.json["state"] == "ended" and len(done.json["runs"]) == 2
    assert len(incidents(tool)) == 1


def plan_of_a_restore(make):
    """A restore alone, of a name that no other plan has."""
    folder = make.folder("plan")
    return Plan(folder, name=f"plan {folder.name}").step("restore", "database", restore={"cluster": "main", "to": folder / "restored"})


def restored_unseen(tool, make):
    """Recovers plans of a restore until one's restore ends while its recovery stands still, and is killed before it hears of that. Returns that plan, and the process of the restore."""
    for _ in range(9):
        plan = plan_of_a_restore(make)
        running = tool.start("recover", plan.path)
        child = wait_until(lambda: children_of(running.pid), "the restore runs")[0]
        os.kill(running.pid, signal.SIGSTOP)
        wait_until(lambda: gone(child), "the restore has ended")
        heard = not Path(f"/proc/{child}").exists()  # a child that nobody has asked about is a zombie
        end(running)
        if not heard:
            return plan, child
    raise AssertionError("the restore is always over before its recovery can be stopped")


def test_a_restore_whose_recovery_was_killed_is_gone_on_with_whether_it_had_finished_or_not(pair, make):
    cluster, tool = pair
    tool.backup()
    cluster.archive_now()
    for unseen in (False, True):
        if unseen:
            plan, child = restored_unseen(tool, make)
        else:
            plan = plan_of_a_restore(make)
            running = tool.start("recover", plan.path)
            child = wait_until(lambda: children_of(running.pid), "the restore runs")[0]
            end(running)
        done = tool.run("recover", plan.path, "--json").json
        assert done["exit_code"] == 0 and (plan.folder / "restored" / "global" / "pg_control").exists() and gone(child)
        if unseen:
            assert done["steps"][0]["note"] == "it had finished when it was interrupted" and len(done["steps"][0]["attempts"]) == 1


def test_without_a_place_for_the_journal_nothing_is_run(bare):
    tool, plan = bare
    ran = plan.folder / "ran"
    plan.step("touch", command=["touch", str(ran)], check="none")
    tool.write(tool.config.read_text().replace(str(tool.home / "state"), str(tool.config / "state")))
    tool.refuses("recover", plan.path, code=(4, 6, 7), naming="PGMINT_STATE_DIRECTORY")
    assert not ran.exists()
    tool.run("recover", plan.path, env={"PGMINT_STATE_DIRECTORY": str(tool.home / "elsewhere")})
    assert ran.exists()


def test_a_done_step_that_is_no_longer_well_runs_again(bare):
    tool, plan = bare
    first, second = plan.folder / "first", plan.folder / "second"
    plan.step("first", command=["sh", "-c", f"echo x >> {first}"], check={"command": ["test", "-s", str(first)]})
    plan.step("second", command=["test", "-e", str(second)], check="none")
    tool.run("recover", plan.path, code=10)
    first.unlink()
    second.touch()
    done = tool.run("recover", plan.path, "--json")
    assert "its check does not pass" in done.err and first.read_text() == "x\n"
    assert len(done.json["steps"][0]["attempts"]) == 2


def test_a_step_over_its_limit_is_ended_with_its_children_and_tried_again(bare):
    tool, plan = bare
    flag, pids = plan.folder / "flag", plan.folder / "pids"
    script = f"[ -e {flag} ] && exit 0; touch {flag}; (trap '' TERM; echo sub; sleep 600 & echo $! >> {pids}; wait) & echo $! >> {pids}; echo words; sleep 600"
    plan.step("slow", command=["sh", "-c", script], check={"command": ["test", "-e", str(flag)]}, timeout="2s", retries=1, retry_after=0)
    done = tool.run("recover", plan.path, "--json").json
    attempts = done["steps"][0]["attempts"]
    assert "had not ended after 2.0 s" in attempts[0]["outcome"] and "words" in attempts[0]["outcome"]
    assert attempts[1]["outcome"] == "done"
    assert len(pids.read_text().split()) == 2 and all(gone(int(pid)) for pid in pids.read_text().split())


def test_a_failure_stops_or_does_not_as_the_plan_says(bare):
    tool, plan = bare
    count = plan.folder / "count"
    plan.step("fails", command=["sh", "-c", f"echo x >> {count}; echo because; echo therefore; exit 3"], check="none", retries=2, retry_after=0, on_failure="continue")
    plan.step("runs", "jobs", command=["touch", str(plan.folder / "ran")], check={"command": ["test", "-e", str(plan.folder / "ran")]})
    failed = tool.run("recover", plan.path, "--json", code=10).json
    assert failed["failed"] == ["fails"] and failed["state"] == "open"
    assert [a["outcome"] for a in failed["steps"][0]["attempts"]] == ["exit 3: because; therefore"] * 3
    assert count.read_text() == "x\n" * 3 and (plan.folder / "ran").exists()


def test_a_dry_run_shows_everything_and_runs_nothing(bare):
    tool, plan = bare
    plan.step("touch", "database", command=["touch", str(plan.folder / "touched"), "password=geheim"], check={"command": ["touch", str(plan.folder / "checked")]})
    plan.step("wait", "api", command=["no-such-program", "x"], check={"http": "https://user:geheim@localhost:1/"}, needs_confirmation=True)
    shown = tool.run("recover", plan.path, "--dry-run")
    for text in ("Database services", "API services", "1. touch", f"touch {plan.folder}/touched", "there is no program no-such-program", "asks first", "answers 200"):
        assert text in shown.out, shown
    assert "geheim" not in shown.text and sorted(p.name for p in plan.folder.iterdir()) == ["plan.toml"]
    assert not (tool.home / "state" / "recovery").exists()
    steps = tool.run("recover", plan.path, "--dry-run", "--json").json["steps"]
    assert steps[1]["problems"] == ["there is no program no-such-program"] and steps[0]["problems"] == []


def test_no_password_reaches_journal_report_or_terminal(bare):
    tool, plan = bare
    plan.step("tells", command=["sh", "-c", "echo 'password=geheim'; exit 1", "x", "--password", "geheim"], check="none", on_failure="continue")
    plan.step("asks", check={"sql": "SELECT 1", "connection": "host=127.0.0.1 port=1 password=geheim"}, timeout="1s", on_failure="continue")
    failed = tool.run("recover", plan.path, "--json", code=10)
    assert "geheim" not in failed.text
    for name in ("journal", "report.json", "report.md"):
        assert "geheim" not in (incidents(tool)[0] / name).read_text()


def test_the_example_plan_is_accepted(make, bare):
    tool, plan = bare
    tool.write(tool.config.read_text() + '[cluster.main]\ndata_directory = "/var/lib/postgresql/15/main"\n')
    plan.path.write_bytes((Path(__file__).parents[2] / "packaging" / "recovery-plan.example.toml").read_bytes())
    give_to_owner(plan.path)
    shown = tool.run("recover", plan.path, "--dry-run").out
    titles = ["Database services", "Core application", "API services", "Background jobs", "Monitoring systems"]
    assert sorted(titles, key=shown.index) == titles


def test_what_is_wrong_with_a_plan_is_told_and_nothing_is_run(bare):
    tool, plan = bare
    ran = plan.folder / "ran"
    plan.step("touch", "api", command=["touch", str(ran)], check="none")
    plan.step("late", "database", command=["true"], check="none")
    tool.refuses("recover", plan.path, code=4, naming=["late", "the order is database, application"])
    tool.refuses("recover", plan.folder / "none.toml", code=4, naming="none.toml")
    plan.head.append('order = "as written"')
    plan.write()
    tool.refuses("recover", plan.path, "--only", "tuch", code=2, naming='nearest is "touch"')
    plan.steps[1] += "\nneeds_confirmation = true"
    plan.write()
    tool.refuses("recover", plan.path, code=4, naming=["late", "--yes"])
    assert not ran.exists()
    tool.run("recover", plan.path, "--yes")
    assert ran.exists()


def test_at_a_terminal_it_asks(bare):
    tool, plan = bare
    ran = plan.folder / "ran"
    plan.step("touch it", command=["touch", str(ran)], check="none", needs_confirmation=True)
    for answer, code in (("n", 130), ("y", 0)):
        leader, follower = pty.openpty()
        asked = subprocess.Popen([tool.binary, "--config", tool.config, "recover", plan.path], stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 **as_owner(cwd=tool.home))
        os.write(leader, f"{answer}\n".encode())
        _, err = asked.communicate(timeout=30)
        os.close(leader)
        os.close(follower)
        assert asked.returncode == code and 'step "touch it": touch' in err, err
        assert ran.exists() == (code == 0)


def test_a_changed_plan_is_asked_for_and_a_new_beginning_can_be_had(bare):
    tool, plan = bare
    flag = plan.folder / "flag"
    plan.step("one", command=["true"], check={"command": ["true"]})
    plan.step("two", command=["test", "-e", str(flag)], check="none")
    tool.run("recover", plan.path, code=10)
    plan.step("three", command=["true"], check="none")
    tool.refuses("recover", plan.path, code=4, naming=["the plan has changed", "--restart"])
    assert len(tool.run("recover", plan.path, "--yes", "--json", code=10).json["steps"][0]["attempts"]) == 1
    flag.touch()
    anew = tool.run("recover", plan.path, "--restart", "--json").json
    assert len(anew["runs"]) == 1 and len(incidents(tool)) == 2
    assert journal_of(incidents(tool)[0])["state"] == "given up"


@pytest.mark.parametrize("how", ["changed", "renamed step", "renamed plan", "from", "restart"])
def test_what_a_killed_run_left_is_ended_also_when_the_plan_is_another_or_the_incident_is_given_up(bare, how):
    tool, plan = bare
    mark, ran = plan.folder / "mark", plan.folder / "ran"
    hang = f"[ -e {mark} ] && exit 0; touch {mark}; sleep 600 & echo $! > {mark}.child; wait"
    plan.step("hangs", command=["sh", "-c", hang], check={"command": ["test", "-e", str(mark)]}, timeout="5m")
    child_file = Path(f"{mark}.child")
    # What runs next says whether the child was there still.
    plan.step("after", command=["sh", "-c", f"kill -0 $(cat {child_file}) 2>/dev/null && [ $(ps -o stat= -p $(cat {child_file}) | cut -c1) != Z ] && exit 1; touch {ran}"], check="none")
    running = tool.start("recover", plan.path)
    child = number_in(child_file)
    end(running, signal.SIGKILL)
    assert not gone(child), "nobody was there to end it"
    options = {"from": ["--from", "after"], "restart": ["--restart"]}.get(how, [])
    if how == "changed":
        plan.steps[0] = plan.steps[0].replace("[ -e", ": changed; [ -e")
    elif how == "renamed step":
        plan.steps[0] = plan.steps[0].replace('"hangs"', '"waits"')
    elif how == "renamed plan":
        plan.head[0] = 'name = "Another"'
    plan.write()
    done = tool.run("recover", plan.path, "--yes", "--json", *options).json
    assert gone(child) and ran.exists() and done["state"] == "ended"
    states = sorted(journal_of(incident)["state"] for incident in incidents(tool))
    assert states == (["ended", "given up"] if how in ("renamed plan", "restart") else ["ended"])


def test_a_restore_that_had_finished_by_an_earlier_plan_is_not_the_new_plans(pair, make):
    cluster, tool = pair
    tool.backup()
    cluster.archive_now()
    plan, _ = restored_unseen(tool, make)
    target = plan.folder / "restored"
    assert (target / "global" / "pg_control").exists()
    plan.steps = []
    plan.step("restore", "database", restore={"cluster": "main", "to": target, "jobs": 2})
    step = tool.run("recover", plan.path, "--yes", "--json", code=10).json["steps"][0]
    assert step["state"] == "failed" and step["note"] == ""
    assert [attempt["exit_code"] for attempt in step["attempts"]] == [None, 4] and step["attempts"][0]["outcome"] == "interrupted"
    shutil.rmtree(target)
    assert tool.run("recover", plan.path, "--json").json["state"] == "ended" and (target / "global" / "pg_control").exists()


def test_an_incident_of_another_day_is_asked_for(bare):
    tool, plan = bare
    plan.step("one", command=["true"], check={"command": ["true"]})
    plan.step("two", command=["false"], check="none")
    tool.run("recover", plan.path, code=10)
    journal = incidents(tool)[0] / "journal"
    body = journal.read_text().rsplit("\nsha256 ", 1)[0].replace(journal_of(incidents(tool)[0])["runs"][0]["started"], "2026-01-01T00:00:00Z")
    journal.write_text(f"{body}\nsha256 {hashlib.sha256(body.encode()).hexdigest()}\n")
    tool.refuses("recover", plan.path, code=4, naming=["has not ended", "ago", "--restart"])
    assert len(tool.run("recover", plan.path, "--yes", "--json", code=10).json["runs"]) == 2


def test_a_damaged_journal_is_not_believed(bare):
    tool, plan = bare
    plan.step("one", command=["true"], check="none")
    plan.step("two", command=["false"], check="none")
    tool.run("recover", plan.path, code=10)
    journal = incidents(tool)[0] / "journal"
    whole = journal.read_bytes()
    for damaged in (whole[:-1], whole[:len(whole) // 2], b"", whole.replace(b'"failed"', b'"done"', 1)):
        assert damaged != whole
        journal.write_bytes(damaged)
        tool.refuses("recover", plan.path, code=8, naming=["journal", "--restart"])
    tool.run("recover", plan.path, "--restart", code=10)
    assert len(incidents(tool)) == 2


def test_two_at_once_are_refused(bare):
    tool, plan = bare
    started = plan.folder / "started"
    plan.step("hangs", command=["sh", "-c", f"touch {started}; sleep 600"], check="none")
    running = tool.start("recover", plan.path)
    wait_until(started.exists, "the first has begun")
    tool.refuses("recover", plan.path, code=5, naming="another recovery")
    assert end(running, signal.SIGTERM)[0] == 130


def test_a_connection_that_drops_does_not_end_it(bare):
    tool, plan = bare
    started, released = plan.folder / "started", plan.folder / "released"
    plan.step("waits", command=["sh", "-c", f"touch {started}; until [ -e {released} ]; do sleep 0.05; done"], check="none")
    running = tool.start("recover", plan.path)
    wait_until(started.exists, "it has begun")
    os.killpg(running.pid, signal.SIGHUP)
    tool.refuses("recover", plan.path, code=5, naming="another recovery")
    released.touch()
    running.communicate(timeout=30)
    assert running.returncode == 0 and journal_of(incidents(tool)[0])["state"] == "ended"


def test_from_begins_there(bare):
    tool, plan = bare
    for name in ("one", "two", "three"):
        plan.step(name, command=["sh", "-c", f"echo {name} >> {plan.folder}/ran"], check="none")
    done = tool.run("recover", plan.path, "--from", "two", "--json").json
    assert (plan.folder / "ran").read_text() == "two\nthree\n" and done["steps"][0]["state"] == "skipped"
    assert done["runs"][-1]["outcome"] == "done; left out: one"
    assert "- State: ended, 2 steps done, 1 left out" in (incidents(tool)[0] / "report.md").read_text()


def test_what_from_left_out_runs_without_it_and_what_was_done_is_not_done_again(bare):
    tool, plan = bare
    flag, ran, well = (plan.folder / name for name in ("flag", "ran", "well"))
    plan.step("one", command=["sh", "-c", f"echo one >> {ran}; touch {well}"], check={"command": ["test", "-e", str(well)]}, timeout="5s")
    plan.step("two", command=["sh", "-c", f"echo two >> {ran}"], check="none")
    plan.step("three", command=["test", "-e", str(flag)], check="none")
    assert tool.run("recover", plan.path, "--from", "two", "--json", code=10).json["steps"][0]["state"] == "skipped"
    assert tool.run("recover", plan.path, "--json", code=10).json["steps"][0]["state"] == "done"
    assert ran.read_text() == "two\none\n"
    # Repaired by hand, in a way that its check does not know.
    well.unlink()
    flag.touch()
    done = tool.run("recover", plan.path, "--from", "three", "--json")
    assert "its check does not pass" in done.err and done.json["state"] == "open" and done.json["exit_code"] == 0
    assert done.json["runs"][-1]["outcome"] == "done; left out, and not well: one"
    assert "every step done" not in (incidents(tool)[0] / "report.md").read_text()
    assert ran.read_text() == "two\none\n"


def test_whoever_waits_is_told_every_ten_seconds_what_the_service_says(bare):
    """A page that answers 503 until it does not: retries of the check, with its words."""
    tool, plan = bare
    answers = iter([503, 503, 503])
    server = HTTPServer(("127.0.0.1", 0), type("Unwell", (Page,), {"answers": answers}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        plan.step("page", check={"http": f"http://127.0.0.1:{server.server_port}/"}, timeout="30s")
        plan.step("never", check={"http": f"http://127.0.0.1:{server.server_port}/", "status": 204}, timeout="3s")
        failed = tool.run("recover", plan.path, "--json", code=10).json
        assert failed["steps"][0]["state"] == "done" and next(answers, None) is None
        assert "answered 200 where 204 was expected" in failed["steps"][1]["attempts"][0]["outcome"]
    finally:
        server.shutdown()


def test_pages_are_looked_at_by_tls_13_and_a_certificate_that_is_trusted(bare):
    tool, plan = bare
    key, certificate = plan.folder / "key.pem", plan.folder / "ca.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-keyout", key, "-out", certificate)
    servers = []
    for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.maximum_version = newest
        server = HTTPServer(("127.0.0.1", 0), type("Well", (Page,), {"answers": iter(())}))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    try:
        good, old = (f"https://localhost:{server.server_port}/" for server in servers)
        keys = {"timeout": "1s", "on_failure": "continue"}
        plan.step("trusted", check={"http": good, "ca_file": certificate}, timeout="30s")
        plan.step("not trusted", check={"http": good}, **keys)
        plan.step("too old", check={"http": old, "ca_file": certificate}, **keys)
        plan.step("another name", check={"http": good.replace("localhost", "127.0.0.1"), "ca_file": certificate}, **keys)
        states = {step["name"]: step["state"] for step in tool.run("recover", plan.path, "--json", code=10).json["steps"]}
        assert states == {"trusted": "done", "not trusted": "failed", "too old": "failed", "another name": "failed"}
    finally:
        for server in servers:
            server.shutdown()


def test_each_run_stands_in_the_repositorys_log_at_last(pair, make):
    cluster, tool = pair
    tool.backup()
    plan = Plan(make.folder("plan"))
    flag = plan.folder / "flag"
    plan.step("look", command=["test", "-e", str(flag)], check="none")
    tool.repository.rename(tool.home / "away")
    failed = tool.run("recover", plan.path, "--scope", "the repository is gone too", "--json", code=10)
    assert "recorded on this host alone" in failed.err and failed.json["in_repository"] is False
    (tool.home / "away").rename(tool.repository)
    flag.touch()
    done = tool.run("recover", plan.path, "--json", env={"SUDO_USER": "ann"}).json
    assert done["in_repository"] is True
    entries = [e["detail"] for e in tool.run("audit", "list", "--json").json["entries"] if e["kind"] == "audit" and e["detail"].startswith("recovery:")]
    assert len(entries) == 2 and done["incident"] in entries[0]
    assert "failed: look" in entries[0] and "the repository is gone too" in entries[0]
    assert "done" in entries[1] and "sudo of ann" in entries[1] and "look: done" in entries[1]
    tool.run("recover", plan.path)
    assert len([e for e in tool.run("audit", "list", "--json").json["entries"] if e["detail"].startswith("recovery:")]) == 3
    tool.run("audit", "verify")


def test_alert_channels_are_told_beside_the_recovery(bare):
    tool, plan = bare
    told = plan.folder / "told"
    slow = f"date +%s.%N >> {plan.folder}/slow; exit 9"  # tried again after a second, and after four more
    tool.write(tool.config.read_text() + f'[[alert]]\nname = "page"\ntype = "command"\ncommand = ["/bin/sh", "-c", "cat >> {told}"]\n'
               f'[[alert]]\nname = "slow"\ntype = "command"\ncommand = ["/bin/sh", "-c", "{slow}"]\n')
    plan.step("one", command=["sh", "-c", f"date +%s.%N > {plan.folder}/one"], check="none")
    plan.step("two", "api", command=["sh", "-c", f"date +%s.%N > {plan.folder}/two; exit 3"], check="none")
    failed = tool.run("recover", plan.path, "--json", code=10)
    problems = [json.loads(line)["problems"][0] for line in told.read_text().splitlines()]
    assert [(p["code"], p["event"]) for p in problems] == [("recovery-started", "new"), ("recovery-group-done", "better"), ("recovery-step-failed", "worse"), ("recovery-ended", "worse")]
    assert all(p["subject"] == failed.json["incident"] for p in problems)
    assert any("slow was" in warning and "not told" in warning for warning in failed.json["warnings"])
    times = [float((plan.folder / name).read_text()) for name in ("one", "two")]
    tries = [float(line) for line in (plan.folder / "slow").read_text().splitlines()]
    assert len(tries) >= 3 and times[0] < times[1] < tries[2], "the steps did not wait for the slow channel"


def test_contacts_that_cannot_be_told_are_a_warning(bare):
    tool, plan = bare
    plan.head.append('[notify]\ncommand = ["sh", "-c", "exit 9"]')
    plan.step("one", command=["true"], check="none")
    done = tool.run("recover", plan.path, "--json")
    assert "were not told" in done.err and done.json["warnings"] and done.json["exit_code"] == 0
