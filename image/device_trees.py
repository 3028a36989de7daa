"""The device trees as the card has them: under every name that the firmware looks for, with memory kept for the last crash."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from . import boards
from .steps import run

# Where ramoops keeps the last crash on a Pi: where Raspberry Pi's own overlay has it, above kernel and root, below everything else.
RAMOOPS_ADDRESS = 0x0B00_0000
RAMOOPS = {"record-size": 0x8000, "console-size": 0x20000, "pmsg-size": 0x10000}
RAMOOPS_SIZE = 0x80000


def collect(source: Path, done: Path, names: Iterable[str] = boards.ALL) -> None:
    """Copies those of these boards from the folder `source`, as the kernel's build left them, into the folder `done`."""
    for name, others in boards.trees(names).items():
        tree = done / f"{name}.dtb"
        shutil.copyfile(source / tree.name, tree)
        _reserve_crash_memory(tree)
        for other in others:
            shutil.copyfile(tree, done / f"{other}.dtb")


def _reserve_crash_memory(tree: Path) -> None:
    """A ramoops region in the device tree: mainline has none for the Pi."""
    node = f"/reserved-memory/ramoops@{RAMOOPS_ADDRESS:x}"
    cells = [int(run("fdtget", tree, "/reserved-memory", name)) for name in ("#address-cells", "#size-cells")]
    values = zip((RAMOOPS_ADDRESS, RAMOOPS_SIZE), cells, strict=True)
    reg = [cell for value, count in values for cell in [0] * (count - 1) + [value]]
    run("fdtput", "-c", tree, node)
    run("fdtput", "-t", "s", tree, node, "compatible", "ramoops")
    run("fdtput", "-t", "x", tree, node, "reg", *(f"{cell:x}" for cell in reg))
    for name, size in RAMOOPS.items():
        run("fdtput", "-t", "x", tree, node, name, f"{size:x}")
