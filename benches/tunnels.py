"""WireGuard between a house's gateway and its machine by wireguard-go or boringtun-cli, the same program at both ends.

They are joined by hand with `wg`, by the same addresses as a tailnet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from tests.lab.layout import PEERS
from tests.lab.namespace import PREFIX, Namespace
from tests.lab.processes import run
from tests.lab.waiting import eventually

from .cpu import Group
from .house import GATEWAY_LAN, GATEWAY_TAILNET, MACHINE_LAN, MACHINE_TAILNET, House

WIREGUARD_GO = PEERS / "wireguard-go" / "wireguard-go"
BORINGTUN = PEERS / "boringtun-cli" / "bin" / "boringtun-cli"
SOCKETS = Path("/var/run/wireguard")
PORT = 51820
MTU = 1280
"""Of tailscaled and genkan."""


@dataclass(frozen=True)
class Tunnel:
    """A peer: `command(device)` runs it in the foreground. `short` begins its devices' names, which are files of the whole machine's too."""

    name: str
    short: str
    command: Callable[[str], list[object]]


def wireguard_go(device: str) -> list[object]:
    """It takes as many processors as it is given: one."""
    return [WIREGUARD_GO, "--foreground", device]


def boringtun(device: str) -> list[object]:
    """One thread, as there is one processor."""
    return [BORINGTUN, "--foreground", "--disable-drop-privileges", "--threads", 1, device]


TUNNELS = (
    Tunnel("wireguard-go", "wg", wireguard_go),
    Tunnel("boringtun", "bt", boringtun),
)


@dataclass(frozen=True)
class End:
    """One end of a tunnel."""

    space: Namespace
    device: str
    underlay: str
    address: str
    key: str

    @property
    def public_key(self) -> str:
        return run(["wg", "pubkey"], feed=self.key).output.strip()

    def raise_up(self, other: End) -> None:
        """Gives the device its key, its peer and its address, once its program listens to `wg`."""
        eventually(f"the socket of {self.device}", (SOCKETS / f"{self.device}.sock").is_socket, within=10)
        own = ["listen-port", PORT, "private-key", "/dev/stdin"]
        peer = ["peer", other.public_key, "endpoint", f"{other.underlay}:{PORT}", "allowed-ips", f"{other.address}/32"]
        self.space.run("wg", "set", self.device, *own, *peer, feed=self.key)
        run(["ip", "-n", self.space.full, "address", "add", f"{self.address}/24", "dev", self.device])
        run(["ip", "-n", self.space.full, "link", "set", self.device, "mtu", MTU, "up"])


def join(tunnel: Tunnel, house: House, group: Group) -> None:
    """Runs a tunnel between gateway and machine until packets cross it; its process at the gateway is in `group`."""
    gateway = _end(tunnel, house.gateway, "gw", GATEWAY_LAN, GATEWAY_TAILNET)
    machine = _end(tunnel, house.machine, "m", MACHINE_LAN, MACHINE_TAILNET)
    house.start_in(group, "tunnel", tunnel.command(gateway.device))
    house.start_far(machine.space, "far-tunnel", *tunnel.command(machine.device))
    gateway.raise_up(machine)
    machine.raise_up(gateway)
    eventually(f"a packet through {tunnel.name}", lambda: house.gateway.run("ping", "-c1", "-W1", MACHINE_TAILNET).ok, within=20)


def _end(tunnel: Tunnel, space: Namespace, place: str, underlay: str, address: str) -> End:
    device = f"{PREFIX}{tunnel.short}-{place}"
    (SOCKETS / f"{device}.sock").unlink(missing_ok=True)
    return End(space, device, underlay, address, run(["wg", "genkey"]).output)
