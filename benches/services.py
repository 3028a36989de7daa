"""What a stack publishes in every house, the same for all: numbers of ports, and the services behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespace import Namespace
from tests.lab.processes import Process
from tests.lab.waiting import eventually

from .house import MACHINE_LAN, MACHINE_TAILNET, House

SMALL, LARGE = "/1k", "/100k"


@dataclass(frozen=True)
class Published:
    """One port of a relay: `offset` from the relay's first port, and where it leads."""

    name: str
    offset: int
    address: str
    port: int
    datagrams: bool = False

    @property
    def dial(self) -> str:
        return f"{self.address}:{self.port}"


BULK_TUNNEL = Published("bulk-tunnel", 0, MACHINE_TAILNET, 5201)
BULK_DIRECT = Published("bulk-direct", 1, MACHINE_LAN, 5201)
WEB_DIRECT = Published("web-direct", 2, MACHINE_LAN, 8081)
BYTES_DIRECT = Published("bytes-direct", 3, MACHINE_LAN, 7007)
SINK_TUNNEL = Published("sink-tunnel", 4, MACHINE_TAILNET, 6000, datagrams=True)
ECHO_TUNNEL = Published("echo-tunnel", 5, MACHINE_TAILNET, 6001, datagrams=True)
LAYER4 = (BULK_TUNNEL, BULK_DIRECT, WEB_DIRECT, BYTES_DIRECT, SINK_TUNNEL, ECHO_TUNNEL)
HTTPS_OFFSET = 6


def caddy_servers(first_port: int) -> dict[str, object]:
    """The ports as servers of caddy-l4, whose form genkan reads too."""
    servers = {}
    for service in LAYER4:
        scheme = "udp/" if service.datagrams else ""
        upstream = {"dial": [scheme + service.dial]}
        route = {"handle": [{"handler": "proxy", "upstreams": [upstream]}]}
        servers[service.name] = {"listen": [f"{scheme}0.0.0.0:{first_port + service.offset}"], "routes": [route]}
    return servers


def start_machine(house: House, place: Path, tools: Path) -> None:
    """Starts the services of the house's machine."""
    machine = house.machine
    house.start_far(machine, "iperf3", "iperf3", "-s")
    house.start_far(machine, "bytes", tools / "streams", "serve", BYTES_DIRECT.port)
    house.start_far(machine, "echo", tools / "datagrams", "echo", ECHO_TUNNEL.port)
    _start_web(house, place)
    for port in (5201, BYTES_DIRECT.port, WEB_DIRECT.port):
        await_listener(machine, port)


def start_sink(house: House, tools: Path) -> Process:
    """Counts datagrams until it is asked to stop, then writes how many there were into its log."""
    return house.start_far(house.machine, "sink", tools / "datagrams", "sink", SINK_TUNNEL.port)


def await_listener(space: Namespace, port: int, within: float = 20) -> None:
    eventually(f"port {port} in {space.name}", lambda: space.sockets("-lt", f"sport = {port}"), within)


def _start_web(house: House, place: Path) -> None:
    """nginx with a small and a large file, which keeps connections alive."""
    root = place / "web"
    root.mkdir()
    (root / SMALL.strip("/")).write_bytes(b"k" * 1000)
    (root / LARGE.strip("/")).write_bytes(b"k" * 100_000)
    for path in (place, root):
        path.chmod(0o755)
    settings = place / "web.conf"
    settings.write_text(
        f"worker_processes 1; daemon off; error_log stderr warn; pid {place}/web.pid;\n"
        "events { worker_connections 16384; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 600s;\n"
        f"  open_file_cache max=8;\n  server {{ listen {WEB_DIRECT.port} backlog=4096; root {root}; }} }}\n"
    )
    house.start_far(house.machine, "web", "nginx", "-c", settings)
