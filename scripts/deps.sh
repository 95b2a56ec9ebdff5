#!/bin/bash
# Checks that what a command of the Makefile needs is there. As root on Debian,
# installs what is missing and says so; otherwise prints the command that does,
# and fails before anything is built.
# usage: deps.sh build|demo|test|programs|bench|deb|docs
set -euo pipefail
. "$(dirname "$0")/lib.sh"

minimum_rust=1.85
rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"

missing=()
has() { command -v "$1" >/dev/null; }
# need PACKAGE TEST...: the Debian package is missing if TEST fails.
need() {
    local package=$1
    shift
    "$@" || missing+=("$package")
}
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# What rustc would be after an installation from this system's packages.
packaged_rust() {
    apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: \([0-9][0-9.]*\).*/\1/p'
}

check_rust() {
    local version
    if has rustc && has cargo; then
        # rustup runs a toolchain that the tree or the user has chosen
        version=$(rustc --version 2>/dev/null | awk '{ print $2 }')
        if [ -z "$version" ]; then
            die "rustc is there, but fails: $(rustc --version 2>&1 | head -n 1)"
        fi
        at_least "$minimum_rust" "$version" ||
            die "Rust $minimum_rust or newer is needed, $(command -v rustc) is $version.
Install a current one beside it, as the user who builds, and run make again:
    $rustup"
        return
    fi
    refresh_package_lists
    version=$(packaged_rust)
    if [ -n "$version" ] && at_least "$minimum_rust" "$version"; then
        missing+=(rustc cargo)
    else
        die "Rust $minimum_rust or newer is needed and not installed, and this system's packages have ${version:-none}.
Install it as the user who builds, and run make again (curl comes with: apt-get install curl):
    $rustup"
    fi
}

# A fresh root has no package lists yet, and no candidates without them.
refresh_package_lists() {
    [ "$(id -u)" = 0 ] && has apt-get && [ -z "$(packaged_rust)" ] || return 0
    say "Fetching the package lists (apt-get update)"
    apt-get update -qq
}

install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! has apt-get; then
        die "missing here: ${missing[*]}
(the names of the Debian packages; install your system's equivalents and run make again)"
    fi
    local command="apt-get install -y --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        die "missing here: ${missing[*]}
Install them and run make again:
    sudo $command"
    fi
    say "Installing what is missing: $command"
    export DEBIAN_FRONTEND=noninteractive
    # Old package lists name packages that the mirror no longer has.
    $command >"$log" 2>&1 || { apt-get update -qq && $command >"$log" 2>&1; } ||
        die "$command failed: $(tail -n 5 "$log")"
}
# Rust for the machines of tests/arch.rs and for musl (tests/consumers.rs), and the
# oldest one that is promised: tests say what they skip without.
add_rust() {
    local target
    has rustup || return 0
    if ! rustup toolchain list | grep -q "^$minimum_rust-"; then
        say "Installing what is missing: rustup toolchain install $minimum_rust"
        rustup --quiet toolchain install --profile minimal "$minimum_rust" ||
            say "that failed; test.sh does not try it"
    fi
    for target in {i686,aarch64,riscv64gc}-unknown-linux-gnu armv7-unknown-linux-gnueabihf \
        x86_64-unknown-linux-musl; do
        [ ! -e "$(rustc --print target-libdir --target "$target")" ] || continue
        say "Installing what is missing: rustup target add $target"
        rustup --quiet target add "$target" || say "that failed; tests that need it are skipped"
    done
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

check_device() {
    load_fuse
    [ -e /dev/fuse ] || die "no /dev/fuse here: this kernel or container has no FUSE (as root: modprobe fuse)"
    if ! { : <>/dev/fuse; } 2>/dev/null; then
        die "$(id -un) may not open /dev/fuse ($(stat -c '%A, owner %U' /dev/fuse)): run 'make demo' as root, or have root run: chmod 666 /dev/fuse"
    fi
}

python_has_xml() { python3 -c 'import xml.etree.ElementTree' 2>/dev/null; } # python3-minimal has not
c_header() { echo "#include <$1>" | cc -E - >/dev/null 2>&1; }

case ${1:-build} in
docs) # builds nothing that is compiled
    need doxygen has doxygen
    need python3 python_has_xml
    install_missing
    exit
    ;;
esac
check_rust
need gcc has cc
need libc6-dev c_header stdio.h
need linux-libc-dev c_header linux/fuse.h
need meson has meson
need ninja-build has ninja
need pkg-config has pkg-config
case ${1:-build} in
build) ;;
demo)
    check_device
    need fuse3 has fusermount3
    need mount has umount
    ;;
test)
    need fuse3 has fusermount3
    need g++ has g++
    need clang has clang
    need lld has ld.lld
    need cmake has cmake
    need autoconf has autoconf
    need automake has automake
    need libfuse3-dev test -e /usr/include/fuse3/fuse_lowlevel.h
    need qemu-system-x86 has qemu-system-x86_64
    need busybox-static has busybox
    need util-linux has setpriv
    need doxygen has doxygen
    need groff-base has groff
    need python3 has python3
    need debootstrap has debootstrap
    if [ "$(uname -m)" = x86_64 ]; then
        # Compilers and C libraries of other machines, and what runs i386 programs.
        for machine in i686:i386 aarch64:arm64 arm:armhf riscv64:riscv64; do
            tools=${machine%:*}-linux-gnu
            [ "$tools" != arm-linux-gnu ] || tools=arm-linux-gnueabihf
            need "gcc-$tools" has "$tools-gcc"
            need "libc6-dev-${machine#*:}-cross" test -e "/usr/$tools/include/stdio.h"
        done
        need libc6-i386 test -e /lib/ld-linux.so.2
        need musl-tools has musl-gcc
    fi
    need valgrind has valgrind
    ;;
programs)
    [ "$(id -u)" = 0 ] ||
        die "test-programs and test-deb make root directories and mounts in them: run them as root"
    check_device
    need debootstrap has debootstrap
    need util-linux has setpriv
    ;;
deb)
    has dpkg-deb || die "Debian packages are made with Debian's tools, and there is no dpkg-deb here"
    need dpkg-dev has dpkg-shlibdeps
    ;;
bench)
    need fuse3 has fusermount3
    need libfuse3-dev test -e /usr/include/fuse3/fuse_lowlevel.h
    need tar has tar
    # For libfuse with rings (scripts/libfuse-rings.sh).
    need dpkg-dev has dpkg-source
    need liburing-dev c_header liburing.h
    need libnuma-dev c_header numa.h
    ;;
*) die "usage: deps.sh build|demo|test|programs|bench|deb|docs" ;;
esac
install_missing
[ "${1:-build}" != test ] || add_rust
at_least 1.0 "$(meson --version)" ||
    die "meson 1.0 or newer is needed, this is $(meson --version); 'pip install --user meson' has it"
