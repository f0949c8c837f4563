"""Keys that HashiCorp Vault's transit engine wraps: slots, restores, refusals, outages, tokens. The service is a stand-in that really encrypts (harness/vault.py)."""
import json
import os
import re
import time

import pytest

from harness.key_slots import KeySlots
from harness.places import give_to_owner
from harness.vault import VaultServer


@pytest.fixture(scope="module")
def shared_vault(work):
    server = VaultServer(work.fresh("vault"))
    yield server
    server.stop()


@pytest.fixture
def vault(shared_vault, monkeypatch):
    """A Vault with a key pgmint, whose policy lets encrypt and decrypt with it and nothing else; nothing of Vault in the environment."""
    for name in ("VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT"):
        monkeypatch.delenv(name, raising=False)
    shared_vault.sealed, shared_vault.moved_to = False, None
    shared_vault.keys[""] = {}
    shared_vault.make_key("transit/pgmint")
    shared_vault.allow("pgmint", "transit/encrypt/pgmint", "transit/decrypt/pgmint")
    shared_vault.log.clear()
    return shared_vault


URI = "vault:///transit/pgmint"
SLOTS = KeySlots("vault", URI)
opened_with, changed, slots = SLOTS.opened_with, SLOTS.changed, SLOTS.slots


def service(vault, **more):
    """[vault] with a token of the policy, unless `more` says who we are."""
    settings = {"address": vault.address, "ca_file": vault.ca_file, **more}
    if not {"token_file", "role_id"} & set(settings):
        settings["token_file"] = vault.file("token", vault.make_token().text)
    return "[vault]\n" + "".join(f"{key} = {json.dumps(str(value))}\n" for key, value in settings.items() if value is not None)


@pytest.fixture
def tool(make, vault):
    """A configuration with [vault], and a repository that a key file opens."""
    return make.pgmint(make.cluster(start=False), extra=service(vault)).init()


def test_a_vault_slot_opens_what_a_key_file_opened(vault, tool):
    added = tool.run("key", "add", "--vault", URI, "--note", "by vault", "--json").json
    assert added["slot"].startswith("vault-") and added["role"] == "root" and added["recovery_key"] is None
    (slot,) = slots(tool)
    assert slot["key"] == URI and slot["note"] == "by vault" and slot["opened"] is None
    opened_with(tool, URI)
    check = tool.run("key", "check", "--json").json
    assert (check["slot"], check["kind"], check["key"], check["role"]) == (added["slot"], "vault", URI, "root")
    assert URI in tool.run("key", "list").out and slots(tool)[0]["opened"]
    assert f"key service: opens slot {added['slot']}" in " ".join(tool.run("doctor", code=None).out.split())
    vault.log.clear()
    tool.run("list")
    assert vault.requests() == ["/v1/transit/decrypt/pgmint", "/v1/auth/token/lookup-self"], "each command asks once, and looks after its token"
    assert set(vault.keys[""]) == {"transit/pgmint"}


def test_backups_restore_through_vault_alone(vault, make):
    SLOTS.restore_alone(make, service(vault))


def test_init_makes_a_slot_for_each_key_that_is_configured(vault, make):
    second = vault.make_key("transit/second")
    vault.allow("pgmint", *(f"transit/{action}/{key}" for action in ("encrypt", "decrypt") for key in ("pgmint", "second")))
    tool = make.pgmint(extra=service(vault))
    opened_with(tool, URI, second, key_file=tool.key_file)
    made = tool.run("init", "--json").json
    assert sorted(str(slot["key"]) for slot in made["slots"]) == ["None", "None", URI, second]
    for uri in (URI, second):
        assert opened_with(tool, uri).run("key", "check", "--json").json["key"] == uri


def test_a_slot_is_bound_to_its_repository(vault, tool, make):
    """The object of one repository's slot below another one's keys/, and its wrapped key in a slot that is otherwise that other one's."""
    tool.run("key", "add", "--vault", URI)
    (slot,) = slots(tool)
    other = make.pgmint(extra=tool.extra).init()
    stolen = bytearray((tool.repository / "keys" / slot["id"]).read_bytes())
    own = next((other.repository / "keys").glob("file-*")).read_bytes()
    stolen[16:32] = own[16:32]  # the repository's id, in clear in the header
    planted = other.repository / "keys" / slot["id"]
    planted.write_bytes(bytes(stolen))
    give_to_owner(planted)
    opened_with(other, URI)
    other.refuses("list", code=7, naming=["authentication failed", "another repository", "pgmint key remove"])
    opened_with(other, key_file=other.key_file)
    other.run("list")


@pytest.mark.parametrize("kind, derived", [("aes256-gcm96", True), ("chacha20-poly1305", False)])
def test_keys_of_other_types(vault, tool, make, kind, derived):
    vault.make_key("transit/pgmint", kind, derived)
    tool.run("key", "add", "--vault", URI)
    opened_with(tool, URI).run("list")


def test_what_cannot_be_bound_gets_no_slot(vault, tool):
    """A key that does not authenticate; and a Vault that does not know associated_data, with a plain key and with a derived one."""
    vault.make_key("transit/pgmint", "rsa-4096")
    tool.refuses("key", "add", "--vault", URI, code=7, naming=["non-AEAD", "aes256-gcm96"])
    vault.make_key("transit/pgmint")
    vault.binds = False
    try:
        tool.refuses("key", "add", "--vault", URI, code=7, naming=["no slot was made", "derived=true"])
        assert not slots(tool)
        vault.make_key("transit/pgmint", derived=True)
        tool.run("key", "add", "--vault", URI)
    finally:
        vault.binds = True


def test_a_key_that_is_not_there_is_not_made(vault, tool):
    """Where the token may create, Vault's encrypt makes the key: a slip of the pen would be a new key with no policy."""
    tool.extra = service(vault, token_file=vault.file("root", vault.root.text))
    opened_with(tool, key_file=tool.key_file)
    tool.refuses("key", "add", "--vault", "vault:///transit/pgmnt", code=7, naming=["encryption key not found", "vault write -f transit/keys/pgmnt"])
    tool.refuses("key", "add", "--vault", "vault:///trnsit/pgmint", code=7, naming=["no handler for route", "vault secrets list"])
    assert set(vault.keys[""]) == {"transit/pgmint"} and not slots(tool)
    for wrong in ("transit/pgmint", "vault://transit/pgmint", "vault:///pgmint", "vault:///transit/../pgmint", "vault:///transit/a b"):
        tool.refuses("key", "add", "--vault", wrong, code=2, naming="vault:///transit/KEY")


def test_rotation_in_vault_and_versions(vault, tool):
    """Old ciphertexts open after a rotation; not when their version is excluded, and the way out leads out."""
    tool.run("key", "add", "--vault", URI)
    opened_with(tool, URI)
    key = vault.key("transit/pgmint")
    key.rotate()
    tool.run("list")
    key.minimum = 2
    outcome = tool.refuses("list", code=7, naming=["too old", "vault:v1", "min_decryption_version", "pgmint key rotate --root"])
    assert "vault write transit/keys/pgmint/config min_decryption_version" in outcome.err
    opened_with(tool, key_file=tool.key_file).run("list")
    # The old slot is not what a new one needs.
    (old,) = slots(tool)
    tool.run("key", "add", "--vault", URI)
    tool.run("key", "remove", old["id"])
    opened_with(tool, URI).run("list")
    # Brought back from an older state of Vault: the version that wrapped is missing.
    del key.versions[2]
    key.minimum = 1
    tool.refuses("list", code=7, naming="too new")


def refuse(vault, tool, what):
    if what == "deleted":
        del vault.keys[""]["transit/pgmint"]
    elif what == "another key of that name":
        vault.make_key("transit/pgmint")
    elif what == "denied":
        vault.allow("pgmint")
    elif what == "token has ended":
        vault.tokens.clear()
    elif what == "no such mount":
        vault.mounts[""].clear()
    elif what == "tampered":
        (slot,) = slots(opened_with(tool, key_file=tool.key_file))
        path = tool.repository / "keys" / slot["id"]
        content = bytearray(path.read_bytes())
        at = content.index(b"vault:v1:") + 20
        content[at] = ord("A") if content[at] != ord("A") else ord("B")
        path.write_bytes(bytes(content))
        opened_with(tool, URI)


@pytest.mark.parametrize("what, words", [("deleted", ["encryption key not found", "recovery key"]), ("another key of that name", ["authentication failed", "made anew"]),
                                         ("denied", ["permission denied", 'path "transit/decrypt/pgmint" { capabilities = ["update"] }']),
                                         ("token has ended", ["permission denied", "vault token lookup"]), ("no such mount", ["no handler for route", "vault secrets list"]),
                                         ("tampered", ["damaged", "pgmint key remove"])])
def test_a_refusal_is_exit_7_and_names_the_way_out(vault, tool, what, words):
    tool.run("key", "add", "--vault", URI)
    opened_with(tool, URI).run("list")
    refuse(vault, tool, what)
    try:
        tool.refuses("list", code=7, naming=words)
        assert tool.run("backup", code=None).code == 7
        tool.run("doctor", code=7)
        opened_with(tool, key_file=tool.key_file).run("list")
    finally:
        vault.mounts[""].add("transit")


def kernel_keeps_keys():
    """Some containers forbid keyrings(7); pgmint then keeps nothing."""
    return os.path.exists("/proc/key-users") and open("/proc/key-users").read().strip() != ""


@pytest.mark.skipif(not kernel_keeps_keys(), reason="no keyrings in this kernel")
def test_while_vault_is_away_what_writes_goes_on_with_the_key_that_it_last_gave(make, vault):
    cluster, tool = make.pair(pgmint=make.pgmint(extra=service(vault)))
    tool.run("key", "add", "--vault", URI)
    opened_with(tool, URI)
    tool.run("backup")
    vault.sealed = True
    again = tool.run("backup")
    assert "using the key that it gave" in again.err and "Vault is sealed" in again.err
    cluster.add_rows("t", 100)
    cluster.archive_now(timeout=60)
    # Who reads is told; and nothing of the key is in a file, an argument list or an environment.
    tool.refuses("list", code=6, naming="Vault is sealed")
    tool.refuses("restore", "--to", make.folder("clone") / "data", code=6, naming="Vault is sealed")
    vault.sealed = False
    expected = cluster.digest()
    cluster.archive_now(timeout=60)
    target = make.folder("clone") / "data"
    tool.restore(target)
    clone = make.opened(target, name="clone").start().wait_promoted()
    assert clone.digest() == expected
    # What it refuses counts at once, and is forgotten.
    vault.allow("pgmint", "transit/encrypt/pgmint")
    tool.refuses("backup", code=7)
    vault.sealed = True
    tool.refuses("backup", code=6, naming="no key of it has been used here")
    # And where none is to be kept, none is.
    vault.sealed = False
    vault.allow("pgmint", "transit/encrypt/pgmint", "transit/decrypt/pgmint")
    tool.config.write_text(tool.config.read_text().replace("[encryption]\n", "[encryption]\nservice_key_cache = 0\n"))
    tool.run("backup")
    vault.sealed = True
    tool.refuses("backup", code=6)


def test_a_vault_that_is_away_sealed_or_not_the_active_node_is_exit_6(vault, tool):
    tool.run("key", "add", "--vault", URI)
    opened_with(tool, URI)
    vault.sealed = True
    tool.refuses("list", code=6, naming=["Vault is sealed", "vault operator unseal"])
    assert len([path for path in vault.requests("decrypt/pgmint")]) < 8, "a sealed Vault is not asked again and again"
    vault.sealed, vault.moved_to = False, "https://other.example:8200"
    tool.refuses("list", code=6, naming=["other.example:8200", "active node"])
    vault.moved_to = None
    vault.stop()
    try:
        tool.refuses("list", code=6, naming=f"localhost:{vault.port}")
        tool.run("doctor", code=6)
        before = slots(opened_with(tool, key_file=tool.key_file))
        tool.refuses("key", "add", "--vault", URI, code=6)
        assert slots(tool) == before
        opened_with(tool, URI, key_file=tool.key_file).run("list")
    finally:
        vault.start(vault.port)
    opened_with(tool, URI).run("list")


def test_an_outage_of_vault_is_none_where_another_secret_opens(vault, tool):
    """A root slot of Vault's is tried before a host slot (key_objects.h): with Vault away the key file of the host opens, and the outage is a warning. The other
    way round, the key file's slot gone, Vault opens."""
    host = tool.home / "host.key"
    tool.run("key", "add", "--file", host, "--role", "host", "--cluster", "main")
    tool.run("key", "add", "--vault", URI)
    opened_with(tool, URI, key_file=host)
    assert tool.run("key", "check", "--json").json["kind"] == "vault"
    vault.stop()
    try:
        outcome = tool.run("key", "check", "--json")
        assert outcome.json["kind"] == "key-file" and outcome.json["role"] == "host"
        assert f"localhost:{vault.port}" in outcome.err
        alone = tool.run("list", env={"PGMINT_KEY_FILE": str(host)})
        assert not alone.err, "whoever names a key wants no other one asked"
    finally:
        vault.start(vault.port)
    opened_with(tool, key_file=tool.key_file)
    (slot,) = [each for each in slots(tool, "key-file") if each["role"] == "host"]
    tool.run("key", "remove", slot["id"])
    assert opened_with(tool, URI, key_file=host).run("key", "check", "--json").json["kind"] == "vault"


def test_rotations_of_the_root_wrap_anew(vault, tool, make):
    cluster = next(iter(make.clusters))
    cluster.archive_with(tool)
    cluster.start().make_table("t", 50)
    tool.backup()
    tool.run("key", "add", "--vault", URI)
    vault.key("transit/pgmint").rotate()
    tool.refuses("key", "rotate", "--root", code=4, naming=["vault-", "--vault"])
    tool.run("key", "rotate", "--root", "--vault", URI, "--yes")  # the printed recovery key goes
    (slot,) = slots(tool)
    assert b"vault:v2:" in (tool.repository / "keys" / slot["id"]).read_bytes()
    opened_with(tool, URI)
    assert tool.run("key", "check", "--json").json["slot"] == slot["id"]
    assert len(tool.names()) == 1
    tool.run("key", "rotate", "--data")
    tool.run("verify", "--decompress")


def test_roles_through_vault(vault, tool):
    other = vault.make_key("transit/collector")
    vault.allow("pgmint", *(f"transit/{action}/{key}" for action in ("encrypt", "decrypt") for key in ("pgmint", "collector")))
    tool.run("key", "add", "--vault", URI, "--role", "host", "--cluster", "main")
    tool.run("key", "add", "--vault", other, "--role", "maintenance")
    for uri, role in ((URI, "host"), (other, "maintenance")):
        opened_with(tool, uri)
        vault.log.clear()
        assert tool.run("key", "check", "--json").json["role"] == role
        assert len(vault.requests("decrypt/pgmint") + vault.requests("decrypt/collector")) == 1, "no key is tried on another one's slot"
        tool.refuses("key", "add", "--vault", uri, code=7, naming="root")


def test_logging_in_by_approle(vault, tool):
    """A token for each command, revoked when it ends; batch tokens end by themselves. What refuses says so without the secret."""
    for kind, requests in (("service", ["/v1/auth/approle/login", "/v1/transit/decrypt/pgmint", "/v1/auth/token/revoke-self"]),
                           ("batch", ["/v1/auth/approle/login", "/v1/transit/decrypt/pgmint"])):
        role, secret = vault.make_role(kind=kind)
        tool.extra = service(vault, role_id=role, secret_id_file=vault.file("secret-id", secret))
        if not slots(opened_with(tool, key_file=tool.key_file)):
            tool.run("key", "add", "--vault", URI)
        opened_with(tool, URI)
        before = len(vault.tokens)
        vault.log.clear()
        tool.run("list")
        assert vault.requests() == requests
        assert len(vault.tokens) == before + (kind == "batch")
    role, secret = vault.make_role(mount="machines")
    changed(tool, service(vault, role_id=role, secret_id_file=vault.file("secret-id", secret), approle_mount="machines")).run("list")
    vault.roles[("machines", role)]["secrets"].clear()
    outcome = tool.refuses("list", code=7, naming=["invalid role or secret ID", "secret-id"])
    assert secret not in outcome.text
    changed(tool, service(vault, role_id=role, secret_id_file=vault.file("secret-id", secret), approle_mount="nowhere"))
    tool.refuses("list", code=7, naming="approle_mount")
    vault.roles[("machines", role)].update(secrets={secret}, policies=[])
    changed(tool, service(vault, role_id=role, secret_id_file=vault.file("secret-id", secret), approle_mount="machines"))
    tool.refuses("list", code=7, naming=["the AppRole's policy must hold", "transit/decrypt/pgmint"])


def test_a_token_near_its_end_is_renewed_or_warned_of(vault, tool):
    tool.run("key", "add", "--vault", URI)

    def with_token(token):
        changed(tool, service(vault, token_file=vault.file("token", token.text)))
        vault.log.clear()
        return tool.run("list")

    fresh = vault.make_token(ttl=3600, renewable=True, limit=7200)
    outcome = with_token(fresh)
    assert not vault.requests("renew-self") and not outcome.err
    fresh.ends = time.time() + 600
    outcome = with_token(fresh)
    assert vault.requests("renew-self") and fresh.left() > 3000 and not outcome.err
    tool.run("list")
    assert len(vault.requests("renew-self")) == 1, "once is enough"
    fresh.ends = fresh.limit = time.time() + 600
    assert "cannot be renewed beyond" in with_token(fresh).err
    fixed = vault.make_token(ttl=3600)
    fixed.ends = time.time() + 600
    outcome = with_token(fixed)
    assert "not renewable" in outcome.err and "AppRole" in outcome.err and fixed.text not in outcome.text
    # One that may not even look itself up does what it may.
    assert not with_token(vault.make_token(["pgmint", "no-default"], ttl=3600, renewable=True)).err


def test_where_the_token_and_the_address_come_from(vault, tool, monkeypatch):
    """The configuration, else the environment as the vault program reads it."""
    tool.run("key", "add", "--vault", URI)
    changed(tool, "")
    tool.refuses("list", code=3, naming=["VAULT_ADDR", "[vault]"])
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    tool.refuses("list", code=3, naming=["token_file", "VAULT_TOKEN"])
    token = vault.make_token()
    monkeypatch.setenv("VAULT_TOKEN", token.text)
    tool.refuses("list", code=3, naming="certificate")
    monkeypatch.setenv("VAULT_CACERT", str(vault.ca_file))
    tool.run("list")
    monkeypatch.setenv("VAULT_ADDR", "http://vault.example:8200")
    tool.refuses("list", code=3, naming=["VAULT_ADDR", "without TLS"])
    monkeypatch.setenv("VAULT_TOKEN", "hvs.nobodys")
    changed(tool, service(vault)).run("list")
    path = vault.file("token", token.text, mode=0o640)
    changed(tool, service(vault, token_file=path))
    tool.refuses("list", code=7, naming=f"chmod 600 {path}")
    changed(tool, service(vault, role_id="x", secret_id_file=None))
    tool.refuses("list", code=3, naming="secret_id_file")
    changed(tool, service(vault, token_file=vault.file("token", "two words")))
    tool.refuses("list", code=7, naming="visible characters")


def test_namespaces(vault, tool, monkeypatch):
    """By header, from the configuration or the environment; or as the first part of the path, where Vault takes it too."""
    vault.make_key("transit/pgmint", namespace="team")
    tool.extra = service(vault, namespace="team")
    opened_with(tool, key_file=tool.key_file).run("key", "add", "--vault", URI)
    opened_with(tool, URI).run("list")
    assert {namespace for _, _, namespace, _ in vault.log} == {"team"}
    changed(tool, service(vault))
    tool.refuses("list", code=7, naming="authentication failed")
    monkeypatch.setenv("VAULT_NAMESPACE", "team")
    tool.run("list")
    changed(tool, service(vault, namespace="nobodys"))
    tool.refuses("list", code=7, naming="in namespace nobodys")


def test_a_mount_that_was_moved(vault, tool):
    """vault secrets move: the key keeps its name, and the slot its wrapped key."""
    tool.run("key", "add", "--vault", URI)
    vault.mounts[""].add("moved/pg")
    vault.keys[""]["moved/pg/pgmint"] = vault.keys[""].pop("transit/pgmint")
    vault.allow("pgmint", "moved/pg/decrypt/pgmint")
    opened_with(tool, "vault:///moved/pg/pgmint").run("list")


def test_only_tls_1_3_unless_told_and_a_known_authority(vault, work, tool):
    tool.run("key", "add", "--vault", URI)
    old = VaultServer(work.fresh("old-vault"), tls="1.2")
    try:
        old.keys, old.tokens, old.policies = vault.keys, vault.tokens, vault.policies
        changed(tool, service(old))
        tool.refuses("list", code=3, naming="TLS 1.3")
        changed(tool, service(old, tls_min="1.2"))
        tool.run("list")
        assert "tls_min of [vault]" in tool.run("doctor", code=None).out
        changed(tool, service(vault, ca_file=old.ca_file))
        tool.refuses("list", code=3, naming="certificate")
    finally:
        old.stop()
    tool.write(tool.config.read_text().replace(vault.address, "http://vault.example:8200"))
    tool.refuses("list", code=3, naming="without TLS")


def test_no_secret_is_told(vault, tool):
    """Not in logs at the highest level, not in JSON, not in the repository; and the service's key is named in it."""
    outcomes = [tool.run("--log-level", "debug", "key", "add", "--vault", URI, "--json")]
    opened_with(tool, URI)
    outcomes += [tool.run("--log-level", "debug", "key", "check"), tool.run("audit", "--json"), tool.run("runbook", "--to", tool.home / "runbook.html", code=None)]
    token = (vault.home / "token").read_text().strip()
    role, secret = vault.make_role()
    changed(tool, service(vault, role_id=role, secret_id_file=vault.file("secret-id", secret)))
    outcomes.append(tool.run("--log-level", "debug", "key", "check"))
    told = "".join(outcome.text for outcome in outcomes)
    for path in [tool.home / "runbook.html", *(p for p in tool.repository.rglob("*") if p.is_file())]:
        told += path.read_bytes().decode("latin-1") if path.exists() else ""
    assert token not in told and secret not in told and not re.search(r"hv[sb]\.", told)
    assert URI in told
    assert os.stat(vault.home / "token").st_mode & 0o077 == 0
