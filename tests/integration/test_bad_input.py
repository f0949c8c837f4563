"""What a tired person types, and what a machine has wrong: a clear error, the right exit code, nothing changed."""
import os
import subprocess

import pytest

from harness.places import RUNNING_AS_ROOT, as_owner, run

pytestmark = pytest.mark.quick


def test_unknown_key_in_the_configuration_names_the_nearest(make):
    tool = make.pgmint(make.cluster(start=False)).init()
    good = tool.config.read_text()
    for wrong, right, near in (("data_directory", "data_directry", "data_directory"), ("connection", "conection", "connection"),
                               ("key_file", "keyfile", "key_file"), ("repository =", "repositry =", "repository"), ("[encryption]", "[encription]", "encryption")):
        tool.write(good.replace(wrong, right, 1))
        outcome = tool.refuses("list", code=3, naming=[right.split(" ")[0].strip("[]"), near])
        assert str(tool.config) in outcome.err


@pytest.mark.parametrize("text", ["this is not toml", "repository = 5\n", "repository = \"/x\"\n[cluster.main]\ndata_directory = 7\n", "\0\0\0", "[[cluster]]\n",
                                  "repository = \"/x\"\nrepository = \"/y\"\n", "repository = \"\"\n", "[cluster.\"../x\"]\ndata_directory=\"/tmp\"\n"],
                         ids=["text", "wrong type", "wrong type inside", "NUL", "array", "twice", "empty", "name with a path"])
def test_broken_configuration_names_file_and_place(make, text):
    tool = make.pgmint(make.cluster(start=False))
    tool.write(text)
    tool.refuses("list", code=3, naming=str(tool.config))
    tool.refuses("init", code=3, naming=str(tool.config))


def test_missing_configuration_says_where_it_looked(make):
    tool = make.pgmint()
    tool.config.unlink()
    tool.refuses("list", code=3, naming=str(tool.config))
    outcome = tool.run("list", code=3, config=False, env={"PGMINT_CONFIG": "/nonexistent/pgmint.toml"})
    assert "/nonexistent/pgmint.toml" in outcome.err


def test_unreadable_configuration(make):
    tool = make.pgmint()
    tool.config.chmod(0)
    tool.refuses("list", code=(3, 7), naming=str(tool.config))


@pytest.mark.parametrize("arguments", [
    ["backup", "--no-such-flag"], ["no-such-verb"], [], ["backup", "--type", "sideways"], ["wal"], ["wal", "push"], ["show"], ["hold", "X"], ["list", "a", "b", "c"], ["backup", "--max-rate", "fast"], ["backup", "--jobs", "0"], ["backup", "--jobs", "-3"],
    ["list", "--progress", "sometimes"], ["list", "--log-level", "loud"]], ids=lambda a: " ".join(a) or "nothing")
def test_wrong_usage_exits_2_and_says_what_is_right(make, arguments):
    tool = make.pgmint(make.cluster(start=False)).init()
    before = tool.snapshot()
    tool.refuses(*arguments, code=2)
    assert tool.snapshot() == before


def test_misspelt_verb_and_flag_name_the_nearest(make):
    tool = make.pgmint().init()
    tool.refuses("bakcup", code=2, naming="backup")
    tool.refuses("restore", "--too", "/x", code=2, naming="--to")


def test_repository_that_was_not_initialised(make):
    cluster = make.cluster()
    tool = make.pgmint(cluster)
    for arguments in (["list"], ["backup", "--type", "full"], ["verify"], ["restore", "--to", str(tool.home / "x")]):
        tool.refuses(*arguments, code=(4, 6), naming="init")
    assert not tool.repository.exists()
    assert not tool.key_file.exists()


def test_directory_with_other_things_is_not_taken_as_a_repository(make):
    tool = make.pgmint()
    run("mkdir", tool.repository)
    run("cp", "/etc/hostname", tool.repository / "file")
    tool.refuses("init", code=4, naming=str(tool.repository))
    assert os.listdir(tool.repository) == ["file"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_key_file_open_to_others_is_refused(make, mode):
    tool = make.pgmint(make.cluster(start=False)).init()
    tool.key_file.chmod(mode)
    tool.refuses("list", code=7, naming=[str(tool.key_file), "chmod 600"])


@pytest.mark.parametrize("content", ["", "my secret passphrase\n", "x" * 32, "00" * 32 + "\n"], ids=["empty", "passphrase", "32 bytes", "hex"])
def test_key_file_that_is_not_ours_is_refused(make, content):
    tool = make.pgmint(make.cluster(start=False)).init()
    tool.key_file.write_text(content)
    tool.refuses("list", code=7, naming=str(tool.key_file))


def test_init_refuses_a_key_file_that_is_not_ours_and_leaves_it(make):
    tool = make.pgmint()
    tool.key_file.write_text("precious")
    run("chmod", "600", tool.key_file, check=False)
    if RUNNING_AS_ROOT:
        os.chown(tool.key_file, tool.home.stat().st_uid, tool.home.stat().st_gid)
        os.chmod(tool.key_file, 0o600)
    tool.refuses("init", code=(4, 7), naming=str(tool.key_file))
    assert tool.key_file.read_text() == "precious" and not tool.repository.exists()


def test_missing_key_file_and_key_of_another_repository(make):
    cluster = make.cluster(start=False)
    tool, other = make.pgmint(cluster).init(), make.pgmint(cluster).init()
    mine = tool.key_file.read_bytes()
    tool.key_file.unlink()
    outcome = tool.refuses("list", code=7, naming=str(tool.key_file))
    assert "recovery" in outcome.err
    assert not tool.key_file.exists()
    run("cp", "-a", other.key_file, tool.key_file)
    tool.refuses("list", code=7)
    assert mine != tool.key_file.read_bytes()


def test_symlinked_parent_of_the_key_file_works(make):
    tool = make.pgmint(make.cluster(start=False)).init()
    run("ln", "-s", tool.home, tool.home / "link")
    tool.encryption["key_file"] = tool.home / "link" / tool.key_file.name
    tool.write()
    tool.run("list")


@pytest.mark.skipif(not RUNNING_AS_ROOT, reason="needs a second user")
def test_only_the_owner_of_the_cluster_may_back_it_up(make):
    cluster, tool = make.pair(rows=10)
    tool.backup()
    run("chmod", "755", tool.home)
    # As nobody, with a repository and key of its own: the data directory is not its.
    home = make.folder("nobody")
    os.chown(home, 65534, 65534)
    config = home / "pgmint.toml"
    config.write_text(tool.config.read_text().replace(str(tool.home), str(home)))
    os.chown(config, 65534, 65534)

    def as_nobody(*arguments):
        return subprocess.run([tool.binary, "--config", config, *arguments], user=65534, group=65534, extra_groups=[], cwd="/",
                              env={"PATH": os.environ["PATH"], "HOME": "/"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert as_nobody("init").returncode == 0
    done = as_nobody("backup", "--type", "full")
    assert done.returncode == 7 and str(cluster.data) in done.stderr, done
    # As root: PostgreSQL's files must not end up owned by root.
    target = make.folder("t") / "data"
    done = subprocess.run([tool.binary, "--config", tool.config, "restore", "--to", target], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    if done.returncode == 0:
        assert target.stat().st_uid == cluster.data.stat().st_uid
    else:
        assert done.returncode in (4, 7) and done.stderr


@pytest.mark.skipif(not RUNNING_AS_ROOT, reason="needs a second user")
def test_whoever_is_not_the_owner_is_told_who_is(make):
    cluster, tool = make.pair(rows=10)
    for path in (tool.home, tool.repository):
        run("chmod", "-R", "a+rX", path)
    done = subprocess.run([tool.binary, "--config", tool.config, "backup", "--type", "full"], user=65534, group=65534, extra_groups=[], cwd="/",
                          env={"PATH": os.environ["PATH"], "HOME": "/"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 7 and "postgres" in done.stderr and "hint:" in done.stderr, done


def test_server_down(make):
    cluster, tool = make.pair(rows=10)
    cluster.stop()
    before = tool.snapshot()
    outcome = tool.refuses("backup", "--type", "full", code=9, naming=str(cluster.sockets))
    assert "hint:" in outcome.err
    assert tool.snapshot() == before


def test_wrong_password_and_the_password_is_never_printed(make):
    cluster, tool = make.pair(rows=10)
    cluster.sql("set password_encryption = 'scram-sha-256'; create role keeper superuser login password 'right-one'")  # 13: md5 unless told
    hba = cluster.data / "pg_hba.conf"
    hba.write_text("local all postgres trust\nlocal all keeper scram-sha-256\n")
    cluster.reload()
    secret = "hunter2-is-wrong"
    for connection in (f"host={cluster.sockets} port=5432 user=keeper password={secret} dbname=postgres",
                       f"postgresql://keeper:{secret}@/postgres?host={cluster.sockets}&port=5432",
                       f"host={cluster.sockets} port=5433 user=keeper password='{secret}' dbname=postgres",
                       f"host={cluster.sockets} nonsense={secret} password={secret}"):
        tool.clusters["main"]["connection"] = connection
        tool.write()
        for arguments in (["backup", "--type", "full"], ["--log-level", "debug", "backup", "--type", "full"], ["doctor"], ["status"]):
            outcome = tool.run(*arguments, code=None)
            assert secret not in outcome.text, outcome
            if arguments[-1] == "full":
                assert outcome.code in (3, 9), outcome
    tool.clusters["main"]["connection"] = f"host={cluster.sockets} port=5432 user=keeper password=right-one dbname=postgres"
    tool.write()
    assert "right-one" not in tool.run("--log-level", "debug", "backup", "--type", "full").text


def test_connection_without_the_privilege(make):
    cluster, tool = make.pair(rows=10)
    cluster.sql("create role weak login")
    tool.clusters["main"]["connection"] = f"host={cluster.sockets} port=5432 user=weak dbname=postgres"
    tool.write()
    tool.refuses("backup", "--type", "full", code=9)
    assert tool.names() == [] if tool.run("list", "--json").json["clusters"] else True


def test_unknown_backup_and_cluster_names(make):
    cluster, tool = make.pair(rows=10)
    tool.backup()
    tool.refuses("show", "20200101T000000Z-full", code=1, naming="20200101T000000Z-full")
    tool.refuses("hold", "20200101T000000Z-full", "--reason", "x", code=1)
    tool.refuses("verify", "--backup", "20200101T000000Z-full", code=1)
    tool.refuses("list", "elsewhere", code=(1, 3), naming="elsewhere")
    tool.refuses("verify", "elsewhere", code=(1, 3), naming="elsewhere")
    tool.refuses("show", "../../etc/passwd", code=(1, 2))


def test_repository_directory_that_cannot_be_written(make):
    cluster, tool = make.pair(rows=10)
    run("chmod", "-R", "a-w", tool.repository)
    tool.refuses("backup", "--type", "full", code=(6, 7), naming=str(tool.repository))
    run("chmod", "-R", "u+w", tool.repository)
    tool.backup()


def test_data_directory_that_is_none(make):
    cluster, tool = make.pair(rows=10)
    tool.clusters["main"]["data_directory"] = tool.home
    tool.write()
    tool.refuses("backup", "--type", "full", code=(3, 4, 9), naming=str(tool.home))
    tool.clusters["main"]["data_directory"] = "/no/such/directory"
    tool.write()
    tool.refuses("backup", "--type", "full", code=(3, 4, 9), naming="/no/such/directory")


def test_closed_stdout_is_no_silent_success(make):
    _, tool = make.pair(rows=10)
    tool.backup()
    done = subprocess.run(["bash", "-c", f"'{tool.binary}' --config '{tool.config}' list --json > /dev/full"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, **as_owner(cwd="/"))
    assert done.returncode != 0 and done.stderr
