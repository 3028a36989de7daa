"""Ten minutes in which nobody says anything, and then on: on the same connections, and the gateway holds no more than before.

Of the programs here none sends keep-alives, but the gateway asks after its TCP connections once a minute. The way of the datagrams,
to machine C, is left wholly alone: its flow ends, and the tunnel's session and path to the machine grow old with it.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Iterator

import pytest

from . import echo_routes, layout, paths
from .conversation import Conversation
from .echo_routes import BY_TUNNEL, DATAGRAMS, STRAIGHT, UPSTREAMS
from .lab import Lab

MOMENT, LONG = 20, 600
"""Seconds. The short silence outlasts the tunnel's interval of keep-alives (10 s) and the life of a proven path (6.5 s)."""
SILENCES = (
    MOMENT,
    pytest.param(LONG, marks=pytest.mark.skipif(os.environ.get("GENKAN_LONG") != "1", reason="ten minutes of silence: once in make test-long")),
)
MAY_GROW = 1024 * 1024
FLOW_LIVES = 60
"""Seconds without a datagram after which the gateway ends a flow; the next datagram begins another."""
HEARD_WITHIN = 10


@dataclass(frozen=True)
class Talks:
    """TCP connections that are held through a silence, by who speaks first after it."""

    strangers: list[Conversation]
    machines: list[Conversation]

    def ask(self, text: str) -> dict[str, str]:
        """A line each way on every connection: the address and port it has at its service."""
        return {talk.name: _ask(talk, text) for talk in [*self.strangers, *self.machines]}

    def arrange(self, seconds: int) -> None:
        """Has the machines speak up after so many seconds."""
        for talk in self.machines:
            talk.say(f"{seconds} at last")

    def break_silence(self) -> dict[str, str]:
        """Addresses and ports again, asked and told."""
        asked = {talk.name: _ask(talk, "still there?") for talk in self.strangers}
        return asked | {talk.name: _speaker(talk, "at last") for talk in self.machines}


def _ask(talk: Conversation, text: str) -> str:
    talk.say(f"0 {text}")
    return _speaker(talk, text)


def _speaker(talk: Conversation, text: str) -> str:
    """Whom the service takes the line for, by its answer, which has to be the one to `text`."""
    address, _, heard = talk.hear(HEARD_WITHIN).partition(" ")
    assert heard == text, f"{talk.name}: {address} {heard}"
    return address


def _line(lab: Lab, port: int, breaker: str) -> Conversation:
    protocol, _ = UPSTREAMS[port]
    command = [sys.executable, "-m", "tests.lab.line", protocol, "example.com", port]
    environment = {**os.environ, "PYTHONPATH": str(layout.ROOT)}
    return Conversation(f"{port}, {breaker} breaks the silence", lab.stranger.argv(command), environment)


def _shell(lab: Lab) -> Conversation:
    """ssh to machine A, where a loop answers as `echo.py` does; the address is what sshd took the connection from."""
    loop = 'set -- $SSH_CONNECTION; while read -r seconds text; do sleep "$seconds"; echo "$1:$2 $text"; done'
    return Conversation("ssh", lab.stranger.argv(lab.shell.client("example.com", 2222, loop)), os.environ)


@pytest.fixture
def talks(listening: Lab) -> Iterator[Talks]:
    """To each TCP route one that the stranger will take up again and one that the machine will; and ssh, a real service."""
    with ExitStack() as held:
        strangers = [held.enter_context(_line(listening, port, "the stranger")) for port in (BY_TUNNEL, STRAIGHT)]
        machines = [held.enter_context(_line(listening, port, "the machine")) for port in (BY_TUNNEL, STRAIGHT)]
        yield Talks([*strangers, held.enter_context(_shell(listening))], machines)


@pytest.fixture
def flow(listening: Lab) -> Iterator[Conversation]:
    """Datagrams between the stranger and machine C."""
    with _line(listening, DATAGRAMS, "the stranger") as flow:
        yield flow


def _open_flows(lab: Lab) -> int:
    return int(lab.gateway.metric("genkan_edge_udp_flows_open", route=echo_routes.route(DATAGRAMS)))


def _flow_goes_on(lab: Lab, flow: Conversation, before: str, has_ended: bool) -> None:
    """The first datagram is answered; where the flow has ended it begins another, and nothing is left of the old one."""
    assert _open_flows(lab) == (0 if has_ended else 1)
    again = _ask(flow, "still there?")
    assert has_ended or again == before, "not the flow it was"
    assert _open_flows(lab) == 1


@pytest.mark.parametrize("seconds", SILENCES)
def test_after_a_silence_all_goes_on(listening: Lab, talks: Talks, flow: Conversation, seconds: int) -> None:
    lab = listening
    paths.settle_direct(lab, lab.a, lambda: talks.ask("hello"))
    paths.settle_direct(lab, lab.c, lambda: _ask(flow, "hello"))
    before, flow_before = talks.ask("hello"), _ask(flow, "hello")
    assert {address.split(":")[0] for address in before.values()} == {layout.GATEWAY_TAILNET, layout.GATEWAY}
    bytes_before = lab.gateway.resident_bytes()

    talks.arrange(seconds)
    time.sleep(seconds)

    grown = lab.gateway.resident_bytes() - bytes_before
    print(f"{grown:+} bytes of memory after {seconds} s of silence")
    assert talks.break_silence() == before, "not the connections they were"
    _flow_goes_on(lab, flow, flow_before, has_ended=seconds > FLOW_LIVES)
    assert talks.ask("good bye") == before
    assert grown <= MAY_GROW
