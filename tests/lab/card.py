"""The SD card as a file: a copy of the built image, and the owner's partition on it.

Reads and writes go by mtools, beside a running machine too: what the guest has synced is in the file.
"""

from __future__ import annotations

import os
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from . import layout
from .processes import CommandFailed, run

IMAGE = layout.ROOT / "target" / "image" / "genkan.img"
SIGNATURE = 0x67656E6B
SECTOR = 512
CARD_BYTES = 512 * 1024 * 1024
"""Of a card as it is bought: larger than the image, so that the data partition has room to grow."""


class Card:
    """One card. Paths are of the owner's partition, as `genkan/genkan.toml`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def flash(cls, file: Path, size: int = CARD_BYTES) -> Card:
        """A new card with the built image on it."""
        run(["cp", "--sparse=always", str(IMAGE), str(file)], timeout=60)
        os.truncate(file, max(size, file.stat().st_size))
        return cls(file)

    def copy(self, file: Path) -> Card:
        """Another card with the same content."""
        run(["cp", "--sparse=always", str(self.file), str(file)], timeout=60)
        return Card(file)

    def partition(self, number: int) -> tuple[int, int]:
        """Offset and length in bytes of primary partition 1 to 4."""
        with self.file.open("rb") as card:
            record = card.read(SECTOR)
        if record[510:] != b"\x55\xaa" or struct.unpack_from("<I", record, 440)[0] != SIGNATURE:
            raise CommandFailed(f"{self.file} is no genkan card: its MBR is another's")
        start, sectors = struct.unpack_from("<II", record, 446 + 16 * (number - 1) + 8)
        return start * SECTOR, sectors * SECTOR

    def drive(self, number: int = 1) -> str:
        """A partition as mtools name it."""
        return f"{self.file}@@{self.partition(number)[0]}"

    def put(self, path: str, content: str | bytes) -> None:
        """Writes a file, as an owner's laptop does."""
        draft = self.file.with_suffix(".draft")
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        run(["mcopy", "-o", "-i", self.drive(), str(draft), f"::{path}"])
        draft.unlink()

    def read(self, path: str, number: int = 1) -> bytes:
        """The bytes of a file; `CommandFailed` when it is not there."""
        draft = self.file.with_suffix(".read")
        try:
            run(["mcopy", "-n", "-o", "-i", self.drive(number), f"::{path}", str(draft)])
            return draft.read_bytes()
        finally:
            draft.unlink(missing_ok=True)

    def text(self, path: str) -> str:
        """A file as text, line ends as `\\n`."""
        return self.read(path).decode("utf-8-sig", "replace").replace("\r\n", "\n")

    def has(self, path: str) -> bool:
        return run(["mdir", "-b", "-i", self.drive(), f"::{path}"], check=False).ok

    def remove(self, path: str) -> None:
        run(["mdel", "-i", self.drive(), f"::{path}"])

    def bytes_of(self, number: int, offset: int, length: int) -> bytes:
        """Raw bytes of a partition."""
        start, size = self.partition(number)
        with self.file.open("rb") as card:
            card.seek(start + offset)
            return card.read(min(length, size - offset))

    def overwrite(self, number: int, offset: int, content: bytes) -> None:
        """Raw bytes of a partition, as a dying card changes them."""
        start, _ = self.partition(number)
        with self.file.open("r+b") as card:
            card.seek(start + offset)
            card.write(content)

    def forget_partition(self, number: int) -> None:
        """Empties a partition's entry in the MBR."""
        with self.file.open("r+b") as card:
            card.seek(446 + 16 * (number - 1))
            card.write(bytes(16))

    @contextmanager
    def attached(self, number: int) -> Iterator[str]:
        """A partition as a block device, while the machine is off."""
        start, size = self.partition(number)
        words = ["losetup", "--find", "--show", "--offset", str(start), "--sizelimit", str(size), str(self.file)]
        device = run(words).output.strip()
        try:
            yield device
        finally:
            run(["losetup", "--detach", device])

    @contextmanager
    def mounted(self, number: int) -> Iterator[Path]:
        """A partition's files, while the machine is off."""
        place = self.file.with_suffix(".mounted")
        place.mkdir(exist_ok=True)
        with self.attached(number) as device:
            run(["mount", device, str(place)])
            try:
                yield place
            finally:
                run(["umount", str(place)])

    def delete(self) -> None:
        self.file.unlink(missing_ok=True)


def missing() -> str:
    """What this machine lacks to boot a card, with the cure; empty if nothing."""
    tools = [name for name in ("mcopy", "qemu-system-aarch64", "chronyd") if not shutil.which(name)]
    if tools:
        return f"not installed: {', '.join(tools)}; run `make setup`"
    return "" if IMAGE.exists() else f"no {IMAGE.relative_to(layout.ROOT)}; run `make image`"
