#!/bin/sh
# reproduce.sh [--binary] [--kernel]: builds the card of this commit in two folders and compares the hashes of the images.
#
# The binary and the kernel of this tree are taken over unless they are to be built anew too, which takes many minutes each.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
binary='' kernel=''
for option in "$@"; do
    case $option in
        --binary) binary=1 ;;
        --kernel) kernel=1 ;;
        *) echo "reproduce.sh: $option?" >&2; exit 2 ;;
    esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
GENKAN_COMMIT=$(git rev-parse HEAD)
GENKAN_RELEASE_PUB=$work/release.pub
export SOURCE_DATE_EPOCH GENKAN_COMMIT GENKAN_RELEASE_PUB
# Any key will do, as long as it is the same.
echo "$(head -c 32 /dev/zero | base64) # nobody" >"$GENKAN_RELEASE_PUB"

for folder in "$work/one" "$work/another/place"; do
    mkdir -p "$folder/target/image"
    git archive HEAD | tar -x -C "$folder"
    cp -a target/image/apt target/image/debian "$folder/target/image/"
    rm -f "$folder/target/image/apt/apt.conf"
    [ -n "$kernel" ] || cp -a target/image/kernel "$folder/target/image/"
    if [ -n "$binary" ]; then
        "$folder/image/binary.sh" aarch64
    else
        mkdir -p "$folder/target/binary/aarch64"
        cp target/binary/aarch64/genkan "$folder/target/binary/aarch64/"
    fi
    (cd "$folder" && /usr/bin/python3 -m image --as-built)
done

one=$work/one another=$work/another/place same=1
for file in binary/aarch64/genkan image/genkan.img image/genkan.img.zst image/sbom.cdx.json image/licences/LICENCES.txt; do
    if cmp -s "$one/target/$file" "$another/target/$file"; then
        echo "same       $(sha256sum <"$one/target/$file" | cut -c 1-64)  $file"
    else
        echo "different  $file"
        same=''
    fi
done
[ -n "$same" ]
