# Sourced by run and refresh: the table of kernels, the mirror, the cache.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ringfuse

# Filters kernels.txt to its rows: release suite package version sha256 filename.
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

# Prints the path of the kernel image of a row of the table, fetching and
# unpacking its package if the cache does not have it.
kernel_image() {
    local release=$1 suite=$2 package=$3 version=$4 sha256=$5 filename=$6
    local dir=$CACHE/kernels/$sha256
    if [ ! -e "$dir/vmlinuz" ]; then
        mkdir -p "$dir" || return
        # Two runs that want the same kernel fetch it once.
        exec 9> "$dir/lock" && flock 9 || return
        if [ ! -e "$dir/vmlinuz" ]; then
            if ! fetch "$(debian_mirror)/$filename" "$sha256" "$dir/package.deb"; then
                echo "vm: kernel $release ($package $version of $suite) cannot be had from the mirror: see apt's message above." >&2
                echo "vm: Debian drops old kernels; tests/vm/refresh rewrites tests/vm/kernels.txt from the current package indexes." >&2
                return 1
            fi
            dpkg-deb --fsys-tarfile "$dir/package.deb" |
                tar -x -O --wildcards '*/vmlinuz*' > "$dir/vmlinuz.new" || return
            rm "$dir/package.deb"
            mv "$dir/vmlinuz.new" "$dir/vmlinuz" || return
        fi
        exec 9>&-
    fi
    echo "$dir/vmlinuz"
}
