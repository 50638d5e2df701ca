#!/usr/bin/env bash
# check.sh                 every stage of `make check`
# check.sh --skip-test     all but the first, for a caller that has just run `make test`
# check.sh STAGE...        only these
# Each stage is a function below and needs none before it. Its output is in build/check/STAGE.log. A
# stage whose tests do not exist fails; a stage over its budget is marked, since machines differ.
set -euo pipefail
cd "$(dirname "$0")/.."

# stage:budget in seconds on two cores; 3000 together.
stages=(
  test:600 rust:40 cuda:120 debug:160 asan:780 tsan:180 sim:60 mutants:180 fake_cuda:380 format:20
  clang_tidy:480
)
logs=build/check
export PAGODA_SIM_SEEDS=${PAGODA_SIM_SEEDS:-200}
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=second_deadlock_stack=1
export ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-16
export TSAN_SYMBOLIZER_PATH=$ASAN_SYMBOLIZER_PATH

run_ctest() { # build folder, more arguments
  local folder=$1
  shift
  ctest --test-dir "$folder" --parallel "$(nproc)" --output-on-failure --no-tests=error "$@"
}

build_debug() { # the debug preset's pure targets: clang, -Wthread-safety, invariants
  cmake --preset debug -B "$logs/debug" -DPAGODA_PURE=ON
  cmake --build "$logs/debug" --parallel "$(nproc)"
}

stage_test() { scripts/test.sh; }

stage_debug() {
  build_debug
  run_ctest "$logs/debug"
}

stage_asan() {
  scripts/build.sh asan
  run_ctest build/asan
}

stage_tsan() {
  scripts/build.sh tsan
  run_ctest build/tsan
}

stage_sim() {
  build_debug
  run_ctest "$logs/debug" -L sim
}

stage_cuda() { # device code for sm_80 and sm_90a; what runs on a device where there is one
  local tests=(
    kernels_cuda_test cuda_demo_test cuda_comm_test cuda_equality_test cuda_e2e_test cuda_bench
  )
  scripts/build.sh cuda "${tests[@]}"
  if [ -e /dev/nvidiactl ]; then
    run_ctest build/cuda -R "^($(IFS='|' && echo "${tests[*]}"))\$"
  else
    echo "no GPU, not run on one: ${tests[*]}"
  fi
}

stage_rust() { scripts/rust.sh --test; }

stage_mutants() { tests/sim/mutants/run.sh; }

stage_fake_cuda() { tests/testing/fake_cuda/mutants/run.sh; }

stage_format() { scripts/format.sh --check; }

stage_clang_tidy() { scripts/clang_tidy.sh; }

if [ "${1:-}" = --stage ]; then # one stage in a shell of its own, where a failing command ends it
  "stage_$2"
  exit
fi

chosen=("$@")
if [ $# -eq 0 ] || [ "$1" = --skip-test ]; then
  chosen=("${stages[@]%%:*}")
  [ $# -eq 0 ] || chosen=("${chosen[@]:1}")
fi

mkdir -p "$logs"
table=$(printf '%-12s %8s %8s  %s' stage seconds budget result)
passed=0 failed=0
for stage in "${chosen[@]}"; do
  budget=
  for entry in "${stages[@]}"; do
    [ "${entry%%:*}" != "$stage" ] || budget=${entry##*:}
  done
  if [ -z "$budget" ]; then
    echo "check: no stage '$stage'; there are: ${stages[*]%%:*}" >&2
    exit 2
  fi
  log=$logs/$stage.log
  echo "check: $stage (budget $budget s, log $log)"
  started=$SECONDS
  result=passed
  timeout --kill-after=10 $((3 * budget)) "$0" --stage "$stage" >"$log" 2>&1 </dev/null ||
    result="FAILED (status $?)"
  seconds=$((SECONDS - started))
  if [ "$result" = passed ]; then
    passed=$((passed + 1))
    [ "$seconds" -le "$budget" ] || result="passed, over budget"
  else
    failed=$((failed + 1))
    echo "check: the last lines of $log:"
    tail -n 60 "$log"
  fi
  result+=$(sed -nE -e 's/^.*% tests passed, .* out of ([0-9]+)$/, \1 tests/p' \
    -e 's/^test result: .* ([0-9]+) passed.*/, \1 tests/p' -e 's/^(no GPU, .*)$/; \1/p' "$log")
  row=$(printf '%-12s %8d %8d  %s' "$stage" "$seconds" "$budget" "$result")
  echo "check: $row"
  table+=$'\n'$row
done
echo
echo "$table"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
