#!/bin/bash
# Installs the build into PREFIX, or the libraries in the place of the system's
# libfuse3 (in-place.sh), or uninstalls what was put there.
# `sudo make install` in a user's tree installs what that user has built.
# usage: install.sh PREFIX | install.sh --in-place | install.sh --uninstall
set -euo pipefail
. "$(dirname "$0")/lib.sh"

in_place=$top/scripts/in-place.sh

if [ "$1" = --uninstall ]; then
    put_back=
    if "$in_place" present >/dev/null 2>&1; then
        # Who installed into a directory of one's own need not be root to undo that.
        if [ "$(id -u)" = 0 ] || [ ! -e "$build/meson-logs/install-log.txt" ]; then
            "$in_place" remove
            put_back=yes
        fi
    fi
    if [ ! -e "$build/meson-logs/install-log.txt" ]; then
        [ -n "$put_back" ] || die "nothing to uninstall: this tree has not installed anything"
        exit
    fi
    prefix=$(sed -n 's|/include/fuse3/ringfuse\.h$||p' "$build/meson-logs/install-log.txt")
    ninja -C "$build" uninstall >/dev/null
    rm -f "$build/meson-logs/install-log.txt"
    rmdir --ignore-fail-on-non-empty "$prefix/include/fuse3" 2>/dev/null || true
    give_back
    say "Uninstalled from $prefix."
    exit
fi

if [ "$1" = --in-place ]; then
    [ "$(id -u)" = 0 ] || die "IN_PLACE=yes changes the system's libraries and needs root; build before: make build && sudo make install IN_PLACE=yes"
    options=()
else
    prefix=$(realpath -m "$1")
    options=("-Dprefix=$prefix")
fi
if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$top")" != 0 ]; then
    [ -e "$build/libfuse3.a" ] || die "run 'make build' first, as $(stat -c %U "$top")"
    [ "$1" = --in-place ] || meson setup --reconfigure "$build" "$top" "${options[@]}" >/dev/null
else
    "$top/scripts/deps.sh" build
    "$top/scripts/build.sh" "${options[@]}"
fi
if [ "$1" = --in-place ]; then
    "$in_place" install "$build"
    give_back
    say "All programs of this system run on ringfuse from their next start on; make uninstall undoes it."
    exit
fi
meson install -C "$build" --no-rebuild --quiet
give_back
say "Installed into $prefix. Installed programs run on it with: $prefix/bin/ringfuse run PROGRAM"
say "Programs that are built find it with PKG_CONFIG_PATH=$prefix/lib/pkgconfig and LD_LIBRARY_PATH=$prefix/lib,"
say "or, for a prefix of the system such as /usr/local, by themselves after: ldconfig"
