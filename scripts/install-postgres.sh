#!/usr/bin/env bash
# install-postgres.sh SUITE VERSION PREFIX: a PostgreSQL of another Debian suite, beside the system's own.
#   scripts/install-postgres.sh trixie 17 build/postgres/17     also: sid 18, bullseye 13, trixie pgbackrest (PREFIX/usr/bin)
# Leaves PREFIX/usr/lib/postgresql/VERSION/bin. Nothing is installed in the system: apt, with a state of its own, resolves and
# downloads the packages (signatures and hashes checked); they are unpacked into PREFIX and their programs are told to use
# the C library that came with them. So a server of PREFIX runs on this host, and what it starts (archive_command) uses the
# host's library as always. The mirror is the one in apt's own configuration. No root needed; needs patchelf.
# Start such a server with --locale=C.UTF-8: PREFIX has no other locales.
set -euo pipefail

[ $# -eq 3 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
suite=$1 version=$2 prefix=$3
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
say() { printf 'install-postgres: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

case $version in
  pgbackrest) packages=(pgbackrest) bin=usr/bin program=pgbackrest show=version ;;
  *[!0-9]* | '') die "'$version' is no major version" ;;
  *) packages=("postgresql-$version" "postgresql-client-$version") bin=usr/lib/postgresql/$version/bin program=postgres show=--version ;;
esac
[ ! -e "$prefix/$bin/$program" ] || exit 0
for tool in patchelf apt-get dpkg-deb; do command -v "$tool" >/dev/null || die "$tool is missing: scripts/setup.sh test"; done
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
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Keep-Downloaded-Packages "true";
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
APT::Update::Post-Invoke-Success "";
DPkg::Pre-Install-Pkgs "";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
CONF

quietly() { "$@" >"$work/log" 2>&1 </dev/null || { tail -n 15 "$work/log" >&2; die "failed: $*"; }; }
export APT_CONFIG=$apt/apt.conf
quietly apt-get -q update
quietly apt-get -q -y --download-only install "${packages[@]}"
unset APT_CONFIG

# The server, its client and every shared library; not what only packaging or procedural languages need.
root=$work/root
mkdir "$root"
for package in "$apt"/archives/*.deb; do
  case ${package##*/} in
    postgresql-common* | postgresql-client-common* | *-perl_* | libperl* | libllvm* | libapt* | libdebconf*) ;;
    postgresql-* | pgbackrest_* | lib* | zlib1g*) dpkg-deb -x "$package" "$root" ;;
  esac
done
[ -x "$root/$bin/$program" ] || die "$suite has no ${packages[0]}"

# The program interpreter and the library path are absolute: they name the final prefix. Before the merge of /usr
# (bullseye) the C library lies in /lib.
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch 2>/dev/null || echo "$(uname -m)-linux-gnu")
loader=$(find "$root/usr/lib" "$root/lib" "$root/usr/lib64" -type f \( -name 'ld-linux-*.so.*' -o -name 'ld-2.*.so' \) -print -quit 2>/dev/null) || true  # one of the folders may be missing
[ -n "$loader" ] || die "no program loader among the packages of $suite"
loader=$prefix/${loader#"$root"/}
libraries=$prefix/usr/lib/$multiarch
[ -d "$root/lib/$multiarch" ] && libraries=$libraries:$prefix/lib/$multiarch

is_elf() { [ -f "$1" ] && [ "$(head -c 4 "$1" | tail -c 3)" = ELF ]; }
for file in "$root/$bin"/*; do
  is_elf "$file" || continue
  quietly patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$file"
done
for module in "$root/usr/lib/postgresql/$version/lib"/*.so; do
  [ -e "$module" ] || continue
  quietly patchelf --force-rpath --set-rpath "$libraries" "$module"
done

rm -rf "$root"/usr/share/{doc,man,locale,lintian,bug} "$root/usr/lib/$multiarch/gconv"
chmod 755 "$root"
rm -rf "$prefix"
mv "$root" "$prefix"
"$prefix/$bin/$program" $show >&2 || die "what was unpacked does not start"
