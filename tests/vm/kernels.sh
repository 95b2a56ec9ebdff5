# Sourced by run and refresh: the table of kernels, the mirror, the cache.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ringfuse

# Filters kernels.txt to its rows: release suite package version sha256 filename,
# and sha256 and filename of the modules' package if they have one of their own.
kernel_table() {
    grep -v "^#"
}

# The Debian mirror this machine's apt is configured for.
debian_mirror() {
    local mirror=${RINGFUSE_DEBIAN_MIRROR:-}
    if [ -z "$mirror" ]; then
        mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
            awk '$1 == "Debian" && $2 ~ /^https?:/ { print $2; exit }')
    fi
    mirror=${mirror:-http://deb.debian.org/debian}
    echo "${mirror%/}"
}

# Fetches $1, whose SHA256 must be $2, to $3. apt's own downloader, so that
# apt's proxy, certificates and sources count here too; it checks the sum.
fetch() {
    echo "vm: fetching $1" >&2
    /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User= download-file "$1" "$3" "SHA256:$2" >&2 &&
        echo "$2  $3" | sha256sum --check --status
}

# Prints the path of file $1 of a row of the table (vmlinuz, or a module of
# fs/fuse), fetching and unpacking its package if the cache does not have it.
kernel_file() {
    local wanted=$1 release=$2 suite=$3 package=$4 version=$5 sha256=$6 filename=$7
    local dir=$CACHE/kernels/$sha256 members
    if [ ! -e "$dir/$wanted" ]; then
        mkdir -p "$dir" || return
        # Two runs that want the same kernel fetch it once.
        exec 9> "$dir/lock" && flock 9 || return
        if [ ! -e "$dir/$wanted" ]; then
            if ! fetch "$(debian_mirror)/$filename" "$sha256" "$dir/package.deb"; then
                echo "vm: kernel $release ($package $version of $suite) cannot be had from the mirror: see apt's message above." >&2
                echo "vm: Debian drops old kernels; tests/vm/refresh rewrites tests/vm/kernels.txt from the current package indexes." >&2
                return 1
            fi
            rm -rf "$dir/new" && mkdir "$dir/new" || return
            members=$(dpkg-deb --fsys-tarfile "$dir/package.deb" | tar -t | grep -E '/vmlinuz|/fs/fuse/[^/]+$') || return
            dpkg-deb --fsys-tarfile "$dir/package.deb" |
                tar -x -C "$dir/new" --transform 's,.*/vmlinuz.*,vmlinuz,' --transform 's,.*/,,' \
                    -T <(echo "$members") || return
            rm "$dir/package.deb"
            mv "$dir"/new/* "$dir/" && rmdir "$dir/new" || return
            if [ ! -e "$dir/$wanted" ]; then
                echo "vm: kernel $release: the package $package has no $wanted (modules since 6.19 are in linux-modules-*, and the table names none)" >&2
                return 1
            fi
        fi
        exec 9>&-
    fi
    echo "$dir/$wanted"
}

# Prints the path of the kernel image of a row of the table.
kernel_image() {
    kernel_file vmlinuz "${@:1:6}"
}

# Prints the path of module $1, xz-compressed, of a row of the table. Since 6.19
# modules have a package of their own, the last two columns.
kernel_module() {
    local name=$1
    shift
    [ $# -lt 8 ] || set -- "$1" "$2" "linux-modules-$1" "$4" "$7" "$8"
    kernel_file "$name.ko.xz" "${@:1:6}"
}
