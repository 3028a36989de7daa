################################################################################
#
# genkan-u-boot
#
################################################################################

GENKAN_U_BOOT_VERSION = 2025.01-3+deb13u1
GENKAN_U_BOOT_SOURCE = u-boot-qemu_$(GENKAN_U_BOOT_VERSION)_all.deb
GENKAN_U_BOOT_SITE = https://deb.debian.org/debian/pool/main/u/u-boot
GENKAN_U_BOOT_LICENSE = GPL-2.0+
GENKAN_U_BOOT_LICENSE_FILES = usr/share/doc/u-boot-qemu/copyright
GENKAN_U_BOOT_ADD_TOOLCHAIN_DEPENDENCY = NO
GENKAN_U_BOOT_INSTALL_TARGET = NO
GENKAN_U_BOOT_INSTALL_IMAGES = YES

define GENKAN_U_BOOT_EXTRACT_CMDS
	$(call GENKAN_UNPACK_DEB,$(GENKAN_U_BOOT_DL_DIR)/$(GENKAN_U_BOOT_SOURCE),$(@D))
endef

define GENKAN_U_BOOT_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0644 $(@D)/usr/lib/u-boot/qemu_arm64/u-boot.bin $(BINARIES_DIR)/u-boot.bin
endef

$(eval $(generic-package))
