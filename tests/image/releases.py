"""Updates as their maker packs them, good ones and bad ones."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
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
KERNEL, ROOT_FILE = "kernel8.img", "root.cpio.zst"
PACKED = layout.ROOT / "target" / "card" / "packed"
"""To pack a whole slot takes half a minute: it is kept for the next run."""


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
        run([PROGRAM, "release", "pack", *words, "--out", update], timeout=600)
        return update

    def same(self) -> Path:
        """An update to what the card runs already."""
        parts = (SLOT, KEY, PROGRAM, OUT / "build-info.json")
        digest = hashlib.sha256(b"".join(hashlib.sha256(part.read_bytes()).digest() for part in parts)).hexdigest()
        kept = PACKED / f"{digest}.gku"
        if not kept.exists():
            shutil.rmtree(PACKED, ignore_errors=True)
            PACKED.mkdir(parents=True)
            draft = kept.with_suffix(".part")
            shutil.copyfile(self.pack("same"), draft)
            draft.rename(kept)
        return kept

    def strange_key(self) -> Path:
        """A signing key that no card knows."""
        key = self._scratch / "strange.pem"
        run([PROGRAM, "release", "keygen", "--name", "strange", "--out", key])
        return key

    def flipped(self, update: Path, at: int) -> Path:
        """The same with one bit of byte `at` (from the end when negative) changed."""
        content = bytearray(update.read_bytes())
        content[at] ^= 1
        return self._written(f"flipped{at}", bytes(content))

    def shortened(self, update: Path, by: int) -> Path:
        return self._written(f"shortened{by}", update.read_bytes()[:-by])

    def _written(self, name: str, content: bytes) -> Path:
        update = self._scratch / f"{name}.gku"
        update.write_bytes(content)
        return update

    def digit_of_version(self, update: Path) -> int:
        """Where the signed manifest names the version."""
        return update.read_bytes().index(self.version.encode())

    def slot_image(self) -> bytes:
        return SLOT.read_bytes()

    def small_slot(self) -> Path:
        """No slot at all, but quickly packed: for updates that nobody may write."""
        slot = self._scratch / "small.img"
        slot.write_bytes(os.urandom(1 << 20))
        return slot

    def starting_only(self, name: str, program: bytes) -> Path:
        """A slot with the kernel, and a root that holds nothing but `program` as its `/init`."""
        slot = self._scratch / f"{name}.img"
        with slot.open("wb") as file:
            file.truncate(SLOT.stat().st_size)
        run(["mformat", "-F", "-v", "GENKAN-B", "-i", slot, "::"])
        kernel = self._scratch / KERNEL
        kernel.write_bytes(_read(KERNEL))
        run(["mcopy", "-i", slot, kernel, f"::{KERNEL}"])
        folder, console = Entry("dev", stat.S_IFDIR | 0o755), Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        self._put_root(slot, [folder, console, Entry("init", stat.S_IFREG | 0o555, program)])
        return slot

    def slot_with(self, name: str, change: Callable[[list[Entry]], list[Entry]]) -> Path:
        """A slot like the built one, with another root."""
        slot = self._scratch / f"{name}.img"
        shutil.copyfile(SLOT, slot)
        plain = subprocess.run(["zstd", "-dcq"], input=_read(ROOT_FILE), check=True, capture_output=True).stdout
        self._put_root(slot, change(cpio.read(plain)))
        return slot

    def _put_root(self, slot: Path, entries: list[Entry]) -> None:
        archive = Archive(self.build)
        for entry in entries:
            archive.add(entry)
        root = self._scratch / ROOT_FILE
        root.write_bytes(subprocess.run(["zstd", "-cq", "-3"], input=archive.finish(), check=True, capture_output=True).stdout)
        run(["mcopy", "-o", "-i", slot, root, f"::{ROOT_FILE}"])


def other_worker(program: bytes) -> Callable[[list[Entry]], list[Entry]]:
    """A root whose `/init` is what it was; what that starts as the worker is `program`."""

    def change(entries: list[Entry]) -> list[Entry]:
        init = next(entry for entry in entries if "init" in (entry.path, *entry.also))
        rest = [entry for entry in entries if entry is not init]
        return [*rest, replace(init, path="init", also=()), Entry("genkan", init.mode, program)]

    return change


def _read(name: str) -> bytes:
    """A file of the built slot."""
    return subprocess.run(["mcopy", "-i", SLOT, f"::{name}", "-"], check=True, capture_output=True).stdout
