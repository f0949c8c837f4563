#!/usr/bin/env bash
# wal_segments.sh DIRECTORY: WAL of several workloads by a throwaway PostgreSQL 15, for wal_codec_bench.
# Leaves a folder of some segments, spread evenly, for each workload below DIRECTORY. Takes about four minutes; run it as any user but root
# (as root it becomes postgres), after scripts/setup.sh bench.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
mkdir -p "$1"
if [ "$(id -u)" -eq 0 ]; then
  chown postgres "$1"
  exec setpriv --reuid postgres --regid postgres --init-groups env HOME=/tmp bash "$(realpath "$0")" "$(realpath "$1")"
fi
out=$(realpath "$1")
tree=$(dirname "$(dirname "$(realpath "$0")")")
bin=/usr/lib/postgresql/15/bin
work=$(mktemp -d /tmp/pgmint-wal.XXXXXX)
data=$work/data
stop() {
  [ ! -e "$data/postmaster.pid" ] || "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null
  rm -rf "$work"
}
trap stop EXIT
cd "$work"

"$bin/initdb" -D "$data" -U postgres -A trust -N --data-checksums --locale=C.UTF-8 -E UTF8 >/dev/null
cat >>"$data/postgresql.conf" <<CONF
listen_addresses = ''
shared_buffers = 512MB
max_wal_size = 16GB
wal_keep_size = 20GB
checkpoint_timeout = 1h
autovacuum = off
fsync = off
CONF
"$bin/pg_ctl" -D "$data" -l "$work/log" -o "-k $work -p 5432" -w start >/dev/null
export PATH=$bin:$PATH PGHOST=$work PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
begin() {
  sql "select pg_switch_wal()" >/dev/null
  first=$(sql "select pg_walfile_name(pg_current_wal_insert_lsn())")
}
# keep NAME MAX: what was written since begin
keep() {
  sql "select pg_switch_wal()" >/dev/null
  local last names step
  last=$(sql "select pg_walfile_name(pg_current_wal_insert_lsn())")
  mapfile -t names < <(find "$data/pg_wal" -maxdepth 1 -type f -printf '%f\n' | grep -E '^[0-9A-F]{24}$' | sort | awk -v a="$first" -v b="$last" '$0 >= a && $0 < b')
  step=$(((${#names[@]} + $2 - 1) / $2))
  mkdir -p "$out/$1"
  for ((i = 0; i < ${#names[@]}; i += step)); do cp "$data/pg_wal/${names[i]}" "$out/$1/"; done
  echo "$1: ${#names[@]} segments, $(find "$out/$1" -type f | wc -l) kept"
}

begin
sql "create table filler as select i, md5(i::text) || md5((i * 7)::text) as x, now() as at, (i % 1000)::numeric / 7 as n from generate_series(1, 10) i"
sql "insert into filler select i, md5(i::text) || md5((i * 7)::text), now(), (i % 1000)::numeric / 7 from generate_series(1, 700000) i"
keep md5-rows 6
sql "drop table filler"

begin
python3 -B "$tree/scripts/sample_db.py" create --size 300 >/dev/null
keep sample 12

sql "create database pgb"
begin
pgbench -i -q -s 30 pgb >/dev/null 2>&1
keep pgbench-init 4
sql checkpoint
begin
pgbench -n -c 4 -j 2 -t 10000 pgb >/dev/null 2>&1
keep tpcb-after-checkpoint 6
pgbench -n -c 4 -j 2 -t 50000 pgb >/dev/null 2>&1
begin
pgbench -n -c 4 -j 2 -t 30000 pgb >/dev/null 2>&1
keep tpcb 6
begin
pgbench -n -N -c 4 -j 2 -t 30000 pgb >/dev/null 2>&1
keep pgbench-N 6

sql checkpoint
begin
python3 -B "$tree/scripts/sample_db.py" load --seconds 30 --clients 4 --db mint_replica >/dev/null 2>&1
keep sample-load 6
export PGDATABASE=mint_replica
begin
for index in "transactions (created_at)" "transactions (account_id)" "users (email)" "audit_logs using gin (payload)"; do sql "create index on $index"; done
keep index-builds 8
begin
sql "update transactions set amount = amount + 1 where id % 5 = 0"
sql "delete from transactions where id % 7 = 0"
sql "vacuum transactions"
keep update-delete-vacuum 6

begin
sql "create table copied (id bigint, a int, t text, at timestamptz, u uuid, n numeric)"
sql "copy (select i, i % 1000, 'customer ' || (i::bigint * 7919) % 100000, now() + i * interval '1 s', gen_random_uuid(), (i % 5000) / 7.0 from generate_series(1, 700000) i) to '$work/rows'"
sql "copy copied from '$work/rows'"
keep copy 4

sql "create table parts (id bigint, k int, t text) partition by list (k)"
for k in {0..299}; do echo "create table parts_$k partition of parts for values in ($k);"; done | psql -Xq
begin
sql "insert into parts select i, i % 300, md5(i::text) from generate_series(1, 400000) i"
keep partitions 4
