"""Updates of a booted card: the good one, those that it refuses, and those that it takes back."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Iterator

import pytest

from tests.lab import layout
from tests.lab.card import IMAGE, Card, missing_tools
from tests.lab.processes import Outcome
from tests.lab.qemu import Virtual
from tests.lab.waiting import eventually

from . import tiny_programs
from .bench import Bench
from .releases import PROGRAM, Releases

LONG = os.environ.get("GENKAN_LONG") == "1"
BOOT_WITHIN = 180.0
WRITE_WITHIN = 300.0
"""Upload, verification, writing and reading of 64 MB in an emulator, with the start into it."""
PROVED_WITHIN = 180.0
"""A new version is watched for half a minute."""
KEY_FILE = "genkan/API-KEY.txt"
OWNER, SLOT_A, SLOT_B = 1, 2, 3

pytestmark = pytest.mark.skipif(not IMAGE.exists() or bool(missing_tools()), reason=f"no {IMAGE}, or not installed: {missing_tools()}")


@pytest.fixture(scope="module")
def releases() -> Iterator[Releases]:
    scratch = Path(tempfile.mkdtemp(prefix="genkan-releases-"))
    yield Releases(scratch)
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="module")
def same(releases: Releases) -> Path:
    """An update to what the card runs already; to pack it takes a while."""
    return releases.pack("same")


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with Bench(re.sub(r"\W", "-", request.node.name)) as bench:
        bench.router_on()
        yield bench


class Box:
    """A card that is booted by U-Boot, and an owner who has its API key."""

    def __init__(self, bench: Bench, **options: object) -> None:
        self.bench = bench
        self.card: Card = bench.card()
        self.card.put(KEY_FILE, "")
        self.machine: Virtual = bench.boot(self.card, slot=None, **options)
        print(f"\nready after {bench.wait_ready(self.machine, BOOT_WITHIN):.1f} s")
        self.key = eventually("an API key on the card", self._key, 60)

    def _key(self) -> str:
        found = re.search(r"gkapi-\S+", self.card.text(KEY_FILE))
        return found[0] if found else ""

    def update(self, file: Path, *words: str, timeout: float = WRITE_WITHIN) -> Outcome:
        environment = {"GENKAN_ADDRESS": layout.GATEWAY, "GENKAN_API_KEY": self.key}
        return self.bench.network.router.run(PROGRAM, "update", *words, file, timeout=timeout, check=False, env=environment)

    def slot_running(self) -> str:
        """`a` or `b`, as the status page has it."""
        assert self.machine.alive, f"QEMU ended\n{self.machine.tail()}"
        return str(self.bench.status()["box"]["slot"])

    def conditions(self) -> dict[str, str]:
        """Codes, and why."""
        return {condition["code"]: condition.get("why", "") for condition in self.bench.status()["conditions"]}

    def box_conditions(self) -> dict[str, str]:
        """As `conditions`: of process 1."""
        return {condition["code"]: condition.get("why", "") for condition in self.bench.status()["box"]["conditions"]}

    def switch(self) -> dict[str, str]:
        """What U-Boot reads about the slots."""
        lines = self.card.read("slot.env").decode().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def hash(self, number: int) -> str:
        _, size = self.card.partition(number)
        return hashlib.sha256(self.card.bytes_of(number, 0, size)).hexdigest()

    def starts(self) -> list[str]:
        """The slots of all starts so far, by the kernel's command lines on the console."""
        return re.findall(r"Starting kernel", self.machine.said())


def test_update_to_the_same_image(bench: Bench, releases: Releases, same: Path) -> None:
    box = Box(bench)
    slot_a = box.hash(SLOT_A)
    assert (box.slot_running(), box.switch()["genkan_slot"]) == ("a", "a")
    began = time.monotonic()
    said = box.update(same)
    assert said.code == 0, said
    eventually("the box runs slot B", lambda: box.slot_running() == "b", WRITE_WITHIN, every=1)
    print(f"in the other slot after {time.monotonic() - began:.1f} s")
    assert "UPD-02" in box.conditions() or "UPD-02" in box.box_conditions(), box.bench.status()
    # U-Boot took the try back before the slot began: until it is confirmed, a power cut leads home.
    assert box.switch() == {"genkan_slot": "a"} or not box.switch().get("genkan_try")
    eventually("slot.env says b", lambda: box.switch()["genkan_slot"] == "b", PROVED_WITHIN, every=1)
    print(f"confirmed after {time.monotonic() - began:.1f} s")
    status = eventually("no condition of the update is left", lambda: not _update_codes(box) and bench.status(), 30, every=1)
    assert status["update"]["text"] == f"{releases.version} is installed", status["update"]
    assert box.hash(SLOT_A) == slot_a
    eventually("STATUS.txt names slot B and no try", lambda: _says(box, "slot B") and "UPD-" not in box.card.text("STATUS.txt"), 120, every=2)
    box.machine.tell("system_reset")
    eventually("the box starts again", lambda: box.machine.said().count("is ready") and box.slot_running() == "b", BOOT_WITHIN, every=1)
    assert box.switch()["genkan_slot"] == "b"


def _update_codes(box: Box) -> set[str]:
    codes = {*box.conditions(), *box.box_conditions()}
    return {code for code in codes if code.startswith("UPD-")}


def _says(box: Box, text: str) -> bool:
    return text in box.card.text("STATUS.txt")
