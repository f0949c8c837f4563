"""Roles: what pgmint asks of STS, and what a store then takes, with the RADOS gateway's own."""
import json
import os
import re
import subprocess

import pytest

from harness.objectstore import ACCESS_KEY, SECRET_KEY, ObjectStore
from harness.places import newest_binary


@pytest.fixture(scope="module")
def objects():
    store = ObjectStore()
    yield store
    store.stop()


def test_a_role_is_taken_on_and_its_credentials_are_taken(objects):
    """AssumeRole over TLS, a request signed with what it gave, a forged token, a role that is not there."""
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/pgmint"]}, "Action": ["sts:AssumeRole"]}]}
    rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}]}
    admin = ("radosgw-admin", "-n", "client.rgw", "--admin-socket=")
    made = json.loads(objects.run(*admin, "role", "create", "--role-name=backup", "--path=/", f"--assume-role-policy-doc={json.dumps(trust)}"))
    objects.run(*admin, "role-policy", "put", "--role-name=backup", "--policy-name=s3", f"--policy-doc={json.dumps(rights)}")
    done = subprocess.run([newest_binary().parent / "src" / "http" / "http_test", "--gtest_filter=AwsSts.OfARealStore*"], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "PGMINT_TEST_STS": objects.endpoint, "PGMINT_TEST_STS_CA_FILE": str(objects.ca_file), "PGMINT_TEST_STS_ROLE": made["Arn"],
                               "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY})
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\[  PASSED  \] 1 test", done.stdout), done.stdout[-500:]
    assert SECRET_KEY not in done.stdout + done.stderr
