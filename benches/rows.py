"""The table: what is measured, of whom, how far genkan is meant to be below the best peer, and how near to the bound."""

from __future__ import annotations

from dataclasses import dataclass

from . import measures
from .measures import Measure
from .services import BULK_DIRECT, BULK_TUNNEL, LARGE, SMALL

ALL = ("haproxy", "nginx", "caddy")
TUNNELLED = (*ALL, "wireguard-go", "boringtun")
STREAMED = (*ALL, "tokio-uring")


@dataclass(frozen=True)
class Row:
    """`reach`: what genkan's figure divided by the best peer's may be at most."""

    name: str
    unit: str
    measure: Measure
    peers: tuple[str, ...]
    reach: float
    once: bool = False
    """Measured in the first round alone: memory that was used before is used again."""
    asked: float | None = None
    """Of rows that have a structural bound (`stacks.NULL`): what it divided by genkan's figure is to be at least."""


def rows() -> list[Row]:
    """In the order of the table."""
    per_gigabyte, per_request = "CPU-s/GB", "us/request"
    idle_connection = Row("relay alone, idle connection", "kB", measures.idle_connections, STREAMED, 0.3, once=True)
    bulk = [
        Row("whole path, up", per_gigabyte, measures.bulk(BULK_TUNNEL, down=False), TUNNELLED, 1 / 1.6, asked=0.65),
        Row("whole path, down", per_gigabyte, measures.bulk(BULK_TUNNEL, down=True), TUNNELLED, 1 / 1.6, asked=0.5),
        Row("relay alone, up", per_gigabyte, measures.bulk(BULK_DIRECT, down=False), STREAMED, 1),
        Row("relay alone, down", per_gigabyte, measures.bulk(BULK_DIRECT, down=True), STREAMED, 1),
        Row("relay alone, up, unsegmented", per_gigabyte, measures.bulk(BULK_DIRECT, down=False, by_card=True), ALL, 1),
        Row("relay alone, down, unsegmented", per_gigabyte, measures.bulk(BULK_DIRECT, down=True, by_card=True), ALL, 1),
    ]
    small = [
        Row("relay alone, small messages x 64", per_request, measures.small_messages, STREAMED, 1),
        Row("relay alone, connections", "us/connection", measures.connections(1), STREAMED, 1),
        Row("relay alone, connections x 64", "us/connection", measures.connections(64), STREAMED, 1),
    ]
    datagrams = [
        Row(f"datagrams, {size} B, {rate:,}/s", "us/datagram", measures.datagrams(size, rate), ("nginx", "caddy"), reach)
        for size, rate, reach in ((64, 20_000, 1 / 4), (512, 20_000, 1 / 4), (1200, 20_000, 1 / 4), (512, 60_000, 1 / 5.5))
    ]
    trips = [
        Row(f"datagrams, round trip at {measures.PING_RATE:,}/s, p{share}", "us", measures.round_trip(share), ("nginx", "caddy"), 0.7)
        for share in (50, 99)
    ]
    https = [
        Row(f"HTTPS, {name}, {version}", per_request, measures.site(path, version == "HTTP/2"), ALL, 1)
        for name, path in (("1 kB", SMALL), ("100 kB", LARGE))
        for version in ("HTTP/1.1", "HTTP/2")
    ]
    new = [
        Row("HTTPS, new connection", "us/connection", measures.handshakes(resumed=False), ALL, 1),
        Row("HTTPS, resumed connection", "us/connection", measures.handshakes(resumed=True), ALL, 1),
    ]
    memory = [
        Row("memory, before any load", "MB", measures.idle_memory, ("caddy",), 1, once=True),
        Row("memory, after full rate", "MB", measures.busy_memory, ("caddy",), 1),
    ]
    return [memory[0], idle_connection, *memory[1:]] + bulk + small + datagrams + trips + https + new
