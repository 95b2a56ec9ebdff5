#!/bin/bash
# Fetches headers and libraries of libfuse's releases, as Debian's have them, into
# build/releases/CODENAME, where tests/releases.rs compiles against them. They are
# neither installed nor run; nothing else of the packages is unpacked. apt fetches
# and checks them, with directories of its own, so it needs no root.
# usage: releases.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
releases=$build/releases

# The library's package in each suite; 3.14, 3.17 and 3.18 when this was written.
suites=(bookworm:libfuse3-3 trixie:libfuse3-4 forky:libfuse3-4)

mkdir -p "$releases"
exec 9>"$releases/lock"
flock 9 # another run may be at it
missing=()
for suite in "${suites[@]}"; do
    [ -e "$releases/${suite%:*}/complete" ] || missing+=("$suite")
done
[ ${#missing[@]} -gt 0 ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
private_apt "$work" deb "${missing[@]%:*}"
cd "$work/packages"
for suite in "${missing[@]}"; do
    codename=${suite%:*} library=${suite#*:} root=$releases/${suite%:*}
    timeout 120 apt-get -qq download "libfuse3-dev/$codename" "$library/$codename" >"$work/log" 2>&1 ||
        die "libfuse3-dev of $codename cannot be fetched: $(tail -n 1 "$work/log")"
    rm -rf "$root"
    mkdir "$root"
    for package in *.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --exclude=./usr/share
        rm "$package"
    done
    touch "$root/complete"
done
