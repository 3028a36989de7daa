"""Every file on the card equals the committed list: nothing is added or lost without being seen in a review."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from . import boards
from .cpio import Entry
from .layout import IMAGE, OUT, ROOT, WORK
from .steps import Failed, say

LIST = IMAGE / "files.txt"
SIZES = OUT / "files-with-sizes.txt"


def check(root: list[Entry], names: Sequence[str] = boards.ALL) -> None:
    """Writes files-with-sizes.txt; fails with what differs from files.txt, but for the files of other boards than these."""
    rows = dict([*_root(root), *_partitions()])
    SIZES.write_text("".join(f"{size:>9}  {row}\n" for row, size in rows.items()))
    foreign = boards.foreign(names)
    listed = {line for line in lines() if line.split()[-1] not in foreign}
    added, lost = sorted(rows.keys() - listed), sorted(listed - rows.keys())
    if added or lost:
        rest = "\n".join([*(f"  + {row}" for row in added), *(f"  - {row}" for row in lost)])
        raise Failed(f"the card's files are not those of {LIST.relative_to(ROOT)}:\n{rest}")
    say(f"{len(rows)} files, as listed in {LIST.relative_to(ROOT)}; their sizes: {os.path.relpath(SIZES, ROOT)}")


def lines() -> list[str]:
    """The list, without its words to the reader."""
    return [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]


def _root(entries: list[Entry]) -> list[tuple[str, int]]:
    rows = []
    for entry in entries:
        for name in sorted((*entry.also, entry.path)):
            rows.append((f"root {stat.filemode(entry.mode)} /{name}", len(entry.data)))
    return rows


def _partitions() -> list[tuple[str, int]]:
    tree = WORK / "tree"
    return [
        (f"{part} {path.relative_to(tree / folder)}", path.stat().st_size)
        for part, folder in (("owner", "owner"), ("slot", "slot-a"))
        for path in sorted((tree / folder).rglob("*"))
        if path.is_file()
    ]
