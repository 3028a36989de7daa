"""Power cuts: nothing acknowledged is lost, and the box comes back by itself.

The seed of a cut says which phase it is in, at which write the power goes, and what of the writes since the last flush survives.
$GENKAN_SEED repeats one, as far as the guest's writes come in the same order; $GENKAN_LONG makes them fifty.
"""

from __future__ import annotations

import os
import random
import shutil
from time import sleep
from typing import Iterator

import pytest

from tests.lab import card
from tests.lab.waiting import eventually

from . import forgetful_disk
from .every_cut import PartitionHistory, data_problem, owner_drive_problem
from .power import KEY_FILE, LOST, NAMES, READY_WITHIN, SETTINGS, PoweredHouse, check_file_systems
from .power_phases import PHASES, SETTLED, with_secret

TOOLS = ("qemu-system-aarch64", "mcopy", "fsck.vfat", "e2fsck", "debugfs", "pebble")
DATA_SHARE = 0.2
"""e2fsck is slow."""
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
        pytest.fail(f"not installed: {', '.join(lacks) or 'nbdkit with its Python plugin'}; run tests/install.sh")
    assert not card.missing(), card.missing()
    with PoweredHouse("power-cuts", NAMES) as house:
        house.set_up()
        yield house


@pytest.fixture(autouse=True)
def clean_up(house: PoweredHouse) -> Iterator[None]:
    """One machine at a time, for they have one address; cards are large."""
    yield
    house.clean_up()


def test_every_cut_of_a_first_boot_leaves_whole_file_systems(house: PoweredHouse) -> None:
    """One first boot is recorded; what thousands of cuts in it would have left is checked without booting it."""
    seed = int(os.environ.get("GENKAN_SEED") or random.SystemRandom().randrange(10**6))
    new = house.new_card()
    new.put("genkan/genkan.toml", with_secret(SETTINGS))
    before = new.copy(house.scratch / "card-before.img")
    life = house.power_on(new, seed, records=True)
    house.wait_ready(life.machine, READY_WITHIN)
    eventually("an API key on the card", lambda: b"gkapi-" in life.card.read(KEY_FILE), READY_WITHIN)
    eventually("the keys' copy on the card", lambda: life.card.has("genkan/.identity"), READY_WITHIN)
    sleep(SETTLED)
    life.cut()
    record = life.server.recorded()
    dice = random.Random(seed)
    settings = [before.read("genkan/genkan.toml"), new.read("genkan/genkan.toml")]
    assert settings[0] != settings[1], "the secret has moved"
    drive = PartitionHistory(before, 1, record, house.scratch / "p1")
    found = {cut: problem for cut in drive.cuts(dice) if (problem := owner_drive_problem(drive.file, settings))}
    data = PartitionHistory(before, 4, record, house.scratch / "p4")
    found |= {cut: problem for cut in data.cuts(dice, DATA_SHARE) if (problem := data_problem(data.file))}
    print(f"\nGENKAN_SEED={seed}: {drive.looked_at} cuts in the owner's drive, {data.looked_at} in the data partition, {len(found)} of them bad")
    assert not found, list(found.items())[:5]


def test_a_superblock_torn_by_a_cut_takes_nothing_with_it(house: PoweredHouse) -> None:
    """Worse than cards should be: half of a page was written, and the checksum of ext4's superblock is wrong."""
    card = house.owned_card()
    card.overwrite(4, 2044, bytes(4))
    machine = house.boot(card, slot=None)
    house.wait_ready(machine, READY_WITHIN)
    eventually("the box says that it repaired it", lambda: "DATA-01" in house.codes(), READY_WITHIN)
    assert not house.codes() & (LOST - {"DATA-01"}), house.status()["conditions"]
    assert house.server_key() == house.key
    house.admin("users", "list")
    machine.cut()
    check_file_systems(card)
    house.recover(card)


@pytest.mark.parametrize("seed", seeds())
def test_a_power_cut_loses_nothing_acknowledged(house: PoweredHouse, seed: int) -> None:
    phase = PHASES[seed % len(PHASES)]
    print(f"\nGENKAN_SEED={seed}: {phase.__name__}", flush=True)
    phase(house, seed)
