#!/bin/sh
# Builds cargo-deny, which checks licences and sources of dependencies, into target/tools. Unoptimised: it runs for a
# second and would take several times as long to build otherwise.
set -eu

VERSION=0.20.2
root=$(cd "$(dirname "$0")/.." && pwd)/target/tools

if [ "$("$root/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $VERSION" ]; then
    echo "building cargo-deny $VERSION (some minutes the first time)"
    cargo install --quiet --locked --debug --root "$root" --version "$VERSION" cargo-deny
fi
