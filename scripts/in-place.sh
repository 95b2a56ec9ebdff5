#!/bin/bash
# Puts the libraries in the place of the system's libfuse3, or the system's back.
#
# A soname (libfuse3.so.3) is a link to the file of a release (libfuse3.so.3.14.0),
# which ldconfig sets to the highest release there is. So ours is installed as a
# release higher than all of libfuse's, and of what the system has, only the link
# is replaced. It is kept beside, under a name that ldconfig passes over. Where
# there is dpkg, it is told to unpack the link of later stock packages there. The
# release that it leads to tells our libfuse3.so.3 which structures the programs of
# this system have (capi/compat.c).
#
# Each step leaves a library behind the soname and loses nothing: both commands can
# be interrupted, and repeated. They find everything by looking at the system.
#
# usage: in-place.sh install DIRECTORY   our libraries are in DIRECTORY
#        in-place.sh remove
#        in-place.sh present             prints where ours is; fails if nowhere
set -euo pipefail
. "$(dirname "$0")/lib.sh"

sonames="libfuse3.so.3 libfuse3.so.4"
own() { say "$1.99.0"; }
kept() { say "ringfuse-stock.$1"; }

# directories SONAME: where the dynamic linker's cache has it.
directories() {
    ldconfig -p | awk -v soname="$1" '$1 == soname { print $NF }' |
        xargs -r -d '\n' dirname | xargs -r -d '\n' realpath | awk '!seen[$0]++'
}

# Class, byte order and machine of an ELF file.
machine() { od -An -v -tx1 -j 4 -N 2 "$1" && od -An -v -tx1 -j 18 -N 2 "$1"; }
is_ours() { grep -q ringfuse_version "$1"; }
is_linked() { [ "$(readlink "$1/$2")" = "$(own "$2")" ]; }

# ---- dpkg --------------------------------------------------------------------

has_dpkg() { command -v dpkg-divert >/dev/null && [ -e /var/lib/dpkg/status ]; }

# Packages know a file in /usr/lib by that name or, older ones, by that in /lib.
names() {
    say "$1"
    [ "$(realpath -m "${1#/usr}")" != "$1" ] || say "${1#/usr}"
}

# diverter NAME SONAME: who diverts it: a package, LOCAL, or nobody.
diverter() { dpkg-divert --listpackage "$1/$2"; }
is_diverted() { [ "$(diverter "$1" "$2")" = LOCAL ] && [ "$(dpkg-divert --truename "$1/$2")" = "$1/$(kept "$2")" ]; }

divert() {
    local name
    has_dpkg || return 0
    for name in $(names "$1"); do
        dpkg-divert --quiet --local --no-rename --divert "$name/$(kept "$2")" --add "$name/$2"
    done
}

undivert() {
    local name
    has_dpkg || return 0
    for name in $(names "$1"); do
        ! is_diverted "$name" "$2" || dpkg-divert --quiet --local --no-rename --remove "$name/$2"
    done
}

check_undiverted() {
    local name who
    has_dpkg || return 0
    for name in $(names "$1"); do
        who=$(diverter "$name" "$2")
        [ -z "$who" ] || is_diverted "$name" "$2" ||
            die "$name/$2 is diverted already, by ${who/LOCAL/the administrator} (dpkg-divert --list '$name/$2'); remove that first"
    done
}

# ---- one soname in one directory ---------------------------------------------

# Whether there is something of the system's that ours can take the place of.
replaceable() {
    local directory=$1 soname=$2 libraries=$3
    is_linked "$directory" "$soname" && return
    [ "$(machine "$directory/$soname")" = "$(machine "$libraries/$soname")" ] && ! is_ours "$directory/$soname"
}

put() {
    local directory=$1 soname=$2 libraries=$3 new=$1/.ringfuse-new.$2
    local link=$directory/$soname stock=$directory/$(kept "$soname") file=$directory/$(own "$soname")
    # What dpkg has unpacked there since is newer than the link.
    if ! is_linked "$directory" "$soname" && ! { [ -e "$stock" ] && has_dpkg && is_diverted "$directory" "$soname"; }; then
        ln --no-dereference --force --physical "$link" "$stock"
    fi
    divert "$directory" "$soname"
    # Never written in place: running programs have it mapped.
    install -m 644 "$libraries/$soname" "$new"
    mv --no-target-directory "$new" "$file"
    ln --symbolic --force "$(own "$soname")" "$new"
    mv --no-target-directory "$new" "$link"
    say "$link is ringfuse; the system's is kept as $stock"
}

present() {
    local link=$1/$2 stock=$1/$(kept "$2") file=$1/$(own "$2")
    # A package of ours looks the same, and belongs to dpkg.
    ! { has_dpkg && dpkg-query --search "$file" >/dev/null 2>&1; } || return 1
    [ -e "$file" ] || [ -L "$stock" ] || [ -e "$stock" ] || { has_dpkg && is_diverted "$1" "$2"; }
}

put_back() {
    local link=$1/$2 stock=$1/$(kept "$2") file=$1/$(own "$2")
    if [ -L "$stock" ] || [ -e "$stock" ]; then
        mv --no-target-directory "$stock" "$link"
    elif is_linked "$1" "$2"; then
        rm "$link" # the stock package was removed meanwhile
    fi
    undivert "$1" "$2"
    rm -f "$file" "$1/.ringfuse-new.$2"
    say "$link is the system's again"
}

# ---- commands ----------------------------------------------------------------

# each COMMAND [ARGUMENT...]: with each directory and soname for which it succeeds.
each() {
    local test=$1 soname directory
    shift
    for soname in $sonames; do
        for directory in $(directories "$soname"); do
            ! "$test" "$directory" "$soname" "$@" || say "$directory $soname"
        done
    done
}
must_be_root() { [ "$(id -u)" = 0 ] || die "$1 needs root: the system's library directory is changed"; }

case ${1:-} in
install)
    must_be_root "installing in the place of the system's libfuse3"
    places=$(each replaceable "$2")
    [ -n "$places" ] ||
        die "this system has no libfuse3.so.3 or libfuse3.so.4 for these libraries to replace (ldconfig -p lists none); 'make install' needs none"
    while read -r directory soname; do
        check_undiverted "$directory" "$soname"
    done <<<"$places"
    while read -r directory soname; do
        put "$directory" "$soname" "$2"
    done <<<"$places"
    ldconfig
    ;;
remove)
    must_be_root "putting the system's libfuse3 back"
    places=$(each present)
    [ -n "$places" ] || die "ringfuse is not in the place of the system's libfuse3"
    while read -r directory soname; do
        put_back "$directory" "$soname"
    done <<<"$places"
    ldconfig
    ;;
present)
    places=$(each present)
    [ -n "$places" ] && say "$places"
    ;;
*) die "usage: in-place.sh install DIRECTORY | remove | present" ;;
esac
