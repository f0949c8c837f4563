#!/usr/bin/env bash
# tidy.sh [FILE.cc...]: clang-tidy with .clang-tidy over the named sources; without names over those that differ from main.
# `tidy.sh --all` takes every source under src/: about 10 s of CPU each. Needs the group nightly of scripts/packages.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  --all) mapfile -t files < <(git ls-files 'src/*.cc') ;;
  "") mapfile -t files < <({ git diff --name-only --diff-filter=d main -- 'src/*.cc'; git ls-files -o --exclude-standard 'src/*.cc'; } | sort -u) ;;
  *) files=("$@") ;;
esac
[ ${#files[@]} -gt 0 ] || { echo "no sources to look at"; exit 0; }

# A tree of its own: clang-tidy needs clang's command lines and clang's precompiled headers.
cmake --preset dev -B build/tidy -DCMAKE_CXX_COMPILER=clang++ >/dev/null
cmake --build build/tidy --target pgmint_pch pgmint_test_pch >/dev/null
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy -p build/tidy --quiet
echo "${#files[@]} sources, nothing found"
