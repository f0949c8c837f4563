"""The runbook of an installation: whole, exact, without secrets, and honest about what is missing."""
import html
import re
import shlex
import subprocess
from html.parser import HTMLParser

from harness.places import as_owner, give_to_owner


def written(tool, *more, extra=""):
    if extra:
        tool.write(tool.config.read_text() + extra)
    return tool.run("runbook", *more)


def commands(markdown):
    """The lines in fences that begin with pgmint."""
    blocks = re.findall(r"^```\n(.*?)\n```$", markdown, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if re.match(r"(PGMINT_\w+=\S+ )?pgmint ", block)]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.code, self.attributes = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag != "meta":
            self.open.append(tag)
        if tag == "pre":
            self.code.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "pre":
            self.code[-1] += data


def test_it_holds_what_one_needs_and_its_commands_work(pair, make):
    cluster, tool = pair
    backup = tool.backup()["name"]
    cluster.add_rows("t", 10)
    cluster.archive_now()
    text = written(tool, extra='[[contact]]\nname = "Ann | <b>"\nphone = "+49 30 1"\n').out
    for word in (str(cluster.data), str(tool.repository), str(tool.key_file), backup, "+49 30 1", "NO RESTORE HAS EVER BEEN PROVEN", "NO RECOVERY PLAN IS CONFIGURED", "production"):
        assert word in text.replace("\\", ""), word
    assert tool.key_file.read_text().split(":")[-1].strip() not in text
    # Typed as they stand there, but into a directory that is free.
    target = make.folder("runbook") / "restored"
    lines = commands(text)
    restore = next(line for line in lines if " restore main " in line and "--time" in line)
    words = [str(target) if word == f"{cluster.data}.restored" else word for word in shlex.split(restore)]
    assert words[0] == "pgmint"
    done = subprocess.run([tool.binary, *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **as_owner(cwd=tool.home))
    assert done.returncode == 0, done.stdout
    assert (target / "PG_VERSION").exists()
    for verb in ("list main", "status", "wal status main", "verify main --read-data", "audit verify"):
        line = next(line for line in lines if line.endswith(" " + verb))
        assert subprocess.run([tool.binary, *shlex.split(line)[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **as_owner(cwd=tool.home)).returncode in (0, 10), line


def test_the_page_is_whole_and_needs_nothing_else(pair, make):
    cluster, tool = pair
    tool.backup()
    page = make.folder("out") / "runbook.html"
    tool.run("runbook", "--to", page)
    text = page.read_text()
    parsed = Page(text)
    assert not parsed.open and not {"script", "img", "link", "iframe", "a"} & set(parsed.tags)
    assert not {"src", "href"} & set(parsed.attributes) and "http://" not in text and "https://" not in text
    assert any(line.startswith("pgmint ") and " restore main " in line for line in parsed.code)
    assert (page.stat().st_mode & 0o777) == 0o640


def test_names_are_quoted_and_become_no_markup(make):
    tool = make.pgmint()
    odd = make.folder("odd") / "it's <script>alert(1)</script> `x`"
    tool.write(f'repository = "{tool.repository}"\nstate_directory = "{tool.home}/state"\n[encryption]\nkey_file = "{tool.key_file}"\n[cluster.main]\n'
               f'data_directory = "{odd}"\nconnection = "host=/x password=geheim"\n[[contact]]\nname = "<img src=x onerror=alert(1)>"\n')
    tool.init()
    text = tool.run("runbook").out
    page = tool.run("runbook", "--html").out
    assert "geheim" not in text + page
    parsed = Page(page)
    assert not {"script", "img"} & set(parsed.tags)
    assert any(str(odd) in shlex.split(line) for line in parsed.code if line.startswith("pgmint "))
    assert "<script" not in re.sub(r"^(`{3,})\n.*?\n\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert html.escape("<img src=x", quote=False) in page


def test_without_the_repository_it_says_so_and_has_the_rest(pair):
    cluster, tool = pair
    tool.repository.rename(tool.home / "away")
    shown = tool.run("runbook", "--json")
    assert shown.json["repository_read"] is False and "could not be read" in shown.err
    text = shown.json["text"]
    assert "THE REPOSITORY COULD NOT BE READ" in text and str(cluster.data) in text and "NO RESTORE HAS EVER" not in text


def test_the_plan_of_the_configuration_is_shown_and_run(make):
    tool = make.pgmint()
    folder = make.folder("plan")
    plan = folder / "plan.toml"
    plan.write_text('name = "p"\n[[contact]]\nname = "Ann of the plan"\n[[step]]\nname = "the only step"\ngroup = "api"\ncommand = ["true"]\ncheck = { command = ["true"] }\n')
    give_to_owner(plan)
    tool.write(tool.config.read_text() + f'[recovery]\nplan = "{plan}"\n')
    text = tool.run("runbook").out
    assert "the only step" in text and "Ann of the plan" in text and f"recover {plan} --dry-run" in text
    assert tool.run("recover", "--json").json["exit_code"] == 0
    plan.write_text("name = 3\n")
    assert "CANNOT BE USED" in tool.run("runbook").out


def test_a_webhooks_path_is_its_secret_and_stays_out(make):
    cluster, tool = make.pair(rows=5)
    alerts = ('[[alert]]\nname = "chat"\ntype = "webhook"\nurl = "https://hooks.example.com/services/T00/B00/sesame42"\n'
              '[[alert]]\nname = "query"\ntype = "webhook"\nurl = "https://hooks.example.com?token=sesame43"\n')
    for form in ("--markdown", "--html"):
        page = written(tool, form, extra=alerts if form == "--markdown" else "").out
        assert "sesame" not in page and "hooks.example.com/***" in html.unescape(page).replace("\\*", "*")
