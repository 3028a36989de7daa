"""A service that says who speaks to it: `python3 -m tests.lab.echo PORT`, over TCP and UDP.

A line or a datagram `SECONDS TEXT` is answered so many seconds later by `ADDRESS:PORT TEXT`, the address being the speaker's as
the service sees it. Nothing is sent meanwhile, so with many seconds it is the service that speaks first.
"""

from __future__ import annotations

import socketserver
import sys
import threading
import time

EVERYWHERE = "0.0.0.0"


class Stream(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(answer(line, self.client_address))


class Datagram(socketserver.BaseRequestHandler):
    """One datagram."""

    def handle(self) -> None:
        payload, wire = self.request
        wire.sendto(answer(payload, self.client_address), self.client_address)


def answer(said: bytes, speaker: tuple[str, int]) -> bytes:
    """The line to send back, when it is time."""
    seconds, text = said.decode().rstrip("\n").split(" ", 1)
    time.sleep(float(seconds))
    return f"{speaker[0]}:{speaker[1]} {text}\n".encode()


def main() -> None:
    place = (EVERYWHERE, int(sys.argv[1]))
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    datagrams = socketserver.ThreadingUDPServer(place, Datagram)
    threading.Thread(target=datagrams.serve_forever, daemon=True).start()
    streams = socketserver.ThreadingTCPServer(place, Stream)
    streams.daemon_threads = True
    streams.serve_forever()


if __name__ == "__main__":
    main()
