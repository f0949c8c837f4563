"""Faults from outside: small file systems, power loss, and system calls that fail or kill (strace)."""
import contextlib
import os
import shutil
import subprocess

import pytest

from .places import RUNNING_AS_ROOT, give_to_owner, wait_until


def sh(*arguments, check=True):
    return subprocess.run([str(a) for a in arguments], check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextlib.contextmanager
def small_filesystem(place, size_mb):
    """A tmpfs of so many MB at `place`, owned by the owner. Skips where mounting is not possible, saying so."""
    place.mkdir(exist_ok=True)
    if not RUNNING_AS_ROOT or sh("mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0700", "tmpfs", place, check=False).returncode != 0:
        pytest.skip("cannot mount a tmpfs here (needs root with CAP_SYS_ADMIN)")
    try:
        give_to_owner(place)
        yield place
    finally:
        unmount(place)


def unmount(place):
    wait_until(lambda: sh("umount", place, check=False).returncode == 0, f"{place} can be unmounted", timeout=15)


class PowerCutDisk:
    """ext4 on a loop file. cut() is a power failure: what was not fsynced is gone, then the disk is mounted again."""

    def __init__(self, home, size_mb=256):
        self.image, self.place = home / "disk.img", home / "disk"
        self.place.mkdir(exist_ok=True)
        if not RUNNING_AS_ROOT or not shutil.which("xfs_io") or not shutil.which("mkfs.ext4"):
            pytest.skip("a power cut needs root, xfs_io and mkfs.ext4")
        with open(self.image, "wb") as file:
            file.truncate(size_mb << 20)
        sh("mkfs.ext4", "-q", "-F", self.image)
        if sh("mount", "-o", "loop", self.image, self.place, check=False).returncode != 0:
            pytest.skip("cannot mount ext4 on a loop device here")
        give_to_owner(self.place)
        os.chmod(self.place, 0o700)

    def cut(self):
        """Nothing after this reaches the disk; open files fail. Call mend() once every user of the disk is gone."""
        sh("xfs_io", "-x", "-c", "shutdown", self.place)

    def mend(self):
        unmount(self.place)
        sh("mount", "-o", "loop", self.image, self.place)

    def remove(self):
        try:
            unmount(self.place)  # a push that the archiver began may still hold it for a moment
        except AssertionError:
            sh("umount", "-l", self.place, check=False)  # it goes with its last user
        with contextlib.suppress(OSError):
            os.unlink(self.image)


def strace(inject, when=None, follow=True):
    """Command prefix that makes system calls fail or kill: strace("fsync:signal=KILL", when=3), strace("write:error=ENOSPC", when=5)."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    calls = inject.split(":")[0]
    where = f"{inject}:when={when}" if when is not None else inject
    fast = [] if "signal=" in inject else ["--seccomp-bpf"]  # with it, injected signals are not delivered (strace 6.1)
    return ["strace", *(["-f"] if follow else []), *fast, "-qqq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={where}"]
