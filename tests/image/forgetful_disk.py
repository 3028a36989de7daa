"""A disk with a write cache that loses power: what was not flushed may be forgotten, in part, by the seed.

All writes go to what the guest sees; those since the last flush are also remembered in order. A flush makes them durable in the card's
file. At the cut a random subset of the others becomes durable, some of them only in some of their pages; afterwards the disk is dead.
`forgetful_plugin.py` serves it by nbdkit.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Iterator

PAGE = 4096
"""What a card writes whole or not at all. ext4 counts on it: its superblock is two sectors under one checksum."""
TORN = 0.15
"""Share of the surviving writes that survive in part."""


class PowerLost(Exception):
    """The disk is dead."""


@dataclass(frozen=True)
class Write:
    """One write of the guest's; `forced` writes (FUA) are durable when they are answered."""

    offset: int
    content: bytes
    forced: bool


@dataclass(frozen=True)
class Cut:
    """What a cut did to the writes since the last flush."""

    seed: int
    writes: int
    """In all, since power-on."""
    kept: int = 0
    torn: int = 0
    forgotten: int = 0


@dataclass(frozen=True)
class Moment:
    """When to cut: at the `count`th write, from now on, that begins in these bytes of the card."""

    count: int
    first: int = 0
    end: int = 1 << 62

    def save(self, file: Path) -> None:
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.rename(file)


class ForgetfulDisk:
    """The disk of one power-on. Beside `card` lie `.seen` (what the guest sees), `.arm` (a `Moment`, put there by the test at any
    time) and `.cut` (the `Cut`, put there by the disk)."""

    def __init__(self, card: Path, seed: int) -> None:
        self.seed = seed
        self.cut_done: Cut | None = None
        self.record: list[Write | None] | None = None
        """When it is a list: every write, and None for a flush, in order."""
        self._arm = card.with_suffix(".arm")
        self._report = card.with_suffix(".cut")
        self._report.unlink(missing_ok=True)
        seen = card.with_suffix(".seen")
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", card, seen], check=True)
        self._seen = os.open(seen, os.O_RDWR)
        self._card = os.open(card, os.O_RDWR)
        # Nobody else needs its name.
        seen.unlink()
        self._volatile: list[Write] = []
        self._writes = 0
        self._moment: Moment | None = None
        self._left = 0

    @property
    def size(self) -> int:
        return os.fstat(self._seen).st_size

    def read(self, offset: int, length: int) -> bytes:
        self._require_power()
        return os.pread(self._seen, length, offset)

    def write(self, offset: int, content: bytes, forced: bool = False) -> None:
        self._require_power()
        self._look_for_moment()
        _put(self._seen, offset, content)
        write = Write(offset, content, forced)
        self._volatile.append(write)
        if self.record is not None:
            self.record.append(write)
        self._writes += 1
        if self._moment and self._moment.first <= offset < self._moment.end:
            self._left -= 1
            if self._left <= 0:
                self.cut()
                raise PowerLost

    def flush(self) -> None:
        self._require_power()
        for write in self._volatile:
            _put(self._card, write.offset, write.content)
        self._volatile.clear()
        if self.record is not None:
            self.record.append(None)

    def cut(self) -> Cut:
        """Pulls the plug, once; the same writes and the same seed leave the same card."""
        if self.cut_done is None:
            dice = random.Random(self.seed)
            # A cache may have written back nearly nothing or nearly all.
            share = dice.random()
            fates = [self._lose_power(write, share, dice) for write in self._volatile]
            counts = {name: fates.count(name) for name in ("kept", "torn", "forgotten")}
            self.cut_done = Cut(self.seed, self._writes, **counts)
            self._volatile.clear()
            draft = self._report.with_suffix(".draft")
            draft.write_text(json.dumps(asdict(self.cut_done)))
            draft.rename(self._report)
        return self.cut_done

    def close(self) -> None:
        os.close(self._seen)
        os.close(self._card)

    def _lose_power(self, write: Write, share: float, dice: random.Random) -> str:
        survives, tears = dice.random() < share, dice.random() < TORN
        if not write.forced and not survives:
            return "forgotten"
        pages = list(_pages(write))
        if write.forced or not tears or len(pages) == 1:
            _put(self._card, write.offset, write.content)
            return "kept"
        for page in pages:
            if dice.random() < 0.5:
                _put(self._card, *page)
        return "torn"

    def _look_for_moment(self) -> None:
        try:
            text = self._arm.read_text()
        except FileNotFoundError:
            return
        self._arm.unlink()
        self._moment = Moment(**json.loads(text))
        self._left = self._moment.count

    def _require_power(self) -> None:
        if self.cut_done is not None:
            raise PowerLost


def _pages(write: Write) -> Iterator[tuple[int, bytes]]:
    """The write, page by page of the card."""
    at = 0
    while at < len(write.content):
        length = PAGE - (write.offset + at) % PAGE
        yield write.offset + at, write.content[at : at + length]
        at += length


def _put(file: int, offset: int, content: bytes) -> None:
    assert os.pwrite(file, content, offset) == len(content), "the host's disk is full"


def available() -> bool:
    """Whether this machine can serve such disks."""
    if not shutil.which("nbdkit"):
        return False
    return subprocess.run(["nbdkit", "python", "--dump-plugin"], capture_output=True).returncode == 0
