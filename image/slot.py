"""A slot: kernel, device trees, firmware, the read-only root, and what is written about them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from . import boards
from .layout import IMAGE, OUT, WORK, build_time, commit, version


def build(kernel: Path, firmware: Path, slot: Path, names: Sequence[str]) -> None:
    """Fills the folder `slot` for the boards of these names, with what lies in the folders `kernel` and `firmware`."""
    slot.mkdir(parents=True)
    # Not gzipped: reading 12 MB takes less time than unpacking them, and the download is compressed as a whole.
    shutil.copyfile(kernel / "Image", slot / "kernel8.img")
    for tree in sorted(kernel.glob("*.dtb")):
        shutil.copyfile(tree, slot / tree.name)
    copy_firmware(firmware, slot, names)
    for name in ("config.txt", "cmdline.txt"):
        shutil.copyfile(IMAGE / "slot" / name, slot / name)
    shutil.copyfile(WORK / "root.cpio.zst", slot / "root.cpio.zst")
    shutil.copyfile(OUT / "sbom.cdx.json", slot / "sbom.cdx.json")
    shutil.copyfile(OUT / "licences" / "LICENCES.txt", slot / "LICENCES.txt")
    (slot / "manifest.json").write_text(_manifest(slot, names))


def copy_firmware(source: Path, folder: Path, names: Sequence[str]) -> None:
    """What a Pi 3, 4 or Zero 2 W runs before the kernel. The Pi 5 has all of it on the board."""
    for name in boards.firmware(names):
        shutil.copyfile(source / name, folder / name)


def _manifest(slot: Path, names: Sequence[str]) -> str:
    files = [
        {"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(slot.iterdir())
    ]
    facts = {"version": version(), "build": build_time(), "commit": commit(), "boards": list(names), "files": files}
    return json.dumps(facts, indent=2) + "\n"
