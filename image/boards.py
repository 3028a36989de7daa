"""The boards the card is made for, by the names that updates know, and the files that only some of them need.

`make image` makes one card for all of them. A card of Buildroot is for one: its processor's code runs on no older board.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Board:
    """Device trees of the mainline kernel, each with further names under which the firmware looks for it, and firmware for the card."""

    trees: dict[str, tuple[str, ...]] = field(default_factory=dict)
    firmware: tuple[str, ...] = ()


_UP_TO_3 = ("bootcode.bin", "start.elf", "fixup.dat")

# The Pi 5 has its firmware on the board; QEMU makes its own device tree.
BOARDS = {
    "rpi-3": Board({"bcm2837-rpi-3-a-plus": (), "bcm2837-rpi-3-b": (), "bcm2837-rpi-3-b-plus": ()}, _UP_TO_3),
    "rpi-4": Board({"bcm2711-rpi-4-b": (), "bcm2711-rpi-400": ()}, ("start4.elf", "fixup4.dat")),
    "rpi-5": Board({"bcm2712-rpi-5-b": (), "bcm2712-d-rpi-5-b": ("bcm2712d0-rpi-5-b",)}),
    "rpi-zero-2-w": Board({"bcm2837-rpi-zero-2-w": ()}, _UP_TO_3),
    "qemu-virt": Board(),
}
ALL = tuple(BOARDS)


def trees(boards: Iterable[str] = ALL) -> dict[str, tuple[str, ...]]:
    """Device tree: its further names."""
    return {name: others for board in boards for name, others in BOARDS[board].trees.items()}


def firmware(boards: Iterable[str] = ALL) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for board in boards for name in BOARDS[board].firmware))


def foreign(boards: Iterable[str]) -> set[str]:
    """Names of the files that a card for these boards does without."""
    return _files(ALL) - _files(boards)


def _files(boards: Iterable[str]) -> set[str]:
    names = {name for tree, others in trees(boards).items() for name in (tree, *others)}
    return {f"{name}.dtb" for name in names} | set(firmware(boards))
