#!/usr/bin/env bash
# check-aarch64.sh   the page codec built for AArch64 and run under qemu: pages come back, and the streams are those of this processor.
# Needs g++-aarch64-linux-gnu and qemu-user-static (scripts/setup.sh nightly). Half a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for tool in aarch64-linux-gnu-g++ qemu-aarch64-static; do
  command -v "$tool" >/dev/null || { echo "check-aarch64: $tool is missing: scripts/setup.sh nightly installs it" >&2; exit 1; }
done
work=$(mktemp -d /var/tmp/pgmint-aarch64.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
# Headers that are the same for all processors; the rest of /usr/include is this one's.
mkdir "$work/include"
ln -s /usr/include/fmt /usr/include/tl "$work/include/"
sources=(tests/portability/page_streams.cc src/codec/{page_encoder,page_decoder,page_planes,binary}.cc src/base/{error,random}.cc)
flags=(-std=c++20 -O2 -DFMT_HEADER_ONLY -Isrc "-I$work/include" -include algorithm -include memory -include optional -include vector)
g++ "${flags[@]}" "${sources[@]}" -o "$work/here"
aarch64-linux-gnu-g++ "${flags[@]}" -static "${sources[@]}" -o "$work/there"
here=$("$work/here" write "$work/groups")
there=$(qemu-aarch64-static "$work/there" read "$work/groups")
printf 'here     %s\naarch64  %s\n' "$here" "$there"
[ "$here" = "$there" ]
