"""One measurement each: work sent through a stack, and the processor time that the stack took for it."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence

from tests.lab.waiting import eventually

from . import services
from .cpu import Group, softirq_seconds
from .house import PUBLIC, SITE
from .services import BULK_DIRECT, BULK_TUNNEL, BYTES_DIRECT, ECHO_TUNNEL, SINK_TUNNEL, WEB_DIRECT, Published
from .stacks import Stack

TOOLS = Path(__file__).resolve().parents[1] / "target" / "bench"
HANDSHAKES = Path(__file__).parent / "load" / "handshakes.py"
HELD = 5000
DATAGRAM_FLOWS = 4
PING_RATE = 4_000
"""Half of what the far processor can answer when every one wakes everybody."""


@dataclass(frozen=True)
class Result:
    """`value` in the unit of its row; `also` is told beside it."""

    value: float
    also: dict[str, float] = field(default_factory=dict)


Measure = Callable[[Stack, float], Result]
"""Given a stack and how many seconds the work may last."""


def bulk(service: Published, down: bool, by_card: bool = False) -> Measure:
    """CPU-seconds per GB of one TCP stream; with `by_card` over links that take super-packets whole."""

    def measure(stack: Stack, seconds: float) -> Result:
        if by_card:
            stack.house.set_segmentation(True)
        try:
            return _bulk(stack, service, down, seconds)
        finally:
            if by_card:
                stack.house.set_segmentation(False)

    return measure


def _bulk(stack: Stack, service: Published, down: bool, seconds: float) -> Result:
    words = ["iperf3", "-c", PUBLIC, "-p", stack.port(service), "-t", seconds, "-J", *(["-R"] if down else [])]
    groups = stack.groups if service is BULK_TUNNEL else [stack.relay]
    meter = Meter(groups)
    end = json.loads(stack.house.visit(*words))["end"]
    spent = meter.spent()
    received = end["sum_received"]
    gigabytes = received["bytes"] / 1e9
    split = {group: value / gigabytes for group, value in meter.split().items()}
    again = float(end["sum_sent"].get("retransmits") or 0)
    return Result(spent / gigabytes, {"Gbit/s": received["bits_per_second"] / 1e9, "retransmits": again, **split})


def small_messages(stack: Stack, seconds: float) -> Result:
    """Microseconds per request of 64 connections that each wait for an answer, through the layer 4 relay alone."""
    url = f"http://{PUBLIC}:{stack.port(WEB_DIRECT)}{services.SMALL}"
    return _requests(stack, ["wrk", "-t1", "-c64", f"-d{_whole(seconds)}", "--latency", url])


def site(path: str, http2: bool) -> Measure:
    """Microseconds per HTTPS request: HTTP/1.1 on 64 connections, or HTTP/2 with 8 streams on each of 8."""

    def measure(stack: Stack, seconds: float) -> Result:
        url = f"https://{SITE}:{stack.https_port}{path}"
        if not http2:
            return _requests(stack, ["wrk", "-t1", "-c64", f"-d{_whole(seconds)}", "--latency", url])
        return _requests(stack, ["h2load", "-t1", "-c8", "-m8", f"-D{_whole(seconds)}", "--warm-up-time=0", url])

    return measure


def _requests(stack: Stack, command: Sequence[object]) -> Result:
    meter = Meter([stack.relay])
    output = stack.house.visit(*command)
    spent = meter.spent()
    count, failed = _counted(output)
    if failed or not count:
        raise RuntimeError(f"{stack.name}: {failed} of {count} requests failed\n{output[-2000:]}")
    return Result(spent / count * 1e6, {"per second": count / meter.seconds})


def _counted(output: str) -> tuple[int, int]:
    """How many requests `wrk` or `h2load` made, and how many were not answered well."""
    if wrk := re.search(r"(\d+) requests in", output):
        bad = sum(int(count) for count in re.findall(r"(?:connect|read|write|Non-2xx or 3xx responses:?) (\d+)", output))
        return int(wrk[1]), bad
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    return int(done[1]), int(done[2]) + int(done[3])


def connections(at_once: int) -> Measure:
    """Microseconds per connection through the layer 4 relay alone: accept, dial, a byte each way, reset."""

    def measure(stack: Stack, seconds: float) -> Result:
        meter = Meter([stack.relay])
        words = ["connect", PUBLIC, stack.port(BYTES_DIRECT), seconds, at_once]
        count = int(stack.house.visit(TOOLS / "streams", *words))
        return Result(meter.spent() / count * 1e6, {"per second": count / seconds})

    return measure


def handshakes(resumed: bool) -> Measure:
    """Microseconds per new TLS 1.3 connection with one small request on it."""

    def measure(stack: Stack, seconds: float) -> Result:
        kind = "resumed" if resumed else "new"
        words = [sys.executable, HANDSHAKES, PUBLIC, stack.https_port, SITE, services.SMALL, seconds, kind]
        meter = Meter([stack.relay])
        count = int(stack.house.visit(*words))
        return Result(meter.spent() / count * 1e6, {"per second": count / meter.seconds})

    return measure


def idle_connections(stack: Stack, _seconds: float) -> Result:
    """kB of resident memory per idle relayed connection, 5,000 of them after a byte each way; true only before any load."""
    before, threads = stack.relay.resident_bytes(), stack.relay.threads()
    holder = stack.house.start_far(stack.house.stranger, "hold", TOOLS / "streams", "hold", PUBLIC, stack.port(BYTES_DIRECT), HELD)
    try:
        eventually(f"{HELD} connections through {stack.name}", lambda: "held" in holder.log.read_text().splitlines()[-1:], within=30)
        time.sleep(1)
        grown = stack.relay.resident_bytes() - before
        more = stack.relay.threads() - threads
    finally:
        stack.house.processes.stop(holder)
        holder.log.unlink()
    # Until all of them are gone on both sides: it is nobody else's work.
    time.sleep(3)
    return Result(grown / HELD / 1000, {"before MB": before / 1e6, "more threads": more})


def datagrams(size: int, rate: int) -> Measure:
    """Microseconds per datagram that arrived, in 4 flows over the whole path."""

    def measure(stack: Stack, seconds: float) -> Result:
        sink = services.start_sink(stack.house, TOOLS)
        time.sleep(0.2)
        meter = Meter(stack.groups)
        words = ["send", PUBLIC, stack.port(SINK_TUNNEL), size, rate, seconds, DATAGRAM_FLOWS]
        sent = int(stack.house.visit(TOOLS / "datagrams", *words))
        time.sleep(0.1)
        spent = meter.spent()
        arrived = _arrived(stack, sink)
        return Result(spent / max(arrived, 1) * 1e6, {"lost %": 100 * (1 - arrived / sent)})

    return measure


def _arrived(stack: Stack, sink: object) -> int:
    sink.signal(signal.SIGTERM)
    sink.popen.wait(5)
    stack.house.processes.running.remove(sink)
    count = int(sink.log.read_text().split()[-1])
    sink.log.unlink()
    return count


def round_trip(percentile: int) -> Measure:
    """Microseconds of a datagram of 64 bytes there and back over the whole path, p50 or p99."""

    def measure(stack: Stack, seconds: float) -> Result:
        words = ["ping", PUBLIC, stack.port(ECHO_TUNNEL), 64, PING_RATE, seconds]
        sent, back, median, tail = map(float, stack.house.visit(TOOLS / "datagrams", *words).split())
        value = median if percentile == 50 else tail
        return Result(value, {"lost %": 100 * (1 - back / sent)})

    return measure


def idle_memory(stack: Stack, _seconds: float) -> Result:
    """MB resident of the whole stack, as it is now."""
    return Result(sum(group.resident_bytes() for group in stack.groups) / 1e6)


def busy_memory(stack: Stack, seconds: float) -> Result:
    """MB resident of the whole stack just after streams both ways."""
    for down in (False, True):
        words = ["iperf3", "-c", PUBLIC, "-p", stack.port(BULK_TUNNEL), "-P", 8, "-t", seconds, *(["-R"] if down else [])]
        stack.house.visit(*words)
    return idle_memory(stack, seconds)


class Meter:
    """Processor time of groups, with the kernel's packet work on their processor that is in no group."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._started = time.monotonic()
        self._before = self._now()
        self._after = self._before
        self.seconds = 0.0

    def _now(self) -> dict[str, float]:
        return {**{group.place.name: group.seconds() for group in self._groups}, "softirq": softirq_seconds()}

    def spent(self) -> float:
        """Processor seconds since it was made."""
        self._after = self._now()
        self.seconds = time.monotonic() - self._started
        return sum(self.split().values())

    def split(self) -> dict[str, float]:
        """The same by group."""
        return {name.rsplit("-", 1)[-1]: after - self._before[name] for name, after in self._after.items()}


def _whole(seconds: float) -> str:
    """For programs that count whole seconds."""
    return f"{max(1, round(seconds))}s"
