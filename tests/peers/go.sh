#!/bin/sh
# Prints the path of a Go compiler that is new enough for the peers.
#
# A Go of the wanted minor version or newer that is already on PATH is used as it is. Otherwise Debian's
# (too old to build the peers, but able to speak to the module proxy) fetches Go's own toolchain module,
# whose hash the Go checksum database vouches for, and that is unpacked into target/go.
set -eu

WANTED=1.26.8
root=$(cd "$(dirname "$0")/../.." && pwd)
own="$root/target/go/$WANTED"

say() { echo "go.sh: $*" >&2; }

# new_enough GO: whether this compiler's version is at least WANTED's minor version.
new_enough() {
    have=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
    have=${have#go}
    lowest=$(printf '%s\n%s\n' "${WANTED%.*}" "$have" | sort -V | head -n 1)
    [ "$lowest" = "${WANTED%.*}" ]
}

if found=$(command -v go) && new_enough "$found"; then
    echo "$found"
    exit 0
fi
if [ -x "$own/bin/go" ]; then
    echo "$own/bin/go"
    exit 0
fi

helper=$(command -v go || true)
if [ -z "$helper" ]; then
    say "no Go here: installing Debian's to fetch Go $WANTED with"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends golang-go >&2
    helper=$(command -v go)
fi

case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) say "no Go toolchain module for $(uname -m); put Go $WANTED or newer on PATH"; exit 1 ;;
esac
module="golang.org/toolchain@v0.0.1-go$WANTED.linux-$arch"
say "fetching $module"
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
echo 'module fetch' >"$scratch/go.mod"
fetched=$(cd "$scratch" && GOTOOLCHAIN=local GOFLAGS='' GOPATH="$scratch/path" \
    "$helper" mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -d "$fetched" ] || { say "the module proxy gave no $module"; exit 1; }

# A module archive carries no execute bits.
mkdir -p "$(dirname "$own")"
rm -rf "$own.partial"
cp -r "$fetched" "$own.partial"
chmod -R u+w "$own.partial"
chmod +x "$own.partial/bin/"* "$own.partial/pkg/tool/"*/*
mv "$own.partial" "$own"
echo "$own/bin/go"
