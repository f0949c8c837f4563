"""What tests of key services share: configurations that open a repository by them alone, and the main job with nothing else."""
import json


class KeySlots:
    """Of one kind ("kms", "vault", "pkcs11"). `uri`: the key that most tests mean."""

    def __init__(self, kind, uri=None):
        self.kind, self.uri = kind, uri

    def opened_with(self, tool, *uris, **more):
        """Its configuration names these keys, and `more` of [encryption], and nothing else that opens the repository."""
        tool.encryption = {**more}
        tool.write()
        if uris:
            tool.config.write_text(tool.config.read_text().replace("[encryption]\n", f"[encryption]\n{self.kind} = {json.dumps([*map(str, uris)])}\n"))
        return tool

    def changed(self, tool, text):
        tool.extra = text
        return self.opened_with(tool, self.uri)

    def slots(self, tool, kind=None):
        return [slot for slot in tool.run("key", "list", "--json").json["slots"] if slot["kind"] == (kind or self.kind)]

    def restore_alone(self, make, extra, uri=None):
        """init, backup, WAL, verify and restore where no key file ever existed."""
        uri = uri or self.uri
        tool = self.opened_with(make.pgmint(extra=extra), uri)
        cluster = make.cluster(start=False)
        tool.add(cluster)
        self.opened_with(tool, uri)
        cluster.archive_with(tool)
        made = tool.run("init", "--json").json
        assert made["key_file"] is None and {slot["kind"] for slot in made["slots"]} == {self.kind, "recovery"}
        cluster.start().make_table("t", 300)
        tool.backup()
        cluster.add_rows("t", 20)
        expected = cluster.digest()
        cluster.archive_now()
        target = make.folder("target") / "data"
        tool.restore(target, "--action", "promote")
        assert make.opened(target).start().wait_promoted().digest() == expected
        tool.run("verify", "--decompress")
        return tool
