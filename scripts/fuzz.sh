#!/usr/bin/env bash
# fuzz.sh SECONDS [TARGET...]: builds preset fuzz and runs each target (default: all) for SECONDS.
# The committed corpus is read only; what libFuzzer adds stays in build/fuzz-corpus/, findings in build/fuzz-findings/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?"usage: fuzz.sh SECONDS [TARGET...]"}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(sed -n 's/^pgmint_fuzzer(\([a-z0-9_]*\) .*/\1/p' tests/fuzz/CMakeLists.txt)
fi

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${targets[@]}"

failed=()
for target in "${targets[@]}"; do
  grown=build/fuzz-corpus/$target
  findings=build/fuzz-findings/$target
  mkdir -p "$grown" "$findings"
  printf '==> %s for %s s\n' "$target" "$seconds"
  build/fuzz/tests/fuzz/"$target" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=512 -timeout=10 \
    -print_final_stats=1 -verbosity=1 -artifact_prefix="$findings/" "$grown" "tests/fuzz/corpus/$target" 2>&1 |
    { grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)|NEW_FUNC|Recommended dictionary|# Uses:|recommended dictionary' || true; } || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'found something: %s (inputs in build/fuzz-findings/)\n' "${failed[*]}"
  exit 1
fi
echo "nothing found"
