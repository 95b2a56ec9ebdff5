# Run in a room (room.sh), of a system with a stock libfuse3, a compiler and the
# tree's build: `make install` leaves the stock one alone, what a user types
# afterwards works, and `make uninstall` leaves nothing.
# usage: prefix.sh TREE   where the tree was when it was built
. /run/ringfuse/tests/install/lib.sh
tree=$1
# A build has its place in it; what is changed there goes to a layer.
mkdir -p "$tree" "$work/upper" "$work/work"
mount -t overlay -o "metacopy=on,lowerdir=$top,upperdir=$work/upper,workdir=$work/work" overlay "$tree" ||
    { say "skipped: no overlay can be mounted on $tree" && exit; }
cd "$tree"
# An ordinary user to all programs; files are as writable as before.
user=(unshare --user --map-user=1000 --map-group=1000)
"${user[@]}" true 2>/dev/null || user=()
install_into() { # PREFIX, or nothing for the default one
    timeout 250 ${1:+"${user[@]}"} make --silent install ${1:+PREFIX="$1"} >"$work/log" 2>&1 ||
        fail "make install $*: $(tail -n 20 "$work/log")"
}
uninstall() { make --silent uninstall >"$work/log" 2>&1 || fail "make uninstall: $(cat "$work/log")"; }

# compile NAME PC [OPTION...]: a filesystem, as the README says.
compile() {
    local output=$work/$1 name=$2 flags
    shift 2
    flags=$(pkg-config --cflags --libs "$name") || fail "pkg-config does not find $name"
    cc examples-c/hello_ll.c "$@" $flags -o "$output" 2>"$work/log" || fail "cc: $(cat "$work/log")"
}
# It finds ours by itself, and runs.
runs_on() { # DIRECTORY NAME
    local library
    library=$(env -u LD_LIBRARY_PATH ldd "$work/$2" | awk '$1 == "libfuse3.so.4" { print $3 }')
    [ "$library" = "$1/libfuse3.so.4" ] || fail "$2 would load '$library'"
    "$work/$2" --version >"$work/log" 2>&1 || fail "$2: $(cat "$work/log")"
}
# What the system's own compiler, pkg-config and linker give for libfuse3.
systems_view() {
    pkg-config --modversion fuse3 2>&1
    pkg-config --cflags --libs fuse3 2>&1
    echo '#include <fuse3/fuse.h>' | cc -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=31 -M - 2>&1 | grep -c fuse3
    echo '#include <fuse3/fuse.h>' | cc -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=31 -M - 2>&1 | grep ringfuse
    echo 'int main(void) { return 0; }' | cc -x c - -lfuse3 -Wl,--trace -o /dev/null 2>&1 | grep fuse
    ldconfig -p | grep libfuse3
}

# Directories that belong to many stay.
mkdir -p /usr/local/{bin,include,lib/pkgconfig,share/man/man1,share/man/man7} \
    /usr/local/share/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
# Run so that nothing that is compiled counts as a change.
(cd "$tree" && timeout 250 make --silent build >"$work/log" 2>&1) || fail "make build: $(tail -n 20 "$work/log")"
remember
ldconfig
before=$(systems_view || true)

step="a prefix of my own"
own=$work/prefix
install_into "$own"
for directory in lib/ringfuse/pkgconfig lib/pkgconfig; do
    export PKG_CONFIG_PATH=$own/$directory
    compile own fuse3
    runs_on "$own/lib/ringfuse" own
done
compile own-by-name ringfuse
runs_on "$own/lib/ringfuse" own-by-name
unset PKG_CONFIG_PATH
"$own/bin/ringfuse" --version >/dev/null || fail "no $own/bin/ringfuse"
# An earlier version had its libraries there; they would be found first.
touch "$own/lib/libfuse3.so.4"
echo "$own/lib/libfuse3.so.4" >>build/meson-logs/install-log.txt
install_into "$own"
[ ! -e "$own/lib/libfuse3.so.4" ] || fail "the files of an earlier version are still there"
uninstall
left=$(find "$own" ! -type d)
[ -z "$left" ] || fail "left: $left"
[ ! -e "$own/lib/ringfuse" ] && [ ! -e "$own/include/ringfuse" ] || fail "directories are left"
unchanged

step="the default prefix"
install_into
ldconfig
[ "$(systems_view || true)" = "$before" ] || fail "the system's view changed: $(diff <(echo "$before") <(systems_view))"
for soname in $(stock_sonames); do
    check_stock "$soname"
done
if command -v sshfs >/dev/null; then
    check_program sshfs stock
    LD_DEBUG=libs /usr/local/bin/ringfuse run sshfs -V >"$work/log" 2>&1 || fail "ringfuse run: $(tail "$work/log")"
    grep -q "calling init: /usr/local/lib/ringfuse/libfuse3.so" "$work/log" || fail "ringfuse run does not run it on ours"
fi
/usr/local/bin/ringfuse doctor >"$work/log" || [ $? -le 2 ]
grep -q /usr/local/lib/ringfuse "$work/log" || fail "doctor does not find the libraries: $(cat "$work/log")"
export PKG_CONFIG_PATH=/usr/local/lib/ringfuse/pkgconfig
compile default fuse3
runs_on /usr/local/lib/ringfuse default
compile headers fuse3 -include fuse3/ringfuse.h
cc -static examples-c/hello_ll.c $(pkg-config --static --cflags --libs fuse3) -o "$work/static"
"$work/static" --version >/dev/null || fail "the static program does not run"
unset PKG_CONFIG_PATH
if [[ $(pkg-config --variable pc_path pkg-config) == */usr/local/lib/pkgconfig* ]]; then
    compile by-name ringfuse
    runs_on /usr/local/lib/ringfuse by-name
fi
uninstall
ldconfig
unchanged
say "passed"
