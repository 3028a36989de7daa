#!/bin/sh
# post-build.sh TARGET_DIR BOARD: adds the files that say what this build is.
set -eu

# shellcheck source=tree.sh disable=SC1091
. "$(dirname "$0")/tree.sh"
exec python3 -m image.from_tree complete "$1" "$2"
