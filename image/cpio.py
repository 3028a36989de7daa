"""`newc` archives, as the kernel unpacks them into its first root. Those written here have one owner, root, one date, and an order."""

from __future__ import annotations

import stat
from collections import defaultdict
from dataclasses import dataclass, field

HEADER_BYTES = 110
MAGIC = b"070701"
LAST = "TRAILER!!!"


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
        self._write(LAST, Entry("", 0), b"", 1)
        return bytes(self.bytes)

    def _write(self, name: str, entry: Entry, data: bytes, links: int) -> None:
        links = 2 if stat.S_ISDIR(entry.mode) else links
        date = self.date if self.number else 0
        numbers = (self.number, entry.mode, 0, 0, links, date, len(data), 0, 0, *entry.device, len(name) + 1, 0)
        self.bytes += MAGIC + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
        self._align()
        self.bytes += data
        self._align()

    def _align(self) -> None:
        self.bytes += bytes(-len(self.bytes) % 4)


def read(archive: bytes) -> list[Entry]:
    """What an archive holds, by path, without its own top folder; ValueError when it is no such archive."""
    names: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    found: dict[tuple[int, ...], Entry] = {}
    at = 0
    while True:
        if archive[at : at + len(MAGIC)] != MAGIC:
            raise ValueError(f"no record of a newc archive at byte {at}")
        number, mode, _, _, _, _, size, major, minor, *device, name_size, _ = (
            int(archive[place : place + 8], 16) for place in range(at + len(MAGIC), at + HEADER_BYTES, 8)
        )
        name = archive[at + HEADER_BYTES : at + HEADER_BYTES + name_size - 1].decode()
        begin = _aligned(at + HEADER_BYTES + name_size)
        if name == LAST:
            break
        if name != ".":
            file = (major, minor, number)
            names[file].append(name.removeprefix("./"))
            data = archive[begin : begin + size]
            # Of a file with several names the last one carries the bytes.
            if data or file not in found:
                found[file] = Entry("", mode, data, device=(device[0], device[1]))
        at = _aligned(begin + size)
    entries = (_named(entry, sorted(names[file])) for file, entry in found.items())
    return sorted(entries, key=lambda entry: entry.path)


def _named(entry: Entry, names: list[str]) -> Entry:
    return Entry(names[-1], entry.mode, entry.data, tuple(names[:-1]), entry.device)


def _aligned(at: int) -> int:
    return at + -at % 4
