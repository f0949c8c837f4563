#!/usr/bin/env bash
# setup.sh [GROUP...]: installs the Debian packages of scripts/packages.txt that are missing.
# Groups: build demo test bench nightly; default: build demo test. Nothing missing: says nothing, takes no time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 0 ] || set -- build demo test

wanted=()
for group in "$@"; do
  grep -qx "\[$group\]" "$here/packages.txt" || { echo "setup: no group '$group' in scripts/packages.txt" >&2; exit 2; }
  while read -r package; do wanted+=("$package"); done < <(
    awk -v group="[$group]" '/^\[/ { inside = ($0 == group); next } inside && NF && !/^#/ { print $1 }' "$here/packages.txt")
done

missing=()
installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | awk '$1 == "ii" { print $2 }')
for package in "${wanted[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || { echo "setup: needs Debian (apt-get); install by hand: ${missing[*]}" >&2; exit 1; }
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: missing ${missing[*]}; run this as root, or install sudo" >&2; exit 1; }
  as_root=(sudo)
fi

echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends
     -o DPkg::Lock::Timeout=400 -o Dpkg::Use-Pty=0)

# Debian's postgresql-15 would create a cluster and start it on port 5432: not asked for. The drop-in stays only as
# long as apt runs.
drop_in=/etc/postgresql-common/createcluster.d/pgmint-setup.conf
"${as_root[@]}" mkdir -p "${drop_in%/*}"
echo "create_main_cluster = false" | "${as_root[@]}" tee "$drop_in" >/dev/null
log=$(mktemp)
trap '"${as_root[@]}" rm -f "$drop_in" ${policy:+"$policy"}; rm -f "$log"' EXIT

# Nor would the monitoring programs that tests start by themselves be services here. A machine that has a policy keeps it.
policy=/usr/sbin/policy-rc.d
if [ -e "$policy" ]; then
  policy=
else
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

if ! { "${apt[@]}" update && "${apt[@]}" install "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  tail -n 30 "$log" >&2
  echo "setup: apt-get failed (above); packages wanted: ${missing[*]}" >&2
  exit 1
fi
echo "setup: done"
