"""Configuration: taken with owner, mode and links, compared, written out again; what cannot be read is told."""
import json
import os
import stat

import pytest

from harness.places import give_to_owner


@pytest.fixture
def host(make):
    """A server, and an application's files beside it."""
    cluster = make.cluster()
    application = make.folder("application")
    (application / "app.yml").write_text("port: 8080\nworkers: 4\n")
    (application / "secret.key").write_bytes(bytes(range(256)))
    (application / "secret.key").chmod(0o600)
    (application / "conf.d").mkdir()
    (application / "conf.d" / "empty.conf").write_text("")
    (application / "current").symlink_to("app.yml")
    for path in [application, *application.rglob("*")]:
        if not path.is_symlink():
            give_to_owner(path)
    tool = make.pgmint()
    tool.add(cluster, bin_directory=cluster.bin).write()
    # Lists are not what the harness writes.
    tool.write(tool.config.read_text() + f'config_paths = ["{application}", "{application}/*.yml"]\n')
    return cluster, tool.init(), application


def take(tool, code=0):
    return tool.run("backup", "--type", "config", "--json", code=code).json


def name_paths(tool, old, *new):
    """Other files than the fixture names."""
    tool.write(tool.config.read_text().replace(f'["{old}"', "[" + ", ".join(f'"{path}"' for path in new)))


def test_what_is_taken_comes_out_as_it_was(host, make):
    cluster, tool, application = host
    cluster.sql("alter system set work_mem = '7MB'")
    taken = take(tool)
    assert taken["type"] == "config" and taken["warnings"] == []
    out = make.folder("out") / "tree"
    tool.run("export", taken["name"], "--to", out)
    below = out / str(application).lstrip("/")
    assert (below / "app.yml").read_text() == "port: 8080\nworkers: 4\n"
    assert (below / "secret.key").read_bytes() == bytes(range(256))
    assert stat.S_IMODE((below / "secret.key").stat().st_mode) == 0o600
    assert (below / "conf.d" / "empty.conf").read_text() == ""
    assert os.readlink(below / "current") == "app.yml"
    data = out / str(cluster.data).lstrip("/")
    for name in ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"):
        assert (data / name).read_bytes() == (cluster.data / name).read_bytes()
    settings = {row["name"]: row for row in json.loads((out / "settings.json").read_text())}
    assert len(settings) > 300 and settings["port"]["setting"] == "5432"
    assert "plpgsql" in (out / "extensions.json").read_text() and "CREATE ROLE postgres" in (out / "globals.sql").read_text()
    tool.run("verify", "--decompress")
    assert str(application / "app.yml") in tool.run("show", taken["name"]).out
    tool.refuses("export", taken["name"], "--to", out, code=4, naming=["not empty"])


def test_two_backups_are_compared_and_the_second_stores_what_changed(host):
    cluster, tool, application = host
    first = take(tool)
    assert tool.run("diff", first["name"], first["name"]).out.strip() == "no differences"
    (application / "app.yml").write_text("port: 8080\nworkers: 8\n")
    (application / "secret.key").chmod(0o640)
    (application / "new.conf").write_text("x\n")
    give_to_owner(application / "new.conf")
    (application / "conf.d" / "empty.conf").unlink()
    (application / "current").unlink()
    (application / "current").symlink_to("new.conf")
    cluster.sql("alter system set work_mem = '7MB'")
    cluster.reload()
    second = take(tool)
    found = tool.run("diff", first["name"], second["name"], "--json", code=1).json["differences"]
    by_path = {one["path"]: one for one in found}
    assert "-workers: 4" in by_path[str(application / "app.yml")]["diff"] and "+workers: 8" in by_path[str(application / "app.yml")]["diff"]
    assert "0640" in by_path[str(application / "secret.key")]["what"] and by_path[str(application / "secret.key")]["diff"] is None
    assert by_path[str(application / "new.conf")]["what"] == "added"
    assert by_path[str(application / "conf.d" / "empty.conf")]["what"] == "removed"
    assert "link to new.conf" in by_path[str(application / "current")]["what"]
    assert "work_mem" in by_path["settings.json"]["diff"]
    assert second["stored_bytes"] < first["stored_bytes"]


def test_it_is_no_backup_of_the_data_to_status(host):
    """What brings back no row does not make the newest backup younger; a dump is told apart as well."""
    cluster, tool, _ = host
    cluster.archive_with(tool).restart()
    config = take(tool)["name"]
    only = tool.run("status", "--json", code=10).json["clusters"][0]
    assert (only["last_backup"], only["last_dump"], only["last_config"]["name"]) == (None, None, config)
    assert "newest backup" not in tool.run("status", code=10).out
    full = tool.backup()["name"]
    dump = tool.run("backup", "--type", "logical", "--json").json["name"]
    config = take(tool)["name"]
    now = tool.run("status", "--json", code=None).json["clusters"][0]
    assert [now[which]["name"] for which in ("last_backup", "last_dump", "last_config")] == [full, dump, config]
    told = tool.run("status", code=None).out
    for what, name in (("backup", full), ("dump", dump), ("configuration backup", config)):
        assert f"  newest {what}: {name}, " in told


def test_without_the_server_its_files_are_taken_all_the_same(host, make):
    cluster, tool, application = host
    cluster.stop()
    taken = take(tool, code=9)
    assert any("could not be asked" in warning for warning in taken["warnings"])
    assert taken["name"] in tool.names()
    out = make.folder("out") / "tree"
    tool.run("export", taken["name"], "--to", out)
    assert (out / str(cluster.data).lstrip("/") / "postgresql.conf").exists()
    assert not (out / "settings.json").exists()


@pytest.mark.parametrize("what", ["pattern", "absent", "unreadable", "dangling", "folder"])
def test_what_cannot_be_had_is_named_and_the_rest_is_kept(host, make, what):
    """No exit 0 where something that was asked for is missing."""
    cluster, tool, application = host
    lost = {"pattern": application / "*.nothing", "absent": application / "gone.yml", "dangling": application / "link"}.get(what, application / "closed")
    named = application
    if what == "dangling":
        lost.symlink_to("nowhere")
    elif what in ("unreadable", "folder"):
        lost.mkdir() if what == "folder" else lost.write_text("secret")
        lost.chmod(0)
    name_paths(tool, application, named, lost)
    answer = tool.run("backup", "--type", "config", "--json", code=6)
    assert lost.name in "".join(answer.json["warnings"]) and lost.name in answer.err
    out = make.folder("out") / "tree"
    tool.run("export", answer.json["name"], "--to", out)
    assert (out / str(application).lstrip("/") / "app.yml").exists()


def test_a_link_that_is_named_comes_with_its_file(host, make):
    cluster, tool, application = host
    elsewhere = make.folder("elsewhere")
    (elsewhere / "real.conf").write_text("shared = yes\n")
    (cluster.data / "pg_ident.conf").rename(elsewhere / "pg_ident.conf")
    (cluster.data / "pg_ident.conf").symlink_to(elsewhere / "pg_ident.conf")
    (application / "real.conf").symlink_to(elsewhere / "real.conf")
    name_paths(tool, application, application / "real.conf")
    out = make.folder("out") / "tree"
    tool.run("export", take(tool)["name"], "--to", out)
    for path in (elsewhere / "real.conf", elsewhere / "pg_ident.conf"):
        assert (out / str(path).lstrip("/")).read_text() == path.read_text()
    assert os.readlink(out / str(application / "real.conf").lstrip("/")) == str(elsewhere / "real.conf")


def test_refusals(host):
    cluster, tool, application = host
    taken = take(tool)
    tool.refuses("restore", "--backup", taken["name"], "--to", tool.home / "x", code=4, naming=[taken["name"]])
    tool.refuses("restore-db", "--db", "x", "--backup", taken["name"], code=4, naming=[taken["name"]])
    dump = tool.run("backup", "--type", "logical", "--json").json
    tool.refuses("diff", taken["name"], dump["name"], code=4, naming=[dump["name"]])
