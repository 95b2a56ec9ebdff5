#!/bin/bash
# Installs the build into PREFIX, or the libraries in the place of the system's
# libfuse3 (in-place.sh), or uninstalls what was put there.
# `sudo make install` in a user's tree installs what that user has built.
# usage: install.sh PREFIX | install.sh --in-place | install.sh --uninstall
set -euo pipefail
. "$(dirname "$0")/lib.sh"

in_place=$top/scripts/in-place.sh
log=$build/meson-logs/install-log.txt
installed() { [ ! -e "$log" ] || grep -v '^#' "$log"; } # by the last install

if [ "$1" = --uninstall ]; then
    put_back=
    if "$in_place" present >/dev/null 2>&1; then
        # Who installed into a directory of one's own need not be root to undo that.
        if [ "$(id -u)" = 0 ] || [ ! -e "$log" ]; then
            "$in_place" remove
            put_back=yes
        fi
    fi
    if [ ! -e "$log" ]; then
        [ -n "$put_back" ] || die "nothing to uninstall: this tree has not installed anything"
        exit
    fi
    headers=$(installed | sed -n 's|/ringfuse\.h$||p')
    libraries=$(installed | sed -n 's|/libfuse3\.a$||p')
    ninja -C "$build" uninstall >/dev/null
    rm -f "$log"
    for directory in "$headers" "${headers%/fuse3}" "$libraries/pkgconfig" "$libraries"; do
        rmdir --ignore-fail-on-non-empty "$directory" 2>/dev/null || true
    done
    give_back
    say "Uninstalled what was in ${libraries%/*} and beside it."
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
before=$(installed)
meson install -C "$build" --no-rebuild --quiet
# What an earlier version has put elsewhere below the prefix would be found first.
comm -23 <(sort <<<"$before") <(installed | sort) |
    while read -r file; do
        [[ $file != "$prefix"/* || -d $file ]] || rm -f "$file"
    done
give_back
libraries=$(installed | sed -n 's|/libfuse3\.a$||p')
say "Installed into $prefix; the system's libfuse3 is left alone."
say "Programs that are installed run on it with: $prefix/bin/ringfuse run PROGRAM"
say "Programs that are built are built for it, and find it, with: export PKG_CONFIG_PATH=$libraries/pkgconfig"
