#!/usr/bin/env bash
# demo.sh [--size MB] [--seed N]: a backup, an accident, and the way back, in one go.
#
# Installs what is missing, builds pgmint, starts a throwaway PostgreSQL with the sample database mint_replica, backs it
# up while it is being written to, drops a table, restores to the moment before, and compares every row.
# Works in ./demo-work, which stays (the last run's is replaced); leaves nothing running and nothing anywhere else, except
# Debian packages and build/. PostgreSQL and pgmint run as user postgres when this is started as root.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"

size=300 seed=1
while [ $# -gt 0 ]; do
  case $1 in
    --size) size=${2:?--size MB}; shift 2 ;;
    --seed) seed=${2:?--seed N}; shift 2 ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0"; [ "$1" = --help ] && exit 0 || exit 2 ;;
  esac
done

step_number=0
say() { step_number=$((step_number + 1)); printf '\n[%d] %s\n' "$step_number" "$*"; }
note() { printf '    %s\n' "$*"; }
indent() { sed 's/^/    /'; }
seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

say "Packages: what scripts/packages.txt names and this machine lacks"
scripts/setup.sh build demo | indent
note "all there"

say "Build: cmake --preset release && cmake --build --preset release"
at=$(date +%s.%N)
mkdir -p build
if ! { cmake --preset release && cmake --build --preset release --target pgmint; } >build/demo-build.log 2>&1; then
  tail -n 30 build/demo-build.log; echo "demo: the build failed; the whole log is build/demo-build.log" >&2; exit 1
fi
note "build/release/pgmint in $(seconds_since "$at") s"

# ---- who and where

owner=()
if [ "$(id -u)" -eq 0 ]; then owner=(setpriv --reuid postgres --regid postgres --init-groups env HOME=/var/lib/postgresql); fi
work=$root/demo-work
outside=""
rm -rf "$work"
mkdir -m 755 "$work"
if [ ${#owner[@]} -gt 0 ] && ! "${owner[@]}" test -x "$work"; then
  outside=yes
  work=$(mktemp -d /var/tmp/pgmint-demo.XXXXXX)
  chmod 755 "$work"
fi
server=$work/server restored=$work/restored config=$work/demo.toml
bin=/usr/lib/postgresql/15/bin
sockets=$(mktemp -d /tmp/pgmint-demo.XXXXXX)  # a socket's path may not pass 107 bytes
load=""

finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  [ -z "$load" ] || { kill "$load" 2>/dev/null && wait "$load" 2>/dev/null; } || true
  for data in "$server" "$restored"; do
    if [ -f "$data/postmaster.pid" ]; then "${owner[@]}" "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true; fi
  done
  rm -rf "$sockets"
  if [ -n "$outside" ]; then rm -rf "$work" "$root/demo-work"; fi
  if [ "$status" -ne 0 ]; then
    if [ -z "$outside" ]; then
      rm -rf "$work"
    fi
    printf '\ndemo: stopped (exit %d); servers stopped, %s removed\n' "$status" "$work" >&2
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ ${#owner[@]} -gt 0 ]; then chown postgres:postgres "$work" "$sockets"; fi
cp build/release/pgmint "$work/pgmint"
chmod 755 "$work/pgmint"
cd "$work"
export PGUSER=postgres PGHOST=$sockets PGPORT=5432 PGTZ=UTC
unset PGDATABASE PGPASSWORD PGSERVICE PGMINT_CONFIG 2>/dev/null || true

# Shows a command as one would type it, then runs it as the owner of the cluster.
pgmint() {
  local word shown=""
  for word in "$@"; do case $word in *" "*) shown+=" '$word'" ;; *) shown+=" $word" ;; esac; done
  printf '    $ pgmint --config demo.toml%s\n' "$shown"
  "${owner[@]}" "$work/pgmint" --config "$config" --progress plain "$@" 2>&1 | indent
}
as_owner() { "${owner[@]}" "$@"; }

say "A PostgreSQL 15 of our own, in ${work#"$root"/}$([ -z "$outside" ] || echo " (user postgres cannot enter $root)")"
as_owner "$bin/initdb" -D "$server" -U postgres -A trust --data-checksums --locale=C.UTF-8 -E UTF8 >"$work/initdb.log"
as_owner tee -a "$server/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$sockets'
shared_buffers = 256MB
max_wal_size = 2GB
archive_mode = on
archive_command = '"$work/pgmint" --config "$config" wal push "%p"'
CONF
note "archive_command = 'pgmint --config demo.toml wal push \"%p\"'"

say "The repository: encrypted, its key beside the configuration"
as_owner tee "$config" <<TOML | indent
repository = "$work/repository"
state_directory = "$work/state"

[encryption]
key_file = "$work/repository.key"

[cluster.main]
data_directory = "$server"
connection     = "host=$sockets port=5432 user=postgres dbname=postgres"
TOML
pgmint init

as_owner "$bin/pg_ctl" -D "$server" -l "$work/server.log" -w start >/dev/null
say "The sample database: $size MB, seed $seed"
"$root/scripts/sample_db.py" create --size "$size" --seed "$seed" | indent

say "A full backup, while accounts, transactions and audit_logs are written to"
"$root/scripts/sample_db.py" load --seconds 3600 --rate 200 >"$work/load.log" 2>&1 &
load=$!
newest() { psql -XAtq -d mint_replica -c 'select max(id) from transactions'; }
at=$(date +%s.%N) newest_before=$(newest)
pgmint backup main --type full --note demo
backup_seconds=$(seconds_since "$at") written=$(($(newest) - newest_before))
kill "$load" && wait "$load" 2>/dev/null || true
load=""
note "the backup took $backup_seconds s; $written transactions were committed meanwhile"

say "What the rows are now"
"$root/scripts/sample_db.py" digest >"$work/before.txt"
indent <"$work/before.txt"
moment=$(psql -XAtq -d postgres -c 'select clock_timestamp()')
note "the moment to come back to: $moment"

say "The accident"
sleep 1  # so that the moment and the accident differ for a reader, too
note "DROP TABLE transactions"
psql -Xq -d mint_replica -c 'drop table transactions'
last=$(psql -XAtq -d postgres -c 'select pg_walfile_name(pg_switch_wal())')
for _ in $(seq 600); do
  [ -e "$server/pg_wal/archive_status/$last.done" ] && break
  sleep 0.1
done
[ -e "$server/pg_wal/archive_status/$last.done" ] || { tail -5 "$work/server.log"; echo "demo: $last was not archived" >&2; exit 1; }
pgmint list

say "The way back: a server beside the first one, at the moment before the accident"
at=$(date +%s.%N)
pgmint restore main --to "$restored" --time "$moment" --action promote
restore_seconds=$(seconds_since "$at")
at=$(date +%s.%N)
as_owner "$bin/pg_ctl" -D "$restored" -l "$work/restored.log" -o "-p 5433" -w -t 300 start >/dev/null
for _ in $(seq 600); do
  [ "$(psql -XAtq -p 5433 -d postgres -c 'select pg_is_in_recovery()')" = f ] && break
  sleep 0.1
done
note "files restored in $restore_seconds s; recovery took $(seconds_since "$at") s more"

say "The same rows?"
PGPORT=5433 "$root/scripts/sample_db.py" digest >"$work/after.txt"
indent <"$work/after.txt"
if ! cmp -s "$work/before.txt" "$work/after.txt"; then
  diff "$work/before.txt" "$work/after.txt" >&2 || true
  echo "demo: the restored rows differ" >&2
  exit 1
fi
note "yes: the digests of all $(wc -l <"$work/before.txt") tables agree"
note "the first server still lacks transactions: $(psql -XAtq -d mint_replica -c "select coalesce(to_regclass('transactions')::text, 'no such table')")"

database_size=$(du -sm "$restored" | cut -f1) repository_size=$(du -sm "$work/repository" | cut -f1)
for data in "$server" "$restored"; do as_owner "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null; done

say "Done"
note "data directory $database_size MB, repository $repository_size MB (backup and WAL), backup $backup_seconds s, restore $restore_seconds s"
if [ -n "$outside" ]; then
  note "The demo's files are removed now, since they lie outside this folder ($work)."
  note "From a clone that user postgres can enter (/opt/pgmint, say) they stay, to be tried by hand."
else
  prefix=$([ ${#owner[@]} -eq 0 ] || echo "setpriv --reuid postgres --regid postgres --init-groups ")
  note "Both servers are stopped; ./demo-work holds all of it (rm -rf demo-work removes it). To try next:"
  for command in list "show LATEST" "verify --read-data" "audit list" "restore --to $work/again --latest" status; do
    case $command in "show LATEST") command="show $(as_owner "$work/pgmint" --config "$config" list --json |
      python3 -c 'import json,sys; print(json.load(sys.stdin)["clusters"][0]["backups"][-1]["name"])')" ;; esac
    note "  ${prefix}demo-work/pgmint --config demo-work/demo.toml $command"
  done
  note "and pgmint --help, or the quick start in README.md for a server of your own"
fi
