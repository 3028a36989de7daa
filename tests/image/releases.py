"""Updates as their maker packs them, good ones and bad ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from image import cpio
from image.cpio import Archive, Entry
from tests.lab import layout
from tests.lab.processes import run

OUT = layout.ROOT / "target" / "image"
PROGRAM = layout.ROOT / "target" / "release" / "genkan"
KEY = OUT / "keys" / "development.pem"
SLOT = OUT / "slot.img"
BOARD = "qemu-virt"
ROOT_FILE = "root.cpio.zst"
SIGNATURES = 256
"""Bytes behind which an update holds what is signed, whatever its head is."""


class Releases:
    """A maker's desk in the folder `scratch`; each update is a file there."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        built = json.loads((OUT / "build-info.json").read_text())
        self.version: str = built["version"]
        self.build: int = built["built"]

    def pack(self, name: str, **changes: Any) -> Path:
        """An update to what the card runs already, but for `version`, `build`, `board`, `key` or `slot`."""
        update = self._scratch / f"{name}.gku"
        options = {"key": KEY, "version": self.version, "build": self.build, "board": BOARD, "slot": SLOT} | changes
        options["slot-image"] = options.pop("slot")
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        run([PROGRAM, "release", "pack", *words, "--out", update], timeout=120)
        return update

    def strange_key(self) -> Path:
        """A signing key that no card knows."""
        key = self._scratch / "strange.pem"
        run([PROGRAM, "release", "keygen", "--name", "strange", "--out", key])
        return key

    def flipped(self, update: Path, at: int) -> Path:
        """The same with one bit of byte `at` (from the end when negative) changed."""
        content = bytearray(update.read_bytes())
        content[at] ^= 0x10
        return self._written(f"flipped{at}", bytes(content))

    def shortened(self, update: Path, by: int) -> Path:
        return self._written(f"shortened{by}", update.read_bytes()[:-by])

    def _written(self, name: str, content: bytes) -> Path:
        update = self._scratch / f"{name}.gku"
        update.write_bytes(content)
        return update

    def slot_with(self, name: str, change: Callable[[list[Entry]], list[Entry]]) -> Path:
        """A slot like the built one, with another root."""
        slot = self._scratch / f"{name}.img"
        shutil.copyfile(SLOT, slot)
        packed = subprocess.run(["mcopy", "-i", slot, f"::{ROOT_FILE}", "-"], check=True, capture_output=True).stdout
        plain = subprocess.run(["zstd", "-dcq"], input=packed, check=True, capture_output=True).stdout
        archive = Archive(self.build)
        for entry in change(cpio.read(plain)):
            archive.add(entry)
        root = self._scratch / ROOT_FILE
        root.write_bytes(subprocess.run(["zstd", "-cq", "-3"], input=archive.finish(), check=True, capture_output=True).stdout)
        run(["mcopy", "-o", "-i", slot, root, f"::{ROOT_FILE}"])
        return slot


def other_init(program: bytes) -> Callable[[list[Entry]], list[Entry]]:
    """A root whose `/init` and `/genkan` are `program`."""
    return lambda entries: [replace(entry, data=program) if "init" in _names(entry) else entry for entry in entries]


def other_worker(program: bytes) -> Callable[[list[Entry]], list[Entry]]:
    """A root whose `/init` is what it was; what it starts as worker is `program`."""

    def change(entries: list[Entry]) -> list[Entry]:
        init = next(entry for entry in entries if "init" in _names(entry))
        rest = [entry for entry in entries if entry is not init]
        return [*rest, replace(init, path="init", also=()), Entry("genkan", init.mode, program)]

    return change


def _names(entry: Entry) -> tuple[str, ...]:
    return (entry.path, *entry.also)
