#!/usr/bin/env python3
"""Every house rule passes a clean tree and finds its violation: a rule that cannot fail guards nothing."""

import pathlib
import tempfile
import unittest

import house_rules

CLEAN = {
    "src/CMakeLists.txt": "".join(f"add_subdirectory({n})\n" for n in ("base", "crypto", "postgres", "backup")),
    "src/base/CMakeLists.txt": "pgmint_layer(base SOURCES error.cc # not this.cc\n)",
    "src/base/README.md": "# base\n",
    "src/base/error.h": "// Errors.\n#pragma once\n",
    "src/base/error.cc": '#include "base/error.h"\n// std::random_device, assert( and catch (...) {} in a comment\n'
                         'const char* text = "openssl/evp.h sleep_for( assert(";\n',
    "src/crypto/CMakeLists.txt": "pgmint_layer(crypto SOURCES aead.cc)",
    "src/crypto/README.md": "# crypto\n",
    "src/crypto/aead.h": '// Sealing.\n#pragma once\n#include "base/error.h"\n',
    "src/crypto/aead.cc": '#include <openssl/evp.h>\n\n#include "crypto/aead.h"\n',
    "src/postgres/CMakeLists.txt": "pgmint_layer(postgres SOURCES page.cc)",
    "src/postgres/README.md": "# postgres\n",
    "src/postgres/page.cc": '#include "base/error.h"\nvoid f() { try { g(); } catch (const E& e) { return Error(e.what()); } }\n',
    "src/postgres/connection.h": "// A server.\n#pragma once\n",
    "src/backup/CMakeLists.txt": "pgmint_layer(backup SOURCES run.cc)",
    "src/backup/README.md": "# backup\n",
    "src/backup/run.h": "// Backs up.\n#pragma once\n",
    "src/backup/run.cc": '#include "backup/run.h"\n#include "postgres/connection.h"\n',
    "docs/adr/0001-one.md": "# One\n",
}


class HouseRules(unittest.TestCase):
    def found(self, changes=None):
        """The violations of the clean tree with some files changed, added, or (None) removed."""
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**CLEAN, **(changes or {})}.items():
                if text is not None:
                    path = pathlib.Path(root, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8")
            return list(house_rules.violations(house_rules.Tree(root)))

    def expect(self, changes, *parts):
        """Exactly one violation, which says all of `parts`."""
        found = self.found(changes)
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def in_run(self, code, *parts):
        self.expect({"src/backup/run.cc": CLEAN["src/backup/run.cc"] + code}, *parts)

    def test_a_thread_takes_the_loop_variable_by_value(self):
        for loop, body in (("for (unsigned i = 0; i < n; ++i)", "  group.spawn([&]() -> Status {\n    return work(i);\n  });\n"),
                           ("for (int w = 1; w < n; ++w) {", "  log(w);\n  threads.emplace_back([&, log] { work(w); });\n}\n"),
                           ("for (auto part : parts)", "  std::thread([&] { if (part == 0) work(); });\n")):
            self.in_run(f"void f() {{\n{loop}\n{body}}}\n", "run.cc", "by value", "[threads_own_their_loop_variable]")
        for loop, body in (("for (unsigned i = 0; i < n; ++i)", "  group.spawn([&, i]() -> Status { return work(i); });\nuse(i);\n"),
                           ("for (unsigned i = 0; i < n; ++i)", "  group.spawn([&, first = i == 0] { work(first); });\n"),
                           ("for (unsigned i = 0; i < n; ++i) {", "  use(i);\n}\ngroup.spawn([&] { for (int i = 0; i < 3; ++i) work(i); });\n"),
                           ("for (std::size_t at : all)", "  group.spawn([&] { work(); });\n")):
            self.assertEqual(self.found({"src/backup/run.cc": CLEAN["src/backup/run.cc"] + f"void f() {{\n{loop}\n{body}}}\n"}), [])

    def test_clean_tree_passes(self):
        self.assertEqual(self.found(), [])

    def test_layer_below_may_not_include_layer_above(self):
        self.expect({"src/crypto/aead.cc": '#include "postgres/connection.h"\n'},
                    "src/crypto/aead.cc:1:", "crypto may include base, not", "[layers]")

    def test_siblings_may_not_include_each_other(self):
        self.expect({"src/CMakeLists.txt": CLEAN["src/CMakeLists.txt"] + "add_subdirectory(restore)\n",
                     "src/restore/README.md": "# restore\n", "src/restore/CMakeLists.txt": "pgmint_layer(restore SOURCES a.cc)",
                     "src/restore/a.cc": '#include "backup/run.h"\n'}, "restore may include", "backup/run.h")

    def test_repository_may_not_know_a_server(self):
        self.expect({"src/CMakeLists.txt": CLEAN["src/CMakeLists.txt"].replace("add_subdirectory(backup)",
                                                                              "add_subdirectory(repository)\nadd_subdirectory(backup)"),
                     "src/repository/README.md": "# r\n", "src/repository/CMakeLists.txt": "pgmint_layer(repository SOURCES a.cc)",
                     "src/repository/a.cc": '#include "postgres/connection.h"\n'}, "never a server")

    def test_every_folder_has_a_layer(self):
        self.expect({"src/extras/a.cc": "", "src/extras/README.md": "# x\n", "src/extras/CMakeLists.txt": "a.cc",
                     "src/CMakeLists.txt": CLEAN["src/CMakeLists.txt"] + "add_subdirectory(extras)\n"},
                    "no place in the table of layers")

    def test_includes_name_their_layer(self):
        self.in_run('#include "run.h"\n', "is no file under src/")

    def test_libraries_stay_behind_their_wrapper(self):
        for header, library in (("openssl/evp.h", "OpenSSL"), ("libpq-fe.h", "libpq"), ("postgresql/libpq-fe.h", "libpq"),
                                ("curl/curl.h", "libcurl"), ("zstd.h", "zstd"), ("lz4.h", "lz4"), ("spdlog/spdlog.h", "spdlog"),
                                ("CLI/CLI.hpp", "CLI11")):
            self.in_run(f"#include <{header}>\n", f"{library} stays behind")

    def test_in_http_one_header_knows_libcurl(self):
        http = {"src/CMakeLists.txt": CLEAN["src/CMakeLists.txt"].replace("add_subdirectory(crypto)", "add_subdirectory(crypto)\nadd_subdirectory(http)"), "src/http/README.md": "# http\n",
                "src/http/CMakeLists.txt": "pgmint_layer(http SOURCES curl_library.cc client.cc)",
                "src/http/curl_library.cc": "#include \"http/curl_library.h\"\n", "src/http/curl_library.h": "// Loads it.\n#pragma once\n#include <curl/curl.h>\n", "src/http/client.cc": "#include <string>\n"}
        self.assertEqual(self.found(http), [])
        self.expect({**http, "src/http/client.cc": "#include <curl/curl.h>\n"}, "only curl_library.h knows libcurl")

    def test_no_library_in_headers(self):
        self.expect({"src/crypto/aead.h": "// Sealing.\n#pragma once\n#include <openssl/evp.h>\n"}, "no OpenSSL in headers")
        self.expect({"src/backup/run.h": "// Runs.\n#pragma once\n#include <nlohmann/json.hpp>\n"}, "no nlohmann-json in headers")

    def test_exceptions_are_not_swallowed(self):
        self.in_run("void f() { try { g(); } catch (...) {} }\n", "catch (...) neither rethrows")
        self.in_run("void f() { try { g(); } catch (const E& e) { if (x) { log(e); } } }\n", "catch (const E& e)")

    def test_dropped_results_say_why(self):
        for dropped in ("static_cast<void>(store.remove(name));", "(void)store.remove(name);", "std::ignore = store.remove(name);"):
            self.in_run(f"void f() {{\n  {dropped}\n}}\n", "a result is dropped")
        for reason in ("  // best effort\n  static_cast<void>(f());\n", "  (void)f();  // closes anyway\n"):
            self.assertEqual(self.found({"src/backup/run.cc": f"void g() {{\n{reason}}}\n"}), [])

    def test_the_outside_world_comes_by_constructor(self):
        for code, word in (("auto t = std::chrono::system_clock::now();", "Clock"), ("::usleep(1);", "Clock"),
                           ("std::this_thread::sleep_for(d);", "Clock"), ("std::random_device r;", "RandomSource"),
                           ("int x = std::rand();", "RandomSource"), ("std::mt19937_64 g;", "RandomSource")):
            self.in_run(code + "\n", word)

    def test_tests_may_meet_the_real_world_when_they_say_why(self):
        lists = {"src/backup/CMakeLists.txt": "pgmint_layer(backup SOURCES run.cc TESTS run_test.cc)"}
        self.expect({**lists, "src/backup/run_test.cc": "\n::usleep(5);\n"}, "src/backup/run_test.cc:2:", "Clock")
        self.assertEqual(self.found({**lists, "src/backup/run_test.cc": "// Killed at a random moment.\n::usleep(5);\n"}), [])

    def test_what_is_made_has_an_owner(self):
        for code in ("if (::mkdir(p, 0700) != 0) return;", "mkdirat(d, p, 0700);", "fs::create_directories(p);", "std::ofstream out(p);",
                     "::open(p, O_WRONLY |\n O_CREAT, 0600);", "::openat(d, p, O_CREAT | O_EXCL, 0600);"):
            self.in_run(code + "\n", "stays root's")
            lists = {"src/backup/CMakeLists.txt": "pgmint_layer(backup SOURCES run.cc TESTS run_test.cc)"}
            self.assertEqual(self.found({**lists, "src/backup/run_test.cc": code + "\n"}), [])
            self.assertEqual(self.found({"src/backup/run.cc": "// in memory\n" + code + "\n"}), [])
        for code in ("make_for_owner_of(d, [&] { return ::mkdirat(d, p, 0700); });", "TRY(open_file(p, O_WRONLY | O_CREAT, 0600));", "TRY(create_directories(p, 0700));",
                     "::open(p, O_RDONLY);\nopen_file(p, O_CREAT);"):
            self.assertEqual(self.found({"src/backup/run.cc": "\n" + code + "\n"}), [])

    def test_folders_have_a_short_readme(self):
        self.expect({"src/crypto/README.md": None}, "src/crypto/README.md:1: missing")
        self.expect({"src/crypto/README.md": "x\n" * 41}, "longer than 40 lines")

    def test_sources_are_listed_and_listed_sources_exist(self):
        self.expect({"src/backup/extra.cc": ""}, "src/backup/extra.cc:1:", "nobody compiles it")
        self.expect({"src/backup/run.cc": None}, "lists run.cc, which is not there")
        self.expect({"src/backup/CMakeLists.txt": None}, "missing: list the folder's sources")
        self.expect({"src/CMakeLists.txt": CLEAN["src/CMakeLists.txt"].replace("add_subdirectory(backup)\n", "")},
                    "does not add backup")

    def test_subdirectories_follow_the_layers(self):
        self.expect({"src/CMakeLists.txt": "".join(f"add_subdirectory({n})\n" for n in ("base", "postgres", "crypto", "backup"))},
                    "order of the layers")

    def test_headers_are_contracts(self):
        self.expect({"src/backup/run.h": "#pragma once\n"}, "starts with a comment")
        self.expect({"src/backup/run.h": "// Runs.\n"}, "no #pragma once")
        self.expect({"src/backup/run.h": "// Runs.\n#pragma once\nusing namespace std;\n"}, "src/backup/run.h:3:", "using namespace")

    def test_assertions_stay_on(self):
        self.in_run("void f(int x) { assert(x > 0); }\n", "PGMINT_ASSERT")
        self.assertEqual(self.found({"src/backup/run.cc": "static_assert(sizeof(int) == 4);\n"}), [])

    def test_names_say_something(self):
        for name in ("utils", "string_helpers", "backup_manager", "common"):
            self.expect({f"src/backup/{name}.h": "// x\n#pragma once\n"}, "names say what is inside")
        self.assertEqual(self.found({"src/backup/commit_point.h": "// x\n#pragma once\n"}), [])

    def test_files_hold_one_idea(self):
        self.in_run("\n" * 700, "one idea each")

    def test_nothing_points_outside(self):
        for host in house_rules.REGISTRY_HOSTS:
            self.expect({"scripts/setup.sh": f"\ncurl https://{host}/x\n"}, "scripts/setup.sh:2:", "registry host", host)
        for place in house_rules.PRIVATE_PLACES:
            self.expect({"docs/x.md": place}, "outside the project", place)

    def test_decisions_are_numbered_once(self):
        self.expect({"docs/adr/0001-two.md": "# Two\n"}, "number 0001 belongs to")
        self.expect({"docs/adr/Notes.md": "# N\n"}, "NNNN-title")

    def test_the_runbook_names_tests_that_exist(self):
        there = {"tests/integration/test_a.py": "def test_x(make):\n    pass\n"}
        self.expect({"docs/runbook.md": "| `test_a.py::test_y` |\n", **there}, "no test_a.py::test_y")
        self.expect({"docs/runbook.md": "| `test_b.py::test_x` |\n", **there}, "no test_b.py::test_x")


if __name__ == "__main__":
    unittest.main()
