"""The first partition, which the owner edits: the configuration, how to begin, how the box is, and which slot starts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from . import slot
from .layout import IMAGE, ROOT, build_time
from .steps import run

# Files that are rewritten in place, as one sector: their length never changes.
SECTOR = 512


def build(firmware: Path, folder: Path, names: Sequence[str]) -> None:
    """Fills the folder `folder` for the boards of these names."""
    (folder / "genkan").mkdir(parents=True)
    shutil.copyfile(ROOT / "src" / "config" / "genkan.example.toml", folder / "genkan" / "genkan.toml")
    for name in ("START-HERE.html", "STATUS.txt"):
        shutil.copyfile(IMAGE / "owner" / name, folder / name)
    (folder / "autoboot.txt").write_bytes(_sector((IMAGE / "owner" / "autoboot.txt").read_text()))
    (folder / "slot.env").write_bytes(_sector("genkan_slot=a\ngenkan_try=\n"))
    # Boards without a boot loader of their own look for the first files here.
    slot.copy_firmware(firmware, folder, names)
    run(
        "mkimage", "-q", "-A", "arm64", "-O", "linux", "-T", "script", "-C", "none", "-n", "genkan", "-d", IMAGE / "qemu" / "boot.cmd",
        folder / "boot.scr", env={"SOURCE_DATE_EPOCH": str(build_time())},
    )  # fmt: skip


def _sector(text: str) -> bytes:
    return text.encode().ljust(SECTOR, b"\n")
