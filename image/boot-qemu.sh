#!/bin/sh
# boot-qemu.sh [-k] [-c CARD] [-l CONSOLE] [QEMU-ARGS...]: boots a copy of target/image/genkan.img in QEMU.
#
# The card's own boot.scr starts the slot, by U-Boot; -k skips U-Boot and takes kernel and root from slot A by -kernel and -initrd.
# GENKAN_ARGUMENTS are added to the kernel's command line.
# -c CARD boots that file itself and keeps what happens to it. -l sends the console to a file instead of this terminal.
# GENKAN_OUT is another folder than target/image to take it from.
# The guest's ports 80, 443 and 8080 are this machine's 10080, 10443 and 18080. End with Ctrl-A x.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
image=${GENKAN_OUT:-$here/../target/image}
direct='' card='' log=''
while getopts kc:l: option; do
    case $option in
        k) direct=1 ;;
        c) card=$OPTARG ;;
        l) log=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$card" ]; then
    card=$work/card.img
    cp --sparse=always "$image/genkan.img" "$card"
    # As on a real card, there is room for data behind the last partition.
    truncate -s 2G "$card"
fi

if [ -n "$direct" ]; then
    slot="$image/genkan.img@@$((68 << 20))"
    mcopy -i "$slot" ::kernel8.img ::root.cpio.zst "$work/"
    ramoops='reserve_mem=512K:4096:ramoops ramoops.mem_name=ramoops ramoops.record_size=0x8000 ramoops.console_size=0x20000 ramoops.pmsg_size=0x10000'
    set -- -kernel "$work/kernel8.img" -initrd "$work/root.cpio.zst" \
        -append "console=ttyAMA0 loglevel=4 $ramoops genkan.slot=a genkan.try=0 ${GENKAN_ARGUMENTS:-}" "$@"
else
    settings=$image/qemu/u-boot-settings.img
    if [ -n "${GENKAN_ARGUMENTS:-}" ]; then
        settings=$work/settings.img
        { cat "$here/qemu/u-boot.env"; echo "genkan_arguments=$GENKAN_ARGUMENTS"; } | mkenvimage -s 0x40000 -o "$settings" -
        truncate -s 64M "$settings"
    fi
    set -- -bios "$image/qemu/u-boot.bin" -drive "if=pflash,unit=1,format=raw,readonly=on,file=$settings" "$@"
fi
if [ -n "$log" ]; then
    set -- -display none -serial "file:$log" "$@"
else
    set -- -nographic "$@"
fi

# Not exec: the copy is removed at the end.
qemu-system-aarch64 -M virt,acpi=off -cpu cortex-a72 -smp 2 -m 512 -accel tcg,thread=multi \
    -drive "if=none,format=raw,file=$card,id=card" -device virtio-blk-pci,drive=card \
    -netdev user,id=lan,hostfwd=tcp:127.0.0.1:10080-:80,hostfwd=tcp:127.0.0.1:10443-:443,hostfwd=tcp:127.0.0.1:18080-:8080 \
    -device virtio-net-pci,netdev=lan,romfile= -device virtio-rng-pci -device i6300esb -action watchdog=reset "$@"
