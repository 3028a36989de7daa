"""Names and addresses of everything in the lab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "target" / "peers"

# RFC 5737 addresses: they belong to nobody, so a leak out of the namespaces would reach nobody.
DNS_SERVER = "203.0.113.53"
AUTHORITY = "203.0.113.14"
STRANGER = "203.0.113.66"
HOUSE = "203.0.113.10"
ELSEWHERE = "203.0.113.20"

ROUTER = "192.168.50.1"
GATEWAY = "192.168.50.10"
CARD_HARDWARE_ADDRESS = "52:54:00:67:65:6e"
# Not the house's network: with equal ones E would try LAN addresses that are its own neighbours'.
OUTER_ROUTER = "10.77.0.1"

GATEWAY_TAILNET = "100.64.0.1"
COORDINATOR_NAME = "hs.example.com"
AUTHORITY_NAME = "ca.example.net"
DIRECTORY_URL = f"https://{AUTHORITY_NAME}:14000/dir"
LAN_LOGIN = f"http://{GATEWAY}:8080"
OUTSIDE_LOGIN = f"https://{COORDINATOR_NAME}"


@dataclass(frozen=True)
class MachinePlan:
    """A machine that runs Tailscale: where it is, what it is called, which release it runs."""

    name: str
    """Namespace and log name."""
    host: str
    """Its name in the policy's `hosts`."""
    address: str
    tailnet: str
    client: str
    """Directory under tests/peers."""
    login: str
    tun: str = "tailscale0"


MACHINE_A = MachinePlan("a", "machine-a", "192.168.50.20", "100.64.0.2", "tailscale", LAN_LOGIN)
MACHINE_B = MachinePlan("b", "machine-b", "192.168.50.30", "100.64.0.3", "tailscale-1.80", LAN_LOGIN)
MACHINE_C = MachinePlan("c", "machine-c", "192.168.50.40", "100.64.0.4", "tailscale", LAN_LOGIN)
MACHINE_E = MachinePlan("e", "machine-e", "10.77.0.20", "100.64.0.5", "tailscale", OUTSIDE_LOGIN)

# A machine without a TUN: its tailscaled runs in userspace, in the stranger's namespace.
GUEST = MachinePlan("guest", "guest", STRANGER, "", "tailscale", OUTSIDE_LOGIN, "userspace-networking")

INSIDE = (MACHINE_A, MACHINE_B, MACHINE_C)
MACHINES = (*INSIDE, MACHINE_E)

# Forwards for raising the network without a genkan to ask; the seed's own table.
SEED_FORWARDS = (
    ("tcp", 80, 80),
    ("tcp", 443, 443),
    ("tcp", 2222, 2222),
    ("tcp", 5432, 5432),
    ("udp", 27015, 27015),
    ("tcp", 8080, 8080),
)
