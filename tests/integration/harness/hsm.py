"""PKCS#11 tokens for tests: SoftHSM2, spoken to by the programs that an administrator uses (softhsm2-util, OpenSC's pkcs11-tool)."""
import os
import re

from .places import give_to_owner, owner_folder, run

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


class Hsm:
    """A folder of tokens of their own. pgmint finds it by `environment`."""

    def __init__(self, home):
        self.home = owner_folder(home)
        owner_folder(self.home / "tokens")
        self.config = self.home / "softhsm2.conf"
        self.config.write_text(f"directories.tokendir = {self.home / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
        give_to_owner(self.config)

    @property
    def environment(self):
        return {"SOFTHSM2_CONF": str(self.config)}

    def run(self, *arguments, check=True):
        return run(*arguments, check=check, env=self.environment)

    def make_token(self, label, pin="4711-user"):
        self.run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "4711-officer")

    def remove_token(self, label):
        self.run("softhsm2-util", "--delete-token", "--token", label)

    def tool(self, token, *arguments, pin="4711-user", check=True):
        return self.run("pkcs11-tool", "--module", MODULE, "--token-label", token, "--login", "--pin", pin, *arguments, check=check)

    def make_key(self, token, label, identity="01", kind="AES:32", sensitive=True):
        self.tool(token, "--keygen", "--key-type", kind, "--label", label, "--id", identity, *(["--sensitive"] if sensitive else ["--extractable"]))
        return f"pkcs11:token={token};object={label}"

    def remove_key(self, token, label):
        self.tool(token, "--delete-object", "--type", "secrkey", "--label", label)

    def serial(self, token):
        listed = self.run("pkcs11-tool", "--module", MODULE, "--list-token-slots").stdout
        for slot in listed.split("Slot ")[1:]:
            if re.search(rf"token label\s*: {re.escape(token)}\n", slot):
                return re.search(r"serial num\s*: (\S+)", slot)[1]
        raise AssertionError(f"no token {token}\n{listed}")

    def pin_file(self, pin="4711-user", name="pin", mode=0o600):
        path = self.home / name
        path.write_text(pin + "\n")
        os.chmod(path, mode)
        return give_to_owner(path)
