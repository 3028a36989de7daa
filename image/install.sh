#!/bin/sh
# install.sh binary|card|qemu...: installs the Debian packages that these steps use on this machine; without root it names them.
set -eu

cross='gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
packages='ca-certificates debian-archive-keyring python3'
for step in "$@"; do
    case $step in
        binary)
            packages="$packages $cross libc6-dev binutils"
            # A musl target that is there already is used; one is never added.
            targets=$(rustup target list --installed 2>/dev/null || true)
            case $targets in
                *aarch64-unknown-linux-musl*) ;;
                *) packages="$packages rustc-web cargo-web rust-web-src" ;;
            esac
            ;;
        card)
            packages="$packages $cross make flex bison bc libc6-dev libssl-dev libelf-dev patch xz-utils zstd"
            packages="$packages device-tree-compiler dosfstools e2fsprogs genimage mtools openssl u-boot-tools git"
            ;;
        qemu) packages="$packages qemu-system-arm qemu-user mtools" ;;
        *) echo "install.sh: $step?" >&2; exit 2 ;;
    esac
done

installed() { dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

missing=''
for package in $packages; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "not installed:$missing" >&2
    echo "run this as root, or: apt-get install$missing" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 $missing >/dev/null
