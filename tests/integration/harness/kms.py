"""A key service for tests: moto (scripts/install-moto.sh) with what kms_server.py adds to it, on loopback, which takes no request that is signed wrongly."""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3

from .places import OWNER, RUNNING_AS_ROOT, owner_folder

ROOT = Path(__file__).resolve().parents[3]
REGION = "eu-central-1"


def moto_prefix():
    prefix = Path(os.environ.get("PGMINT_TEST_MOTO") or ROOT / "build" / "moto")
    done = subprocess.run([ROOT / "scripts" / "install-moto.sh", prefix], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"scripts/install-moto.sh {prefix}: {done.stderr}"
    return prefix


class KmsServer:
    """Started on construction; `stop` ends it. `administrator` and `host` are credentials: (id, secret). signed=False: takes any signature, and none."""

    def __init__(self, home, signed=True):
        self.home, self.signed = owner_folder(home), signed
        self.process = self.log = None
        self.prefix = moto_prefix()
        self.start()
        try:
            self._make_users()
        except BaseException:
            self.stop()
            raise

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.log = self.home / "kms.log"
        # moto binds a port by its number only: the kernel gives a free one, and a start that lost the race for it is made again.
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            with open(self.log, "ab") as out:
                self.process = subprocess.Popen([sys.executable, Path(__file__).parent / "kms_server.py", self.prefix, str(self.port)], stdout=out, stderr=out,
                                                stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(self.home)})
            if self._answers():
                return
            self.stop()
        raise AssertionError(f"moto does not start: {self.log.read_text()[-2000:]}")

    def _answers(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5).close()
                return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait(20)

    def requests(self):
        """How many there were so far, of whatever kind."""
        return self.log.read_text().count('"POST / HTTP/1.1"')

    def client(self, service, credentials=("setup", "setup")):
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=credentials[0], aws_secret_access_key=credentials[1])

    def _make_users(self):
        iam = self.client("iam")
        self.administrator, self.host = self._user(iam, "administrator", "*"), self._user(iam, "host", ["kms:Decrypt", "kms:GenerateDataKey", "sts:AssumeRole"])
        self.stranger = self._user(iam, "stranger", ["s3:ListBuckets"])
        iam.create_role(RoleName="backup", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
        iam.put_role_policy(RoleName="backup", PolicyName="keys", PolicyDocument=self._policy(["kms:Decrypt", "kms:GenerateDataKey"]))
        self.role = "arn:aws:iam::123456789012:role/backup"
        if self.signed:
            request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})
            urllib.request.urlopen(request, timeout=10).close()
        self.kms = self.client("kms", self.administrator)

    @staticmethod
    def _policy(actions):
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})

    def _user(self, iam, name, actions):
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=self._policy(actions))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def make_key(self, alias=None):
        """A new key's ARN."""
        arn = self.kms.create_key()["KeyMetadata"]["Arn"]
        if alias:
            self.kms.create_alias(AliasName=f"alias/{alias}", TargetKeyId=arn)
        return arn

    def disable(self, arn):
        self.kms.disable_key(KeyId=arn.rsplit("/", 1)[1])  # moto knows the id alone here

    def schedule_deletion(self, arn):
        self.kms.schedule_key_deletion(KeyId=arn.rsplit("/", 1)[1], PendingWindowInDays=7)

    def deny(self, arn, *actions):
        statements = [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}]
        if actions:
            statements.append({"Effect": "Deny", "Principal": "*", "Action": list(actions), "Resource": "*"})
        self.kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def credentials_file(self, folder, credentials, profile="default", extra=""):
        """A file for AWS_SHARED_CREDENTIALS_FILE."""
        path = Path(folder) / f"credentials-{profile}"
        path.write_text(f"[{profile}]\naws_access_key_id = {credentials[0]}\naws_secret_access_key = {credentials[1]}\n{extra}")
        path.chmod(0o600)
        if RUNNING_AS_ROOT:
            os.chown(path, OWNER.pw_uid, OWNER.pw_gid)
        return path
