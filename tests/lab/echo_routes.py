"""Ports of the gateway that lead to `echo.py` on machines A and C: by the tunnel over TCP and UDP, and straight over the LAN."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import Any, Iterator

from . import layout, services
from .lab import Lab
from .waiting import eventually

ECHO_PORT = 7000

BY_TUNNEL, STRAIGHT, DATAGRAMS = 7001, 7002, 7003
UPSTREAMS = {
    BY_TUNNEL: ("tcp", layout.MACHINE_A.tailnet),
    STRAIGHT: ("tcp", layout.MACHINE_A.address),
    DATAGRAMS: ("udp", layout.MACHINE_C.tailnet),
}


@contextmanager
def opened(lab: Lab) -> Iterator[None]:
    """The services run, the policy lets the gateway reach them, and its ports listen."""
    echoes = [services.start_echo(lab.processes, machine.space, ECHO_PORT) for machine in (lab.a, lab.c)]
    try:
        lab.gateway.set_policy(_with_echo_allowed(lab.gateway.seed_policy))
        lab.set_routes(_with_routes_to_echo(lab.gateway.seed_routes))
        for port, (protocol, _) in UPSTREAMS.items():
            sockets = (f"-l{protocol[0]}", f"sport = :{port}")
            eventually(f"the gateway listens on {port}", lambda: lab.network.gateway.sockets(*sockets), within=5)
        yield
    finally:
        for echo in echoes:
            lab.processes.stop(echo)


def route(port: int) -> str:
    """The name in `caddy.json` of a port's route."""
    return f"echo_{port}"


def _with_echo_allowed(policy: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(policy)
    targets = [f"{machine.host}:{ECHO_PORT}" for machine in (layout.MACHINE_A, layout.MACHINE_C)]
    changed["acls"].append({"action": "accept", "src": ["raspberry-pi"], "dst": targets})
    return changed


def _with_routes_to_echo(routes: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(routes)
    for port, (protocol, address) in UPSTREAMS.items():
        upstream = {"dial": [f"{protocol}/{address}:{ECHO_PORT}"]}
        server = {"handle": [{"handler": "proxy", "upstreams": [upstream]}]}
        changed["apps"]["layer4"]["servers"][route(port)] = {"listen": [f"{protocol}/0.0.0.0:{port}"], "routes": [server]}
    return changed
