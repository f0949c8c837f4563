"""Keys that AWS KMS wraps: slots, restores, refusals, outages. The service is moto, behind signatures that botocore checks."""
import contextlib
import socket

import pytest

from harness.key_slots import KeySlots
from harness.kms import KmsServer
from harness.places import give_to_owner, owner_folder


@pytest.fixture(scope="module")
def kms(work):
    server = KmsServer(work.fresh("kms"))
    yield server
    server.stop()


@pytest.fixture
def aws(kms, work, monkeypatch):
    """Credentials of the host's user in a file, and nothing else of AWS in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    folder = owner_folder(work.fresh("aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(kms.credentials_file(folder, kms.host)))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", kms.endpoint)
    return folder


def service(kms, **more):
    return "[kms]\n" + "".join(f'{key} = "{value}"\n' for key, value in {"endpoint": kms.endpoint, "region": "eu-central-1", **more}.items())


@pytest.fixture
def tool(make, kms, aws):
    """A configuration with [kms], and a repository that a key file opens."""
    made = make.pgmint(make.cluster(start=False), extra=service(kms))
    return made.init()


def uri(arn):
    return f"awskms:///{arn}"


SLOTS = KeySlots("kms")
opened_with, slots = SLOTS.opened_with, SLOTS.slots


def test_a_kms_slot_opens_what_a_key_file_opened(kms, tool):
    arn = kms.make_key(alias="opens")
    added = tool.run("key", "add", "--kms", "awskms:///alias/opens", "--note", "by kms", "--json").json
    assert added["slot"].startswith("kms-") and added["role"] == "root" and added["recovery_key"] is None
    (slot,) = slots(tool)
    assert slot["key"] == arn and slot["note"] == "by kms" and slot["opened"] is None
    opened_with(tool, "awskms:///alias/opens")
    check = tool.run("key", "check", "--json").json
    assert (check["slot"], check["kind"], check["key"], check["role"]) == (added["slot"], "kms", arn, "root")
    assert arn in tool.run("key", "list").out and slots(tool)[0]["opened"]
    assert f"key service: opens slot {added['slot']}" in " ".join(tool.run("doctor", code=None).out.split())
    opened_with(tool, uri(arn))
    tool.run("key", "check")
    before = kms.requests()
    tool.run("list")
    assert kms.requests() == before + 1, "each command asks once"


def test_backups_restore_through_kms_alone(kms, make, aws):
    """init, backup, WAL and restore where no key file ever existed; the service does not see the repository's keys."""
    SLOTS.restore_alone(make, service(kms), uri(kms.make_key()))


def test_several_slots_at_once_and_a_key_that_is_gone(kms, tool):
    """Two keys and a key file: whichever is left opens, and an outage of one is no outage."""
    first, second = kms.make_key(), kms.make_key()
    for arn in (first, second):
        tool.run("key", "add", "--kms", uri(arn))
    assert {slot["key"] for slot in slots(tool)} == {first, second}
    opened_with(tool, uri(first), uri(second))
    tool.run("key", "check")
    kms.disable(first)
    opens = tool.run("key", "check", "--json").json
    assert opens["key"] == second
    opened_with(tool, uri(second))
    outcome = tool.run("key", "check")
    assert "warning" not in outcome.err.lower(), f"another key's slot is no complaint\n{outcome}"
    # With the key file in the configuration too KMS is not asked at all.
    opened_with(tool, uri(first), key_file=tool.key_file)
    assert tool.run("key", "check", "--json").json["kind"] == "key-file"


def test_roles_through_kms(kms, tool):
    arn = kms.make_key()
    other = kms.make_key()
    tool.run("key", "add", "--kms", uri(arn), "--role", "host", "--cluster", "main")
    tool.run("key", "add", "--kms", uri(other), "--role", "maintenance")
    assert {slot["key"]: slot["role"] for slot in slots(tool)} == {arn: "host", other: "maintenance"}
    for key, role in ((arn, "host"), (other, "maintenance")):
        opened_with(tool, uri(key))
        assert tool.run("key", "check", "--json").json["role"] == role
        tool.refuses("key", "add", "--kms", uri(key), code=7, naming="root")


@pytest.mark.parametrize("what, words", [("disabled", ["DisabledException", "enable-key"]), ("deleted", ["KMSInvalidStateException", "cancel-key-deletion"]),
                                         ("denied", ["AccessDeniedException", "kms:Decrypt"]), ("unknown", ["NotFoundException", "recovery key"])])
def test_a_refusal_is_exit_7_and_names_the_way_out(kms, tool, what, words):
    arn = kms.make_key()
    tool.run("key", "add", "--kms", uri(arn))
    opened_with(tool, uri(arn))
    tool.run("list")
    if what == "disabled":
        kms.disable(arn)
    elif what == "deleted":
        kms.schedule_deletion(arn)
    elif what == "denied":
        kms.deny(arn, "kms:Decrypt")
    else:
        opened_with(tool, "awskms:///alias/nobody-has-it")
    tool.refuses("list", code=7, naming=words)
    if what != "denied":
        assert tool.run("backup", code=None).code == 7
    opened_with(tool, key_file=tool.key_file)
    tool.run("list")


def test_a_slot_is_bound_to_its_repository(kms, tool, make):
    """The object of one repository's slot below another one's keys/: the service refuses to unwrap it there."""
    arn = kms.make_key()
    tool.run("key", "add", "--kms", uri(arn))
    (slot,) = slots(tool)
    other = make.pgmint(extra=service(kms)).init()
    stolen = bytearray((tool.repository / "keys" / slot["id"]).read_bytes())
    own = next((other.repository / "keys").glob("file-*")).read_bytes()
    stolen[16:32] = own[16:32]  # the repository's id, in clear in the header
    planted = other.repository / "keys" / slot["id"]
    planted.write_bytes(bytes(stolen))
    give_to_owner(planted)
    opened_with(other, uri(arn))
    other.refuses("list", code=7, naming=["InvalidCiphertextException", "another repository"])
    opened_with(other, key_file=other.key_file)
    other.run("list")


def test_a_service_that_is_away_is_exit_6(kms, tool):
    arn = kms.make_key()
    tool.run("key", "add", "--kms", uri(arn))
    with contextlib.closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        tool.extra = tool.extra.replace(kms.endpoint, f"http://127.0.0.1:{closed.getsockname()[1]}")
        opened_with(tool, uri(arn))
        tool.refuses("list", code=6, naming="AWS KMS")
        tool.run("doctor", code=6)
        before = slots(opened_with(tool, key_file=tool.key_file))
        tool.refuses("key", "add", "--kms", uri(arn), code=6)
        assert slots(tool) == before
        # Both configured: the key file opens, and nobody waits for the service.
        opened_with(tool, uri(arn), key_file=tool.key_file)
        tool.run("list")


def test_a_key_that_cannot_unwrap_gets_no_slot(kms, tool):
    """GenerateDataKey is allowed and Decrypt is not: such a slot would be found out on the day of the restore."""
    arn = kms.make_key()
    kms.deny(arn, "kms:Decrypt")
    tool.refuses("key", "add", "--kms", uri(arn), code=7, naming=["no slot was made", "kms:Decrypt"])
    assert not slots(tool)
    for wrong in ("alias/pgmint", "awskms://alias/pgmint", "awskms:///"):
        tool.refuses("key", "add", "--kms", wrong, code=2, naming="awskms:///")


def test_rotations_keep_the_kms_slot(kms, tool, make):
    arn = kms.make_key()
    cluster = next(iter(make.clusters))
    cluster.archive_with(tool)
    cluster.start().make_table("t", 50)
    tool.backup()
    tool.run("key", "add", "--kms", uri(arn))
    tool.refuses("key", "rotate", "--root", code=4, naming="kms-")
    tool.run("key", "rotate", "--root", "--kms", uri(arn), "--yes")  # the printed recovery key goes
    (slot,) = slots(tool)
    opened_with(tool, uri(arn))
    assert tool.run("key", "check", "--json").json["slot"] == slot["id"]
    assert len(tool.names()) == 1
    tool.run("key", "rotate", "--data")
    tool.run("verify", "--decompress")


def test_credentials_come_from_the_chain(kms, tool, aws, monkeypatch):
    """A role on top of a profile, keys of the environment, those of somebody else, and none."""
    arn = kms.make_key()
    tool.run("key", "add", "--kms", uri(arn))
    opened_with(tool, uri(arn))
    (aws / "config").write_text(f"[profile backup]\nrole_arn = {kms.role}\nsource_profile = default\n")
    give_to_owner(aws / "config")
    plain = tool.extra
    for more in ({"role_arn": kms.role}, {"profile": "backup"}):
        tool.extra = service(kms, **more)
        opened_with(tool, uri(arn))
        tool.run("list")
    tool.extra = plain
    opened_with(tool, uri(arn))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", kms.stranger[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", kms.stranger[1])
    tool.refuses("list", code=7, naming="AWS KMS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", kms.host[1])
    outcome = tool.refuses("list", code=7, naming="AWS KMS")
    assert kms.host[1] not in outcome.text
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", kms.host[0])
    tool.run("list")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws / "absent"))
    tool.refuses("list", code=3, naming=["no AWS credentials", "AWS_ACCESS_KEY_ID is not set", "AWS_EC2_METADATA_DISABLED"])


def test_a_web_identity_takes_on_its_role(make, aws, work, monkeypatch):
    """As in a Kubernetes cluster of AWS: a token in a file, no keys anywhere. This service asks for no signatures, as moto checks those of the role's callers alone."""
    server = KmsServer(work.fresh("web-identity"), signed=False)
    try:
        tool = make.pgmint(make.cluster(start=False), extra=service(server)).init()
        token = aws / "token"
        token.write_text("ey.web.identity\n")
        give_to_owner(token)
        for name, value in {"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": server.role, "AWS_SHARED_CREDENTIALS_FILE": aws / "absent",
                            "AWS_ENDPOINT_URL_STS": server.endpoint}.items():
            monkeypatch.setenv(name, str(value))
        before = server.requests()
        tool.run("key", "add", "--kms", uri(server.make_key()))
        assert server.requests() == before + 4, "the key, the role, wrapping, unwrapping"
        token.unlink()
        outcome = tool.refuses("key", "add", "--kms", "awskms:///alias/x", code=7, naming=["web identity", "token"])
        assert "ey.web" not in outcome.text
    finally:
        server.stop()


def test_no_secret_is_told(kms, tool):
    """Not in logs at the highest level, not in JSON, not in the repository; and the service's key is named in it."""
    arn = kms.make_key()
    outcomes = [tool.run("--log-level", "debug", "key", "add", "--kms", uri(arn), "--json")]
    opened_with(tool, uri(arn))
    outcomes += [tool.run("--log-level", "debug", "key", "check"), tool.run("audit", "--json"), tool.run("runbook", "--to", tool.home / "runbook.html", code=None)]
    told = "".join(outcome.text for outcome in outcomes)
    for path in [tool.home / "runbook.html", *(p for p in tool.repository.rglob("*") if p.is_file())]:
        told += path.read_bytes().decode("latin-1") if path.exists() else ""
    for secret in (kms.host[0], kms.host[1]):
        assert secret not in told
    assert arn in told


def test_a_slot_of_an_unknown_provider_says_which(tool):
    """What a newer pgmint wrote, and what lacks what its provider needs: named, and no obstacle for other slots."""
    source = next((tool.repository / "keys").glob("file-*"))
    for number, name, says in ((5, "vault-0badcafe", "cannot be read"), (9, "newer-0badcafe", "key provider 9 is not one")):
        changed = bytearray(source.read_bytes())
        at = changed.index(bytes([1, 1, 1]), 64)  # field 1, one byte long: the provider
        changed[at + 2] = number
        planted = tool.repository / "keys" / name
        planted.write_bytes(bytes(changed))
        give_to_owner(planted)
        assert name in tool.run("key", "list").out
        tool.run("list")
        opened_with(tool, "awskms:///alias/none")
        tool.refuses("list", code=7, naming=[name, says])
        opened_with(tool, key_file=tool.key_file)
        planted.unlink()
