# Run in a room (room.sh): the packages of `make deb` are installed and removed,
# beside what the system has of libfuse3, and nothing of them is left.
# usage: packages.sh [PROGRAM]   an installed program that uses libfuse3
. /run/ringfuse/tests/install/lib.sh
program=${1:-}
packages=$top/build/deb
stock=$(stock_sonames) # of the system, before ours
expect() { # WORDS COMMAND...
    local words=$1
    shift
    "$@" >"$work/log" 2>&1 || true
    grep -q -- "$words" "$work/log" || fail "no '$words' from $*: $(cat "$work/log")"
}
dpkg_does() { dpkg "$@" >"$work/log" 2>&1 || fail "dpkg $*: $(cat "$work/log")"; }
install() {
    local package files=()
    for package in "$@"; do
        files+=("$packages/${package}"_*.deb)
    done
    # libc6-dev, for ringfuse-dev alone, is not in a bare system, and there is no network
    dpkg_does --ignore-depends=libc6-dev --install "${files[@]}"
}
is_loaded() { # ours|stock
    local soname
    for soname in $stock; do
        "check_$1" "$soname"
    done
    [ -z "$program" ] || check_program "$program" "$1"
}

remember
dpkg_is_content

step="ringfuse"
install ringfuse
dpkg_is_content
is_loaded stock
expect "^ringfuse " ringfuse --version
expect "/dev/fuse" ringfuse doctor
status=0
ringfuse doctor --json >"$work/log" || status=$?
[ "$status" -le 2 ] && grep -q '^{' "$work/log" || fail "doctor ended with $status: $(cat "$work/log")"
if [ -n "$program" ]; then
    # What its linker would load, in its own words: that of the private directory.
    expect "calling init: .*/ringfuse/libfuse3.so" env LD_DEBUG=libs ringfuse run "$program" -V
    expect "ersion" ringfuse run "$program" -V
else
    expect "libfuse" ringfuse run /bin/true
fi

step="ringfuse-dev"
install ringfuse-dev
flags=$(sed -n 's/^libdir=//p' /usr/lib/*/ringfuse/pkgconfig/fuse3.pc)
[ -e "$flags/libfuse3.so" ] && [ -e "$flags/libfuse3.a" ] || fail "fuse3.pc names $flags, where the library is not"
[ -e /usr/include/ringfuse/fuse3/fuse.h ] || fail "no headers"
cmp -s <(grep -v '^Name\|^Version' /usr/lib/*/ringfuse/pkgconfig/fuse3.pc) \
    <(grep -v '^Name\|^Version' /usr/lib/*/pkgconfig/ringfuse.pc) || fail "ringfuse.pc is not as fuse3.pc"
is_loaded stock

step="ringfuse-libfuse3"
install ringfuse-libfuse3
is_loaded ours
for soname in libfuse3.so.3 libfuse3.so.4; do
    check_ours "$soname"
done
ldconfig
is_loaded ours

step="ringfuse-libfuse3 again, as an upgrade"
install ringfuse ringfuse-libfuse3
is_loaded ours

step="removal"
dpkg_does --remove ringfuse-libfuse3
is_loaded stock
dpkg_does --purge ringfuse-libfuse3 ringfuse-dev ringfuse
dpkg_is_content
is_loaded stock
unchanged

step="the place is taken"
link=$(echo /usr/lib/*-linux-gnu)/libfuse3.so.4
install ringfuse
dpkg-divert --quiet --local --no-rename --divert /usr/lib/elsewhere --add "$link"
expect "diverted already (by LOCAL)" dpkg --install "$packages"/ringfuse-libfuse3_*.deb
dpkg-divert --quiet --local --no-rename --remove "$link"
dpkg_is_content
dpkg_does --purge ringfuse
unchanged

step="an upgrade of the stock package meanwhile"
if [ -n "$stock" ]; then
    install ringfuse ringfuse-libfuse3
    for soname in $stock; do
        package=$(package_of "$soname")
        later_release "$package" "libfuse3.so.3.${soname##*.}9.0"
        dpkg_does --install "$work/$package.deb"
    done
    is_loaded ours
    for soname in $stock; do # where it went
        [[ $(readlink /usr/lib/*/"ringfuse-stock.$soname") == libfuse3.so.3."${soname##*.}9.0" ]] || fail "$soname was not diverted"
    done
    dpkg_is_content
    dpkg_does --purge ringfuse-libfuse3 ringfuse
    dpkg_is_content
    is_loaded stock
    for soname in $stock; do
        [[ $(loaded_file "$soname") == */libfuse3.so.3."${soname##*.}9.0" ]] || fail "$soname is $(loaded_file "$soname"), not the later release"
    done
    [ -z "$(dpkg-divert --list '*libfuse3*')" ] || fail "left: $(dpkg-divert --list '*libfuse3*')"

    step="the stock package comes after ours, and goes before"
    dpkg_does --force-depends --purge "$package"
    remember
    install ringfuse ringfuse-libfuse3
    dpkg_does --install "$work/$package.deb"
    is_loaded ours
    dpkg_does --force-depends --purge "$package"
    dpkg_does --purge ringfuse-libfuse3 ringfuse
    unchanged
fi
say "passed"
