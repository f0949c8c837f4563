#!/usr/bin/env bash
# test.sh            set-up, release build, unit tests, integration tests (PostgreSQL 15 and 17)
# test.sh --ci       the same, but without PostgreSQL 17 where its Debian suite cannot be reached: said, not failed
# test.sh --fast     build, unit tests and the quick integration tests
# test.sh --nightly  everything: also ASan/UBSan and TSan builds, PostgreSQL 13 and 18, the slow crash tests, long runs of
#                    simulation and damage, fuzzers; as root also the package on a clean Debian root
# Goes on after a failed step and exits 1 when any failed. Times are printed; logs are in build/test-logs/.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

mode=full
case "${1:-}" in
  "") ;;
  --ci) mode=ci ;;
  --fast) mode=fast ;;
  --nightly) mode=nightly ;;
  *) sed -n '2,7s/^# //p' "$0"; exit 2 ;;
esac

logs=build/test-logs
mkdir -p "$logs"
failed=()
started=$SECONDS

# step NAME COMMAND...: runs it, shows its output, keeps a log, remembers a failure.
step() {
  local name=$1 from=$SECONDS status
  shift
  printf '\n==> %s\n' "$name"
  "$@" 2>&1 </dev/null | tee "$logs/${name// /-}.log"
  status=${PIPESTATUS[0]}
  printf '==> %s: %s after %d s\n' "$name" "$([ "$status" -eq 0 ] && echo ok || echo "FAILED ($status)")" $((SECONDS - from))
  [ "$status" -eq 0 ] || failed+=("$name")
  return "$status"
}

# what_failed LOG: the failures in it alone, names first, for who sees no more than the end of all that was printed.
what_failed() {
  grep -hE '^(FAILED|ERROR) |^ *[0-9/]+ Test .*(Failed|Timeout|Exception)|^\[  FAILED  \] .*ms\)$|^FAILED: ' "$1" | head -40
  grep -hE -A6 ': Failure$|^E   [A-Za-z]+(Error|Exception)|error: ' "$1" | grep -vE '^(\[|E *$|[0-9]{4}-[0-9]{2}-[0-9]{2} )' | head -60
}

# Totals over all steps, from the runners' own closing lines.
passed_total=0 failed_total=0 skipped_total=0
count_ctest() {  # "97% tests passed, 3 tests failed out of 123"
  local line bad all
  line=$(grep -E 'tests? passed, [0-9]+ tests? failed out of [0-9]+' "$1" 2>/dev/null | tail -1) || return 0
  bad=$(sed -E 's/.*passed, ([0-9]+) tests? failed.*/\1/' <<<"$line")
  all=$(sed -E 's/.*out of ([0-9]+).*/\1/' <<<"$line")
  failed_total=$((failed_total + bad)); passed_total=$((passed_total + all - bad))
}
count_pytest() {  # "=== 2 failed, 80 passed, 1 skipped in 61.02s ==="
  local line word n
  line=$(grep -E '^=+ .*(passed|failed|error|skipped).* in [0-9.]+s' "$1" 2>/dev/null | tail -1) || return 0
  for word in passed xfailed failed error skipped; do
    n=$(grep -oE "[0-9]+ ${word}s?\b" <<<"$line" | grep -oE '^[0-9]+' | head -1)
    [ -n "$n" ] || continue
    case $word in
      passed) passed_total=$((passed_total + n)) ;;
      failed|error) failed_total=$((failed_total + n)) ;;
      xfailed|skipped) skipped_total=$((skipped_total + n)) ;;
    esac
  done
}

build() {
  cmake --preset "$1" && cmake --build --preset "$1"
}
# The servers run as user postgres when we are root, and their loader's path is absolute: they must lie where it can go.
other_postgres() {  # SUITE VERSION
  local postgres_root=$PWD/build/postgres
  if [ "$(id -u)" -eq 0 ] && ! setpriv --reuid postgres --regid postgres --init-groups test -x "$PWD/build"; then
    postgres_root=/var/tmp/pgmint-postgres
  fi
  [ -x "$postgres_root/$2/usr/lib/postgresql/$2/bin/postgres" ] && return 0
  scripts/install-postgres.sh "$1" "$2" "$postgres_root/$2"
}
# Tests wait more than they compute: one more worker than cores. A file stays with one worker, which shares its scene.
pytest() {
  PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest tests/integration -n "$(($(nproc) + 1))" --dist loadfile "$@"
}
# integration VERSION [OPTION...]: every test on that major.
integration() {
  local version=$1 name="integration tests $1"
  shift
  step "$name" pytest --pg-versions "$version" "$@"
  count_pytest "$logs/${name// /-}.log"
}

groups=(build demo test)
[ "$mode" = nightly ] && groups+=(bench nightly)
step setup scripts/setup.sh "${groups[@]}" || { echo "0 passed, 1 failed"; exit 1; }

if step "build release" build release; then
  step "unit tests" ctest --preset release -j "$(nproc)" --no-tests=error
  count_ctest "$logs/unit-tests.log"
  case $mode in
    fast) integration 15 -m quick ;;
    full | ci)
      integration 15 -m "not slow" --durations=10
      # 17 beside Debian's own 15. Where its suite cannot be reached its tests cannot run, and that is a failure.
      if [ "$mode" = full ]; then
        step "postgresql 17" other_postgres trixie 17 && integration 17 -m "not slow" --durations=10
      elif other_postgres trixie 17; then
        integration 17 -m "not slow" --durations=10
      else
        printf '\n==> SKIPPED: integration tests 17: PostgreSQL 17 could not be had (above)\n'
        skipped_total=$((skipped_total + 1))
      fi
      ;;
    nightly)
      # Cuts are many runs a seed, bad days one: many seeds at a third of all cuts would take hours.
      step "simulation of power cuts" env PGMINT_TEST_STRIDE=3 build/release/tests/sim/repository_sim_test '--gtest_filter=*PowerCut*'
      step "simulation of bad days" env PGMINT_TEST_SEEDS_FACTOR=20 build/release/tests/sim/repository_sim_test '--gtest_filter=*BadDays*'
      step "simulation of backups, power cuts" env PGMINT_TEST_STRIDE=3 build/release/tests/sim/backups_sim_test '--gtest_filter=*PowerCut*'
      step "simulation of backups, bad days" env PGMINT_TEST_SEEDS_FACTOR=20 build/release/tests/sim/backups_sim_test '--gtest_filter=*BadDays*'
      step "damage" env PGMINT_TEST_STRIDE=5 build/release/tests/damage/damage_test
      export PGMINT_TEST_WORK=$PWD/test-work
      integration 15 --durations=20
      step "postgresql 17" other_postgres trixie 17 && integration 17 --durations=20
      step "postgresql 13" other_postgres bullseye 13 && integration 13 --durations=20
      step "postgresql 18" other_postgres sid 18 && integration 18 --durations=20
      ;;
  esac
fi

if [ "$mode" = nightly ]; then
  for sanitizer in asan tsan; do
    if step "build $sanitizer" build "$sanitizer"; then
      step "unit tests $sanitizer" ctest --preset "$sanitizer" -j "$(nproc)" --no-tests=error
      count_ctest "$logs/unit-tests-$sanitizer.log"
      # The commands too: what they put together has threads and bytes from outside that no unit test has.
      # No search for leaks, which does not work under strace; the unit tests have it.
      ASAN_OPTIONS=detect_leaks=0 PGMINT_BIN=$PWD/build/$sanitizer/pgmint step "commands $sanitizer" pytest --pg-versions 15 -m "not slow"
      count_pytest "$logs/commands-$sanitizer.log"
    fi
  done
  [ "$(id -u)" -ne 0 ] || step "package" scripts/check-package.sh
  step "aarch64" scripts/check-aarch64.sh
  step "fuzzers" scripts/fuzz.sh "${FUZZ_SECONDS:-60}"
fi

printf '\n%d s in all; logs in %s\n' $((SECONDS - started)) "$logs"
if [ ${#failed[@]} -gt 0 ]; then
  for name in "${failed[@]}"; do
    printf '\n==> of %s:\n' "$name"
    what_failed "$logs/${name// /-}.log"
  done
  printf 'failed: %s\n' "$(IFS=,; echo "${failed[*]}")"
  [ "$failed_total" -gt 0 ] || failed_total=${#failed[@]}
fi
printf '%d passed, %d failed, %d skipped\n' "$passed_total" "$failed_total" "$skipped_total"
[ ${#failed[@]} -eq 0 ]
