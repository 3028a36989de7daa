GENKAN_TREE = $(realpath $(BR2_EXTERNAL_GENKAN_PATH)/..)

# Some of what image/ takes from Debian is taken here too, from the same files.
# $(1): the package; $(2): the folder to unpack it into
GENKAN_UNPACK_DEB = $(HOSTAR) p $(1) data.tar.xz | xz -dc | $(TAR) -C $(2) $(TAR_OPTIONS) -

include $(sort $(wildcard $(BR2_EXTERNAL_GENKAN_PATH)/package/*/*.mk))

# The card's kernel has what genkan.config names and nothing else, so it does
# not start from a defconfig. kconfig takes the file from the environment.
ifeq ($(BR2_GENKAN_KERNEL),y)
LINUX_KCONFIG_DEFCONFIG = allnoconfig
LINUX_MAKE_ENV += KCONFIG_ALLCONFIG=$(GENKAN_TREE)/image/kernel/genkan.config

define LINUX_EXTRACT_CMDS
	$(HOSTAR) p $(LINUX_DL_DIR)/$(LINUX_SOURCE) data.tar.xz | xz -dc | \
		$(TAR) --wildcards --to-stdout -xf - './usr/src/linux-source-*.tar.xz' | xz -dc | \
		$(TAR) --strip-components=1 -C $(@D) $(TAR_OPTIONS) -
endef

define GENKAN_CHECK_KERNEL_CONFIG
	cd $(GENKAN_TREE) && python3 -m image.kernel $(LINUX_DIR)/.config
endef
LINUX_POST_CONFIGURE_HOOKS += GENKAN_CHECK_KERNEL_CONFIG
endif
