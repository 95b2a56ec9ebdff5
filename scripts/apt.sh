# Sourced by scripts that fetch from Debian's other suites: apt with directories of
# its own, so it needs no root and leaves the system's lists alone. It fetches, and
# checks by signature and checksum; nothing is installed.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=http://deb.debian.org/debian

# private_apt DIRECTORY deb|deb-src SUITE...: sets it up in a new directory, and
# reads the suites' lists. apt-get then works with these.
private_apt() {
    local work=$1 type=$2 suite architecture
    for program in apt-get dpkg-deb; do
        command -v "$program" >/dev/null || die "Debian's packages are fetched with $program, which is not here"
    done
    [ -e "$keyring" ] || die "no $keyring to check Debian's packages with (apt-get install debian-archive-keyring)"
    architecture=$(dpkg --print-architecture)
    chmod 755 "$work" # apt drops root
    mkdir -p "$work"/{lists,archives}/partial "$work/packages"
    chmod 777 "$work/packages"
    for suite in "${@:3}"; do
        # A mirror that lags behind is good enough.
        say "$type [arch=$architecture signed-by=$keyring check-valid-until=no] $mirror $suite main"
    done >"$work/sources.list"
    cat >"$work/apt.conf" <<END
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architectures { "$architecture"; };
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
END
    export APT_CONFIG=$work/apt.conf
    # apt-get succeeds without the lists that it could not get.
    if ! timeout 300 apt-get -qq update -o APT::Update::Error-Mode=any >"$work/log" 2>&1; then
        die "Debian's package lists cannot be fetched from $mirror: $(tail -n 1 "$work/log")"
    fi
}
