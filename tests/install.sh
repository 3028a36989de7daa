#!/bin/sh
# Installs the Debian packages that the build and the lab use, and those named: install.sh [PACKAGE...]; says what else is missing.
set -eu

PACKAGES="
build-essential ca-certificates curl openssl
python3 python3-pytest
iproute2 iptables iputils-ping nftables strace chrony dnsmasq-base pebble tcpdump
cpio dosfstools e2fsprogs mtools nbdkit nbdkit-plugin-python util-linux zstd
openssh-client openssh-server postgresql postgresql-client cube2-server qstat
"

installed() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

missing=''
for package in $PACKAGES "$@"; do
    installed "$package" || missing="$missing $package"
done

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "not installed:$missing" >&2
        echo "run this as root, or: apt-get install$missing" >&2
        exit 1
    fi
    # The lab starts services of its own in its namespaces; the packages must not start theirs on this machine.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "no cargo on PATH; install Rust from https://rustup.rs:" >&2
    echo "  curl https://sh.rustup.rs -sSf | sh -s -- -y && . ~/.cargo/env" >&2
    exit 1
fi
