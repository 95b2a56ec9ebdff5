# Sourced by the scripts that run in a room (room.sh).
set -euEo pipefail
top=/run/ringfuse
work=$(mktemp -d)
# systems.sh has emptied it, together with itself.
mkdir -p /var/cache/apt/archives/partial
step= # what is being done, for messages

say() { printf '%s\n' "$@"; }
fail() {
    say "${step:+$step: }$*" >&2
    exit 1
}
trap 'fail "line $LINENO failed: $BASH_COMMAND"' ERR

# The files in these directories with type, mode, owner, size and target, and the
# contents of those that were written since.
where="/usr /etc /opt /var/lib"
files() {
    {
        find $where -path /var/lib/dpkg -prune -o -path /etc/ld.so.cache -prune \
            -o -type f -printf '%p %y %m %U:%G %s\n' -o -type d -printf '%p %y %m %U:%G\n' -o -printf '%p %y %m %U:%G %l\n'
        find $where -path /var/lib/dpkg -prune -o -type f ! -path /etc/ld.so.cache -newer "$work" -exec sha256sum {} +
    } | sort
}

# What the system is like: files, packages, diversions, and what programs load.
system() {
    files
    dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Abbrev}\n'
    ! command -v dpkg-divert >/dev/null || dpkg-divert --list
    ldconfig -p | grep libfuse3 || true
}
remember() { system >"$work/before"; }
unchanged() {
    system >"$work/after"
    diff "$work/before" "$work/after" >"$work/difference" || fail "the system is not as it was: $(head -n 20 "$work/difference")"
}

# dpkg finds nothing wrong: with PACKAGE..., or with any.
dpkg_is_content() {
    local complaints
    complaints=$(dpkg --audit "$@" 2>&1; dpkg --verify "$@" 2>&1) || true
    [ -z "$complaints" ] || fail "dpkg: $(head -n 20 <<<"$complaints")"
}

# The sonames of libfuse3 that the system has, of this machine's own packages.
stock_sonames() {
    ldconfig -p | awk '$1 ~ /^libfuse3\.so\.[34]$/ { print $1 }' | sort -u
}
# The file that programs load for a soname; ldd knows best, where a program has it.
loaded_file() { realpath "$(ldconfig -p | awk -v soname="$1" '$1 == soname { print $NF; exit }')"; }
is_ours() { grep -q ringfuse_version "$1"; }
check_ours() { is_ours "$(loaded_file "$1")" || fail "$1 is $(loaded_file "$1"), which is not ours"; }
check_stock() { ! is_ours "$(loaded_file "$1")" || fail "$1 is $(loaded_file "$1"), which is ours"; }

# An installed program runs, with the library that it now is to have (ours|stock).
check_program() {
    local program=$1 whose=$2 library
    library=$(ldd "$(command -v "$program")" | awk '$1 ~ /^libfuse3/ { print $3 }')
    [ -n "$library" ] || fail "ldd names no libfuse3 for $program"
    case $whose in
    ours) is_ours "$library" || fail "$program would load $library, which is not ours" ;;
    stock) ! is_ours "$library" || fail "$program would load $library, which is ours" ;;
    esac
    "$program" -V >"$work/version" 2>&1 || fail "$program -V failed with $library: $(cat "$work/version")"
    grep -qi fuse "$work/version" || fail "$program -V does not tell of FUSE: $(cat "$work/version")"
}

# The package that a soname of the system's comes from.
package_of() { dpkg-query --search "*/$1" | sed -n 's/^\(libfuse[^: ]*\):.*/\1/p' | head -n 1; }

# A later release of an installed stock package, from what is installed: the same
# library under the name of a release 9 higher.
later_release() {
    local package=$1 name=$2 version tree=$work/later path real file
    rm -rf "$tree"
    mkdir -p "$tree/DEBIAN"
    while read -r path; do
        real=$(dpkg-divert --truename "$path")
        [ -f "$real" ] || continue
        mkdir -p "$tree$(dirname "$path")"
        cp --archive "$real" "$tree$path"
    done < <(dpkg-query --listfiles "$package" | grep ^/)
    file=$(find "$tree" -name 'libfuse3.so.3.*' -type f)
    mv "$file" "$(dirname "$file")/$name"
    find "$tree" -name 'libfuse3.so.[34]' -type l -exec ln -sfn "$name" {} \;
    version=$(dpkg-query --show --showformat '${Version}' "$package")+later
    dpkg-query --status "$package" | sed -e '/^Status:/d' -e "s/^Version:.*/Version: $version/" >"$tree/DEBIAN/control"
    echo "activate-noawait ldconfig" >"$tree/DEBIAN/triggers"
    (cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    dpkg-deb --root-owner-group --build "$tree" "$work/$package.deb" >/dev/null
}
