################################################################################
#
# genkan-firmware
#
################################################################################

GENKAN_FIRMWARE_VERSION = 1.20240424+ds-6
GENKAN_FIRMWARE_SOURCE = raspi-firmware_$(GENKAN_FIRMWARE_VERSION)_all.deb
GENKAN_FIRMWARE_SITE = https://deb.debian.org/debian/pool/non-free-firmware/r/raspi-firmware
GENKAN_FIRMWARE_LICENSE = Broadcom-RPi
GENKAN_FIRMWARE_LICENSE_FILES = usr/share/doc/raspi-firmware/copyright
GENKAN_FIRMWARE_ADD_TOOLCHAIN_DEPENDENCY = NO
GENKAN_FIRMWARE_INSTALL_TARGET = NO
GENKAN_FIRMWARE_INSTALL_IMAGES = YES

define GENKAN_FIRMWARE_EXTRACT_CMDS
	$(call GENKAN_UNPACK_DEB,$(GENKAN_FIRMWARE_DL_DIR)/$(GENKAN_FIRMWARE_SOURCE),$(@D))
endef

define GENKAN_FIRMWARE_INSTALL_IMAGES_CMDS
	$(foreach f,bootcode.bin start.elf fixup.dat start4.elf fixup4.dat, \
		$(INSTALL) -D -m 0644 $(@D)/usr/lib/raspi-firmware/$(f) $(BINARIES_DIR)/genkan-firmware/$(f)
	)
endef

$(eval $(generic-package))
