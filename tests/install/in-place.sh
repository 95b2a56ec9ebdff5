# Run in a room (room.sh), of a system with a stock libfuse3: `make install
# IN_PLACE=yes` and `make uninstall`, by the script that they call.
. /run/ringfuse/tests/install/lib.sh
in_place=$top/scripts/in-place.sh
sonames=$(stock_sonames)
install() { "$in_place" install "$top/build" >"$work/log" 2>&1 || fail "install failed: $(cat "$work/log")"; }
remove() { "$in_place" remove >"$work/log" 2>&1 || fail "remove failed: $(cat "$work/log")"; }
for soname in $sonames; do
    ! is_ours "$(loaded_file "$soname")" || { say "skipped: programs of this system run on ringfuse already" && exit; }
done
refused() {
    local words=$1
    shift
    ! "$@" >"$work/log" 2>&1 || fail "not refused: $*"
    grep -q -- "$words" "$work/log" || fail "no '$words' in: $(cat "$work/log")"
}
each_is() {
    local soname
    for soname in $sonames; do
        "check_$1" "$soname"
    done
}
directory=$(dirname "$(loaded_file "${sonames%%$'\n'*}")")
where="$directory /etc" # nothing else is written to

# The same on a system with and without dpkg.
goes_and_comes_back() { # with|without
    remember
    each_is stock
    refused "not in the place" "$in_place" remove

    step="$1 dpkg"
    install
    each_is ours
    for soname in $sonames; do # as the stock package's: a relative link to a release
        [[ $(readlink "$directory/$soname") == "$soname".*[0-9] ]] || fail "$soname is no such link"
    done
    ldconfig # as other packages do: the link stays
    each_is ours
    install
    each_is ours
    remove
    each_is stock
    unchanged

    for point in ln/1 dpkg-divert/1 dpkg-divert/2 install/1 mv/1 ln/2 mv/2 ldconfig/1; do
        step="$1 dpkg, install interrupted at $point"
        [[ $1/$point != without/dpkg-divert/* ]] || continue
        interrupted_at "$point" install "$top/build" || fail "it was not"
        all_are_there
        install
        each_is ours
        remove
        each_is stock
        unchanged
    done
    for point in mv/1 dpkg-divert/1 dpkg-divert/2 rm/1 ldconfig/1; do
        step="$1 dpkg, remove interrupted at $point"
        [[ $1/$point != without/dpkg-divert/* ]] || continue
        install
        interrupted_at "$point" remove || fail "it was not"
        all_are_there
        ! "$in_place" present >/dev/null || remove
        ldconfig
        each_is stock
        unchanged
    done
}
all_are_there() {
    local soname
    for soname in $sonames; do
        [ -e "$directory/$soname" ] || fail "$soname is gone"
    done
}

# interrupted_at PROGRAM/N COMMAND...: ends the script where it would call a program
# for the Nth time. Fails if it did not come to that.
interrupted_at() {
    local program=${1%/*} calls=${1#*/}
    shift
    rm -rf "$work/bin" "$work/calls"
    mkdir "$work/bin"
    cat >"$work/bin/$program" <<END
#!/bin/sh
PATH=${PATH}
case $program/\$1 in
ldconfig/-p | dpkg-divert/--listpackage | dpkg-divert/--truename) exec $program "\$@" ;; # change nothing
esac
echo >>$work/calls
[ \$(wc -l <$work/calls) = $calls ] || exec $program "\$@"
kill -KILL \$PPID
END
    chmod +x "$work/bin/$program"
    # The inner shell is the one that would tell of the end.
    PATH=$work/bin:$PATH bash -c '"$@"; true' bash "$in_place" "$@" >/dev/null 2>&1
    [ "$(wc -l <"$work/calls")" = "$calls" ]
}

step=
refused "needs root" setpriv --reuid 65534 --regid 65534 --clear-groups bash "$in_place" install "$top/build"

if command -v dpkg-divert >/dev/null; then
    goes_and_comes_back with

    step="an upgrade of the stock package"
    install
    before=$(dpkg-divert --list)
    [ -n "$before" ] || fail "no diversion"
    for soname in $sonames; do
        package=$(package_of "$soname")
        later_release "$package" "libfuse3.so.3.${soname##*.}9.0"
        dpkg --install "$work/$package.deb" >"$work/log" 2>&1 || fail "$(cat "$work/log")"
    done
    each_is ours
    dpkg_is_content "$package"
    remove
    each_is stock
    for soname in $sonames; do
        [ "$(readlink "$directory/$soname")" = "libfuse3.so.3.${soname##*.}9.0" ] || fail "$soname is not the later release"
    done
    dpkg_is_content "$package"
    [ -z "$(dpkg-divert --list '*libfuse3*')" ] || fail "left: $(dpkg-divert --list '*libfuse3*')"

    # Somebody else's diversion is not touched.
    step="a diversion of somebody else's"
    dpkg-divert --quiet --local --no-rename --divert /usr/lib/elsewhere --add "$directory/$soname"
    refused "is diverted already" "$in_place" install "$top/build"
    dpkg-divert --quiet --local --no-rename --remove "$directory/$soname"
    rm "$(command -v dpkg-divert)"
    hash -r
fi
goes_and_comes_back without

# serves LAYOUT: a filesystem that was compiled for that structures is understood.
serves() {
    local tries
    mkdir -p "$work/mnt"
    OLD_LIBRARY=libfuse3.so.3 OLD_LAYOUT=$1 OLD_NULLPATH=1 timeout 60 \
        "$top/build/tests/fs/old_path" "$work/mnt" >"$work/said" 2>&1 &
    for ((tries = 0; tries < 400; tries++)); do
        ! grep -q mounted "$work/said" || break
        sleep 0.05
    done
    [ "$(timeout 20 cat "$work/mnt/file")" = NULL ] || fail "layout $1: $(cat "$work/said")"
    umount "$work/mnt"
    wait $! || fail "layout $1: $(cat "$work/said")"
}
if [[ $sonames == *libfuse3.so.3* ]]; then
    for release in 3.14.0:3.14 3.16.2:3.16; do
        step="in the place of ${release%:*}"
        file=$(loaded_file libfuse3.so.3)
        mv --no-clobber "$file" "$directory/libfuse3.so.${release%:*}"
        ldconfig
        install
        check_ours libfuse3.so.3
        serves "${release#*:}"
        remove
    done
fi

step="without a stock library"
for soname in $sonames; do
    rm "$(loaded_file "$soname")"
done
ldconfig
refused "for these libraries to replace" "$in_place" install "$top/build"
say "passed"
