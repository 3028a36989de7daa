"""Processor time by role: one control group (v1 or v2) for each, and what the kernel's own threads did on the gateway's processor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

V1 = Path("/sys/fs/cgroup/cpuacct")
V2 = Path("/sys/fs/cgroup")
PREFIX = "genkan-bench-"

FAR = 0
"""Processor of everything that is not under test: strangers, machines and what they run."""
GATEWAY = 1
"""Processor of what is under test."""


class Group:
    """A control group; what is started by `argv` is in it from its first instruction."""

    def __init__(self, role: str, processor: int) -> None:
        self.processor = processor
        self._accounting = V1 if V1.exists() else V2
        self.place = self._accounting / (PREFIX + role)
        self.place.mkdir(exist_ok=True)

    def argv(self, command: Sequence[object]) -> list[str]:
        """The command line that runs `command` in the group, on its processor; outermost, for a namespace has another /sys."""
        enter = f'echo $$ >{self.place}/cgroup.procs && exec taskset -c {self.processor} "$@"'
        return ["sh", "-c", enter, "group", *map(str, command)]

    def seconds(self) -> float:
        """Processor seconds used since it was made."""
        if self._accounting == V1:
            return int((self.place / "cpuacct.usage").read_text()) / 1e9
        rows = dict(line.split() for line in (self.place / "cpu.stat").read_text().splitlines())
        return int(rows["usage_usec"]) / 1e6

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.place / "cgroup.procs").read_text().split()]

    def resident_bytes(self) -> int:
        """Resident memory of its processes."""
        return sum(_resident_bytes(pid) for pid in self.pids())

    def threads(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self.pids())

    def remove(self) -> None:
        try:
            self.place.rmdir()
        except OSError:
            pass


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def softirq_seconds() -> float:
    """What ksoftirqd did on the gateway's processor: work on packets that is in no group."""
    return sum(_ran(pid) for pid in _kernel_threads(f"ksoftirqd/{GATEWAY}"))


def pin_polling() -> int:
    """Moves the kernel's polling threads (threaded NAPI) to the far processor; returns how many there are."""
    pids = _kernel_threads("napi/")
    for pid in pids:
        os.sched_setaffinity(pid, {FAR})
    return len(pids)


def _kernel_threads(prefix: str) -> list[int]:
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if (place / "comm").read_text().startswith(prefix):
                    found.append(int(place.name))
            except OSError:
                pass
    return found


def _ran(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@dataclass(frozen=True)
class Disturbance:
    """How much the machine did besides: its load, and the share of time its host took away."""

    load: float
    stolen: float


class Steadiness:
    """Watches for what makes figures worthless."""

    def __init__(self) -> None:
        self._before = _processor_times()

    def disturbance(self) -> Disturbance:
        now = _processor_times()
        passed = [after - before for before, after in zip(self._before, now)]
        return Disturbance(os.getloadavg()[0], passed[7] / max(sum(passed), 1))


def _processor_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
