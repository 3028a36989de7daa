#!/bin/sh
# post-fakeroot.sh TARGET_DIR BOARD: leaves what image/files.txt lists. Not in post-build.sh, which has the one TARGET_DIR for all builds to come.
set -eu

# shellcheck source=tree.sh disable=SC1091
. "$(dirname "$0")/tree.sh"
exec python3 -m image.from_tree prune "$1"
