################################################################################
#
# genkan
#
################################################################################

GENKAN_VERSION = local
GENKAN_LICENSE = Apache-2.0
GENKAN_LICENSE_FILES = LICENSE

# /init is what the kernel starts; the post-build script gives it the second
# name by which people know it.
ifeq ($(BR2_PACKAGE_GENKAN_PREBUILT),y)

GENKAN_SOURCE =
GENKAN_ADD_TOOLCHAIN_DEPENDENCY = NO

define GENKAN_EXTRACT_CMDS
	$(INSTALL) -m 0755 $(call qstrip,$(BR2_PACKAGE_GENKAN_BINARY)) $(@D)/genkan
	$(INSTALL) -m 0644 $(BR2_EXTERNAL_GENKAN_PATH)/../LICENSE $(@D)/LICENSE
endef

define GENKAN_INSTALL_TARGET_CMDS
	$(INSTALL) -m 0755 $(@D)/genkan $(TARGET_DIR)/init
endef

$(eval $(generic-package))

else

GENKAN_SITE = $(realpath $(BR2_EXTERNAL_GENKAN_PATH)/..)
GENKAN_SITE_METHOD = local
GENKAN_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /target --exclude /.git

GENKAN_TOOLS = $(@D)/buildroot-tools
GENKAN_CARGO_TARGET = CARGO_TARGET_$(call UPPERCASE,$(RUSTC_TARGET_NAME))

# As the profile `card` has it, which cargo does not take beside --release.
GENKAN_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_LTO=fat \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=3 \
	CFLAGS="$(TARGET_CFLAGS) -fPIC" \
	GENKAN_CC="$(TARGET_CC)" \
	$(GENKAN_CARGO_TARGET)_LINKER="$(GENKAN_TOOLS)/gcc" \
	$(GENKAN_CARGO_TARGET)_RUSTFLAGS="-Clink-self-contained=no -Crelocation-model=pie -Ctarget-feature=+crt-static --remap-path-prefix=$(@D)=/genkan --remap-path-prefix=$(BR_CARGO_HOME)=/cargo"

# What is not downloaded by Buildroot is not vendored by it either; Cargo.lock
# has the hash of each crate. Rust's standard library asks for libunwind, and
# gcc's unwinder does the same work.
define GENKAN_CONFIGURE_CMDS
	$(INSTALL) -D -m 0755 $(GENKAN_PKGDIR)/static-pie.sh $(GENKAN_TOOLS)/gcc
	$(INSTALL) -m 0644 `$(TARGET_CC) -print-file-name=libgcc_eh.a` $(GENKAN_TOOLS)/libunwind.a
	cd $(@D) && $(TARGET_MAKE_ENV) $(PKG_COMMON_CARGO_ENV) cargo fetch --locked
endef

define GENKAN_INSTALL_TARGET_CMDS
	$(INSTALL) -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/release/genkan $(TARGET_DIR)/init
endef

$(eval $(cargo-package))

endif
