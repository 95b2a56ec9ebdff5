#!/bin/bash
# Builds libfuse with rings, for `make bench` to compare with: Debian's source
# package, with the flags that Debian builds it with and -Denable-io-uring=true,
# which Debian's own build has not. apt fetches and checks the sources; they are
# compiled and thrown away. The result stays in the cache, outside this tree.
# Prints the directory that has include/ and lib/; fails with one line that says why.
# usage: libfuse-rings.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
suite=forky # 3.18.3 when this was written
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/ringfuse/libfuse-rings

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9 # another run may be at it
if [ -e "$cache/complete" ]; then # to build the suite's current one, remove the directory
    say "$cache"
    exit
fi

for need in dpkg-source:dpkg-dev meson:meson ninja:ninja-build; do
    command -v "${need%:*}" >/dev/null || die "libfuse with rings is not built: no ${need%:*} here (apt-get install ${need#*:})"
done
for need in liburing:liburing-dev numa:libnuma-dev; do
    pkg-config --exists "${need%:*}" ||
        die "libfuse with rings is not built: it needs ${need%:*} to compile with (apt-get install ${need#*:})"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
private_apt "$work" deb-src "$suite"
cd "$work/packages"
timeout 300 apt-get -qq source "fuse3/$suite" >"$work/log" 2>&1 ||
    die "the source package of libfuse cannot be fetched: $(tail -n 1 "$work/log")"
sources=$(find . -mindepth 1 -maxdepth 1 -type d)
CFLAGS=$(dpkg-buildflags --get CFLAGS) LDFLAGS=$(dpkg-buildflags --get LDFLAGS) \
    meson setup "$work/build" "$sources" --buildtype=plain --prefix="$cache" --libdir=lib \
    -Denable-io-uring=true -Dexamples=false -Dtests=false -Dutils=false >"$work/log" 2>&1 ||
    die "libfuse with rings cannot be configured: $(grep ERROR "$work/log" | tail -n 1)"
{ ninja -C "$work/build" && ninja -C "$work/build" install; } >"$work/log" 2>&1 ||
    die "libfuse with rings does not compile here: $(grep -m 1 -E 'error|FAILED' "$work/log")"
# What the bench says about it.
say "the source package fuse3 $(basename ./*.dsc .dsc | sed 's/^fuse3_//') of Debian, with liburing $(pkg-config --modversion liburing), by $(cc --version | head -n 1)" \
    >"$cache/complete"
say "$cache"
