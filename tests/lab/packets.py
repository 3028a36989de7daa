"""Reading captures: pcap file -> IPv4 TCP and UDP packets -> what each sender said."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

# Link types (https://www.tcpdump.org/linktypes.html) and the length of the header before the IP packet.
LINK_HEADERS = {1: 14, 12: 0, 101: 0, 113: 16, 276: 20}
LONGEST_SAYING = 64 * 1024


@dataclass(frozen=True)
class Packet:
    """One IPv4 packet that carries TCP or UDP."""

    protocol: str
    source: str
    source_port: int
    target: str
    target_port: int
    sequence: int
    payload: bytes
    """As much of it as was captured."""
    length: int
    """Bytes of the whole payload."""


def read(file: Path) -> Iterator[Packet]:
    """The TCP and UDP packets of a capture, in order; others are passed over."""
    data = file.read_bytes()
    link = struct.unpack_from("<I", data, 20)[0]
    header = LINK_HEADERS[link]
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        packet = _decode(data[at + 16 + header : at + 16 + size])
        if packet:
            yield packet
        at += 16 + size


def _decode(packet: bytes) -> Packet | None:
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    start = (packet[0] & 15) * 4
    end = struct.unpack_from(">H", packet, 2)[0]
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    body = packet[start:end]
    if packet[9] == socket.IPPROTO_UDP and len(body) >= 8:
        ports = struct.unpack_from(">HH", body)
        return Packet("udp", source, ports[0], target, ports[1], 0, body[8:], end - start - 8)
    if packet[9] == socket.IPPROTO_TCP and len(body) >= 20:
        ports, sequence = struct.unpack_from(">HH", body), struct.unpack_from(">I", body, 4)[0]
        header = (body[12] >> 4) * 4
        return Packet("tcp", source, ports[0], target, ports[1], sequence, body[header:], end - start - header)
    return None


def sayings(file: Path, target: str) -> dict[tuple[str, int], list[bytes]]:
    """What was said to `target`, by protocol and port: whole datagrams, and the first bytes of TCP connections."""
    said: dict[tuple[str, int], list[bytes]] = {}
    streams: dict[tuple[str, int, int], dict[int, bytes]] = {}
    for packet in read(file):
        if packet.target != target or not packet.payload:
            continue
        if packet.protocol == "udp":
            said.setdefault(("udp", packet.target_port), []).append(packet.payload)
        else:
            stream = streams.setdefault((packet.source, packet.source_port, packet.target_port), {})
            stream.setdefault(packet.sequence, packet.payload)
    for (_, _, port), parts in streams.items():
        whole = b"".join(parts[sequence] for sequence in sorted(parts))
        said.setdefault(("tcp", port), []).append(whole[:LONGEST_SAYING])
    return said
