#!/bin/sh
# Builds the real Tailscale clients of the lab: tests/peers/NAME -> target/peers/NAME/{tailscaled,tailscale}.
#
# Each peer is a Go module that pins tailscale.com and everything under it; a build is kept until its
# go.mod, its go.sum or this script changes. `tailscale` is the same program under its other name.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/target/peers
go=''

for module in "$here"/*/go.mod; do
    source=$(dirname "$module")
    name=$(basename "$source")
    hash=$(cat "$module" "$source/go.sum" "$0" | sha256sum | cut -d ' ' -f 1)
    if [ "$(cat "$out/$name/built-from" 2>/dev/null)" = "$hash" ]; then
        continue
    fi
    [ -n "$go" ] || go=$("$here/go.sh")
    version=$(sed -n 's/^.*tailscale\.com v\([0-9.]*\).*$/\1/p' "$module")
    echo "building tailscale $version (some minutes the first time)"
    mkdir -p "$out/$name"
    rm -f "$out/$name/built-from"
    stamp="-X tailscale.com/version.shortStamp=$version -X tailscale.com/version.longStamp=$version"
    (cd "$source" && GOTOOLCHAIN=local GOROOT='' GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
        "$go" build -trimpath -tags ts_include_cli -ldflags "-s -w $stamp" \
        -o "$out/$name/tailscaled" tailscale.com/cmd/tailscaled)
    ln -sf tailscaled "$out/$name/tailscale"
    echo "$hash" >"$out/$name/built-from"
done
