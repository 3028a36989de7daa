"""What a packet costs the tunnel's data plane, in instructions: no timing, so no later change undoes it silently."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benches import instructions
from benches.instructions import Count

MOST = {
    ("bulk", "seal"): 10_800,
    ("bulk", "open"): 11_700,
    ("small", "seal"): 2_450,
    ("small", "open"): 2_950,
    ("datagrams", "seal"): 5_350,
    ("datagrams", "open"): 7_750,
}
"""Instructions per packet on x86_64, as QEMU's richest processor: a tenth more than were counted."""


@pytest.fixture(scope="module")
def counts() -> list[Count]:
    if not shutil.which("qemu-x86_64"):
        pytest.skip("qemu-x86_64 is not installed (image/install.sh qemu, or apt-get install qemu-user)")
    instructions.build_plugin()
    return instructions.count("x86_64", instructions.build("x86_64"))


def test_every_work_is_counted_and_has_a_ceiling(counts: list[Count]) -> None:
    assert {(one.work, one.way) for one in counts} == set(MOST)


@pytest.mark.parametrize("work", MOST, ids="-".join)
def test_a_packet_costs_no_more_than_it_did(counts: list[Count], work: tuple[str, str]) -> None:
    (one,) = (one for one in counts if (one.work, one.way) == work)
    print(f"{'-'.join(work)}: {one.per_packet:.0f} instructions per packet")
    # Below half of it something was not done at all.
    assert MOST[work] / 2 < one.per_packet <= MOST[work]


def test_what_is_missing_has_a_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(instructions.Missing, match="qemu-x86_64 .*image/install.sh qemu"):
        instructions.emulator("x86_64")
    with pytest.raises(instructions.Missing, match="aarch64-linux-gnu-gcc .*image/install.sh binary"):
        instructions.build("aarch64")
    with pytest.raises(instructions.Missing, match="gcc .*apt-get install"):
        instructions.build_plugin()
