"""The binary under test with one configuration: run it, read its JSON, break its repository."""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .places import as_owner, give_to_owner, run

TIMEOUT = 90


class Outcome:
    """What a finished command left: exit code, stdout, stderr, seconds."""

    def __init__(self, arguments, code, out, err, seconds):
        self.arguments, self.code, self.out, self.err, self.seconds = arguments, code, out, err, seconds

    @property
    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError(f"stdout is not one JSON document:\n{self}") from None

    @property
    def text(self):
        return self.out + self.err

    def __str__(self):
        return f"$ pgmint {' '.join(self.arguments)}\nexit {self.code} after {self.seconds:.2f} s\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else json.dumps(str(value))


class Pgmint:
    """One configuration file, one repository. The clusters are Cluster objects or plain dictionaries of settings."""

    def __init__(self, work, clusters=(), repository=None, key_file=None, extra="", home=None):
        self.work = work
        self.home = home or work.fresh("pgmint")
        self.binary = work.binary()
        self.config = self.home / "pgmint.toml"
        is_url = repository and "://" in str(repository)
        self.repository = repository if is_url else Path(repository) if repository else self.home / "repository"
        self.key_file = Path(key_file) if key_file else self.home / "repository.key"
        self.extra = extra
        self.encryption = {"key_file": self.key_file}
        self.clusters = {}
        for cluster in clusters:
            self.add(cluster)
        self.write()

    def add(self, cluster, name=None, **settings):
        self.clusters[name or cluster.name] = {"data_directory": cluster.data, "connection": cluster.connection, "environment": "production", **settings}
        return self

    def write(self, text=None):
        """The configuration file from the fields, or any text."""
        if text is None:
            # What this host has seen of the log is kept per configuration: copies of one repository go separate ways here.
            lines = [f"repository = {toml_value(self.repository)}", f"state_directory = {toml_value(self.home / 'state')}", self.extra, "[encryption]"]
            lines += [f"{key} = {toml_value(value)}" for key, value in self.encryption.items()]
            for name, settings in self.clusters.items():
                lines += [f"[cluster.{name}]"] + [f"{key} = {toml_value(value)}" for key, value in settings.items()]
            text = "\n".join(lines) + "\n"
        self.config.write_text(text)
        self.config.chmod(0o640)
        give_to_owner(self.config)
        return self

    # ---- running

    def run(self, *arguments, code=0, timeout=TIMEOUT, cwd=None, env=None, prefix=(), config=True):
        """Runs `pgmint --config ... arguments`. code: the exit code expected, a tuple of them, or None for any."""
        command = [*map(str, prefix), str(self.binary)] + (["--config", str(self.config)] if config else []) + [str(a) for a in arguments]
        started = time.monotonic()
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout,
                                  stdin=subprocess.DEVNULL, **as_owner(cwd=cwd or self.home, env=env or {}))
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"$ {' '.join(command)}\nstill running after {timeout} s\n{late.stdout}\n{late.stderr}") from None
        outcome = Outcome([str(a) for a in arguments], done.returncode, done.stdout, done.stderr, time.monotonic() - started)
        if code is not None:
            allowed = code if isinstance(code, (tuple, set, frozenset, range)) else (code,)
            assert outcome.code in allowed, f"expected exit {code}\n{outcome}"
            if outcome.code not in (0, 1, 8, 10):  # 1, 8 and 10 may be findings on stdout, and so is what doctor says
                assert outcome.err.strip() or (arguments[0] == "doctor" and outcome.out.strip()), f"failed without a word on stderr\n{outcome}"
        assert outcome.code >= 0 or prefix, f"ended by signal {-outcome.code}\n{outcome}"
        return outcome

    def start(self, *arguments, env=None, prefix=(), **keywords):
        """The same in the background; the caller waits. Its own process group, so that it can be interrupted alone."""
        command = [*map(str, prefix), str(self.binary), "--config", str(self.config)] + [str(a) for a in arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
                                stdin=subprocess.DEVNULL, **as_owner(cwd=self.home, env=env or {}), **keywords)

    def refuses(self, *arguments, code, naming=(), **keywords):
        """The command fails with this code, its stderr names these things, and it does not look like a crash."""
        outcome = self.run(*arguments, code=code, **keywords)
        for word in [naming] if isinstance(naming, str) else naming:
            assert word.lower() in outcome.err.lower(), f"stderr does not name {word!r}\n{outcome}"
        return outcome

    # ---- the verbs that most tests need

    def init(self):
        self.run("init")
        return self

    def backup(self, *arguments, **keywords):
        """Takes a full backup; returns its JSON."""
        return self.run("backup", *arguments, "--type", "full", "--json", **keywords).json

    def list(self, cluster=None):
        """The JSON of the only, or of the named, cluster."""
        clusters = self.run("list", *([cluster] if cluster else []), "--json").json["clusters"]
        return next(c for c in clusters if cluster is None or c["name"] == cluster)

    def names(self, cluster=None):
        return [backup["name"] for backup in self.list(cluster)["backups"]]

    def restore(self, to, *arguments, **keywords):
        return self.run("restore", *arguments, "--to", to, **keywords)

    def push(self, segment_path, **keywords):
        """wal push as the archiver calls it: relative path, working directory = data directory."""
        path = Path(segment_path)
        return self.run("wal", "push", f"pg_wal/{path.name}", cwd=path.parent.parent, **keywords)

    # ---- the repository's files

    def copy(self, repository_too=True):
        """A second Pgmint over a copy of the repository, with the same key and clusters: to be damaged."""
        twin = Pgmint(self.work)
        twin.encryption = {"key_file": twin.key_file}
        run("cp", "-a", self.key_file, twin.key_file)
        if repository_too:
            run("cp", "-a", "--reflink=auto", self.repository, twin.repository)
        twin.clusters = {name: dict(settings) for name, settings in self.clusters.items()}
        return twin.write()

    def objects(self):
        """All object paths, sorted; lock or temporary files of a running process are not objects but are listed too."""
        return sorted(path for path in self.repository.rglob("*") if path.is_file())

    def objects_of(self, kind):
        """Objects of a kind: the part of the path that DESIGN names (log, snap, p, wal, keyring, ckpt, keys, format)."""
        return [path for path in self.objects() if kind in path.relative_to(self.repository).parts[:4]]

    def snapshot(self):
        """{path: (size, mtime_ns)} of the repository, and what its log says, to show that a command changed nothing. Left out are the notes that every
        command leaves in the log when it has run."""
        logged = self.objects_of("log")
        found = {str(p.relative_to(self.repository)): (p.stat().st_size, p.stat().st_mtime_ns) for p in self.objects() if p not in set(logged)}
        if logged:
            entries = self.run("audit", "list", "--json").json["entries"]
            found["log"] = [(e["cluster"], e["seq"], e["kind"], e["detail"]) for e in entries if e.get("event") not in ("command", "configuration changed")]
        return found


def tree_snapshot(folder):
    """{path: (mode, size, mtime_ns)} of a folder and all in it; access times are left out."""
    result = {}
    for base, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(base, name)
            status = os.lstat(path)
            result[os.path.relpath(path, folder)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return result


def end(process, how=signal.SIGKILL, timeout=20):
    """Signals a process that start() made, reaps it, and returns (exit code, stdout, stderr)."""
    if process.poll() is None:
        os.killpg(process.pid, how)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def wait_for_phase(process, phase):
    """Reads the events of a command started with --progress json until it has come to a phase."""
    for line in process.stderr:
        if f'"phase":"{phase}"' in line.replace(" ", ""):
            return
    raise AssertionError(f"it ended with {process.wait()} before phase {phase}")


def catches(pid, number):
    """Whether a process has a handler for a signal. One that is gone has none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(caught and caught[0] >> (number - 1) & 1)


def traced(tracer, binary):
    """The process of `binary` that strace runs and that is ready for SIGINT, else None. strace also has children of its own
    for a moment, in which it tries what the kernel can do: only one of that name counts, and all of it is looked at once."""
    try:
        children = Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split()
        named = [int(child) for child in children if os.readlink(f"/proc/{child}/exe") == str(binary)]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((child for child in named if catches(child, signal.SIGINT)), None)


def remove_tree(path):
    shutil.rmtree(path, ignore_errors=True)
