"""The same card in QEMU's model of a Raspberry Pi 3: its device tree, SD controller, serial port and a network adapter on USB.

The model has no firmware, so the kernel comes from the card's slot A by hand; and its watchdog fires as soon as it is set, so the box is told
that it is a guest (`genkan.guest=1`) and leaves it alone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.card import Card, missing
from tests.lab.waiting import eventually

SLOT_A = 2
FILES = ("kernel8.img", "root.cpio.zst", "bcm2837-rpi-3-b-plus.dtb")
WORDS = "console=ttyS1,115200 loglevel=4 genkan.slot=a genkan.try=0 genkan.guest=1"
READY_WITHIN = 120.0


def test_a_raspberry_pi_3_starts_the_card(tmp_path: Path) -> None:
    if lacks := missing():
        pytest.fail(lacks)
    card = Card.flash(tmp_path / "card.img")
    for name in FILES:
        (tmp_path / name).write_bytes(card.read(name, SLOT_A))
    console = tmp_path / "console"
    kernel, root, tree = (str(tmp_path / name) for name in FILES)
    words = ["qemu-system-aarch64", "-M", "raspi3b", "-display", "none", "-serial", "null", "-serial", f"file:{console}"]
    words += ["-kernel", kernel, "-initrd", root, "-dtb", tree, "-append", WORDS]
    words += ["-drive", f"if=sd,format=raw,file={card.file}", "-netdev", "user,id=lan", "-device", "usb-net,netdev=lan"]
    machine = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually("STATUS.txt tells of the board", lambda: _told(card, machine), READY_WITHIN, every=1)
        said = console.read_text(errors="replace")
        assert "the worker is ready" in said
        assert " ERROR " not in said and "panicked" not in said, said
    finally:
        machine.kill()
        machine.wait()


def _told(card: Card, machine: subprocess.Popen[bytes]) -> bool:
    assert machine.poll() is None, "QEMU ended"
    text = card.text("STATUS.txt")
    # The emulator's own router gives this address.
    missing = [part for part in ("Raspberry Pi 3 Model B+", "slot A", "10.0.2.15", "on the card") if part not in text]
    assert not missing, f"{missing} not in\n{text}"
    return True
