"""What only the card as gateway shows: how long it takes, what it needs, what it tells its owner."""

from __future__ import annotations

import re
from typing import Any

from . import layout, visits
from .lab import Lab
from .waiting import eventually

PORTS_WITHIN = 60.0
READY_WITHIN = 30.0
"""Emulated on a busy machine; the figures that count are printed."""
REPORT_WITHIN = 60.0
IDLE_MAX = 32 * 1024 * 1024
"""Bytes that all processes of the box hold while nothing happens."""
BOOTS_MIN = 2


def test_after_power_on_every_port_answers(lab: Lab) -> None:
    """The card knows its machines and has its certificates, as after a power failure."""
    lab.gateway.stop()
    lab.gateway.wish_for_report()
    start = lab.gateway.start()
    late = {}
    for name, visit in visits.PUBLIC.items():
        eventually(name, lambda: visit(lab), PORTS_WITHIN)
        late[name] = round(visits.seconds_since(start), 1)
    ready = eventually("the worker is ready", lab.gateway.seconds_to_ready, READY_WITHIN)
    print(f"\nnew card, seconds from QEMU's start to the coordinator's answer: {lab.seconds['exec to answering']:.1f}")
    print(f"known card, seconds from QEMU's start, one visit after the other: {late}")
    print(f"init to worker ready: {ready:.2f} s")
    assert ready <= READY_WITHIN


def test_idle_it_fits_the_smallest_board(lab: Lab) -> None:
    """All processes together, by the report that the start before asked for."""
    report = eventually("REPORT.txt", lambda: _report(lab), REPORT_WITHIN, every=0.5)
    held = {f"{row['Name']} {row['Pid']}": int(row["VmRSS"].split()[0]) * 1024 for row in report["processes"] if "VmRSS" in row}
    total = sum(held.values())
    print(f"\nidle, the userland holds {total / 2**20:.1f} MiB: { {name: f'{size / 2**20:.1f}' for name, size in held.items()} }")
    assert {name.split()[0] for name in held} >= {"init", "genkan"}, held
    assert total <= IDLE_MAX


def _report(lab: Lab) -> dict[str, Any]:
    try:
        return lab.gateway.report()
    except ValueError:
        return {}


def test_the_owner_reads_what_joined(lab: Lab) -> None:
    text = eventually("STATUS.txt names the machines", lambda: _naming(lab, "machine-a"), within=60, every=1)
    assert layout.GATEWAY in text
    assert "ERROR" not in text
    sheet = lab.gateway.card.text("genkan/JOIN.txt")
    assert "machine-a" in sheet


def _naming(lab: Lab, host: str) -> str:
    text = lab.gateway.card.text("STATUS.txt")
    return text if host in text else ""


def test_a_machine_outside_joins_and_reaches_what_it_may(lab: Lab) -> None:
    """By a policy that came onto the card as its owner brings it: in a laptop, with a new start."""
    lab.gateway.set_policy(lab.outside_policy())
    lab.join_outside()
    site = f"http://{layout.MACHINE_A.tailnet}:8080/"
    eventually("A answers E", lambda: lab.e.fetch(site).output == "machine-a\n", within=60, every=0.5)


def test_no_boot_logged_an_error(lab: Lab) -> None:
    said = lab.gateway.log()
    assert said.count("genkan starts") >= BOOTS_MIN, "the console of the earlier boots is lost: this test would prove nothing"
    bad = [line for line in said.splitlines() if re.search(r"\bERROR\b|panicked|Kernel panic", line)]
    assert not bad, bad
