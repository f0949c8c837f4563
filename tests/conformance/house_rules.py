#!/usr/bin/env python3
"""Holds the tree against the house rules that a compiler does not check.

Usage: house_rules.py [ROOT]     prints one line per violation, exits 1 when there is any.
Each rule is a function from a Tree to violations; house_rules_test.py shows that each can fail.
"""

import pathlib
import re
import subprocess
import sys

# What each folder of src/ may include, besides itself. The order is the order of the layers (docs/architecture/layers.md).
LAYERS = {
    "base": [],
    "crypto": ["base"],
    "codec": ["base"],
    "http": ["base", "crypto"],
    "storage": ["base", "crypto", "codec", "http"],
    "postgres": ["base", "crypto", "codec"],
    "repository": ["base", "crypto", "codec", "storage", "postgres"],
    "policy": ["base", "postgres", "repository"],
    "wal": ["base", "crypto", "codec", "storage", "postgres", "repository", "policy"],
    "backup": ["base", "crypto", "codec", "storage", "postgres", "repository", "policy"],
    "restore": ["base", "crypto", "codec", "storage", "postgres", "repository", "policy"],
    "logical": ["base", "crypto", "codec", "storage", "postgres", "repository", "policy"],
}
LAYERS["service"] = list(LAYERS)
LAYERS["cli"] = list(LAYERS)

# The repository knows PostgreSQL's formats, never a server.
SERVER_HEADERS = {"postgres/connection.h", "postgres/base_backup_session.h", "postgres/server_facts.h"}
NO_SERVER = {"repository", "policy"}

# A library's headers, the folders that may see them, and the headers of ours that may (elsewhere they cost every reader).
LIBRARIES = [
    ("OpenSSL", re.compile(r"openssl/"), {"crypto"}, {"src/crypto/openssl_handles.h"}),
    ("libpq", re.compile(r"(postgresql/)?libpq"), {"postgres"}, set()),
    ("libcurl", re.compile(r"curl/"), {"http"}, {"src/http/curl_library.h"}),
    ("p11-kit", re.compile(r"p11-kit/"), {"crypto"}, set()),
    ("pugixml", re.compile(r"pugixml"), {"http", "storage"}, set()),
    ("zstd", re.compile(r"zstd"), {"codec"}, set()),
    ("lz4", re.compile(r"lz4"), {"codec"}, set()),
    ("spdlog", re.compile(r"spdlog/"), {"base"}, set()),
    ("CLI11", re.compile(r"CLI/"), {"cli"}, set()),
    ("nlohmann-json", re.compile(r"nlohmann/json\.hpp"), set(LAYERS), set()),
    ("toml++", re.compile(r"toml\+\+"), set(LAYERS), {"src/cli/config_value.h"}),
]

VAGUE_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc)(_|$)")

# Where time, randomness and sleep may come from; everybody else gets them by constructor, so that simulation is possible.
OUTSIDE_WORLD = [
    (re.compile(r"\bsystem_clock::now\s*\("), "take a Clock by constructor"),
    (re.compile(r"\b(gettimeofday|clock_gettime)\s*\("), "take a Clock by constructor"),
    (re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep)\s*\("), "take a Clock by constructor, or wait for a condition"),
    (re.compile(r"\brandom_device\b|\bmt19937|(?<![\w.>])s?rand\s*\("), "take a RandomSource by constructor"),
]

# One file loads the library, for requests, mails and checks of a service.
FEW_FILES = [(re.compile(r"curl/"), "http", {"src/http/curl_library.h"})]

# Split, so that this file does not name what it looks for.
REGISTRY_HOSTS = [a + "." + b for a, b in [
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("crates", "io"), ("rubygems", "org"),
    ("proxy.golang", "org"), ("repo.maven.apache", "org"), ("conan", "io"), ("deb.debian", "org"), ("ftp.debian", "org"),
    ("snapshot.debian", "org"), ("security.debian", "org"), ("apt.postgresql", "org"), ("hub.docker", "com"),
]]
PRIVATE_PLACES = ["/work/" + name for name in ("shared", "brief", ".library", "wt/", "main")]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def without_comments_and_strings(text):
    """The code alone, every other character a blank, so that positions and lines stay."""
    pattern = re.compile(r'R"([^(\s]*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


class Tree:
    """The files of the project: those git knows or would add; without git, all but what a build leaves behind."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if listed.returncode == 0 and (self.root / ".git").exists():
            names = listed.stdout.decode().split("\0")[:-1]
        else:
            names = [str(p.relative_to(self.root)) for p in self.root.rglob("*")]
            names = [n for n in names if not re.match(r"(\.git|build|test-work)(/|$)", n) and "__pycache__" not in n]
        self.files = sorted(n for n in names if (self.root / n).is_file())
        self.texts = {}

    def text(self, name):
        if name not in self.texts:
            self.texts[name] = (self.root / name).read_text(encoding="utf-8", errors="replace")
        return self.texts[name]

    def sources(self, *suffixes):
        return [n for n in self.files if n.startswith("src/") and n.count("/") >= 2 and n.endswith(suffixes or (".h", ".cc"))]

    def folders(self):
        return sorted({n.split("/")[1] for n in self.sources()})


def explained(lines, line):
    """A comment stands on this line or on the one above."""
    return any("//" in lines[i] for i in (line - 1, line - 2) if 0 <= i < len(lines))


def layers(tree):
    for folder in tree.folders():
        if folder not in LAYERS:
            yield f"src/{folder}", 1, "this folder has no place in the table of layers (tests/conformance/house_rules.py)"
    for name in tree.sources():
        own = name.split("/")[1]
        if own not in LAYERS:
            continue
        for match in INCLUDE.finditer(tree.text(name)):
            header = match.group(1)
            if header is None:
                continue
            line = line_of(tree.text(name), match.start())
            if f"src/{header}" not in tree.files:
                yield name, line, f'"{header}" is no file under src/: write project headers as "layer/file.h", others in <>'
                continue
            layer = header.split("/")[0]
            if layer != own and layer not in LAYERS[own]:
                may = ", ".join(LAYERS[own]) or "nothing"
                yield name, line, f'{own} may include {may}, not "{header}": it would turn the layers into a knot'
            if own in NO_SERVER and header in SERVER_HEADERS:
                yield name, line, f'{own} knows PostgreSQL\'s formats, never a server: not "{header}"'


def libraries_stay_behind_their_wrapper(tree):
    for name in tree.sources():
        own = name.split("/")[1]
        for match in INCLUDE.finditer(tree.text(name)):
            header = match.group(1) or match.group(2)
            if (tree.root / "src" / header).is_file():
                continue
            for library, pattern, folders, headers in LIBRARIES:
                if not pattern.match(header):
                    continue
                line = line_of(tree.text(name), match.start())
                if own not in folders:
                    yield name, line, f"{library} stays behind src/{', src/'.join(sorted(folders))}: use its interface instead of <{header}>"
                elif any(rule.match(header) and own == folder and name not in few for rule, folder, few in FEW_FILES):
                    yield name, line, f"in src/{own} only curl_library.h knows {library}"
                elif name.endswith(".h") and name not in headers:
                    yield name, line, f"no {library} in headers: forward-declare, and include <{header}> in the .cc"


def nothing_is_swallowed(tree):
    handler = re.compile(r"\bcatch\s*\(([^)]*)\)\s*\{")
    discard = re.compile(r"\(void\)\s*[\w:]+[\w:.>-]*\s*\(|\bstatic_cast<void>\s*\(\s*[\w:.>-]+\s*\(|\bstd::ignore\s*=")
    for name in tree.sources():
        code = without_comments_and_strings(tree.text(name))
        lines = tree.text(name).splitlines()
        for match in handler.finditer(code):
            depth, end = 1, match.end()
            while depth > 0 and end < len(code):
                depth += {"{": 1, "}": -1}.get(code[end], 0)
                end += 1
            body = code[match.end():end - 1]
            if not re.search(r"\bthrow\b|Error\b|\bError\(|\bfail\w*\(|\babort\(", body):
                yield name, line_of(code, match.start()), (
                    f"catch ({match.group(1)}) neither rethrows nor makes an Error: a lost error can lose a backup")
        for match in discard.finditer(code):
            line = line_of(code, match.start())
            if not name.endswith("_test.cc") and not explained(lines, line):
                yield name, line, "a result is dropped: say why in a comment on this line or the one above, or handle it"


def the_outside_world_comes_by_constructor(tree):
    for name in tree.sources():
        if name.startswith("src/base/"):
            continue
        code = without_comments_and_strings(tree.text(name))
        for pattern, instead in OUTSIDE_WORLD:
            for match in pattern.finditer(code):
                if name.endswith("_test.cc") and explained(tree.text(name).splitlines(), line_of(code, match.start())):
                    continue  # a test against the real world says why it meets it
                yield name, line_of(code, match.start()), f"{match.group(0).strip(' (')}: {instead}"


def what_is_made_has_an_owner(tree):
    maker = re.compile(r"\b(mkdir(at)?|mknod(at)?|mkstemp|creat)\s*\(|\bfs::create_director(y|ies)\s*\(|\bofstream\b|(?<!\w)(::|fs::)?open(at)?\([^;]*\bO_CREAT\b")
    for name in tree.sources(".cc"):
        if name.startswith("src/base/") or re.search(r"_test\.cc$|/test(ing)?_\w+\.cc$", name):
            continue
        code = without_comments_and_strings(tree.text(name))
        for match in maker.finditer(code):
            around = code[max(0, match.start() - 60):match.start()]
            if "make_for_owner_of(" in around or explained(tree.text(name).splitlines(), line_of(code, match.start())):
                continue
            yield name, line_of(code, match.start()), (
                "what root makes so stays root's: use base/file.h, or base/owner.h (ADR 43); or say in a comment why nobody needs it")


def every_folder_says_what_it_is(tree):
    for folder in tree.folders():
        readme = f"src/{folder}/README.md"
        if not any(n.startswith(f"src/{folder}/") for n in tree.sources(".cc")):
            continue  # contracts alone say it themselves
        if readme not in tree.files:
            yield readme, 1, "missing: a dozen lines on purpose, interface, invariants, what does not belong"
        elif len(tree.text(readme).splitlines()) > 40:
            yield readme, 41, "longer than 40 lines: a reader wants a dozen; move the rest to docs/"


def sources_are_listed(tree):
    for folder in tree.folders():
        build_file = f"src/{folder}/CMakeLists.txt"
        present = {n.split("/", 2)[2] for n in tree.sources(".cc") if n.split("/")[1] == folder}
        if build_file not in tree.files:
            if present:
                yield build_file, 1, "missing: list the folder's sources with pgmint_layer(...)"
            continue
        text = re.sub(r"#[^\n]*", "", tree.text(build_file))
        listed = set(re.findall(r"(?<![\w/.-])([\w/.-]+\.cc)\b", text))
        for source in sorted(present - listed):
            yield f"src/{folder}/{source}", 1, f"not in {build_file}: nobody compiles it"
        for source in sorted(listed - present):
            yield build_file, 1, f"lists {source}, which is not there"
        top = re.sub(r"#[^\n]*", "", tree.text("src/CMakeLists.txt")) if "src/CMakeLists.txt" in tree.files else ""
        if not re.search(rf"add_subdirectory\(\s*{folder}\s*\)", top):
            yield "src/CMakeLists.txt", 1, f"does not add {folder}"


def subdirectories_follow_the_layers(tree):
    if "src/CMakeLists.txt" not in tree.files:
        return
    order = list(LAYERS)
    added = re.findall(r"^\s*add_subdirectory\(\s*(\w+)\s*\)", tree.text("src/CMakeLists.txt"), re.MULTILINE)
    known = [order.index(name) for name in added if name in order]
    siblings = {order.index(name) for name in ("wal", "backup", "restore", "logical")}
    plain = [min(siblings) if i in siblings else i for i in known]
    if plain != sorted(plain):
        yield "src/CMakeLists.txt", 1, f"folders stand in the order of the layers: {', '.join(order)}"


def headers_are_contracts(tree):
    for name in tree.sources(".h"):
        text = tree.text(name)
        if not text.startswith("//"):
            yield name, 1, "starts with a comment that says what the header is for"
        if "#pragma once" not in text:
            yield name, 1, "has no #pragma once"
        for match in re.finditer(r"^\s*using namespace\b", without_comments_and_strings(text), re.MULTILINE):
            yield name, line_of(text, match.end()), "using namespace in a header reaches everybody who includes it"


def assertions_are_ours(tree):
    for name in tree.sources():
        code = without_comments_and_strings(tree.text(name))
        for match in re.finditer(r"(?<![\w.])assert\s*\(", code):
            yield name, line_of(code, match.start()), "assert() vanishes from release builds: PGMINT_ASSERT, or an Error for bytes from outside"


def closing(code, opened):
    """The position behind the bracket that closes the one at `opened`."""
    depth, end = 0, opened
    while end < len(code):
        depth += (code[end] in "([{") - (code[end] in ")]}")
        end += 1
        if depth == 0:
            break
    return end


def threads_own_their_loop_variable(tree):
    loop = re.compile(r"\bfor\s*\(")
    variable = re.compile(r"(?:const\s+)?[\w:<>, ]+?[\s&]+(\w+)\s*[=:{](?!:)")
    start = re.compile(r"\b(?:spawn|thread|async|emplace_back)\s*\(\s*\[&([^\]]*)\]")
    for name in tree.sources():
        code = without_comments_and_strings(tree.text(name))
        for match in loop.finditer(code):
            head = closing(code, match.end() - 1)
            declared = variable.match(code[match.end():head].lstrip())
            if not declared:
                continue
            word = re.compile(rf"\b{declared.group(1)}\b")
            body, end = head, head
            while end < len(code) and code[end].isspace():
                end += 1
            if end < len(code) and code[end] == "{":
                end = closing(code, end)
            else:
                while end < len(code) and code[end] != ";":
                    end = closing(code, end) if code[end] in "([{" else end + 1
            for begun in start.finditer(code, body, end):
                if word.search(begun.group(1)):
                    continue
                opened = begun.start() + begun.group(0).index("(")
                if word.search(code[begun.end():closing(code, opened)]):
                    yield name, line_of(code, begun.start()), (
                        f"the thread borrows {declared.group(1)}, which the loop goes on changing: take it by value")


def names_say_something(tree):
    for name in tree.files:
        stem = pathlib.PurePosixPath(name).stem
        if name.startswith("src/") and VAGUE_NAMES.search(stem.lower()):
            yield name, 1, "names say what is inside: no utils, helpers, manager, common, misc"


def files_hold_one_idea(tree):
    for name in tree.sources():
        lines = len(tree.text(name).splitlines())
        limit = 1000 if re.search(r"_(test|conformance)\.cc$", name) else 700
        if lines > limit:
            yield name, limit + 1, f"{lines} lines: files hold one idea each (400 as a rule, {limit} at most)"


def nothing_points_outside(tree):
    words = REGISTRY_HOSTS + PRIVATE_PLACES
    pattern = re.compile("|".join(re.escape(word) for word in words))
    for name in tree.files:
        if name.startswith("tests/fuzz/corpus/") or name.endswith((".png", ".gz", ".bin")):
            continue
        text = tree.text(name)
        for match in pattern.finditer(text):
            what = "a package registry host" if match.group(0) in REGISTRY_HOSTS else "a place outside the project"
            yield name, line_of(text, match.start()), f"names {what}, {match.group(0)}: machines bring their own package sources"


def decisions_are_numbered_once(tree):
    seen = {}
    for name in tree.files:
        match = re.fullmatch(r"docs/adr/(.*)\.md", name)
        if not match or match.group(1) == "README":
            continue
        number = re.match(r"(\d{4})-[a-z0-9-]+$", match.group(1))
        if not number:
            yield name, 1, "decisions are called NNNN-title-in-lower-case.md"
        elif number.group(1) in seen:
            yield name, 1, f"number {number.group(1)} belongs to {seen[number.group(1)]}"
        else:
            seen[number.group(1)] = name


def the_runbook_names_tests_that_exist(tree):
    if "docs/runbook.md" not in tree.files:
        return
    for number, text in enumerate(tree.text("docs/runbook.md").splitlines(), 1):
        for file, test in re.findall(r"`(test_\w+\.py)::(\w+)`", text):
            name = f"tests/integration/{file}"
            if name not in tree.files or not re.search(rf"^def {test}\(", tree.text(name), re.M):
                yield "docs/runbook.md", number, f"there is no {file}::{test}"


RULES = [
    layers,
    libraries_stay_behind_their_wrapper,
    nothing_is_swallowed,
    the_outside_world_comes_by_constructor,
    what_is_made_has_an_owner,
    every_folder_says_what_it_is,
    sources_are_listed,
    subdirectories_follow_the_layers,
    headers_are_contracts,
    assertions_are_ours,
    threads_own_their_loop_variable,
    names_say_something,
    files_hold_one_idea,
    nothing_points_outside,
    decisions_are_numbered_once,
    the_runbook_names_tests_that_exist,
]


def violations(tree):
    for rule in RULES:
        for name, line, why in rule(tree):
            yield f"{name}:{line}: {why} [{rule.__name__}]"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    tree = Tree(root)
    if not tree.sources():
        print(f"{root}: no sources under src/: wrong directory?", file=sys.stderr)
        return 2
    found = list(violations(tree))
    for line in found:
        print(line)
    print(f"{len(tree.files)} files, {len(RULES)} rules, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
