"""kms_server.py PREFIX PORT: moto's KMS, STS and IAM on loopback, started by kms.py in a process of its own.

moto keeps keys, aliases, contexts, and checks signatures by botocore once it is told to. What AWS does beyond that, and pgmint's words rest on, is added
here: a key that is disabled or to be deleted gives nothing, KeyId must be the key that wrapped, and a key's policy may deny.
"""
import json
import sys

sys.path.insert(0, f"{sys.argv[1]}/usr/lib/python3/dist-packages")

from moto.core.exceptions import JsonRESTError  # noqa: E402
from moto.kms.responses import KmsResponse  # noqa: E402
from moto.server import main  # noqa: E402


class Refused(JsonRESTError):
    code = 400


def denies(key, action):
    statements = json.loads(key.policy).get("Statement", []) if key.policy else []
    return any(each["Effect"] == "Deny" and action in each["Action"] for each in statements)


def guarded(original, action):
    def answer(self):
        self._validate_key_id(self._get_param("KeyId"))
        key = self.kms_backend.describe_key(self._get_param("KeyId"))
        if denies(key, f"kms:{action}"):
            raise Refused("AccessDeniedException", f"the caller is not authorized to perform: kms:{action} on resource: {key.arn}")
        if key.key_state == "Disabled":
            raise Refused("DisabledException", f"{key.arn} is disabled.")
        if key.key_state == "PendingDeletion":
            raise Refused("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        if action == "Decrypt":
            wrapped_by = self._get_param("CiphertextBlob")[:36].decode("ascii", "replace")
            if wrapped_by in self.kms_backend.keys and wrapped_by != key.id:
                raise Refused("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
        return original(self)
    return answer


KmsResponse.decrypt = guarded(KmsResponse.decrypt, "Decrypt")
KmsResponse.generate_data_key = guarded(KmsResponse.generate_data_key, "GenerateDataKey")
main(["-H", "127.0.0.1", "-p", sys.argv[2]])
