#!/bin/sh
# post-image.sh BINARIES_DIR BOARD: the card, with the bill of materials of what Buildroot built.
set -eu

packages=$(mktemp)
trap 'rm -f "$packages"' EXIT
env -u MAKEFLAGS -u MAKELEVEL make -s --no-print-directory -C "$PWD" O="$O" show-info >"$packages"

# shellcheck source=tree.sh disable=SC1091
. "$(dirname "$0")/tree.sh"
python3 -m image.from_tree card "$1" "$2" "$packages"
