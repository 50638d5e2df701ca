"""What scripts/gpu_test.sh makes of its stages, in a bundle of programs that only say something."""

import os
import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts/gpu_test.sh"
PASSES = "echo '[  PASSED  ] 3 tests.'"
BENCH = """echo 'H9, 7 multiprocessors; copy bandwidth 9'
echo '| copying | 20 % |'
while [ $# -gt 0 ]; do [ "$1" != --out ] || echo '{"share":0.2}' >"$2"; shift; done"""
SANITIZER = """echo "sanitizer $2"
"${@: -2}"
"""


class GpuTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.bundle = pathlib.Path(folder.name).resolve()
        self.edit_script({})
        self.write("COMMIT", "abc123\n")
        self.program("tests/kernels_cuda_test", PASSES)
        for test in ("demo", "comm", "equality", "e2e"):
            self.program(f"tests/cuda_{test}_test", PASSES)
        self.program("bin/cuda_bench", BENCH)
        self.program("bin/pagoda-worker", "exit 1")

    def edit_script(self, edits):
        """The bundle's script, which sees neither this machine's device nor its CUDA."""
        text = SCRIPT.read_text()
        hidden = {"/dev/nvidiactl": str(self.bundle / "device"), "/usr/local/cuda": "/nowhere",
                  "ldconfig -p": "true"}
        for old, new in (hidden | edits).items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.write("gpu_test.sh", text).chmod(0o755)

    def write(self, path, text):
        path = self.bundle / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def program(self, path, body):
        self.write(path, "#!/bin/bash\n" + body + "\n").chmod(0o755)

    def device(self, sanitizer):
        """A GPU, as far as the script looks, and a compute-sanitizer that says `sanitizer`."""
        self.write("device", "")
        self.program("tools/nvidia-smi", "case $1 in *=name) echo 'Some H9';; *) echo 5;; esac")
        if sanitizer:
            self.program("tools/compute-sanitizer", SANITIZER + sanitizer)

    def run_script(self, *stages, **variables):
        env = dict(os.environ, PATH=f"{self.bundle}/tools:/usr/bin:/bin", **variables)
        for name in ("OUT", "PAGODA_GPU_PROGRAMS", "CUDA_HOME", "GTEST_FILTER"):
            if name not in variables:
                env.pop(name, None)
        run = subprocess.run([self.bundle / "gpu_test.sh", *stages], env=env, cwd=self.bundle,
                             capture_output=True, text=True, check=False)
        files = sorted((self.bundle / "results").glob("*.md"))
        return run, files[-1].read_text() if files else ""

    def rows(self, results):
        """{stage: result} of the table of stages."""
        table = results.split("## Stages")[1].split("##")[0]
        cells = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
        return {row[0].strip("| "): row[3].strip("| ") for row in cells[1:]}

    def test_without_a_driver_it_says_so(self):
        run, results = self.run_script()
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"^gpu-test: no NVIDIA driver: [^\n]*\n$")
        self.assertEqual((run.stdout, results), ("", ""))

    def test_every_stage_passes_on_a_device(self):
        self.device("echo '========= RACECHECK SUMMARY: 0 hazards displayed (0 errors)'")
        run, results = self.run_script()
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual(self.rows(results), {
            "op_tests": "passed, 3 tests", "demo": "passed, 3 tests", "comm": "passed, 3 tests",
            "equality": "passed, 3 tests", "e2e": "passed, 3 tests",
            "memcheck": "passed, 3 tests", "racecheck": "passed, 3 tests", "bench": "passed"})
        self.assertRegex(results, r"^# Some H9, \d{4}-\d\d-\d\d-\d{4} UTC\n")
        for line in ("| GPU | Some H9 |", "| driver | 5 |", "| commit | abc123 |",
                     "8 passed, 0 failed, 0 not run", "H9, 7 multiprocessors; copy bandwidth 9",
                     "| copying | 20 % |", '{"share":0.2}'):
            self.assertIn("\n" + line + "\n", results)
        log = next((self.bundle / "results").glob("some-h9-*.logs")) / "memcheck.log"
        self.assertTrue(log.read_text().startswith("sanitizer memcheck\n"))

    def test_a_failing_stage_fails_the_script_after_the_others_ran(self):
        self.device("echo 'ERROR SUMMARY: 0 errors'")
        self.program("tests/kernels_cuda_test", "echo it broke; exit 3")
        run, results = self.run_script("op_tests", "demo", "bench")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(self.rows(results), {
            "op_tests": "FAILED (status 3)", "demo": "passed, 3 tests", "bench": "passed"})
        self.assertIn("## The end of op_tests\n\n```\nit broke\n```\n", results)

    def test_no_test_and_a_sanitizer_without_a_word_are_failures(self):
        self.device("echo nothing")
        self.program("tests/cuda_demo_test", "echo '[  PASSED  ] 0 tests.'")
        run, results = self.run_script("demo", "memcheck")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(set(self.rows(results).values()),
                         {"FAILED (status 1), 0 tests", "FAILED (status 1), 3 tests"})
        self.assertIn("no test was run\n", results)
        self.assertIn("memcheck said nothing\n", results)

    def test_what_the_sanitizer_finds_is_a_failure(self):
        for summary in ("ERROR SUMMARY: 2 errors", "RACECHECK SUMMARY: 10 hazards displayed"):
            self.device(f"echo '========= {summary}'")
            run, results = self.run_script("racecheck")
            self.assertEqual(run.returncode, 1)
            self.assertEqual(self.rows(results), {"racecheck": "FAILED (status 1), 3 tests"})

    def test_a_device_without_a_sanitizer_is_a_failure(self):
        self.device("")
        run, results = self.run_script("memcheck", "bench")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(self.rows(results), {"memcheck": "FAILED (status 1)", "bench": "passed"})
        self.assertIn("no compute-sanitizer on this machine\n", results)

    def test_a_bundle_without_a_program_is_a_failure(self):
        self.device("")
        (self.bundle / "tests/cuda_demo_test").unlink()
        run, results = self.run_script("demo", "bench")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(self.rows(results), {"demo": "FAILED (status 1)", "bench": "passed"})
        self.assertIn("there is no tests/cuda_demo_test\n", results)

    def test_a_stage_that_hangs_ends(self):
        self.edit_script({"demo:30": "demo:1"})
        self.device("")
        self.program("tests/cuda_demo_test", "exec cat /dev/zero >/dev/null")
        run, results = self.run_script("demo", "bench")
        self.assertEqual(run.returncode, 1)
        self.assertEqual(self.rows(results), {
            "demo": "FAILED: not done after 1 s", "bench": "passed"})

    def test_programs_of_another_folder_need_no_device(self):
        self.program("other/bin/cuda_bench", 'echo "$@"\n' + BENCH)
        out = self.bundle / "out.md"
        run, _ = self.run_script("bench", "memcheck", OUT="out.md", PAGODA_GPU_PROGRAMS="other")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertTrue(out.read_text().startswith("# No GPU: these programs are for a fake"))
        self.assertEqual(self.rows(out.read_text()), {
            "bench": "passed",
            "memcheck": "not run: there is no tests/kernels_cuda_test"})
        run, _ = self.run_script("memcheck", PAGODA_GPU_PROGRAMS="other")
        self.assertEqual(run.returncode, 1, "nothing passed")
        self.assertIn("--quick", (self.bundle / "out.logs/bench.log").read_text())

    def test_libraries_that_the_programs_load_themselves_are_found(self):
        self.device("")
        self.write("cuda/lib64/libnccl.so.2", "")
        self.program("bin/cuda_bench", 'echo "folders $LD_LIBRARY_PATH"\n' + BENCH)
        run, _ = self.run_script("bench", CUDA_HOME=str(self.bundle / "cuda"))
        self.assertEqual(run.returncode, 0, run.stdout)
        log = next((self.bundle / "results").glob("*.logs")) / "bench.log"
        self.assertIn(f":{self.bundle}/cuda/lib64", log.read_text().splitlines()[0])

    def test_figures_of_an_earlier_run_are_not_in_the_results(self):
        self.device("")
        out = self.bundle / "out.md"
        self.run_script("bench", OUT=str(out))
        self.assertIn("## Kernels", out.read_text())
        self.program("bin/cuda_bench", "exit 1")
        self.run_script("bench", OUT=str(out))
        self.assertEqual(self.rows(out.read_text()), {"bench": "FAILED (status 1)"})
        self.assertNotIn("## Kernels", out.read_text())

    def test_mistakes_are_named(self):
        self.device("")
        run, _ = self.run_script("bnech")
        self.assertEqual(run.returncode, 2)
        self.assertIn("no stage 'bnech'; there are: op_tests demo", run.stderr)
        self.edit_script({"demo:30": "demo:4500"})
        run, _ = self.run_script("bench")
        self.assertEqual(run.returncode, 2)
        self.assertIn("more than 480 s", run.stderr)


if __name__ == "__main__":
    unittest.main()
