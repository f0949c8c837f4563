"""A machine of its own with a real systemd as PID 1 and a real journal: systemd-nspawn over this machine's own file system, to which it writes nothing."""
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from .places import OWNER, RUNNING_AS_ROOT, TREE, wait_until

BOOT_TIMEOUT = 120
# Of this machine's services none is to start there.
NO_SERVICES = ("etc/systemd/system/multi-user.target.wants", "etc/systemd/system/timers.target.wants", "etc/systemd/system/sockets.target.wants")
NETWORK_IS_THERE = "[Unit]\nDescription=The loopback device is all the network there is\n"


class NoMachine(Exception):
    """Why none can be had here."""


class Machine:
    """Boots on entry, is gone after `end()`. What it writes lies in memory: an overlay over / whose upper layer is `self.upper`."""

    def __init__(self):
        if not RUNNING_AS_ROOT:
            raise NoMachine("a machine with systemd needs root (mount, systemd-nspawn)")
        if not shutil.which("systemd-nspawn"):
            raise NoMachine("systemd-nspawn is not installed: scripts/setup.sh test")
        self.place = Path(tempfile.mkdtemp(prefix="pgmint-machine-", dir="/var/tmp"))
        self.root, self.upper, self.console = self.place / "root", self.place / "upper", self.place / "console"
        self.name = f"pgmint-{uuid.uuid4().hex[:12]}"
        self.process, self.leader, self.mounted = None, None, []
        try:
            self._mount("-t", "tmpfs", "-o", "size=2g", "tmpfs", self.place)
            for folder in (self.root, self.upper, self.place / "work"):
                folder.mkdir(mode=0o755)
            self._mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={self.upper},workdir={self.place / 'work'}", self.root)
        except subprocess.CalledProcessError as failed:
            self.end()
            raise NoMachine(f"no overlay can be mounted: {failed.stderr.strip()}") from None
        for wants in NO_SERVICES:
            shutil.rmtree(self.root / wants, ignore_errors=True)
        self.write("/etc/machine-id", uuid.uuid4().hex + "\n")
        self.write("/etc/systemd/system/network-online.target", NETWORK_IS_THERE)
        # A journal in memory that drops no line.
        self.write("/etc/systemd/journald.conf", "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nForwardToConsole=no\n")

    def _mount(self, *arguments):
        subprocess.run(["mount", *map(str, arguments)], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.mounted.append(arguments[-1])

    # ---- files

    def inside(self, path):
        """Where a path of the machine is to be found from here: as PID 1 sees it, with what it has mounted, once there is one."""
        return (Path(f"/proc/{self.leader}/root") if self.leader else self.root) / str(path).lstrip("/")

    def write(self, path, text, mode=0o644, owner=None):
        """A file, and the folders to it, which belong to the same owner where they are new."""
        file = self.inside(path)
        missing = [folder for folder in file.parents if not folder.exists()]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        for made in [file, *missing]:
            os.chown(made, *(owner or (0, 0)))
        return file

    def folder(self, path, owner=(OWNER.pw_uid, OWNER.pw_gid), mode=0o700):
        made = self.inside(path)
        made.mkdir(parents=True, exist_ok=True)
        made.chmod(mode)
        os.chown(made, *owner)
        return made

    # ---- running

    def boot(self):
        """Until PID 1 says that it has started what there is to start."""
        # The tree, with servers that were unpacked there, need not lie on the root's file system.
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--link-journal=no", "--private-network", "--console=pipe",
                                             f"--machine={self.name}", f"--bind-ro={TREE}", "-D", str(self.root), "-b", "systemd.unit=multi-user.target"],
                                            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.leader = wait_until(self._pid_1, "PID 1 is there", BOOT_TIMEOUT)
            wait_until(lambda: self.run("systemctl", "is-system-running", code=None).stdout.strip() in ("running", "degraded"), "the machine is up", BOOT_TIMEOUT, 0.1)
        except AssertionError as failed:
            text = self.console.read_text(errors="replace")
            self.end()
            raise NoMachine(f"systemd does not start in systemd-nspawn here: {failed}; {text}") from None
        return self

    def _pid_1(self):
        if self.process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {self.process.returncode}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return int(pid)
        return None

    def run(self, *arguments, code=0, user=None, timeout=60):
        """A program on the machine, as root or as `user`; the exit code that is expected, or None for any."""
        as_user = ["runuser", "-u", user, "--"] if user else []
        home = pwd.getpwnam(user or "root").pw_dir
        command = ["nsenter", "--target", str(self.leader), "--all", "env", "-i", "--chdir=/", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", f"HOME={home}", *as_user,
                   *map(str, arguments)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout)
        assert code is None or done.returncode == code, f"{' '.join(map(str, arguments))} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def properties(self, unit, *names):
        """What systemd says of a unit, {name: text}."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "--output=cat", "-u", unit).stdout

    def says(self, unit, *words, timeout=40):
        """Waits for a line in the journal of a unit that holds all the words; returns it."""
        def line():
            return next((text for text in self.journal(unit).splitlines() if all(word in text for word in words)), None)
        try:
            return wait_until(line, f"{unit} says {words}", timeout, 0.1)
        except AssertionError as failed:
            raise AssertionError(f"{failed}\n{self.journal(unit)}\n{self.run('systemctl', 'status', unit, '--no-pager', code=None).stdout}") from None

    def power_off(self, timeout=60):
        """As an administrator does; every unit is stopped in order."""
        self.run("systemctl", "poweroff", code=None)
        self.process.wait(timeout)
        self.process, self.leader = None, None

    def end(self):
        """Whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)  # systemd-nspawn ends PID 1, and with it everything
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None
        for place in reversed(self.mounted):
            for _ in range(100):  # what PID 1 had open may take a moment to go
                if subprocess.run(["umount", str(place)], stderr=subprocess.DEVNULL).returncode == 0:
                    break
                time.sleep(0.05)
        self.mounted = []
        if self.place.is_dir() and not os.path.ismount(self.place):
            shutil.rmtree(self.place)
