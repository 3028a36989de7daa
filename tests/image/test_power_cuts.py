"""Power cuts: nothing acknowledged is lost, and the box comes back by itself.

The seed of a cut says which phase it is in, at which write the power goes, and what of the writes since the last flush survives.
$GENKAN_SEED repeats one, as far as the guest's writes come in the same order; $GENKAN_LONG makes them fifty.
"""

from __future__ import annotations

import os
import random
import shutil
from typing import Iterator

import pytest

from tests.lab.card import CardMissing

from . import forgetful_disk
from .power import NAMES, PoweredHouse
from .power_phases import PHASES

TOOLS = ("qemu-system-aarch64", "mcopy", "fsck.vfat", "e2fsck", "debugfs", "pebble")
CUTS = 50 if os.environ.get("GENKAN_LONG") else len(PHASES)


def seeds() -> list[int]:
    """As many for each phase."""
    if given := os.environ.get("GENKAN_SEED"):
        return [int(given)]
    first = random.SystemRandom().randrange(10**6) * len(PHASES)
    return list(range(first, first + CUTS))


@pytest.fixture(scope="module")
def house() -> Iterator[PoweredHouse]:
    lacks = [name for name in TOOLS if not shutil.which(name)]
    if lacks or not forgetful_disk.available():
        pytest.skip(f"not installed: {', '.join(lacks) or 'nbdkit with its Python plugin'}; run tests/install.sh")
    try:
        with PoweredHouse("power-cuts", NAMES) as house:
            house.set_up()
            yield house
    except CardMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("seed", seeds())
def test_a_power_cut_loses_nothing_acknowledged(house: PoweredHouse, seed: int) -> None:
    phase = PHASES[seed % len(PHASES)]
    print(f"\nGENKAN_SEED={seed}: {phase.__name__}", flush=True)
    try:
        phase(house, seed)
    finally:
        for process in [running for running in house.processes.running if running.name.startswith(("card", "nbdkit"))]:
            house.processes.stop(process)
        for left in house.scratch.glob("card-*.img"):
            if left != house.owned.file:
                left.unlink()
