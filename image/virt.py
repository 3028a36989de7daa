"""What QEMU needs beside the card: U-Boot, and its settings in the second flash chip, so that it starts the card without waiting."""

from __future__ import annotations

import shutil
from pathlib import Path

from .layout import IMAGE, OUT
from .steps import run

FOLDER = OUT / "qemu"
# What U-Boot was built with: size of its settings, and of one flash chip.
SETTINGS_BYTES = 0x40000
FLASH_BYTES = 64 << 20


def build(u_boot: Path) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(u_boot, FOLDER / "u-boot.bin")
    flash = FOLDER / "u-boot-settings.img"
    run("mkenvimage", "-s", str(SETTINGS_BYTES), "-o", flash, IMAGE / "qemu" / "u-boot.env")
    with flash.open("r+b") as file:
        file.truncate(FLASH_BYTES)
