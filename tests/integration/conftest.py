"""Fixtures: `cluster` and `pgmint` make what a test needs and end what it started."""
import os
import random
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.cluster import Cluster  # noqa: E402
from harness.pgmint import Pgmint  # noqa: E402
from harness.places import WorkFolder, become_subreaper, server_programs  # noqa: E402

ALL_VERSIONS = (13, 15, 17, 18)


def pytest_addoption(parser):
    parser.addoption("--pg-versions", default="", help="comma-separated majors, the first for every test; default: 15 for every test, and whatever else is installed")


def pytest_configure(config):
    become_subreaper()
    config.addinivalue_line("markers", "quick: part of ./test.sh --fast")
    config.addinivalue_line("markers", "slow: many crash points; minutes")
    config.addinivalue_line("markers", "versions: runs once for each installed PostgreSQL major")


def versions(config):
    chosen = config.getoption("--pg-versions")
    if chosen:
        return [int(v) for v in chosen.split(",")]
    return [v for v in ALL_VERSIONS if server_programs(v)]


def pytest_generate_tests(metafunc):
    if "version" in metafunc.fixturenames:
        metafunc.parametrize("version", versions(metafunc.config), ids=lambda v: f"pg{v}")


@pytest.fixture(scope="session")
def base_version(pytestconfig):
    """The major of every test that does not ask for one: 15, or the first of --pg-versions."""
    chosen = versions(pytestconfig)
    assert chosen, "no PostgreSQL is installed: scripts/setup.sh test"
    return chosen[0] if pytestconfig.getoption("--pg-versions") or 15 not in chosen else 15


@pytest.fixture(scope="session")
def work():
    folder = WorkFolder()
    yield folder
    folder.remove()


class Makers:
    """Makes clusters, of `version` unless told, and configurations; remembers them so that nothing outlives the test."""

    def __init__(self, work, version):
        self.work, self.version, self.clusters, self.homes = work, version, [], []

    def folder(self, name):
        """An empty folder of the owner, removed at the end."""
        path = self.work.fresh(name)
        self.homes.append(path)
        return path

    def cluster(self, name="main", version=None, start=True, archive=None, data=None, **initdb):
        made = Cluster(self.work, name, version or self.version, data=data)
        self.clusters.append(made)
        self.homes.append(made.home)
        if data is None:
            made.initdb(**initdb)
            if archive:
                made.archive_with(archive)
            if start:
                made.start()
        return made

    def opened(self, data, version=None, name="restored"):
        """A server over a directory that exists, such as a restored one; not started yet."""
        return self.cluster(name, version, data=data)

    def pgmint(self, *clusters, **keywords):
        made = Pgmint(self.work, clusters, **keywords)
        self.homes.append(made.home)
        return made

    def pair(self, version=None, rows=2000, init=True, pgmint=None, name="main", **initdb):
        """A cluster that archives through a configured pgmint; table t holds `rows` rows."""
        made = self.cluster(name, version, start=False, **initdb)
        tool = pgmint or self.pgmint()
        tool.add(made).write()
        made.archive_with(tool)
        if init:
            tool.init()
        made.start()
        if rows:
            made.make_table("t", rows)
        return made, tool

    def end(self):
        for cluster in self.clusters:
            if cluster.pid():
                cluster.stop("immediate")
        if os.environ.get("PGMINT_TEST_KEEP") != "1":
            for home in self.homes:
                shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def make(work, base_version):
    makers = Makers(work, base_version)
    yield makers
    makers.end()


@pytest.fixture(scope="module")
def make_shared(work, base_version):
    makers = Makers(work, base_version)
    yield makers
    makers.end()


@pytest.fixture
def pair(make):
    """(cluster, pgmint): running, archiving, repository initialised, table t of 2,000 rows."""
    return make.pair()


@pytest.fixture
def seed():
    value = int(os.environ.get("PGMINT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"PGMINT_TEST_SEED={value}")
    return value


@pytest.fixture(scope="module")
def scene(make_shared):
    """One repository with history, shared by the tests of a module, which must not change it (copy() first).

    Table t: 1000 rows at the backup `first`, then at each mark one more batch of 100, each mark with its time, LSN, xid and
    restore point; then the backup `second`; then 100 rows more. All WAL is archived; the server still runs.
    """
    cluster, pgmint = make_shared.pair(rows=1000)
    first = pgmint.backup()["name"]
    marks = {}
    for label in ("a", "b", "c"):
        cluster.add_rows("t", 100)
        link = cluster.connect()
        with link.cursor() as cursor:
            cursor.execute("begin; insert into t values (%s, 'mark', now()) returning txid_current()", (-1 - len(marks),))
            xid = cursor.fetchone()[0]
            cursor.execute("commit; select clock_timestamp()::text, pg_current_wal_lsn()::text")
            at, lsn = cursor.fetchone()
            cursor.execute("select pg_create_restore_point(%s)", (f"mark-{label}",))
        link.close()
        marks[label] = SimpleNamespace(rows=cluster.one("select count(*) from t"), digest=cluster.digest(), time=at, lsn=lsn, xid=xid, name=f"mark-{label}")
    cluster.archive_now()
    second = pgmint.backup()["name"]
    cluster.add_rows("t", 100)
    cluster.archive_now()
    return SimpleNamespace(cluster=cluster, pgmint=pgmint, first=first, second=second, marks=marks, final=cluster.digest(),
                           final_rows=cluster.one("select count(*) from t"))
