"""Which way the gateway's packets to a machine go: straight over UDP, or by the relay."""

from __future__ import annotations

from typing import Callable

from . import layout
from .lab import Lab
from .machines import Machine
from .waiting import eventually

DIRECT_WITHIN = 60.0


def goes(lab: Lab, machine: Machine, path: str) -> bool:
    """Whether the gateway says that what it sends to the machine goes by this path, `direct` or `relay`."""
    return lab.gateway.metric("genkan_tunnel_path", peer=machine.plan.host, path=path) == 1


def settle_direct(lab: Lab, machine: Machine, talk: Callable[[], object]) -> None:
    """Lets the two find each other; `talk` sends something through the tunnel, for a path is only looked for while it is used."""
    machine.ping(layout.GATEWAY_TAILNET, until_direct=True)
    eventually(f"a direct path to {machine.name}", lambda: talk() and goes(lab, machine, "direct"), DIRECT_WITHIN)
