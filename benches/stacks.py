"""What is measured: genkan, and a relay beside a tailscaled or another tunnel, each in a house whose machine has the same tunnel; and the path without a cipher."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

from tests.lab.layout import MachinePlan
from tests.lab.machines import Machine
from tests.lab.namespace import Namespace
from tests.lab.processes import Processes, run
from tests.lab.waiting import eventually

from . import services, tunnels
from .cpu import Group
from .house import COORDINATOR, GATEWAY_LAN, GATEWAY_TAILNET, MACHINE_LAN, MACHINE_TAILNET, PUBLIC, SITE, House, scratch_under
from .relays import HAPROXY, RELAYS, Relay
from .services import BULK_TUNNEL, LAYER4, Published
from .tunnels import TUNNELS, Tunnel

LOGIN_PORT = 8080
GENKAN_FIRST_PORT = 10000
PEERS = tuple(peer.name for peer in (*RELAYS, *TUNNELS))
"""Names of all stacks that are neither genkan nor `NULL`: a relay beside tailscaled by the relay's, HAProxy beside another tunnel by the tunnel's."""
NULL = "null"
"""The stack without a cipher, whose processor time is the structural bound (Bs)."""
NULL_PORT = 41641
NULL_PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[1] / "target")) / "release" / "examples" / "null_tunnel"
POLICY = {
    "hosts": {"raspberry-pi": "100.64.0.1", "machine-a": MACHINE_TAILNET, "gateway": GATEWAY_TAILNET},
    "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
}


@dataclass(frozen=True)
class Stack:
    """Something that publishes the services: where its ports begin, and whose processor time it costs."""

    name: str
    house: House
    first_port: int
    https_port: int | None
    relay: Group
    tunnel: Group
    """The same group as `relay` where one process does both."""
    published: tuple[Published, ...] = LAYER4

    def port(self, service: Published) -> int:
        return self.first_port + service.offset

    @property
    def groups(self) -> list[Group]:
        """Of the whole path."""
        return [self.relay] if self.relay is self.tunnel else [self.relay, self.tunnel]


class Coordinator:
    """A running genkan whose tailnet the machines of a house join."""

    def __init__(self, program: Path, state: Path, login: str) -> None:
        self.program = program
        self.state = state
        self.login = login

    def key(self, host: str) -> str:
        words = ["preauthkeys", "create", "--host", host, "--output", "json"]
        return str(json.loads(run([self.program, "--state", self.state, *words]).output)["key"])

    def join(self, processes: Processes, space: Namespace, host: str, group: Group, place: Path) -> None:
        """Starts a tailscaled in a namespace, in a control group, and lets it in."""
        plan = MachinePlan(space.name, host, "", "", "tailscale", self.login)
        tailscaled = Machine(plan, _InGroup(space, group), place, processes)
        tailscaled.start()
        tailscaled.join(self.key(host))
        eventually(f"{host} is running", lambda: tailscaled.running, within=20)


class _InGroup(Namespace):
    """A namespace whose started programs are in a control group."""

    def __init__(self, space: Namespace, group: Group) -> None:
        super().__init__(space.name)
        self._group = group

    def argv(self, command: Sequence[object]) -> list[str]:
        return self._group.argv(super().argv(command))


def raise_genkan(name: str, program: Path, processes: Processes, far: Group, scratch: Path, tools: Path) -> Stack:
    """A house whose gateway is `program`."""
    house = House(name, processes, far)
    house.raise_up(with_coordinator=False)
    place = scratch_under(scratch, name)
    services.start_machine(house, place, tools)
    group = house.group("genkan")
    state = _write_genkan(place, GATEWAY_LAN, services.caddy_servers(GENKAN_FIRST_PORT), _site())
    house.start_in(group, "genkan", [program, "serve", "--config", place, "--state", state])
    _await_coordinator(house, house.gateway, GATEWAY_LAN)
    coordinator = Coordinator(program, state, f"http://{GATEWAY_LAN}:{LOGIN_PORT}")
    coordinator.join(processes, house.machine, "machine-a", far, place)
    stack = Stack(name, house, GENKAN_FIRST_PORT, 443, group, group)
    _await_path(stack)
    return stack


def raise_peers(relays: list[Relay], program: Path, processes: Processes, far: Group, scratch: Path, tools: Path) -> list[Stack]:
    """A house whose gateway is a tailscaled with each of the relays beside it; genkan only introduces the machines to each other."""
    house = House("peers", processes, far)
    house.raise_up(with_coordinator=True)
    place = scratch_under(scratch, "peers")
    services.start_machine(house, place, tools)
    state = _write_genkan(place, COORDINATOR, {}, {})
    processes.start("peers-coordinator", far.argv(house.coordinator.argv([program, "serve", "--config", place, "--state", state])))
    _await_coordinator(house, house.coordinator, COORDINATOR)
    coordinator = Coordinator(program, state, f"http://{COORDINATOR}:{LOGIN_PORT}")
    tunnel = house.group("tailscaled")
    coordinator.join(processes, house.gateway, "gateway", tunnel, place)
    coordinator.join(processes, house.machine, "machine-a", far, place)
    stacks = [_raise_relay(relay, house, tunnel, place) for relay in relays]
    for stack in stacks:
        _await_path(stack)
    return stacks


def raise_tunnel(tunnel: Tunnel, processes: Processes, far: Group, scratch: Path, tools: Path) -> Stack:
    """A house of the tunnel's own with HAProxy beside it: tailscaled would take another tunnel's interface for a path."""
    house = House(tunnel.name, processes, far)
    house.raise_up(with_coordinator=False)
    place = scratch_under(scratch, tunnel.name)
    services.start_machine(house, place, tools)
    group = house.group("tunnel")
    tunnels.join(tunnel, house, group)
    return replace(_raise_relay(HAPROXY, house, group, place), name=tunnel.name)


def raise_null(processes: Processes, far: Group, scratch: Path, tools: Path) -> Stack:
    """A house with a tunnel without a cipher at both ends, and genkan's relay in the same process at the gateway's: for `BULK_TUNNEL` only."""
    house = House(NULL, processes, far)
    house.raise_up(with_coordinator=False)
    services.start_machine(house, scratch_under(scratch, NULL), tools)
    group = house.group(NULL)
    relay = (f"0.0.0.0:{GENKAN_FIRST_PORT + BULK_TUNNEL.offset}", BULK_TUNNEL.dial)
    house.start_in(group, "gateway", [NULL_PROGRAM, GATEWAY_TAILNET, f"{MACHINE_LAN}:{NULL_PORT}", *relay])
    house.start_far(house.machine, "machine", NULL_PROGRAM, MACHINE_TAILNET, f"{GATEWAY_LAN}:{NULL_PORT}")
    stack = Stack(NULL, house, GENKAN_FIRST_PORT, None, group, group, (BULK_TUNNEL,))
    _await_path(stack)
    return stack


def _raise_relay(relay: Relay, house: House, tunnel: Group, place: Path) -> Stack:
    group = house.group(relay.name)
    command = relay.prepare(scratch_under(place, relay.name), relay.first_port)
    house.start_in(group, relay.name, command)
    https = relay.first_port + services.HTTPS_OFFSET if relay.https else None
    services.await_listener(house.gateway, https or relay.first_port)
    return Stack(relay.name, house, relay.first_port, https, group, tunnel)


def _write_genkan(place: Path, address: str, layer4: dict, http: dict) -> Path:
    """A configuration in `place`; returns the directory for the state."""
    (place / "genkan.toml").write_text(
        f'[lan]\ninterface = "eth0"\naddress = "{address}"\n[limits]\ntcp_connections = 6000\ntcp_connections_per_address = 6000\n'
    )
    (place / "acl.json").write_text(json.dumps(POLICY))
    (place / "caddy.json").write_text(json.dumps({"apps": {"layer4": {"servers": layer4}, "http": {"servers": http}}}))
    state = place / "state"
    state.mkdir(mode=0o700)
    return state


def _site() -> dict:
    route = {"match": [{"host": [SITE]}], "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": services.WEB_DIRECT.dial}]}]}
    return {"site": {"listen": [":443"], "routes": [route]}}


def _await_coordinator(house: House, space: Namespace, address: str) -> None:
    url = f"http://{address}:{LOGIN_PORT}/key?v=113"
    eventually(f"the coordinator of {house.name}", lambda: space.run("curl", "-sSf", "--max-time", 2, url).ok, within=20)


def _await_path(stack: Stack) -> None:
    """Waits until the machine is reached through the tunnel, by the direct path."""
    words = ["iperf3", "-c", PUBLIC, "-p", stack.port(BULK_TUNNEL), "-t", "1", "-J"]

    def fast() -> bool:
        received = json.loads(stack.house.visit(*words))["end"]["sum_received"]
        return float(received["bits_per_second"]) > 2e8

    eventually(f"{stack.name} has a direct path", fast, within=60, every=0.5)
