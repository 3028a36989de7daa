"""A writer of `newc` archives, as the kernel unpacks them into its first root: everything is root's, has one date, and comes in order."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One file, folder, link or device; `also` are further names of the same file."""

    path: str
    mode: int
    data: bytes = b""
    also: tuple[str, ...] = ()
    device: tuple[int, int] = (0, 0)


@dataclass
class Archive:
    """Bytes so far, and the number that the next file gets."""

    date: int
    bytes: bytearray = field(default_factory=bytearray)
    number: int = 1

    def add(self, entry: Entry) -> None:
        names = (*entry.also, entry.path)
        for name in names:
            # Of a file with several names the last one carries the bytes.
            self._write(name, entry, entry.data if name == names[-1] else b"", len(names))
        self.number += 1

    def finish(self) -> bytes:
        self.number = 0
        self._write("TRAILER!!!", Entry("", 0), b"", 1)
        return bytes(self.bytes)

    def _write(self, name: str, entry: Entry, data: bytes, links: int) -> None:
        links = 2 if stat.S_ISDIR(entry.mode) else links
        date = self.date if self.number else 0
        numbers = (self.number, entry.mode, 0, 0, links, date, len(data), 0, 0, *entry.device, len(name) + 1, 0)
        self.bytes += b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
        self._align()
        self.bytes += data
        self._align()

    def _align(self) -> None:
        self.bytes += bytes(-len(self.bytes) % 4)
