#!/usr/bin/env bash
# check-package.sh [BUILD]   the Debian package on a clean Debian 12: installs, runs, removes. Needs root and debootstrap.
# Makes the package of BUILD (default build/release), a minimal root with this machine's own package sources, and
# installs it there. Leaves nothing behind but the package, in BUILD. About two minutes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "${1:-$root/build/release}" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "check-package: needs root (debootstrap, chroot)" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "check-package: scripts/setup.sh nightly installs debootstrap" >&2; exit 1; }

# The mirror that this machine's apt uses for Debian 12.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' | head -1)
[ -n "$mirror" ] || { echo "check-package: apt has no source for bookworm (apt-get update?)" >&2; exit 1; }

(cd "$build" && rm -f pgmint_*.deb && cpack -G DEB >cpack.log) || { cat "$build/cpack.log" >&2; exit 1; }
package=$(ls "$build"/pgmint_*.deb)
echo "check-package: $(basename "$package"), $(stat -c %s "$package") bytes"
dpkg-deb --field "$package" Depends | sed 's/^/  depends: /'

clean=$(mktemp -d /var/tmp/pgmint-clean.XXXXXX)
trap 'rm -rf --one-file-system "$clean"' EXIT
echo "check-package: a clean bookworm from this machine's mirror"
debootstrap --variant=minbase bookworm "$clean" "$mirror" >"$build/debootstrap.log" 2>&1 || { tail -20 "$build/debootstrap.log" >&2; exit 1; }
cp -a /etc/apt/apt.conf.d/. "$clean/etc/apt/apt.conf.d/"   # proxies and the like
rm -rf "$clean"/etc/apt/apt.conf.d/docker-*
cp "$package" "$clean/pgmint.deb"
in_clean() { chroot "$clean" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }

in_clean apt-get -qq update
in_clean apt-get -qq -y --no-install-recommends install /pgmint.deb >"$build/clean-install.log" 2>&1 || { tail -20 "$build/clean-install.log" >&2; exit 1; }
in_clean pgmint --version
in_clean pgmint --help >/dev/null
# The container's minimal dpkg may leave out documentation; the package itself must have it.
for file in usr/bin/pgmint usr/share/man/man1/pgmint-restore.1.gz usr/share/man/man5/pgmint.toml.5.gz \
            usr/share/bash-completion/completions/pgmint usr/share/doc/pgmint/pgmint.toml.example usr/share/doc/pgmint/copyright; do
  dpkg-deb --fsys-tarfile "$package" | tar -tf - "./$file" >/dev/null || { echo "check-package: $file is not in the package" >&2; exit 1; }
done
# It does something: a repository and its key.
in_clean sh -ec 'mkdir -p /etc/pgmint; printf "repository = \"/var/lib/pgmint\"\n[encryption]\nkey_file = \"/etc/pgmint/repository.key\"\n" >/etc/pgmint/pgmint.toml
                 pgmint init >/dev/null; pgmint key list; pgmint list'
in_clean dpkg --remove pgmint >/dev/null
if in_clean sh -c 'command -v pgmint' >/dev/null; then echo "check-package: removal left pgmint behind" >&2; exit 1; fi
echo "check-package: installs, runs and goes away on a clean Debian 12"
