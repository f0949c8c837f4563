#!/usr/bin/env bash
# install-moto.sh PREFIX: moto, which speaks AWS's KMS, STS and IAM, for tests of what pgmint asks of them.
#   scripts/install-moto.sh build/moto
# Leaves PREFIX/usr/lib/python3/dist-packages/moto. Debian 12 has no package of it: the one of trixie, pure Python, is fetched by apt with a state of its
# own (signature and hash checked) and unpacked into PREFIX; it runs with the system's Python and the packages of scripts/packages.txt. The mirror is
# the one in apt's own configuration. No root needed.
set -euo pipefail

[ $# -eq 1 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
prefix=$1 suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
say() { printf 'install-moto: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ ! -e "$prefix/usr/lib/python3/dist-packages/moto" ] || exit 0
for tool in apt-get dpkg-deb; do command -v "$tool" >/dev/null || die "$tool is missing: this needs Debian"; done
[ -r "$keyring" ] || die "$keyring is missing: apt-get install debian-archive-keyring"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
[ -n "$mirror" ] || die "apt knows no mirror: see /etc/apt/sources.list"

# Built beside the prefix and renamed at the end: an interrupted run leaves nothing that looks finished.
mkdir -p "$(dirname "$prefix")"
prefix=$(cd "$(dirname "$prefix")" && pwd)/$(basename "$prefix")
work=$(mktemp -d "$prefix.XXXXXX")
trap 'rm -rf "$work"' EXIT
apt=$work/apt
mkdir -p "$apt"/{lists/partial,archives/partial,empty}
: >"$apt/status"
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$apt/sources.list"
cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/empty";
Dir::Etc::Preferences "$apt/none";
Dir::Etc::PreferencesParts "$apt/empty";
APT::Architecture "$(dpkg --print-architecture)";
APT::Sandbox::User "";
APT::Update::Post-Invoke-Success "";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
CONF

quietly() { "$@" >"$work/log" 2>&1 </dev/null || { tail -n 15 "$work/log" >&2; die "failed: $*"; }; }
cd "$work"
APT_CONFIG=$apt/apt.conf quietly apt-get -q update
APT_CONFIG=$apt/apt.conf quietly apt-get -q download python3-moto
mkdir root
dpkg-deb -x python3-moto_*.deb root
[ -d root/usr/lib/python3/dist-packages/moto ] || die "the package has no module moto"
chmod 755 root
rm -rf "$prefix"
mv root "$prefix"
say "moto is in $prefix"
