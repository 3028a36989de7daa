"""Captures of packets, and looking for bytes in them."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path
from types import TracebackType

from . import packets
from .namespace import Namespace
from .processes import Process, Processes
from .waiting import eventually

_taken = 0


def marker() -> str:
    """A text that stands nowhere else in the world; short enough for the game server, which ignores long queries."""
    return "mark-" + secrets.token_hex(12)


class Capture:
    """Every packet on an interface of a namespace while the `with` block runs.

    In a switch's namespace `any` sees each port, so nothing crosses the switch unseen. `bytes_each` cuts packets short;
    0 keeps them whole.
    """

    def __init__(self, processes: Processes, space: Namespace, interface: str, where: Path, only: str, bytes_each: int) -> None:
        global _taken
        _taken += 1
        self._processes = processes
        self._space = space
        self._interface = interface
        self._filter = only
        self._bytes_each = bytes_each
        self.file = where / f"{_taken:03}-{space.name}-{interface}.pcap"
        self._process: Process | None = None

    def __enter__(self) -> Capture:
        command = ["tcpdump", "-i", self._interface, "-w", self.file, "-U", "-s", self._bytes_each, "--immediate-mode", "-B", "16384", "-Z", "root"]
        command += [self._filter] if self._filter else []
        name = f"tcpdump-{self.file.stem}"
        self._process = self._processes.start(name, self._space.argv(command))
        eventually(f"{name} listens", lambda: "listening on" in self._process.log.read_text(), within=10, every=0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # With -U and immediate mode what passed is written; SIGINT lets tcpdump finish its file.
        self._process.signal(signal.SIGINT)
        try:
            self._process.popen.wait(5)
        finally:
            self._processes.stop(self._process)

    @property
    def bytes(self) -> bytes:
        return self.file.read_bytes()

    def has(self, text: str) -> bool:
        """Whether the text was seen as it is, in any packet."""
        return text.encode() in self.bytes

    def dropped(self) -> int:
        """Packets that tcpdump itself missed, by its own count."""
        lines = [line for line in self._process.log.read_text().splitlines() if "dropped by kernel" in line]
        return int(lines[-1].split()[0]) if lines else 0

    def udp_bytes(self, source: str) -> int:
        """Bytes of UDP payload that one address sent."""
        sent = (packet for packet in packets.read(self.file) if packet.protocol == "udp" and packet.source == source)
        return sum(packet.length for packet in sent)

    def count(self, only: str) -> int:
        """How many of the packets match a filter."""
        listing = self._space.run("tcpdump", "-nn", "-r", self.file, only, timeout=60)
        return len(listing.output.splitlines())
