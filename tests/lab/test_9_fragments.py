"""A datagram longer than the tunnel's packets, which no machine of the tailnet takes whole."""

from __future__ import annotations

from . import echo_routes, paths, visits
from .capture import marker
from .lab import Lab

TUNNEL_MTU = 1280
LONG = "x" * 1400
PARTS_MIN = 4
"""Two of the question, two of the answer."""
IS_FRAGMENT = "ip[6:2] & 0x3fff != 0"


def test_a_long_datagram_goes_through_the_tunnel_in_fragments(listening: Lab) -> None:
    lab = listening
    paths.settle_direct(lab, lab.c, lambda: _ask(lab, "hello"))
    text = LONG + marker()
    with lab.capture(lab.c.space, "tailscale0") as inside:
        assert _ask(lab, text) == text
    assert inside.count(IS_FRAGMENT) >= PARTS_MIN
    assert inside.count(f"greater {TUNNEL_MTU + 1}") == 0


def _ask(lab: Lab, text: str) -> str:
    """What the machine's service heard."""
    answer = visits.datagram(lab.stranger, "example.com", echo_routes.DATAGRAMS, f"0 {text}".encode())
    return answer.decode().rstrip("\n").partition(" ")[2]
