"""Where things are and as whom they run: the tree, the binary, the work folder, the owner of clusters."""
import ctypes
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
RUNNING_AS_ROOT = os.getuid() == 0
OWNER = pwd.getpwnam("postgres") if RUNNING_AS_ROOT else pwd.getpwuid(os.getuid())


def become_subreaper():
    """Orphaned servers come to us, so that a killed postmaster can be reaped at once whatever PID 1 does."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def as_owner(**overrides):
    """Keyword arguments for subprocess: PostgreSQL and pgmint refuse root, so under root everything runs as postgres."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "XDG_"))}
    environment.update(HOME=OWNER.pw_dir, USER=OWNER.pw_name, LOGNAME=OWNER.pw_name, LC_ALL="C.UTF-8", TZ="UTC")
    environment.update(overrides.pop("env", {}))
    keywords = {"env": environment}
    if RUNNING_AS_ROOT:
        keywords.update(user=OWNER.pw_uid, group=OWNER.pw_gid, extra_groups=[])
    keywords.update(overrides)
    return keywords


def give_to_owner(path):
    if RUNNING_AS_ROOT:
        os.chown(path, OWNER.pw_uid, OWNER.pw_gid)
    return path


def owner_folder(path, mode=0o700):
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return give_to_owner(path)


def run(*arguments, check=True, timeout=60, **keywords):
    """A program as the owner; a failure is raised with its output in the message."""
    done = subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, **as_owner(cwd="/", **keywords))
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def wait_until(condition, what, timeout=30.0, every=0.02, progress=None):
    """Polls until condition() is truthy and returns that value. The only way tests wait for something. As long as progress() answers something new there is hope: the time begins again,
    ten times at most."""
    begun = deadline_from = time.monotonic()
    seen = progress() if progress else None
    while True:
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > deadline_from + timeout:
            last, seen = seen, progress() if progress else None
            if seen == last or now > begun + 10 * timeout:
                raise AssertionError(f"waited {now - begun:.0f} s in vain until {what}")
            deadline_from = now
        time.sleep(every)


def reachable_by_owner(path):
    return subprocess.run(["test", "-x", str(path)], **as_owner(cwd="/")).returncode == 0


def default_work_folder():
    """Memory where there is plenty (hundreds of small data directories are made and removed), else the tree."""
    try:
        free = os.statvfs("/dev/shm")
        if free.f_bavail * free.f_frsize > 6 << 30:
            return Path("/dev/shm/pgmint-test")
    except OSError:
        pass
    return TREE / "test-work"


class WorkFolder:
    """One folder for a whole run of the suite, and one short one for sockets (their paths end at 107 bytes)."""

    def __init__(self):
        wanted = Path(os.environ.get("PGMINT_TEST_WORK") or default_work_folder())
        wanted.mkdir(parents=True, exist_ok=True)
        # A clone under /root is closed to user postgres: then the work goes where it can be reached.
        base = wanted if reachable_by_owner(wanted) else Path("/var/tmp")
        self.path = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        self._base = base
        self.path.chmod(0o755)
        self.sockets = Path(tempfile.mkdtemp(prefix="pgmint-", dir="/tmp"))
        self.sockets.chmod(0o755)
        self._count = 0
        self._binary = None

    def fresh(self, name):
        self._count += 1
        return owner_folder(self.path / f"{self._count:03}-{name}")

    def fresh_socket_folder(self):
        self._count += 1
        return owner_folder(self.sockets / str(self._count))

    def binary(self):
        """A copy of the binary that the owner can execute wherever the tree lies."""
        if self._binary is None:
            source = newest_binary()
            self._binary = self.path / "bin" / "pgmint"
            owner_folder(self._binary.parent, 0o755)
            shutil.copy2(source, self._binary)
            self._binary.chmod(0o755)
        return self._binary

    def remove(self):
        shutil.rmtree(self.sockets, ignore_errors=True)
        if os.environ.get("PGMINT_TEST_KEEP") != "1":
            shutil.rmtree(self.path, ignore_errors=True)
            try:
                self._base.rmdir()  # unless another run is there
            except OSError:
                pass


def newest_binary():
    if "PGMINT_BIN" in os.environ:
        return Path(os.environ["PGMINT_BIN"])
    found = [p for p in (TREE / "build" / preset / "pgmint" for preset in ("release", "dev")) if p.exists()]
    assert found, "no pgmint binary: cmake --preset release && cmake --build --preset release"
    return max(found, key=lambda p: p.stat().st_mtime)


def server_programs(version):
    """bin folder of a PostgreSQL major version, or None when it is not installed."""
    places = [os.environ.get(f"PGMINT_PG{version}_BIN"), f"/usr/lib/postgresql/{version}/bin",
              *(Path(root) / str(version) / "usr/lib/postgresql" / str(version) / "bin"
                for root in (TREE / "build/postgres", "/var/tmp/pgmint-postgres"))]
    for place in places:
        if place and (Path(place) / "postgres").exists() and reachable_by_owner(place):
            return Path(place)
    return None


def flip(path):
    """Changes a byte in the middle; returns what puts it right."""
    good = path.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 4
    path.chmod(0o600)
    path.write_bytes(bad)
    return lambda: path.write_bytes(good)
