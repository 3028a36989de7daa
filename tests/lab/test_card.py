"""What only the card as gateway shows: how long it takes, what it needs, what it tells its owner."""

from __future__ import annotations

import re

from . import layout, visits
from .lab import Lab
from .waiting import eventually

PORTS_WITHIN = 60.0
"""Emulated on a busy machine; the figure that counts is printed."""
IDLE_MAX = 32 * 1024 * 1024
"""Bytes that all processes of the box hold while nothing happens."""


def test_after_power_on_every_port_answers(lab: Lab) -> None:
    lab.gateway.stop()
    start = lab.gateway.start()
    late = {}
    for name, visit in visits.PUBLIC.items():
        eventually(name, lambda: visit(lab), PORTS_WITHIN)
        late[name] = visits.seconds_since(start)
    print("seconds from QEMU's start:", {name: round(seconds, 1) for name, seconds in late.items()})
    assert "the worker is ready" in lab.gateway.log()


def test_the_owner_reads_what_joined(lab: Lab) -> None:
    text = eventually("STATUS.txt names the machines", lambda: _naming(lab, "machine-a"), within=60, every=1)
    assert layout.GATEWAY in text
    assert "ERROR" not in text
    sheet = lab.gateway.card.text("genkan/JOIN.txt")
    assert "machine-a" in sheet


def _naming(lab: Lab, host: str) -> str:
    text = lab.gateway.card.text("STATUS.txt")
    return text if host in text else ""


def test_no_error_was_logged(lab: Lab) -> None:
    bad = [line for line in lab.gateway.log().splitlines() if re.search(r"\bERROR\b|panicked", line)]
    assert not bad, bad
