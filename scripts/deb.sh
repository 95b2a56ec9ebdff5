#!/bin/bash
# Makes Debian packages of what is in build/, in build/deb/. packaging/PACKAGE has
# what dpkg is told about each. Needs no root.
# usage: deb.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$top/Cargo.toml" | head -n 1)
architecture=$(dpkg --print-architecture)
libdir=/usr/lib/$(dpkg-architecture --query DEB_HOST_MULTIARCH)
maintainer="${DEBFULLNAME:-the ringfuse authors} <${DEBEMAIL:-ringfuse@localhost}>"
# Files are as old as the last commit, so that the same sources make the same packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
umask 022

out=$build/deb
trees=$out/trees
rm -rf "$out"
mkdir -p "$trees"

# put PACKAGE DIRECTORY FILE...: links stay links.
put() {
    local directory=$trees/$1$2
    shift 2
    mkdir -p "$directory"
    cp --no-dereference --preserve=mode,links,timestamps "$@" "$directory"
}

# ---- what is in which package ------------------------------------------------

# The command finds the libraries beside itself, also where a link leads to it.
private=$libdir/ringfuse
put ringfuse "$private" "$build/libfuse3.so.3" "$build/libfuse3.so.4" "$(realpath "$build/libfuse3.so.4")" "$build/ringfuse"
mkdir -p "$trees/ringfuse/usr/bin"
ln -s "../${private#/usr/}/ringfuse" "$trees/ringfuse/usr/bin/ringfuse"
put ringfuse /usr/share/man/man1 "$top/tool/ringfuse.1"
put ringfuse /usr/share/man/man7 "$top/docs/ringfuse.7"
put ringfuse /usr/share/bash-completion/completions "$top/tool/completions/ringfuse.bash"
mv "$trees/ringfuse/usr/share/bash-completion/completions/ringfuse"{.bash,}
put ringfuse /usr/share/zsh/vendor-completions "$top/tool/completions/_ringfuse"
put ringfuse /usr/share/fish/vendor_completions.d "$top/tool/completions/ringfuse.fish"
put ringfuse /usr/share/doc/ringfuse "$top/README.md" "$top/docs/compatibility.md"

put ringfuse-dev "$private" "$build/libfuse3.so" "$build/libfuse3.a"
put ringfuse-dev /usr/include/ringfuse/fuse3 "$top"/include/*.h
# pkg-config finds ringfuse.pc by itself, and fuse3.pc where it is told to look.
for file in "$private/pkgconfig/fuse3.pc" "$libdir/pkgconfig/ringfuse.pc"; do
    mkdir -p "$trees/ringfuse-dev$(dirname "$file")"
    sed -e 's|^prefix=.*|prefix=/usr|' -e 's|^includedir=.*|includedir=/usr/include/ringfuse|' \
        -e "s|^libdir=.*|libdir=$private|" "$build/$(basename "$file")" >"$trees/ringfuse-dev$file"
done

# As in-place.sh does it: a link to a release that ldconfig takes for the highest.
for soname in libfuse3.so.3 libfuse3.so.4; do
    mkdir -p "$trees/ringfuse-libfuse3$libdir"
    cp --dereference "$build/$soname" "$trees/ringfuse-libfuse3$libdir/$soname.99.0"
    ln -s "$soname.99.0" "$trees/ringfuse-libfuse3$libdir/$soname"
done

# ---- packages ----------------------------------------------------------------

# The packages that the ELF files of PACKAGE need.
depends() {
    local elf=()
    mapfile -t elf < <(find "$trees/$1" -type f \( -name 'libfuse3.so.*' -o -name ringfuse -perm /1 \))
    mkdir -p "$trees/source/debian"
    printf 'Source: ringfuse\n\nPackage: %s\nArchitecture: any\n' "$1" >"$trees/source/debian/control"
    (cd "$trees/source" && dpkg-shlibdeps -O "${elf[@]}") | sed 's/^shlibs:Depends=//'
}

# substitute FILE: it, with the @NAMES@ in it filled in.
substitute() {
    sed -e "s|@VERSION@|$version|" -e "s|@ARCHITECTURE@|$architecture|" -e "s|@MAINTAINER@|$maintainer|" \
        -e "s|@DEPENDS@|$needs|" -e "s|@LIBDIR@|$libdir|" -e "s|@LIBDIR_ALIAS@|${libdir#/usr}|" "$1"
}

make_package() {
    local package=$1 tree=$trees/$1 needs='' file
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/doc/$package"
    # The license as a paragraph of Debian's form: indented, a dot for an empty line.
    sed '1,2d; s/^$/./; s/^/ /' "$top/LICENSE-MIT" |
        sed -e '/@MIT@/ { r /dev/stdin' -e 'd }' "$top/packaging/copyright" >"$tree/usr/share/doc/$package/copyright"
    if [ "$package" != ringfuse-dev ]; then
        find "$tree" -type f \( -name 'libfuse3.so.*' -o -name ringfuse -perm /1 \) -exec strip --strip-unneeded {} +
        needs=$(depends "$package")
    fi
    [ ! -d "$tree/usr/share/man" ] || find "$tree/usr/share/man" -type f -exec gzip -9n {} +
    chmod -R u=rwX,go=rX "$tree"
    find "$tree" -name 'libfuse3.so.*' -type f -exec chmod 644 {} +
    for file in "$top/packaging/$package/"*; do
        substitute "$file" >"$tree/DEBIAN/$(basename "$file")"
    done
    for file in "$tree/DEBIAN/preinst" "$tree/DEBIAN/postrm"; do
        [ ! -e "$file" ] || chmod 755 "$file"
    done
    echo "Installed-Size: $(du -sk --apparent-size --exclude DEBIAN "$tree" | cut -f 1)" >>"$tree/DEBIAN/control"
    (cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    dpkg-deb --root-owner-group --build "$tree" "$out/${package}_${version}_$architecture.deb" >/dev/null
    say "$out/${package}_${version}_$architecture.deb"
}

for package in ringfuse ringfuse-dev ringfuse-libfuse3; do
    make_package "$package"
done
rm -rf "$trees"
give_back
