"""Keys that a PKCS#11 token wraps: slots, restores, refusals, tokens that are gone; beside Vault and key files. The token is SoftHSM2."""
import json
import os

import pytest

from harness.hsm import MODULE, Hsm
from harness.key_slots import KeySlots
from harness.places import give_to_owner
from harness.vault import VaultServer

TOKEN = "backup"
URI = f"pkcs11:token={TOKEN};object=pgmint"
SLOTS = KeySlots("pkcs11", URI)
opened_with, changed, slots = SLOTS.opened_with, SLOTS.changed, SLOTS.slots
SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"  # OpenSC's: writes down each call


@pytest.fixture
def hsm(work, monkeypatch):
    """A token `backup` with a key `pgmint`."""
    made = Hsm(work.fresh("hsm"))
    made.make_token(TOKEN)
    made.make_key(TOKEN, "pgmint")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def service(hsm, **more):
    settings = {"module": MODULE, "pin_file": hsm.pin_file(), **more}
    return "[pkcs11]\n" + "".join(f"{key} = {json.dumps(str(value))}\n" for key, value in settings.items() if value is not None)


@pytest.fixture
def tool(make, hsm):
    """A configuration with [pkcs11], and a repository that a key file opens."""
    return make.pgmint(make.cluster(start=False), extra=service(hsm)).init()


def test_a_token_opens_what_a_key_file_opened(hsm, tool):
    added = tool.run("key", "add", "--pkcs11", URI, "--note", "in the safe", "--json").json
    assert added["slot"].startswith("pkcs11-") and added["role"] == "root" and added["recovery_key"] is None
    (slot,) = slots(tool)
    full = f"pkcs11:token={TOKEN};serial={hsm.serial(TOKEN)};object=pgmint;id=%01"
    assert slot["key"] == full and slot["note"] == "in the safe" and slot["opened"] is None
    opened_with(tool, URI)
    check = tool.run("key", "check", "--json").json
    assert (check["slot"], check["kind"], check["key"], check["role"]) == (added["slot"], "pkcs11", full, "root")
    assert full in tool.run("key", "list").out and slots(tool)[0]["opened"]
    assert f"key service: opens slot {added['slot']}" in " ".join(tool.run("doctor", code=None).out.split())
    # As key list shows it, by id alone, by serial, and with the rest in the URI.
    for uri in (full, f"pkcs11:token={TOKEN};id=%01", f"pkcs11:serial={hsm.serial(TOKEN)};object=pgmint"):
        opened_with(tool, uri).run("list")
    tool.extra = ""
    opened_with(tool, f"{URI}?module-path={MODULE}&pin-source=file:{hsm.pin_file()}").run("list")


def test_backups_restore_through_a_token_alone(hsm, make):
    SLOTS.restore_alone(make, service(hsm))


def test_a_slot_is_bound_to_its_repository(hsm, tool, make):
    tool.run("key", "add", "--pkcs11", URI)
    (slot,) = slots(tool)
    other = make.pgmint(extra=tool.extra).init()
    stolen = bytearray((tool.repository / "keys" / slot["id"]).read_bytes())
    own = next((other.repository / "keys").glob("file-*")).read_bytes()
    stolen[16:32] = own[16:32]  # the repository's id, in clear in the header
    planted = other.repository / "keys" / slot["id"]
    planted.write_bytes(bytes(stolen))
    give_to_owner(planted)
    opened_with(other, URI)
    other.refuses("list", code=7, naming=["does not unwrap", "another repository", "pgmint key remove"])
    opened_with(other, key_file=other.key_file).run("list")


def refuse(hsm, tool, what):
    if what == "key deleted":
        hsm.remove_key(TOKEN, "pgmint")
    elif what == "key made anew":
        hsm.remove_key(TOKEN, "pgmint")
        hsm.make_key(TOKEN, "pgmint")
    elif what == "wrong PIN":
        hsm.pin_file("4711-wrong")
    elif what == "PIN for others to read":
        hsm.pin_file(mode=0o644)
    elif what == "token removed":
        hsm.remove_token(TOKEN)
    elif what == "module missing":
        changed(tool, service(hsm, module="/usr/lib/nobodys/module.so"))
    elif what == "no PIN":
        changed(tool, service(hsm, pin_file=None))
    elif what == "tampered":
        (slot,) = slots(opened_with(tool, key_file=tool.key_file))
        path = tool.repository / "keys" / slot["id"]
        content = bytearray(path.read_bytes())
        at = content.index(b"id=%01") + 30
        content[at] ^= 1
        path.write_bytes(bytes(content))
        opened_with(tool, URI)


@pytest.mark.parametrize("what, code, words", [("key deleted", 7, ['no AES key "pgmint"', "--list-objects", "recovery key"]), ("key made anew", 7, ["does not unwrap", "made anew"]),
                                               ("wrong PIN", 7, ["CKR_PIN_INCORRECT", "counts wrong tries", "pin_file"]), ("PIN for others to read", 7, ["chmod 600"]),
                                               ("token removed", 6, ["no such token", "backup", "--list-token-slots"]), ("module missing", 3, ["/usr/lib/nobodys/module.so", "[pkcs11]"]),
                                               ("no PIN", 3, ["pin_file", "pin-source"]), ("tampered", 7, ["damaged", "pgmint key remove"])])
def test_what_a_token_refuses_names_the_way_out(hsm, tool, what, code, words):
    tool.run("key", "add", "--pkcs11", URI)
    opened_with(tool, URI).run("list")
    refuse(hsm, tool, what)
    outcome = tool.refuses("list", code=code, naming=words)
    assert "4711" not in outcome.text
    assert tool.run("backup", code=None).code == code
    tool.run("doctor", code=code)
    opened_with(tool, key_file=tool.key_file).run("list")


def test_only_what_stays_in_the_token_gets_a_slot(hsm, tool):
    hsm.make_key(TOKEN, "weak", "02", kind="AES:16")
    tool.refuses("key", "add", "--pkcs11", f"pkcs11:token={TOKEN};object=weak", code=7, naming=["128 bits", "--keygen"])
    hsm.make_key(TOKEN, "loose", "03", sensitive=False)
    tool.refuses("key", "add", "--pkcs11", f"pkcs11:token={TOKEN};object=loose", code=7, naming="CKA_EXTRACTABLE")
    hsm.make_key(TOKEN, "pgmint", "04")
    tool.refuses("key", "add", "--pkcs11", URI, code=3, naming=["several", "id="])
    tool.run("key", "add", "--pkcs11", f"{URI};id=%04")
    assert len(slots(tool)) == 1
    for wrong, says in ((f"{URI}?pin-value=4711-user", "pin-value"), ("pkcs11:object=pgmint", "names no token"), ("backup", "pkcs11:token=TOKEN;object=KEY")):
        outcome = tool.refuses("key", "add", "--pkcs11", wrong, code=2, naming=says)
        assert "4711" not in outcome.text


def test_a_wrong_pin_is_tried_once_a_command(hsm, tool):
    """However many slots and keys there are: three tries may be all that a token gives."""
    second = hsm.make_key(TOKEN, "second", "02")
    for uri in (URI, second):
        tool.run("key", "add", "--pkcs11", uri)
        tool.run("key", "add", "--pkcs11", uri, "--role", "maintenance")
    calls = hsm.home / "calls"
    changed(tool, service(hsm, module=SPY, pin_file=hsm.pin_file("4711-wrong", name="wrong-pin")))
    opened_with(tool, URI, second)
    tool.run("list", code=7, env={"PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": str(calls)})
    assert calls.read_text().count(": C_Login\n") == 1, calls.read_text()
    # Nor by the next command, as archive_command would be one; only when the file has changed.
    tool.refuses("list", code=7, naming=["not asked again", "touch"], env={"PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": str(calls)})
    assert calls.read_text().count(": C_Login\n") == 1
    os.utime(hsm.home / "wrong-pin")
    tool.refuses("list", code=7, naming="CKR_PIN_INCORRECT", env={"PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": str(calls)})
    assert calls.read_text().count(": C_Login\n") == 2
    hsm.pin_file(name="wrong-pin")
    tool.run("list", env={"PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": str(calls)})
    changed(tool, service(hsm)).run("list")


def test_several_slots_at_once_whichever_is_away(hsm, work, tool, monkeypatch):
    """Vault, a token and a key file: each opens while all that are tried before it are away, and an outage of one is a warning, not an end."""
    vault = VaultServer(work.fresh("vault"))
    try:
        vault.allow("pgmint", "transit/encrypt/pgmint", "transit/decrypt/pgmint")
        by_vault = vault.make_key("transit/pgmint")
        token = vault.file("token", vault.make_token().text)
        tool.extra = service(hsm) + f'[vault]\naddress = "{vault.address}"\nca_file = "{vault.ca_file}"\ntoken_file = "{token}"\n'
        opened_with(tool, key_file=tool.key_file)
        host = tool.home / "host.key"
        tool.run("key", "add", "--vault", by_vault)
        tool.run("key", "add", "--pkcs11", URI)
        tool.run("key", "add", "--file", host, "--role", "host", "--cluster", "main")

        def opens(*order, key_file=None):
            tool.encryption = {}
            tool.write()
            lines = "".join(f"{kind} = {json.dumps(uri)}\n" for kind, uri in order) + (f"key_file = {json.dumps(str(key_file))}\n" if key_file else "")
            tool.config.write_text(tool.config.read_text().replace("[encryption]\n", f"[encryption]\n{lines}"))
            outcome = tool.run("key", "check", "--json")
            return outcome.json["kind"], outcome.err

        both = (("vault", by_vault), ("pkcs11", URI))
        for order in (both, both[::-1]):
            assert opens(*order)[0] == "pkcs11"
            vault.stop()  # the token opens, and Vault is not missed
            assert opens(*order) == ("pkcs11", "")
            hsm.config.rename(hsm.home / "away")  # both away: the host's key file, of another role, is what is left
            kind, told = opens(*order, key_file=host)
            assert kind == "key-file" and "PKCS#11" in told
            vault.start(vault.port)  # the token away: Vault opens, and the token is missed aloud
            kind, told = opens(*order, key_file=host)
            assert kind == "vault" and "PKCS#11" in told
            (hsm.home / "away").rename(hsm.config)
        # A root key file goes before both.
        vault.log.clear()
        assert opens(*both, key_file=tool.key_file) == ("key-file", "") and not vault.log
    finally:
        vault.stop()


def test_rotations_of_the_root_wrap_anew(hsm, tool, make):
    cluster = next(iter(make.clusters))
    cluster.archive_with(tool)
    cluster.start().make_table("t", 50)
    tool.backup()
    tool.run("key", "add", "--pkcs11", URI)
    (before,) = slots(tool)
    tool.refuses("key", "rotate", "--root", code=4, naming=["pkcs11-", "--pkcs11"])
    tool.run("key", "rotate", "--root", "--pkcs11", URI, "--yes")  # the printed recovery key goes
    (slot,) = slots(tool)
    assert slot["id"] != before["id"]
    opened_with(tool, URI)
    assert tool.run("key", "check", "--json").json["slot"] == slot["id"]
    assert len(tool.names()) == 1
    tool.run("key", "rotate", "--data")
    tool.run("verify", "--decompress")


def test_roles_through_a_token(hsm, tool):
    other = hsm.make_key(TOKEN, "collector", "02")
    tool.run("key", "add", "--pkcs11", URI, "--role", "host", "--cluster", "main")
    tool.run("key", "add", "--pkcs11", other, "--role", "maintenance")
    for uri, role in ((URI, "host"), (other, "maintenance")):
        opened_with(tool, uri)
        outcome = tool.run("key", "check", "--json")
        assert outcome.json["role"] == role and not outcome.err
        tool.refuses("key", "add", "--pkcs11", uri, code=7, naming="root")


def test_no_secret_is_told(hsm, tool):
    """Not in logs at the highest level, not in JSON, not in the repository; and the token's key is named in it."""
    outcomes = [tool.run("--log-level", "debug", "key", "add", "--pkcs11", URI, "--json")]
    opened_with(tool, URI)
    outcomes += [tool.run("--log-level", "debug", "key", "check"), tool.run("audit", "--json"), tool.run("runbook", "--to", tool.home / "runbook.html", code=None)]
    told = "".join(outcome.text for outcome in outcomes)
    for path in [tool.home / "runbook.html", *(p for p in tool.repository.rglob("*") if p.is_file())]:
        told += path.read_bytes().decode("latin-1") if path.exists() else ""
    assert "4711" not in told and "object=pgmint" in told
