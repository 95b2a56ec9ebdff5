#!/bin/bash
# cargo with the project's promises: the locked versions of all crates, and no
# network once `make vendor` has put their sources into vendor/.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
options=(--locked)
if [ -d "$top/vendor" ]; then
    options+=(--offline
        --config 'source.crates-io.replace-with="vendored"'
        --config "source.vendored.directory=\"$top/vendor\"")
fi
cd "$top"
exec "${CARGO:-cargo}" "${options[@]}" "$@"
