#!/usr/bin/env bash
# gpu_test.sh            every stage, on this machine's GPU
# gpu_test.sh STAGE...   only these
# The same script in the sources, where it builds the programs, and in an unpacked bundle of
# `make gpu-bundle`, where they are. Each stage is a function below and an entry of `stages`; its
# output is in a log of its own beside the results file. A stage that fails does not stop the next.
#   OUT                  the results file, or the folder for it; else GPU-DATE.md in results/ of the
#                        bundle or build/results/ of the sources
#   PAGODA_GPU_PROGRAMS  a folder with bin/ and tests/ whose programs run instead. Those of
#                        build/release are for the fake device: they need no GPU, and show what this
#                        script does, on small shapes
#   GTEST_FILTER         of the op tests and the demo, as GoogleTest reads it
set -euo pipefail
caller=$PWD
here=$(cd "$(dirname "$0")" && pwd)
script=$here/$(basename "$0")
root=$here
[ -e "$here/COMMIT" ] || root=$(dirname "$here")
cd "$root"

# stage:timeout in seconds; together at most most_seconds.
stages=(op_tests:90 demo:30 comm:25 equality:45 e2e:60 memcheck:90 racecheck:75 bench:60)
most_seconds=480
not_run=77 # status of a stage that cannot be run here; its last line says why

# Tests that launch every kernel, and those among them whose kernels have shared memory.
racecheck_tests='Ptx.*:Cases/AttentionTest.GivesTheReferencesResults/*:SamplingOnADevice.*'
racecheck_tests+=':Shapes/LinearTest.GivesTheReferencesSums/*:Types/RowOpsTest.*'
memcheck_tests="$racecheck_tests:BlockOps.*:CudaBackend.GivesTheBitsOfTheCpuInF32"

need() { # PROGRAM
  [ -x "$PAGODA_PROGRAMS/$1" ] && return
  echo "there is no $1"
  [ -n "${PAGODA_GPU_PROGRAMS:-}" ] || exit 1 # a bundle has all
  exit "$not_run"
}

run() { # PROGRAM ARGUMENT...
  need "$1"
  env LD_LIBRARY_PATH="$PAGODA_LIBRARIES" "$PAGODA_PROGRAMS/$1" "${@:2}"
}

require_line() { # REGEX WHAT: the stage's output so far must have it
  grep -Eq "$1" "$PAGODA_LOG" && return
  echo "$2"
  exit 1
}

run_tests() { # PROGRAM ARGUMENT...
  run "$@"
  require_line '^\[  PASSED  \] [1-9]' 'no test was run'
}

sanitize() { # TOOL FILTER
  need tests/kernels_cuda_test
  if [ -z "$PAGODA_SANITIZER" ]; then
    echo "no compute-sanitizer on this machine"
    [ -z "$PAGODA_GPU" ] || exit 1
    exit "$not_run"
  fi
  # Calls that are to fail are tested too.
  env LD_LIBRARY_PATH="$PAGODA_LIBRARIES" "$PAGODA_SANITIZER" --tool "$1" --error-exitcode 1 \
    --report-api-errors no "$PAGODA_PROGRAMS/tests/kernels_cuda_test" --gtest_filter="$2"
  require_line '^\[  PASSED  \] [1-9]' 'no test was run'
  require_line 'SUMMARY: 0 (errors|hazards)' "$1 said nothing"
}

stage_op_tests() { run_tests tests/kernels_cuda_test; }

stage_demo() { run_tests tests/cuda_demo_test; }

# NCCL with one rank, and with as many as there are GPUs; several ranks of a GPU through the host.
stage_comm() { run_tests tests/cuda_comm_test; }

stage_equality() { run_tests tests/cuda_equality_test; }

# A server: against its CPU worker, and groups of 2 and 4 ranks on one GPU.
stage_e2e() {
  need bin/pagoda-worker
  run_tests tests/cuda_e2e_test
}

stage_memcheck() { sanitize memcheck "$memcheck_tests"; }

stage_racecheck() { sanitize racecheck "$racecheck_tests"; }

stage_bench() {
  local arguments=(--out "$PAGODA_LOG.jsonl")
  [ -n "$PAGODA_GPU" ] || arguments+=(--quick --repetitions 2)
  run bin/cuda_bench "${arguments[@]}"
}

if [ "${1:-}" = --stage ]; then # one stage in a shell of its own, where a failing command ends it
  "stage_$2"
  exit
fi

# Folders where CUDA's libraries may be that the loader does not know, likeliest first.
cuda_folders() {
  printf '%s\n' ${CUDA_HOME:+"$CUDA_HOME"/lib64} /usr/local/cuda*/lib64
  command -v python3 >/dev/null || return 0
  python3 -c 'import sys; print("\n".join(p for p in sys.path if p))' | while read -r path; do
    printf '%s\n' "$path"/nvidia/*/lib
  done
}

not_found() { # FOLDERS: what the loader says of libraries that the programs lack there
  LD_LIBRARY_PATH=$1 ldd "$PAGODA_PROGRAMS"/{bin,tests}/* 2>&1 | grep 'not found' || echo
}

# Libraries that the programs load by themselves, as far as the loader does not know them.
not_known() {
  local name known
  known=$(ldconfig -p 2>/dev/null || true)
  for name in libcublasLt.so.13 libnccl.so.2; do
    [[ $known = *"$name"* ]] || echo "$name"
  done
}

# Folders, joined by colons, of the libraries that the programs lack; libraries need others.
find_libraries() {
  local found=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} folders name folder before=
  # The machine's own where they are new enough, so that CUDA's libraries have those too.
  [[ ! $(not_found "$found") =~ lib(stdc\+\+|gcc_s)\. ]] || found=$root/lib/gcc:$found
  mapfile -t folders < <(cuda_folders)
  while [ "$found" != "$before" ]; do
    before=$found
    for name in $(not_known) $(not_found "$found" | awk '$2 == "=>" { print $1 }' | sort -u); do
      for folder in "${folders[@]}"; do
        [ -e "$folder/$name" ] || continue
        [[ ":$found:" = *":$folder:"* ]] || found+=:$folder
        break
      done
    done
  done
  echo "$found"
}

find_sanitizer() {
  local folders
  folders=$(printf ':%s' ${CUDA_HOME:+"$CUDA_HOME"/bin} /usr/local/cuda*/bin)
  PATH=$PATH$folders command -v compute-sanitizer || echo
}

gpu_field() { # FIELD of nvidia-smi
  nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null | sort | uniq -c |
    awk '{ n = $1; sub(/^ *[0-9]+ /, ""); print (n > 1 ? n " x " : "") $0 }' | paste -sd ';' ||
    echo unknown
}

cuda_version() {
  nvidia-smi 2>/dev/null | sed -nE 's/.*CUDA Version: ([0-9.]+).*/\1/p' || echo unknown
}

commit() {
  cat COMMIT 2>/dev/null || git describe --always --dirty --abbrev=12 --exclude='*' || echo unknown
}

results_file() {
  local name=${PAGODA_GPU:-no gpu} folder=$root/build/results out=${OUT:-}
  name=$(tr -cs 'a-z0-9\n' - <<<"${name,,}")-$now.md
  [ "$root" != "$here" ] || folder=$root/results
  [ -z "$out" ] || folder=$(cd "$caller" && realpath --canonicalize-missing "$out")
  if [ -n "$out" ] && [ ! -d "$folder" ]; then echo "$folder"; else echo "$folder/$name"; fi
}

write_results() {
  printf '# %s, %s UTC\n\n' "${PAGODA_GPU:-No GPU: these programs are for a fake device}" "$now"
  printf '| machine | |\n|---|---|\n'
  if [ -n "$PAGODA_GPU" ]; then
    printf '| %s | %s |\n' GPU "$PAGODA_GPU" memory "$(gpu_field memory.total)" \
      driver "$(gpu_field driver_version)" 'CUDA of the driver' "$(cuda_version)" \
      'power limit' "$(gpu_field power.limit)" 'highest SM clock' "$(gpu_field clocks.max.sm)"
  fi
  printf '| %s | %s |\n' CPU "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | sed -n 1p)" \
    cores "$(nproc)" system "Linux $(uname -r), $(getconf GNU_LIBC_VERSION)" commit "$(commit)"
  printf '\n## Stages\n\n| stage | seconds | timeout | result |\n|---|---:|---:|---|\n'
  printf '%s\n%s\n' "$rows" "$summary"
  if [ -s "$logs/bench.log.jsonl" ]; then
    printf '\n## Kernels\n\n'
    sed -n '/ multiprocessors; /,$p' "$logs/bench.log"
    # shellcheck disable=SC2016 # Markdown's
    printf '\n```json\n%s\n```\n' "$(cat "$logs/bench.log.jsonl")"
  fi
  printf '%s' "$tails"
}

# --- Where, and what with.
export PAGODA_GPU='' PAGODA_PROGRAMS PAGODA_LIBRARIES PAGODA_SANITIZER PAGODA_LOG
if [ -e /dev/nvidiactl ]; then
  PAGODA_GPU=$(gpu_field name)
elif [ -z "${PAGODA_GPU_PROGRAMS:-}" ]; then
  echo "gpu-test: no NVIDIA driver: there is no /dev/nvidiactl" >&2
  exit 1
fi

total=0
for entry in "${stages[@]}"; do total=$((total + ${entry##*:})); done
if [ "$total" -gt "$most_seconds" ]; then
  echo "gpu-test: the stages' timeouts are $total s together, more than $most_seconds s" >&2
  exit 2
fi
chosen=("$@")
[ $# -gt 0 ] || chosen=("${stages[@]%%:*}")
for stage in "${chosen[@]}"; do
  if [[ " ${stages[*]%%:*} " != *" $stage "* ]]; then
    echo "gpu-test: no stage '$stage'; there are: ${stages[*]%%:*}" >&2
    exit 2
  fi
done

if [ -n "${PAGODA_GPU_PROGRAMS:-}" ]; then
  PAGODA_PROGRAMS=$(cd "$caller" && cd "$PAGODA_GPU_PROGRAMS" && pwd)
elif [ "$root" = "$here" ]; then
  PAGODA_PROGRAMS=$root
else
  scripts/gpu_bundle.sh --build
  PAGODA_PROGRAMS=$root/build/cuda
fi
PAGODA_LIBRARIES=$(find_libraries)
PAGODA_SANITIZER=$(find_sanitizer)

now=$(date -u +%Y-%m-%d-%H%M)
results=$(results_file)
logs=${results%.md}.logs
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs"/*.log.jsonl # of an earlier run with the same OUT
echo "gpu-test: ${PAGODA_GPU:-no GPU}, programs of $PAGODA_PROGRAMS, libraries of $PAGODA_LIBRARIES"

# --- Stages.
table=$(printf '%-10s %8s %8s  %s' stage seconds timeout result)
rows='' tails='' passed=0 failed=0 missing=0
for stage in "${chosen[@]}"; do
  for entry in "${stages[@]}"; do
    [ "${entry%%:*}" != "$stage" ] || timeout=${entry##*:}
  done
  PAGODA_LOG=$logs/$stage.log
  echo "gpu-test: $stage (at most $timeout s, log $PAGODA_LOG)"
  started=$SECONDS status=0
  timeout --kill-after=5 "$timeout" "$script" --stage "$stage" >"$PAGODA_LOG" 2>&1 </dev/null ||
    status=$?
  seconds=$((SECONDS - started))
  case $status in
    0) passed=$((passed + 1)) result=passed ;;
    "$not_run") missing=$((missing + 1)) result="not run: $(tail -n 1 "$PAGODA_LOG")" ;;
    124 | 137) failed=$((failed + 1)) result="FAILED: not done after $timeout s" ;;
    *) failed=$((failed + 1)) result="FAILED (status $status)" ;;
  esac
  if [[ $result = FAILED* ]]; then
    tail -n 60 "$PAGODA_LOG"
    tails+=$'\n## The end of '$stage$'\n\n```\n'$(tail -n 60 "$PAGODA_LOG")$'\n```\n'
  fi
  result+=$(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?\.$/, \1 tests/p' "$PAGODA_LOG")
  row=$(printf '%-10s %8d %8d  %s' "$stage" "$seconds" "$timeout" "$result")
  echo "gpu-test: $row"
  table+=$'\n'$row
  rows+="| $stage | $seconds | $timeout | ${result//|/ } |"$'\n'
done

summary="$passed passed, $failed failed, $missing not run"
write_results >"$results"
printf '\n%s\n%s\ngpu-test: results in %s\n' "$table" "$summary" "$results"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
