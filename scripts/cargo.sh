#!/bin/bash
# cargo with the project's promises: the locked versions of all crates, and no
# network once `make vendor` has put their sources into vendor/.
# usage: cargo.sh SUBCOMMAND [ARGUMENT...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
options=(--locked)
if [ -d "$top/vendor" ]; then
    options+=(--offline
        --config 'source.crates-io.replace-with="vendored"'
        --config "source.vendored.directory=\"$top/vendor\"")
fi
cd "$top"
# After the subcommand, because clippy, which calls cargo again, passes on only those.
exec "${CARGO:-cargo}" "$1" "${options[@]}" "${@:2}"
