"""Nothing a stranger sends breaks, fills or blocks anything."""

from __future__ import annotations

import json
import sys
import time
from typing import Iterator

import pytest

from . import layout, packets, visits
from .garbage import KINDS
from .lab import Lab
from .waiting import eventually

LISTENERS = (
    ("tcp", 8080),
    ("tcp", 443),
    ("tcp", 80),
    ("udp", 3478),
    ("udp", 41641),
    ("tcp", 2222),
    ("tcp", 5432),
    ("udp", 27015),
)
PIECES = 1000
WARM_UP_PIECES = 150
MAY_GROW = 1024 * 1024
DRAIN_WITHIN = 90.0
CLEAR_ANSWERS = {
    80: ("HTTP/1.1 4", "HTTP/1.1 3", "HTTP/1.1 101"),
    8080: ("HTTP/1.1 4", "HTTP/1.1 101", "HTTP/1.1 200"),
    443: ("HTTP/1.1 4", "HTTP/1.1 101", "HTTP/1.1 200", "\x15\x03", "\x16\x03"),
}
"""How an answer on a port of our own may begin: an error, a TLS alert or hello; other ports answer as their service."""

Recordings = dict[tuple[str, int], list[bytes]]


@pytest.fixture(scope="module")
def recordings(raised: Lab) -> Recordings:
    """What honest clients say to each listener, from a capture of the gateway's cable while they all say it."""
    raised.restore()
    raised.join_outside()
    with raised.capture(raised.network.lan, "gateway") as wire:
        for machine in (raised.a, raised.e):
            machine.stop()
            machine.start()
            eventually(f"{machine.name} is back", lambda: machine.running, within=40)
            machine.ping(layout.GATEWAY_TAILNET)
            machine.tailscale("netcheck", timeout=30)
        for visit in visits.PUBLIC.values():
            visit(raised)
        visits.stun(raised)
    said = packets.sayings(wire.file, layout.GATEWAY)
    missing = [listener for listener in LISTENERS if not said.get(listener)]
    assert not missing, f"nobody spoke to {missing}"
    return said


def pelt(lab: Lab, listener: tuple[str, int], kind: str, count: int, recordings: Recordings) -> dict[str, object]:
    """Sends `count` pieces from the internet."""
    protocol, port = listener
    said = [piece.hex() for piece in recordings[listener][:200]]
    plan = {"host": "example.com", "protocol": protocol, "port": port, "kind": kind, "count": count, "recordings": said}
    words = [sys.executable, "-m", "tests.lab.garbage"]
    outcome = lab.stranger.run(*words, feed=json.dumps(plan), timeout=180, env={"PYTHONPATH": str(layout.ROOT)})
    return json.loads(outcome.output)


@pytest.fixture(scope="module")
def warm(raised: Lab, recordings: Recordings) -> Iterator[int]:
    """Resident bytes once every listener has seen every kind and what was left open is gone.

    The state that the growth is counted from: code paged in and tables, threads' caches and pools at their working size.
    """
    print(f"{raised.gateway.resident_bytes()} bytes before the first piece")
    for listener in LISTENERS:
        for kind in KINDS:
            pelt(raised, listener, kind, WARM_UP_PIECES, recordings)
    settled = _settled_bytes(raised)
    print(f"{settled} bytes warm, {raised.gateway.resident_bytes('RssFile')} of them code")
    yield settled


def _settled_bytes(lab: Lab) -> int:
    """Its memory when it has stopped shrinking."""
    deadline = time.monotonic() + DRAIN_WITHIN
    last = lab.gateway.resident_bytes()
    still = 0
    while still < 10 and time.monotonic() < deadline:
        time.sleep(1)
        now = lab.gateway.resident_bytes()
        still = still + 1 if now >= last else 0
        last = min(last, now)
    return last


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listener", LISTENERS, ids=lambda listener: f"{listener[1]}-{listener[0]}")
def test_garbage_is_met_with_silence_or_a_clear_error(
    lab: Lab, warm: int, recordings: Recordings, listener: tuple[str, int], kind: str
) -> None:
    protocol, port = listener
    pid, restarts = lab.gateway.pid, lab.gateway.log().count("panicked")
    told = pelt(lab, listener, kind, PIECES, recordings)
    print(f"{lab.gateway.resident_bytes() - warm:+} bytes, {lab.gateway.resident_bytes('RssFile')} of all of them code:", told["sent"])
    assert told.get("sent") == PIECES, told
    assert lab.gateway.alive and lab.gateway.pid == pid
    assert lab.gateway.log().count("panicked") == restarts
    answers = dict(told["answers"])
    if port in CLEAR_ANSWERS:
        unclear = [answer for answer in answers if not answer.startswith(CLEAR_ANSWERS[port])]
        assert not unclear, told
    if listener in (("udp", 41641), ("udp", 3478)) and kind in ("truncated", "wrong-key", "random"):
        assert not answers, told


def test_memory_is_given_back(lab: Lab, warm: int) -> None:
    eventually(
        f"at most 1 MiB more than {warm} bytes",
        lambda: _no_more_than(lab.gateway.resident_bytes(), warm + MAY_GROW),
        DRAIN_WITHIN,
        every=1,
    )


def _no_more_than(now: int, limit: int) -> bool:
    assert now <= limit, f"{now} bytes, {now - limit} too many"
    return True


def test_no_panic_and_good_health(lab: Lab) -> None:
    assert "panicked" not in lab.gateway.log()
    assert lab.gateway.admin("health").ok
