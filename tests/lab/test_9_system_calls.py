"""What the gateway asks of the kernel for each megabyte through the tunnel: few calls for much. Counted, not timed."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from . import paths
from .lab import Lab

MEGABYTES = 48
MOST_CALLS = 250
"""Of all threads, per megabyte of 10^6 bytes: twice what was seen. One call for each packet and way would be 1,600."""


def _download(lab: Lab) -> int:
    """From machine A to a stranger, by ssh."""
    command = lab.shell.client("example.com", 2222, f"head -c {MEGABYTES}000000 /dev/zero")
    pipe = subprocess.run(lab.stranger.argv(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    return len(pipe.stdout)


def _upload(lab: Lab) -> int:
    """From a stranger to machine A, by ssh."""
    command = lab.shell.client("example.com", 2222, "wc -c")
    payload = b"\0" * (MEGABYTES * 1_000_000)
    return int(subprocess.run(lab.stranger.argv(command), input=payload, capture_output=True, timeout=60, check=True).stdout)


@pytest.mark.parametrize("move", (_download, _upload))
def test_a_megabyte_takes_few_calls(lab: Lab, move: Callable[[Lab], int], tmp_path: Path) -> None:
    paths.settle_direct(lab, lab.a, lambda: move(lab))
    counts = tmp_path / "calls"
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", counts, "-p", str(lab.gateway.pid)], stderr=subprocess.PIPE, text=True)
    assert "attached" in tracer.stderr.readline()
    time.sleep(0.5)
    assert move(lab) == MEGABYTES * 1_000_000
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=10)
    calls = {name: int(count) for count, name in re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", counts.read_text(), re.M)}
    total = calls.pop("total")
    busiest = sorted(calls.items(), key=lambda call: -call[1])[:8]
    told = ", ".join(f"{name} {count / MEGABYTES:.1f}" for name, count in busiest)
    print(f"{move.__name__.strip('_')}: {total / MEGABYTES:.0f} system calls per MB ({told})")
    assert sum(calls.values()) == total, "a line of strace's was not understood"
    assert total / MEGABYTES <= MOST_CALLS, told
