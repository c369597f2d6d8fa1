"""Each check of `./keelson check` finds what it is there for, and leaves right code alone."""

import pathlib
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree

import check
import common
from checks import commands, cpp_functions, docs, layering, mount_calls, packages, size, tidy
from common import Failure


def lines(count):
    return "  x();\n" * count


class CppFunctions(unittest.TestCase):
    def found(self, text):
        return [(name, first, length) for name, first, length in cpp_functions.functions(text)]

    def test_functions_are_found_with_name_first_line_and_length(self):
        cases = {
            "int F() {\n  return 1;\n}\n": [("F", 1, 3)],
            "\nvoid A::B::F(int x) const {\n}\n": [("A::B::F", 2, 2)],
            "template <typename T>\nauto F(T t) -> std::vector<int> {\n  return {};\n}\n": [("F", 1, 4)],
            "namespace a {\nstruct S {\n  int F() { return 0; }\n  int x = 0;\n};\n}\n": [("F", 3, 1)],
            "S::S(int a) : a_(a), b_{1} {\n}\nint G() {}\n": [("S::S", 1, 2), ("G", 3, 1)],
            "S::S() : a_{1}, b_{2} {\n  x();\n}\n": [("S::S", 1, 3)],
            "S::~S() {\n}\n": [("S::~S", 1, 2)],
            "bool operator==(const S& a, const S& b) {\n}\n": [("operator==", 1, 2)],
            "class S {\n public:\n  S() = default;\n  void F() override {\n  }\n};\n": [("F", 4, 2)],
            "TEST_CASE(\"a { b\", \"[x]\") {\n}\n": [("TEST_CASE", 1, 2)],
        }
        for text, want in cases.items():
            with self.subTest(text):
                self.assertEqual(self.found(text), want)

    def test_what_only_looks_like_a_function_is_none(self):
        for text in [
                "int x{1};\nstd::vector<int> v = {1, 2};\n",
                "const auto f = [](int x) {\n  return x;\n};\n",
                "enum class E : int { kA = 1, kB };\n",
                "// void F() {\n/* void G() { */\n",
                "const char* s = \"void F() {\";\nconst char* r = R\"x(void G() {)x\";\n",
                "#define F(x) do { x; \\\n  } while (0)\nint y;\n",
                "class S;\nstruct T { int a = 1'000; char c = '{'; };\n",
        ]:
            with self.subTest(text):
                self.assertEqual(self.found(text), [])

    def test_a_lambda_counts_as_part_of_the_function_around_it(self):
        self.assertEqual(self.found("void F() {\n  g([] {\n    x();\n  });\n}\nvoid H() {}\n"),
                         [("F", 1, 5), ("H", 6, 1)])


class Size(unittest.TestCase):
    def test_files_and_functions_above_the_limits_are_measured(self):
        text = "void F() {\n" + lines(size.FUNCTION_LINES - 1) + "}\n"
        self.assertEqual(size.measure("a.cc", text), {("a.cc", "F"): size.FUNCTION_LINES + 1})
        at_limit = "void F() {\n" + lines(size.FUNCTION_LINES - 2) + "}\n"
        self.assertEqual(size.measure("a.cc", at_limit), {})
        self.assertEqual(size.measure("a.cc", "int x;\n" * 600), {})
        self.assertEqual(size.measure("a.cc", "int x;\n" * 601), {("a.cc", "-"): 601})

    def test_new_and_grown_ones_fail_and_equal_or_smaller_ones_do_not(self):
        ratchet = {("a.cc", "-"): 700, ("a.cc", "F"): 90}
        self.assertEqual(size.compare({("a.cc", "-"): 700, ("a.cc", "F"): 80}, ratchet), [])
        self.assertEqual(len(size.compare({("a.cc", "-"): 701}, ratchet)), 1)
        self.assertEqual(len(size.compare({("b.cc", "F"): 71}, ratchet)), 1)

    def test_the_list_only_shrinks(self):
        ratchet = {("a.cc", "-"): 700, ("b.cc", "-"): 650}
        self.assertEqual(size.lowered({("a.cc", "-"): 800, ("c.cc", "-"): 900}, ratchet), {("a.cc", "-"): 700})
        self.assertEqual(size.lowered({("a.cc", "-"): 640}, ratchet), {("a.cc", "-"): 640})

    def test_tests_are_not_product_code(self):
        self.assertFalse(size.is_product("raft/core_test.cc"))
        self.assertFalse(size.is_product("tests/bench/kv_bench.cc"))
        self.assertTrue(size.is_product("raft/testing/invariants.cc"))


class Layering(unittest.TestCase):
    TABLE = layering.read_table("base:\nraft: base\nkvstore: base raft kvstore/client\n"
                                "kvstore/client: base  # speaks the wire\ntests: all\n")

    def test_allowed_edges_pass(self):
        self.assertEqual(layering.judge([
            ("//raft:wal", "//base:status"),
            ("//kvstore:store", "//raft:node"),
            ("//kvstore/cmd:kvctl", "//kvstore/client:client"),
            ("//kvstore:store", "//kvstore/internal:codec"),
            ("//tests/bench:kv", "//raft:node"),
        ], self.TABLE), [])

    def test_a_forbidden_edge_is_named_with_both_ends(self):
        for user, used in [("//base:status", "//raft:node"), ("//raft:node", "//kvstore:store"),
                           ("//kvstore/client:client", "//kvstore:store"), ("//kvstore/client:client", "//raft:node")]:
            with self.subTest(user):
                problems = layering.judge([(user, used)], self.TABLE)
                self.assertEqual(len(problems), 1)
                self.assertIn(f"{user} uses {used}", problems[0])

    def test_internal_packages_are_closed_to_other_components(self):
        self.assertEqual(len(layering.judge([("//kvstore:store", "//raft/internal:log")], self.TABLE)), 1)

    def test_a_package_of_no_component_is_an_error(self):
        self.assertIn("no component", layering.judge([("//newcomer:x", "//base:status")], self.TABLE)[0])

    def test_bad_tables_are_refused(self):
        for text in ["base\n", "base:\nbase:\n", "raft: nothing_like_it\n"]:
            with self.subTest(text), self.assertRaises(Failure):
                layering.read_table(text)

    def test_edges_come_from_the_query_and_leave_out_what_is_not_ours(self):
        rules = list(xml.etree.ElementTree.fromstring(
            '<query><rule name="//a:x"><rule-input name="//b:y"/><rule-input name="@debian//:absl"/>'
            '<rule-input name="//:LICENSE"/></rule></query>'))
        self.assertEqual(layering.read_edges(rules), [("//a:x", "//b:y")])


class Docs(unittest.TestCase):
    TREE = {"README.md": "", "docs/a.md": "# One `thing`\n\n## Two, and more\n\n## Two, and more\n", "base": ""}

    def problems(self, text, path="docs/b.md"):
        return docs.check_document(path, text, self.TREE.__getitem__, self.TREE.__contains__)

    def test_links_that_lead_somewhere_pass(self):
        self.assertEqual(self.problems(
            "[a](a.md) [b](../README.md) [c](a.md#one-thing) [d](a.md#two-and-more-1) [e](#here)\n"
            "[f](https://example.com/x) [g][1]\n\n[1]: ../base\n\n# Here\n"), [])

    def test_dead_links_are_found_with_their_line(self):
        for text in ["[a](gone.md)", "[a](a.md#gone)", "[a](#gone)", "[a](../../outside.md)", "[a](/etc/passwd)",
                     "[a]\n\n[a]: gone.md", "![a](gone.png \"title\")"]:
            with self.subTest(text):
                problems = self.problems("\n" + text)
                self.assertEqual(len(problems), 1)
                self.assertRegex(problems[0], r"^docs/b.md:[24]: ")

    def test_code_is_not_a_link(self):
        self.assertEqual(self.problems("`[a](gone.md)`\n\n```text\n[a](gone.md)\n```\n"), [])

    def test_a_claim_without_its_test_is_found_with_its_line(self):
        tree = {"a_test.cc": 'TEST_CASE(\n    "One is "\n    "one", "[a]") {}\nTEST_CASE("Two", "[a]") {}\n',
                "b_test.py": "def test_three(self):\n"}
        problems = lambda row: docs.check_proofs("docs/specs/a.md", f"# a\n\n| s | c | {row} |\n",
                                                 tree.__getitem__, tree.__contains__)
        self.assertEqual(problems('a_test.cc "One is one", "Two"; b_test.py "three"'), [])
        for row in ['gone_test.cc "One"', 'a_test.cc "One"', 'a_test.cc "Two", "Three"', 'b_test.py "two"']:
            with self.subTest(row):
                self.assertEqual(len(problems(row)), 1)
                self.assertRegex(problems(row)[0], r"^docs/specs/a.md:3: ")


class Packages(unittest.TestCase):
    def test_packages_of_the_build_are_read_from_the_repository_rule(self):
        self.assertEqual(packages.used_by_build(
            '    "absl": (\n        "libabsl-dev",\n        "x.h",\n    ),\n'
            '    "boost": ("libboost1.81-dev", "boost/beast.hpp", [], []),\n    "protoc": "protobuf-compiler",\n'),
            {"libabsl-dev", "libboost1.81-dev", "protobuf-compiler"})

    def test_the_page_is_made_from_the_list(self):
        rows = packages.read_list("# comment\n\nbuild  g++   the compiler\npeers curl  a client\n")
        page = "before\n<!-- packages:begin -->\nold\n<!-- packages:end -->\nafter\n"
        new = packages.with_table(page, rows)
        self.assertIn("| `g++` | the compiler |", new)
        self.assertNotIn("old", new)
        self.assertTrue(new.startswith("before") and new.endswith("after\n"))
        self.assertEqual(packages.with_table(new, rows), new)


class Tidy(unittest.TestCase):
    def changed(self, git, **options):
        sources = ["a/x.cc", "a/y.cc", "a/z.cc"]
        with unittest.mock.patch.object(tidy, "_git", lambda *arguments: git.get(arguments, "")), \
                unittest.mock.patch.object(common, "tracked_files", lambda *_: sources):
            return tidy.changed_files(check.Options(**options))

    def test_changed_sources_and_those_beside_a_changed_header_are_looked_at(self):
        git = {("rev-parse", "HEAD"): "new", ("merge-base", "HEAD", "origin/main"): "old",
               ("diff", "--name-only", "old"): "a/x.cc\na/y.h\nREADME.md",
               ("ls-files", "--others", "--exclude-standard"): ""}
        self.assertEqual(self.changed(git), ["a/x.cc", "a/y.cc"])
        self.assertEqual(self.changed(git, all_files=True), ["a/x.cc", "a/y.cc", "a/z.cc"])

    def test_on_the_main_branch_the_previous_commit_is_the_base(self):
        git = {("rev-parse", "HEAD"): "new", ("merge-base", "HEAD", "main"): "new",
               ("rev-parse", "--verify", "HEAD~1"): "previous",
               ("diff", "--name-only", "previous"): "a/z.cc"}
        self.assertEqual(self.changed(git), ["a/z.cc"])

    def test_without_history_everything_is_looked_at(self):
        self.assertEqual(self.changed({("rev-parse", "HEAD"): "new"}), ["a/x.cc", "a/y.cc", "a/z.cc"])

    def test_an_unknown_base_is_refused(self):
        with self.assertRaises(Failure):
            self.changed({}, base="nothing")

    def test_a_change_of_an_included_header_is_a_change(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in [("x.cc", '#include "y.h"\n'), ("y.h", '#include "z.h"\n'), ("z.h", "int z;\n"),
                               (".clang-tidy", "")]:
                pathlib.Path(folder, name).write_text(text)
            with unittest.mock.patch.object(tidy.common, "with_included",
                                            lambda names, _, real=common.with_included: real(names, [folder])):
                before = tidy.fingerprint("x.cc")
                self.assertEqual(tidy.fingerprint("x.cc"), before)
                pathlib.Path(folder, "z.h").write_text("int zz;\n")
                self.assertNotEqual(tidy.fingerprint("x.cc"), before)


class Commands(unittest.TestCase):
    VERBS = {"test": "Usage\n  --tag=TAG  only\n", "bench": "Usage\n", "demo": "  --exit\n"}

    def test_commands_that_exist_pass(self):
        for command in ["", "--help", "test", "test //raft/...", "test --tag=interop -- --config=asan",
                        "bench kv --seconds=3", "demo --exit", "demo --help", "VERB"]:
            with self.subTest(command):
                self.assertEqual(commands.check_command(command.split(), self.VERBS), "")

    def test_unknown_verbs_and_options_are_found(self):
        self.assertIn("'tset'", commands.check_command(["tset"], self.VERBS))
        self.assertIn("'--quit'", commands.check_command(["demo", "--quit"], self.VERBS))

    def test_help_is_split_into_pages(self):
        self.assertEqual(commands.pages("intro\n== a\none\n== b\ntwo\n"), {"a": "one\n", "b": "two\n"})


class MountCalls(unittest.TestCase):
    def test_calls_by_path_are_found_outside_of_the_path_layer(self):
        for line in ("  ::mount(a, b, c, 0, nullptr);", "if (umount2(path, 2) != 0) {", "#include <sys/mount.h>",
                     "kernel.Call(SYS_move_mount, fd);", "syscall(SYS_pivot_root, a, b);"):
            self.assertEqual(len(mount_calls.judge("container_runtime/plan/x.cc", line)), 1, line)

    def test_comments_texts_and_names_that_only_contain_the_word_are_none(self):
        for line in ("// mount(2) would do this", 'Named(m, "umount2", calls::X(k));', "void BindMount(int fd);",
                     "int AfterMount(int a);", "config.mount_label"):
            self.assertEqual(mount_calls.judge("container_runtime/plan/x.cc", line), [], line)

    def test_the_path_layer_and_tests_are_left_out(self):
        self.assertFalse(mount_calls.is_judged("container_runtime/path/calls.h"))
        self.assertFalse(mount_calls.is_judged("container_runtime/plan/x_test.cc"))
        self.assertTrue(mount_calls.is_judged("container_runtime/plan/x.cc"))


if __name__ == "__main__":
    unittest.main()
