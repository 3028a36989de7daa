"""Updates of a booted card: those that it refuses, one that it takes back, and the good one; then its endings.

The tests share a box where the one before left it well; each can run alone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Iterator

import pytest

from tests.lab.card import missing
from tests.lab.waiting import eventually

from . import tiny_programs
from .bench import Bench
from .releases import PROGRAM, Releases, other_worker
from .updated_box import OTHER, Stopwatch, UpdatedBox

LONG = os.environ.get("GENKAN_LONG") == "1"
only_long = pytest.mark.skipif(not LONG, reason="takes minutes: `make test-long` sets GENKAN_LONG=1")

PROVED_WITHIN = 180.0
"""A new version is watched for half a minute."""
IDLE = 300.0 if LONG else 30.0
IDLE_BYTES_A_DAY = 50_000_000
"""A card of 16 GB is written over once a year."""
ONCE_BYTES = 0 if LONG else 128 * 1024
"""One minute may have a text or a commit that the next ones have not."""

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def releases() -> Iterator[Releases]:
    assert PROGRAM.exists(), f"no {PROGRAM}, which packs and sends updates: run `cargo build --release`"
    scratch = Path(tempfile.mkdtemp(prefix="genkan-releases-"))
    yield Releases(scratch)
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def same(releases: Releases) -> Path:
    """An update to what the card runs already."""
    return releases.same()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench("updates") as bench:
        bench.router_on()
        yield bench


@pytest.fixture(scope="module")
def boxes() -> list[UpdatedBox]:
    """The box that the last test left, if any."""
    return []


@pytest.fixture
def box(request: pytest.FixtureRequest, bench: Bench, boxes: list[UpdatedBox]) -> Iterator[UpdatedBox]:
    """A box that is ready, on no trial: the last test's where that passed."""
    if not boxes:
        boxes.append(UpdatedBox(bench))
    box = boxes.pop()
    if not box.machine.alive:
        box.start()
    failed = request.session.testsfailed
    yield box
    if request.session.testsfailed > failed:
        print(box.machine.tail())
        box.machine.cut()
    else:
        boxes.append(box)


@pytest.fixture
def impatient_box(bench: Bench, boxes: list[UpdatedBox]) -> Iterator[UpdatedBox]:
    """A box of its own, that gives a new version a minute; the one before is off meanwhile."""
    for other in boxes:
        other.power_down()
    box = UpdatedBox(bench, append="genkan.update_patience=60")
    yield box
    box.machine.cut()


def test_refused_updates_leave_no_trace(box: UpdatedBox, releases: Releases, same: Path) -> None:
    before, starts = box.hashes(), box.starts()
    small = releases.small_slot()
    key = "none of this box's release keys"
    attempts = [
        (releases.pack("older", slot=small, build=releases.build - 1), ("older (build", "does not go back by an update")),
        (releases.pack("board", slot=small, board="rpi-9"), ("the update is for rpi-9, and this is qemu-virt", "fetch the one for qemu-virt")),
        (releases.pack("stranger", slot=small, key=releases.strange_key()), (key, "take it from where genkan is released")),
        (releases.flipped(same, -1000), ("slot.img.zst in the update is damaged", "fetch it again")),
        (releases.flipped(same, releases.digit_of_version(same)), (key,)),
        (releases.shortened(same, 1), ("cut off", "fetch it again")),
        (releases.shortened(same, same.stat().st_size // 2), ("cut off", "fetch it again")),
    ]
    for update, expected in attempts:
        watch = Stopwatch()
        said = box.update(update, "--wait")
        watch.say(f"{update.name}: {said.errors.strip().splitlines()[-1]} (exit {said.code})")
        assert said.code != 0 and all(part in said.errors for part in expected), (update.name, said)
    assert box.conditions()["UPD-04"]
    box.wait_for_text("UPD-04", "cut off")
    assert (box.hashes(), box.starts()) == (before, starts)


def test_an_idle_box_hardly_writes(box: UpdatedBox) -> None:
    # Texts and log of the start come late.
    eventually("the start's writes are over", lambda: _written_in(box, 10) == 0, 120)
    written = _written_in(box, IDLE)
    print(f"\n{written} bytes written in {IDLE:g} s of idling: {written * 3600 / IDLE / 1024:.0f} KiB an hour")
    assert written <= IDLE_BYTES_A_DAY * IDLE / 86400 + ONCE_BYTES


def _written_in(box: UpdatedBox, seconds: float) -> int:
    before = box.written_bytes()
    time.sleep(seconds)
    return box.written_bytes() - before


def test_a_version_that_crashes_is_taken_back(box: UpdatedBox, releases: Releases) -> None:
    """And the kernel's record of the crash is kept over the reset."""
    slot = releases.starting_only("crash", tiny_programs.ending())
    conditions = _taken_back(box, releases.pack("crash", slot=slot, version="9.9.9"))
    assert "Attempted to kill init" in conditions["BOX-02"], conditions
    box.power_down()
    assert "Kernel panic - not syncing: Attempted to kill init" in box.data_file("/box/crash/00000001.txt")


@only_long
def test_a_version_that_hangs_is_taken_back(box: UpdatedBox, releases: Releases) -> None:
    slot = releases.starting_only("hang", tiny_programs.hanging())
    _taken_back(box, releases.pack("hang", slot=slot, version="9.9.9"))


@only_long
def test_a_version_that_does_not_get_well_is_taken_back(impatient_box: UpdatedBox, releases: Releases) -> None:
    slot = releases.slot_with("unwell", other_worker(tiny_programs.ending()))
    conditions = _taken_back(impatient_box, releases.pack("unwell", slot=slot, version="9.9.9"))
    assert "the worker is not ready" in conditions["UPD-03"], conditions
    assert "BOX-02" not in conditions, "it went back in good order"


def _taken_back(box: UpdatedBox, update: Path) -> dict[str, str]:
    """Installs a version that cannot live, and looks at the box when it is back; what holds then."""
    home, starts, watch = box.slot(), box.starts(), Stopwatch()
    untouched = box.hash(home)
    said = box.update(update)
    assert said.code == 0, said
    box.wait_for_starts(starts + 1)
    watch.say("\nthe new version starts")
    box.wait_for_starts(starts + 2)
    watch.say("the old version starts")
    box.wait_until_ready()
    watch.say("the box is ready again")
    conditions = box.conditions()
    assert "UPD-03" in conditions and "BOX-01" not in conditions, conditions
    box.wait_for_text("UPD-03", "9.9.9 was taken back", f"slot {home.upper()}")
    assert (box.slot(), box.switch(), box.hash(home)) == (home, (home, ""), untouched)
    assert box.starts() == starts + 2
    return conditions


def test_update_to_the_same_image(box: UpdatedBox, releases: Releases, same: Path) -> None:
    home, starts, watch = box.slot(), box.starts(), Stopwatch()
    other, untouched = OTHER[home], box.hash(home)
    said = box.update(same)
    assert said.code == 0, said
    watch.say("\nthe update is taken")
    box.wait_for_slot(other, f"the box runs slot {other}")
    watch.say("the other slot runs")
    assert "UPD-02" in box.conditions()
    # U-Boot took the try back before the slot began: until it is confirmed, any restart leads home.
    assert box.switch() == (home, "")
    eventually(f"slot.env says {other}", lambda: box.switch() == (other, ""), PROVED_WITHIN, every=1)
    watch.say("the new version is confirmed")
    eventually("no condition of the update is left", lambda: not any(code.startswith("UPD") for code in box.conditions()), 30)
    assert box.bench.status()["update"]["text"] == f"{releases.version} is installed"
    box.wait_for_text(f"slot {other.upper()}", without="UPD-")
    assert (box.hash(home), box.starts()) == (untouched, starts + 1)
    assert box.begins_with(other, releases.slot_image())
    box.power_down()
    box.start()
    assert (box.slot(), box.switch()) == (other, (other, ""))


def test_reset_erases_the_data_and_keeps_the_configuration(box: UpdatedBox) -> None:
    settings, key = box.card.read("genkan/genkan.toml"), box.login_key()
    box.power_down()
    box.card.put("RESET", "")
    box.start()
    assert json.loads(box.login_key()) != json.loads(key)
    assert not box.card.has("RESET") and box.card.read("genkan/genkan.toml") == settings
    refused = box.list_nodes()
    assert refused.code != 0, f"the key of before opens the box still: {refused}"
    assert not {"BOX-02", "DATA-08"} & box.conditions().keys()
    # Nothing is left to do for the next start.
    again = box.login_key()
    box.power_down()
    box.start()
    assert box.login_key() == again
