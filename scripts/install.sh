#!/bin/bash
# Installs the build into PREFIX, or uninstalls what the last install put there.
# `sudo make install` in a user's tree installs what that user has built.
# usage: install.sh PREFIX | install.sh --uninstall
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# Root leaves no files of its own in a user's tree.
give_back() { [ "$(id -u)" != 0 ] || chown -R --reference="$top" "$build"; }

if [ "$1" = --uninstall ]; then
    [ -e "$build/meson-logs/install-log.txt" ] || die "nothing to uninstall: this tree has not installed anything"
    prefix=$(sed -n 's|/include/fuse3/ringfuse\.h$||p' "$build/meson-logs/install-log.txt")
    ninja -C "$build" uninstall >/dev/null
    rmdir --ignore-fail-on-non-empty "$prefix/include/fuse3" 2>/dev/null || true
    give_back
    say "Uninstalled from $prefix."
    exit
fi

prefix=$(realpath -m "$1")
if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$top")" != 0 ]; then
    [ -e "$build/libfuse3.a" ] || die "run 'make build' first, as $(stat -c %U "$top")"
    meson setup --reconfigure "$build" "$top" "-Dprefix=$prefix" >/dev/null
else
    "$top/scripts/deps.sh" build
    "$top/scripts/build.sh" "-Dprefix=$prefix"
fi
meson install -C "$build" --no-rebuild --quiet
give_back
say "Installed into $prefix. Installed programs run on it with: $prefix/bin/ringfuse run PROGRAM"
say "Programs that are built find it with PKG_CONFIG_PATH=$prefix/lib/pkgconfig and LD_LIBRARY_PATH=$prefix/lib,"
say "or, for a prefix of the system such as /usr/local, by themselves after: ldconfig"
