# U-Boot, on QEMU's `virt`: starts the kernel of one of the card's slots, as the Pi's firmware does there by autoboot.txt.
#
# slot.env on the first partition holds genkan_slot=a|b and, after an update, genkan_try=a|b. The try is taken back before the tried slot
# starts: whatever becomes of it, the next start is the old slot's.

setenv genkan_slot a
setenv genkan_try
if load virtio 0:1 0x50000000 slot.env; then
    env import -t 0x50000000 ${filesize} genkan_slot genkan_try
fi
setenv genkan_tried 0
setenv genkan_start ${genkan_slot}
if test "${genkan_try}" = a -o "${genkan_try}" = b; then
    setenv genkan_start ${genkan_try}
    setenv genkan_tried 1
    setenv genkan_try
    env export -t -s 0x200 0x50000000 genkan_slot
    fatwrite virtio 0:1 0x50000000 slot.env 0x200
fi
setenv genkan_partition 2
if test "${genkan_start}" = b; then
    setenv genkan_partition 3
fi
# Root and device tree stay where they are loaded, so that the memory kept for the last crash is the same at each start.
setenv initrd_high 0xffffffffffffffff
setenv fdt_high 0xffffffffffffffff
setenv bootargs "console=ttyAMA0 loglevel=4 reserve_mem=512K:4096:ramoops ramoops.mem_name=ramoops ramoops.record_size=0x8000 ramoops.console_size=0x20000 ramoops.pmsg_size=0x10000 genkan.slot=${genkan_start} genkan.try=${genkan_tried} ${genkan_arguments}"
load virtio 0:${genkan_partition} 0x41000000 kernel8.img
load virtio 0:${genkan_partition} 0x4c000000 root.cpio.zst
booti 0x41000000 0x4c000000:${filesize} 0x40000000
