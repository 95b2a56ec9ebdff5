# Sourced by run: root directories with Debian's programs in them. This machine's
# own is one if it is the release that is asked for and has the programs;
# otherwise debootstrap makes one, below the cache directory, where it stays.

systems_cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringfuse/programs

# The Debian packages of each release: the programs, and what makes their input.
declare -A packages=(
    [bookworm]="sshfs openssh-server lxcfs squashfuse squashfs-tools fuse-overlayfs attr qemu-system-common qemu-utils
        xdg-desktop-portal dbus dbus-user-session python3-dbus"
    [trixie]="sshfs openssh-server lxcfs squashfuse squashfs-tools fuse-overlayfs attr qemu-utils
        xdg-desktop-portal dbus dbus-user-session python3-dbus
        archivemount fuse2fs e2fsprogs exfat-fuse exfatprogs fuseiso genisoimage"
    [forky]="bindfs attr qemu-utils e2fsprogs"
)
for release in "${!packages[@]}"; do
    packages[$release]=$(echo ${packages[$release]})
done

# system_root RELEASE: prints its root directory. If there is none, says why on
# stderr and fails.
system_root() {
    local release=$1 root=$systems_cache/$1
    if is_this_machine "$release"; then
        echo /
        return
    fi
    # The list of packages is part of what makes a root complete.
    if [ "$(cat "$root.complete" 2>/dev/null)" != "${packages[$release]}" ]; then
        mkdir -p "$systems_cache"
        (
            flock 9 # another run may be making it
            [ "$(cat "$root.complete" 2>/dev/null)" = "${packages[$release]}" ] || make_root "$release"
        ) 9>"$root.lock" || return
    fi
    echo "$root"
}

is_this_machine() {
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = "$1" ] &&
        dpkg-query --show --showformat '${db:Status-Status}\n' ${packages[$1]} 2>/dev/null |
        awk '$1 != "installed" { missing = 1 } END { exit missing || NR == 0 }'
}

make_root() {
    local release=$1 root=$systems_cache/$1 mirror script=()
    if ! command -v debootstrap >/dev/null; then
        echo "debootstrap is missing: apt-get install debootstrap" >&2
        return 1
    fi
    # The mirror this machine uses, so that it is one that can be reached.
    mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 ~ /^https?:/ { print $2; exit }')
    mirror=${mirror:-http://deb.debian.org/debian/}
    # A debootstrap that is older than the release treats it as Debian's newest.
    [ -e "/usr/share/debootstrap/scripts/$release" ] || script=(/usr/share/debootstrap/scripts/sid)
    rm -rf --one-file-system "$root" "$root.complete"
    if ! timeout 1200 debootstrap --variant=minbase --include="${packages[$release]// /,}" \
        "$release" "$root" "$mirror" "${script[@]}" >"$root.log" 2>&1 9>&-; then
        echo "debootstrap of $release from $mirror failed: $(tail -n 1 "$root.log") (see $root.log)" >&2
        return 1
    fi
    rm -rf "$root/var/cache/apt/archives"
    # fusermount3 wants one; systemd makes it where there is one.
    [ -e "$root/etc/mtab" ] || ln -sf ../proc/self/mounts "$root/etc/mtab"
    echo "${packages[$release]}" >"$root.complete"
}
