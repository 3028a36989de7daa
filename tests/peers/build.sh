#!/bin/sh
# Builds real peers, each pinned by a folder beside this file with everything under it: build.sh [NAME...]
#
# tests/peers/NAME -> target/peers/NAME/{tailscaled,tailscale}, caddy, wireguard-go, or bin/NAME where it is Rust's. Without a
# name: the Tailscale clients of the lab. A build is kept until its folder or this script changes. `tailscale` is tailscaled
# under its other name. Go modules and our own package have a lock file; boringtun-cli's is in the crate of that version.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/target/peers
go=''

# compile FROM TO OPTION...: the package FROM as target/peers/$name/TO.
compile() {
    from=$1 to=$2
    shift 2
    [ -n "$go" ] || go=$("$here/go.sh")
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

wireguard_go() {
    echo "building wireguard-go"
    compile golang.zx2c4.com/wireguard wireguard-go -ldflags '-s -w'
}

# install OPTION...: a package of Rust's as target/peers/$name/bin/*, optimised as the product is.
install() {
    echo "building $name (a minute the first time)"
    CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=4 \
        cargo install --quiet --locked --force --root "$out/$name" --target-dir "$out/rust" "$@"
}

[ $# -gt 0 ] || set -- tailscale tailscale-1.80
for name in "$@"; do
    if [ ! -d "$here/$name" ]; then
        echo "build.sh: no peer $name: there is no $here/$name" >&2
        exit 1
    fi
    hash=$(cd "$here/$name" && find . -path ./target -prune -o -type f -print | sort | xargs cat "$here/build.sh" | sha256sum | cut -d ' ' -f 1)
    if [ "$(cat "$out/$name/built-from" 2>/dev/null)" = "$hash" ]; then
        continue
    fi
    mkdir -p "$out/$name"
    rm -f "$out/$name/built-from"
    case $name in
        caddy) caddy ;;
        wireguard-go) wireguard_go ;;
        boringtun-cli) install --version "=$(cat "$here/$name/version")" boringtun-cli ;;
        tokio-uring-relay) install --path "$here/$name" ;;
        *) tailscale ;;
    esac
    echo "$hash" >"$out/$name/built-from"
done
