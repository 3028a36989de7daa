#!/bin/sh
# Builds real peers, each from a Go module beside this file that pins it and everything under it: build.sh [NAME...]
#
# tests/peers/NAME -> target/peers/NAME/{tailscaled,tailscale}, or target/peers/caddy/caddy. Without a name: the Tailscale
# clients of the lab. A build is kept until its module or this script changes. `tailscale` is tailscaled under its other name.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/target/peers
go=''

# compile FROM TO OPTION...: the package FROM as target/peers/$name/TO.
compile() {
    from=$1 to=$2
    shift 2
    (cd "$here/$name" && GOTOOLCHAIN=local GOROOT='' GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
        "$go" build -trimpath "$@" -o "$out/$name/$to" "$from")
}

tailscale() {
    version=$(sed -n 's/^.*tailscale\.com v\([0-9.]*\).*$/\1/p' "$here/$name/go.mod")
    echo "building tailscale $version (some minutes the first time)"
    stamp="-X tailscale.com/version.shortStamp=$version -X tailscale.com/version.longStamp=$version"
    compile tailscale.com/cmd/tailscaled tailscaled -tags ts_include_cli -ldflags "-s -w $stamp"
    ln -sf tailscaled "$out/$name/tailscale"
}

caddy() {
    echo "building Caddy with caddy-l4 (some minutes the first time)"
    compile . caddy -tags nobadger,nomysql,nopgx -ldflags '-s -w'
}

[ $# -gt 0 ] || set -- tailscale tailscale-1.80
for name in "$@"; do
    if [ ! -e "$here/$name/go.mod" ]; then
        echo "build.sh: no peer $name: there is no $here/$name/go.mod" >&2
        exit 1
    fi
    hash=$(cat "$here/$name/"go.* "$here/$name/"*.go "$0" 2>/dev/null | sha256sum | cut -d ' ' -f 1)
    if [ "$(cat "$out/$name/built-from" 2>/dev/null)" = "$hash" ]; then
        continue
    fi
    [ -n "$go" ] || go=$("$here/go.sh")
    mkdir -p "$out/$name"
    rm -f "$out/$name/built-from"
    case $name in
        caddy) caddy ;;
        *) tailscale ;;
    esac
    echo "$hash" >"$out/$name/built-from"
done
