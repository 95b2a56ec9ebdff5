#!/bin/bash
# Puts the sources of all crates into vendor/; cargo.sh uses them from then on.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
rm -rf "$top/vendor"
"$top/scripts/cargo.sh" vendor --quiet "$top/vendor" >/dev/null
say "The crates' sources are in vendor/ ($(du -sh "$top/vendor" | cut -f 1)); builds need no network now. Remove it to go back."
