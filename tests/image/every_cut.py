"""All the cuts that one life of a card could have had: its writes are recorded once, and what each cut would have left is looked at here."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Iterator, Sequence

from tests.lab.card import Card
from tests.lab.processes import run

from .forgetful_disk import Write
from .power import extract, vfat_problems

SUBSETS = 64
"""Looked at between two flushes, when there are more; all of them otherwise."""


class PartitionHistory:
    """A partition as it was, and the writes into it that were recorded afterwards."""

    def __init__(self, before: Card, number: int, record: Sequence[Write | None], file: Path) -> None:
        self.file = file
        self.looked_at = 0
        offset, length = before.partition(number)
        extract(before, number, file)
        if number == 4:
            # It grows to the end of the card.
            length = before.file.stat().st_size - offset
            os.truncate(file, length)
        inside = [write for write in record if write is None or offset <= write.offset < offset + length]
        self._record = [write and replace(write, offset=write.offset - offset) for write in inside]

    def cuts(self, dice: random.Random, share: float = 1) -> Iterator[str]:
        """Makes `file` what a cut would have left, and says which one, for a share of all cuts, in order."""
        disk = os.open(self.file, os.O_RDWR)
        volatile: list[Write] = []
        for at, write in enumerate(self._record):
            if write is not None:
                volatile.append(write)
                continue
            for kept in subsets(len(volatile), dice) if volatile else ():
                if dice.random() < share:
                    yield from self._cut(disk, volatile, kept, at)
            put(disk, volatile)
            volatile.clear()
        os.close(disk)

    def _cut(self, disk: int, volatile: Sequence[Write], kept: Sequence[bool], at: int) -> Iterator[str]:
        old = [replace(write, content=os.pread(disk, len(write.content), write.offset)) for write in volatile]
        put(disk, [write for write, survives in zip(volatile, kept, strict=True) if survives or write.forced])
        self.looked_at += 1
        yield f"before flush {at}, of writes at {[write.offset for write in volatile]} those: {kept}"
        put(disk, old[::-1])


def put(disk: int, writes: Sequence[Write]) -> None:
    for write in writes:
        os.pwrite(disk, write.content, write.offset)


def subsets(count: int, dice: random.Random) -> list[list[bool]]:
    """Which of `count` writes survive: every choice, or as many as `SUBSETS`."""
    masks = range(1 << count) if 1 << count <= SUBSETS else [dice.getrandbits(count) for _ in range(SUBSETS)]
    return [[bool(mask >> bit & 1) for bit in range(count)] for mask in masks]


def owner_drive_problem(part: Path, settings: Sequence[bytes]) -> str:
    """What is wrong with an owner's drive: fsck's word, or a file that must be there and whole. "" when nothing is."""
    if told := vfat_problems(part):
        return " ".join(told)
    if run(["mtype", "-i", part, "::genkan/genkan.toml"], check=False).output.encode() not in settings:
        return "genkan.toml is none that was ever written"
    return ""


def data_problem(part: Path) -> str:
    """What a data partition has that its journal does not mend; its copy is mended. "" when nothing is."""
    copy = part.with_suffix(".mended")
    run(["cp", "--sparse=always", part, copy])
    mended = run(["e2fsck", "-p", copy], check=False, timeout=120)
    if mended.code not in (0, 1):
        return f"e2fsck -p: {mended}"
    left = run(["e2fsck", "-fn", copy], check=False, timeout=120)
    return "" if left.ok else f"e2fsck -fn: {left}"

