"""Proves that each rule of tidy.py passes a clean tree and fails the tree that breaks it."""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import unittest
from unittest import mock

import tidy

HERE = os.path.dirname(os.path.abspath(__file__))

CLEAN = {
    ".gitignore": "/build/\n__pycache__/\n",
    "CMakeLists.txt": "foreach(f common kernels)\n  add_subdirectory(${f})\nendforeach()\n"
                      "add_subdirectory(proto)\nadd_subdirectory(worker)\n"
                      "add_subdirectory(tests)\n",
    "common/README.md": "# common\n",
    "common/CMakeLists.txt": "pagoda_library(common SRCS ids.cc HDRS ids.h LINKS absl::status)\n",
    "common/ids.h": "#pragma once\nint Next(int id);\n",
    "common/ids.cc": '#include "common/ids.h"\n\nint Next(int id) { return id + 1; }\n',
    "kernels/README.md": "# kernels\n",
    "kernels/CMakeLists.txt": "pagoda_library(kernels HDRS tile.h DEPS common)\n",
    "kernels/tile.h": '#pragma once\n#include "common/ids.h"\n',
    "proto/README.md": "# proto\n",
    "proto/CMakeLists.txt": "pagoda_proto(proto/pagoda/v1 PROTOS worker.proto GRPC)\n",
    "proto/pagoda/v1/worker.proto": 'syntax = "proto3";\n',
    "worker/README.md": "# worker\n",
    "worker/CMakeLists.txt": "pagoda_binary(worker SRCS main.cc DEPS kernels proto/pagoda/v1)\n",
    "worker/main.cc": '#include "absl/status/status.h"\n#include "kernels/tile.h"\n'
                      '#include "proto/pagoda/v1/worker.grpc.pb.h"\nint main() { return 0; }\n',
    "tests/README.md": "# tests\n",
    "tests/CMakeLists.txt": "file(GLOB_RECURSE lists CONFIGURE_DEPENDS */CMakeLists.txt)\n",
    "tests/common/CMakeLists.txt": "pagoda_test(ids_test SRCS ids_test.cc DEPS common)\n",
    "tests/common/ids_test.cc": '#include "common/ids.h"\n' + "// a line\n" * 99,
    "tests/tidy/README.md": "# tidy\n",
}


class TidyCase(unittest.TestCase):

    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in CLEAN.items():
            self.write(path, text)
        shutil.copy(os.path.join(HERE, "banned.txt"), os.path.join(self.root, tidy.BANNED))
        self.write(tidy.RATCHET, "# numbers may only fall\n")

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def append(self, path, text):
        self.write(path, CLEAN.get(path, "") + text)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def run_tidy(self, *args):
        """(exit status, output) of the program on this tree."""
        out = io.StringIO()
        with mock.patch.object(sys, "argv", ["tidy.py", "--root", self.root, *args]):
            with contextlib.redirect_stdout(out):
                status = tidy.main()
        return status, out.getvalue()

    def assert_clean(self):
        self.assertEqual(self.run_tidy(), (0, "tidy: 0 problems, 0 on the ratchet\n"))

    def assert_only(self, *expected):
        """The tree has exactly these problems, each named by a piece of its line."""
        status, output = self.run_tidy()
        lines = output.splitlines()[:-1]
        self.assertEqual((status, len(lines)), (1, len(expected)), output)
        for piece, line in zip(expected, lines):
            self.assertIn(piece, line)


class LayerTest(TidyCase):

    def test_the_clean_tree_passes(self):
        self.assert_clean()

    def test_an_include_outside_the_deps_fails(self):
        self.append("common/ids.cc", '#include "kernels/tile.h"\n')
        self.assert_only("[include] common/ids.cc:4: kernels/tile.h is of kernels")

    def test_a_dependency_of_a_dependency_must_be_declared(self):
        self.append("worker/main.cc", '#include "common/ids.h"\n')
        self.assert_only("[include] worker/main.cc:5: common/ids.h is of common")

    def test_a_header_nobody_listed_obeys_its_folders_deps(self):
        self.write("kernels/extra.h", '#pragma once\n#include "proto/pagoda/v1/worker.pb.h"\n')
        self.append("kernels/tile.h", '#include "kernels/extra.h"\n')
        self.assert_only("[include] kernels/extra.h:2: proto/pagoda/v1/worker.pb.h")

    def test_tests_may_include_only_what_they_declare(self):
        self.append("tests/common/ids_test.cc", '#include "kernels/tile.h"\n')
        self.assert_only("[include] tests/common/ids_test.cc:101: kernels/tile.h")

    def test_a_test_may_include_the_helpers_beside_it_and_no_other_tests(self):
        self.write("tests/common/CMakeLists.txt",
                   "pagoda_test(ids_test SRCS ids_test.cc sub/x_test.cc DEPS common)\n")
        self.write("tests/common/helper.h", "#pragma once\n")
        self.write("tests/common/sub/x_test.cc", '#include "tests/common/helper.h"\n')
        self.write("tests/common/sub/README.md", "# sub\n")
        self.assert_clean()
        self.write("tests/e2e.h", '#pragma once\n')
        self.write("tests/common/sub/x_test.cc",
                   '#include "tests/common/helper.h"\n#include "tests/e2e.h"\n')
        self.assert_only("[include] tests/common/sub/x_test.cc:2: tests/e2e.h")

    def test_a_dependency_against_the_layers_fails(self):
        self.write("common/CMakeLists.txt",
                   "pagoda_library(common SRCS ids.cc HDRS ids.h DEPS kernels)\n")
        self.assert_only("[layer] common depends on kernels")

    def test_coordinator_and_worker_do_not_depend_on_each_other(self):
        layers = (("worker", "coordinator/core"), ("coordinator/engine", "worker/model"),
                  ("client/cpp", "coordinator/core"), ("coordinator/core", "proto"))
        for folder, dep in layers:
            target = tidy.Target("library", folder, folder, [], [dep])
            self.assertEqual([f.rule for f in tidy.check_layers({}, [target])], ["layer"], folder)
        target = tidy.Target("library", "x", "coordinator/engine", [], ["coordinator/core"])
        self.assertEqual(list(tidy.check_layers({}, [target])), [])

    def test_variables_loops_and_globs_in_cmake_are_expanded(self):
        text = ("set(srcs a.cc b.cc)  # not (this)\n"
                "pagoda_library(x SRCS ${srcs} ${PROJECT_SOURCE_DIR}/c.cc)\n"
                "foreach(op y z)\n  file(GLOB found CONFIGURE_DEPENDS ${op}*.cc)\n"
                "  pagoda_test(${op} SRCS ${found})\nendforeach()\n"
                "foreach(one IN LISTS srcs)\n  pagoda_binary(${name} SRCS ${one})\nendforeach()\n")
        tree = dict.fromkeys(("x/y1.cc", "x/y2.cc", "x/z/y3.cc", "x/z.cc"), "")
        found = {words[0]: words[2:] for command, words in
                 tidy.cmake_commands({**tree, "x/CMakeLists.txt": text}, "x/CMakeLists.txt")
                 if command.startswith("pagoda_")}
        self.assertEqual(found, {"x": ["a.cc", "b.cc", "//c.cc"], "y": ["/x/y1.cc", "/x/y2.cc"],
                                 "z": ["/x/z.cc"], "${name}": ["a.cc", "b.cc"]})


class DeadFileTest(TidyCase):

    def test_a_source_that_no_target_lists_fails(self):
        self.write("common/lost.cc", "int lost;\n")
        self.write("proto/pagoda/v1/lost.proto", 'syntax = "proto3";\n')
        self.assert_only("[dead] common/lost.cc", "[dead] proto/pagoda/v1/lost.proto")

    def test_a_header_that_nobody_includes_or_lists_fails(self):
        self.write("common/lost.h", "#pragma once\n")
        self.assert_only("[dead] common/lost.h")

    def test_a_folder_that_the_build_never_enters_fails(self):
        self.write("bench/CMakeLists.txt", "")
        self.assert_only("[dead] bench/CMakeLists.txt")


def body(lines):
    return "{\n" + "  int a = 0;\n" * (lines - 1) + "}\n"


class SizeTest(TidyCase):

    def functions(self, text):
        return [(name, length) for name, _, length in tidy.cpp_functions(text)]

    def test_a_function_over_the_limit_fails_and_one_at_it_passes(self):
        self.append("common/ids.cc", "void F() " + body(40))
        self.assert_clean()
        self.append("common/ids.cc", "void F() " + body(41))
        self.assert_only("[function-lines] common/ids.cc:4: F has 41 lines; the limit is 40")

    def test_a_kernel_may_be_longer(self):
        self.append("kernels/tile.h", "inline void F() " + body(120))
        self.assert_clean()
        self.append("kernels/tile.h", "inline void F() " + body(121))
        self.assert_only("[function-lines] kernels/tile.h")

    def test_python_functions_are_measured(self):
        self.write("tests/tidy/x.py", "def f():\n" + "    print()\n" * 41)
        self.assert_only("[function-lines] tests/tidy/x.py:1: f has 41 lines")

    def test_functions_are_found_where_braces_are_many(self):
        text = ("namespace a {\n#define M(x) {\nclass B : public C {\n public:\n"
                "  B() : a_{1}, b_(2), c_{3} {\n    if (x) {\n    }\n  }\n"
                "  template <class T, int N = (1)>\n  [[nodiscard]] T Get() {\n    return 1;\n  }\n"
                "  bool operator==(B o) {\n    return \"}\" == s && c != '{';\n  }\n};\n"
                "constexpr Row kTable[] = {\n  {f(1)},\n  {2},\n};\n"
                "struct D {\n  int x{3};\n};\n"
                "TEST(Pool,\n     Frees) {\n  auto f = [] {\n  };  // {\n}\n}  // namespace a\n")
        self.assertEqual([f for f in self.functions(text) if f[1]],
                         [("B", 3), ("Get", 2), ("operator==", 2), ("Pool.Frees", 3)])

    def test_digit_separators_and_raw_strings_hide_no_code(self):
        text = "int F() {\n  int a = 1'000;\n  f(R\"x(\n}\n)x\");\n  return 'b';\n}\n"
        self.assertEqual(self.functions(text), [("F", 6)])

    def test_a_long_file_fails(self):
        self.append("tests/common/ids_test.cc", "// a line\n" * 302)
        self.assert_only("[file-lines] tests/common/ids_test.cc: 402 lines; the limit is 400")

    def test_long_files_on_average_fail(self):
        for i in range(30):
            self.write(f"tests/tidy/{i}.sh", "# a line\n" * (301 if i < 5 else 121))
        self.assert_only("file-p90 is 301 lines", "file-median is 121 lines")

    def test_too_few_test_lines_fail(self):
        self.append("common/ids.cc", "// a line\n" * 170)
        self.write("worker/README.md", "# worker\n")
        self.write("worker/src/x_test.rs", "// a line\n" * 3)
        self.assert_only("[test-lines] 6 test lines are missing")


class WordTest(TidyCase):

    EXAMPLES = {
        "common/ids.cc": (
            "// TODO: more", "// /work/x", "int utils;", "int page_id;", '#include "ids.h"',
            "#include <google/protobuf/any.h>", "#include <cuda_runtime.h>", "#if 0", "throw 1;",
            "#ifdef __CUDACC__", "auto* p = new X;", "delete p;", "auto* q = malloc(3);",
            "sleep_for(x);", "std::regex r;", "using namespace std;", "TEST(A, DISABLED_B) {}",
            "__shared__ float s[8];",
            'asm("nop");', "assert(x);", "#ifndef NDEBUG", "f << std::endl;", "volatile int x;"),
        "kernels/tile.h": ("std::mutex mu;", "absl::Mutex mu;", "std::mt19937 r;"),
        "coordinator/core/core.cc": ("#include <thread>", "auto t = steady_clock::now();"),
        "common/CMakeLists.txt": ("target_link_libraries(a b)", "LINKS gRPC::grpc++"),
        "coordinator/CMakeLists.txt": ("LINKS CUDA::cudart",),
        "scripts/test.sh": ("make test || true",),
    }

    def test_each_banned_pattern_has_an_example_and_finds_it(self):
        rules = tidy.read_banned(os.path.join(self.root, tidy.BANNED))
        used = set()
        for path, pieces in self.EXAMPLES.items():
            for piece in pieces:
                found = {r for r in rules if list(tidy.check_banned({path: piece + "\n"}, [r]))}
                self.assertTrue(found, piece)
                used |= found
        self.assertEqual([r[3] for r in rules if r not in used], [])

    def test_a_banned_word_fails_the_tree(self):
        self.append("common/ids.cc", "auto* p = new X;\n")
        self.assert_only("[banned] common/ids.cc:4: 'auto* p = new X'")

    def test_code_patterns_ignore_comments_and_literals(self):
        self.append("common/ids.cc", '// we never throw\nauto s = "new X; throw";\n'
                                     "static auto* const p = new X;\nX(const X&) = delete;\n")
        self.assert_clean()


class LayoutTest(TidyCase):

    def test_columns_spaces_tabs_and_ends_are_checked(self):
        self.append("common/ids.cc", "// " + "x" * 98 + "\nint a; \n\tint b;\nint c;")
        self.assert_only("ids.cc:4: 101 columns", "ids.cc:5: trailing space", "ids.cc:6: tab",
                         "ids.cc: must end with one newline")

    def test_columns_are_characters_and_do_not_bind_prose(self):
        self.append("common/ids.cc", "// " + "é" * 97 + "\n")
        self.append("common/README.md", "x" * 200 + "\n")
        self.assert_clean()

    def test_a_header_needs_pragma_once(self):
        self.write("common/ids.h", "int Next(int id);\n")
        self.assert_only("[layout] common/ids.h: no #pragma once")

    def test_a_folder_with_sources_needs_a_readme(self):
        os.remove(os.path.join(self.root, "kernels/README.md"))
        self.write("tests/e2e/run.py", "")
        self.assert_only("[readme] kernels", "[readme] tests/e2e")

    def test_ignored_folders_are_not_ours(self):
        self.write("build/x.cc", "// TODO\n")
        self.write("worker/__pycache__/x.py", "# TODO\n")
        self.assert_clean()
        self.write("worker/build/x.md", "TODO\n")
        self.assert_only("[banned] worker/build/x.md:1")


class RatchetTest(TidyCase):

    def test_an_offender_on_the_ratchet_passes_at_its_number_only(self):
        self.append("common/ids.cc", "// TODO\n// TODO\n")
        self.write(tidy.RATCHET, "banned common/ids.cc 2\n")
        self.assertEqual(self.run_tidy()[0], 0)
        self.append("common/ids.cc", "// TODO\n" * 3)
        self.assertEqual(self.run_tidy()[0], 1)
        self.append("common/ids.cc", "// TODO\n")
        self.assert_only("[ratchet] banned common/ids.cc fell from 2 to 1")

    def test_update_lowers_and_removes_but_never_raises_or_adds(self):
        self.append("common/ids.cc", "// TODO\n")
        self.append("kernels/tile.h", "// TODO\n// TODO\n")
        self.append("worker/main.cc", "// TODO\n")
        self.write(tidy.RATCHET, "# why\nbanned common/ids.cc 5\nbanned common/gone.cc 1\n"
                                 "banned kernels/tile.h 1\n")
        status, output = self.run_tidy("--update")
        self.assertEqual(status, 1)
        self.assertIn("kernels/tile.h:3", output)
        self.assertIn("worker/main.cc:5", output)
        self.assertEqual(self.read(tidy.RATCHET),
                         "# why\nbanned common/ids.cc 1\nbanned kernels/tile.h 1\n")


if __name__ == "__main__":
    unittest.main()
