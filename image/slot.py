"""A slot: kernel, device trees, firmware, the read-only root, and what is written about them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from . import packages
from .layout import BOARDS, IMAGE, OUT, WORK, build_time, commit, version

FIRMWARE = ("bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat")


def build(kernel: Path, slot: Path) -> None:
    """Fills the folder `slot`."""
    slot.mkdir(parents=True)
    # Not gzipped: reading 12 MB takes less time than unpacking them, and the download is compressed as a whole.
    shutil.copyfile(kernel / "Image", slot / "kernel8.img")
    for tree in sorted(kernel.glob("*.dtb")):
        shutil.copyfile(tree, slot / tree.name)
    copy_firmware(slot)
    for name in ("config.txt", "cmdline.txt"):
        shutil.copyfile(IMAGE / "slot" / name, slot / name)
    shutil.copyfile(WORK / "root.cpio.zst", slot / "root.cpio.zst")
    shutil.copyfile(OUT / "sbom.cdx.json", slot / "sbom.cdx.json")
    shutil.copyfile(OUT / "licences" / "LICENCES.txt", slot / "LICENCES.txt")
    (slot / "manifest.json").write_text(_manifest(slot))


def copy_firmware(folder: Path) -> None:
    """What a Pi 3, 4 or Zero 2 W runs before the kernel. The Pi 5 has all of it on the board."""
    source = packages.tree("raspi-firmware") / "usr" / "lib" / "raspi-firmware"
    for name in FIRMWARE:
        shutil.copyfile(source / name, folder / name)


def _manifest(slot: Path) -> str:
    files = [
        {"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(slot.iterdir())
    ]
    facts = {"version": version(), "build": build_time(), "commit": commit(), "boards": list(BOARDS), "files": files}
    return json.dumps(facts, indent=2) + "\n"
