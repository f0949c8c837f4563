#!/usr/bin/env bash
# bench.sh [--size MB] [--rounds N] [--pgbench SCALE] [--modes balanced,fast,...] [--only backup,restore,verify,wal,bound,codec,incremental,logical,s3,summary,month,scale] [--segments N] [--json FILE]
# pgmint, Debian's pgbackrest and pg_basebackup on the same cluster in the same run; prints ratios (bench/README.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
for argument in "$@"; do
  if [ "$argument" = --help ]; then sed -n '2,3s/^# //p' "$0"; exit 0; fi
done
scripts/setup.sh build demo bench
mkdir -p build
if ! { cmake --preset release && cmake --build --preset release --target pgmint; } >build/bench-build.log 2>&1; then
  tail -n 30 build/bench-build.log >&2
  exit 1
fi
exec /usr/bin/python3 bench/bench.py "$@"
