#!/bin/bash
# Fetches headers and libraries of libfuse's releases, as Debian's have them, into
# build/releases/CODENAME, where tests/releases.rs compiles against them. They are
# neither installed nor run; nothing else of the packages is unpacked. apt fetches
# and checks them, with directories of its own, so it needs no root.
# usage: releases.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
releases=$build/releases
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=http://deb.debian.org/debian

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

for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || die "Debian's packages are fetched with $program, which is not here"
done
[ -e "$keyring" ] || die "no $keyring to check Debian's packages with (apt-get install debian-archive-keyring)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt drops root
mkdir -p "$work"/{lists,archives}/partial "$work/packages"
chmod 777 "$work/packages"
architecture=$(dpkg --print-architecture)
for suite in "${missing[@]}"; do
    # A mirror that lags behind is good enough.
    say "deb [arch=$architecture signed-by=$keyring check-valid-until=no] $mirror ${suite%:*} main"
done >"$work/sources.list"
cat >"$work/apt.conf" <<END
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architectures { "$architecture"; };
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
END
export APT_CONFIG=$work/apt.conf
# apt-get succeeds without the lists that it could not get.
if ! timeout 300 apt-get -qq update -o APT::Update::Error-Mode=any >"$work/log" 2>&1; then
    die "Debian's package lists cannot be fetched from $mirror: $(tail -n 1 "$work/log")"
fi
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
