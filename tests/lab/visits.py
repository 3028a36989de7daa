"""What a stranger on the internet does with each public port; every visit fails loudly and in bounded time."""

from __future__ import annotations

import os
import sys
import time
import zlib
from typing import Callable

from . import layout, services
from .lab import Lab
from .namespace import Namespace
from .processes import CommandFailed

PATIENCE = 8
STUN_FINGERPRINT = 0x5354554E

Visit = Callable[[Lab], str]


def site(lab: Lab, name: str, path: str = "/", *options: object) -> str:
    """The body of `https://name/path`, its certificate checked as a browser would."""
    url = f"https://{name}{path}"
    return lab.stranger.run("curl", "-sSf", "--max-time", PATIENCE, *options, url, timeout=PATIENCE + 5).output


def app(lab: Lab) -> str:
    return _expect(site(lab, "app.example.com"), "machine-a")


def api(lab: Lab) -> str:
    return _expect(site(lab, "api.example.com"), "machine-b")


def shell(lab: Lab, command: str = "echo shell-on-$((40 + 2))") -> str:
    """`ssh -p 2222`: logs in on machine A and runs a command."""
    answer = lab.stranger.run(*lab.shell.client("example.com", 2222, command), timeout=PATIENCE * 2).output
    return _expect(answer, "shell-on-42")


def database(lab: Lab, sql: str = "SELECT 'database-' || inet_server_port()") -> str:
    """`psql`: asks machine B's PostgreSQL."""
    return lab.stranger.run(*lab.database.client("example.com", sql), timeout=PATIENCE * 2).output


def game(lab: Lab) -> str:
    """A game query to machine C by a real query program, which asks the port after the one it is given."""
    query = ["quakestat", "-raw", "|", "-timeout", "2", "-cubes", f"example.com:{services.GAME_PORT}"]
    return _expect(lab.stranger.run(*query, timeout=PATIENCE * 2).output, "|lab|")


def redirect(lab: Lab) -> str:
    """Port 80 sends a site's visitor to https."""
    words = ["curl", "-sS", "-o", "/dev/null", "--max-time", PATIENCE, "-w", "%{http_code} %{redirect_url}"]
    return _expect(lab.stranger.run(*words, "http://app.example.com/deep?x=1").output, "308 https://app.example.com/deep?x=1")


def coordinator(lab: Lab) -> str:
    """Port 443 by the coordinator's own name."""
    return _expect(site(lab, layout.COORDINATOR_NAME, "/key?v=142"), "publicKey")


def plain_coordinator(lab: Lab) -> str:
    """Port 8080."""
    url = "http://example.com:8080/key?v=142"
    return _expect(lab.stranger.run("curl", "-sSf", "--max-time", PATIENCE, url).output, "publicKey")


def stun(lab: Lab) -> str:
    """Port 3478/udp: a binding request (RFC 5389) as Tailscale's clients send it is answered under its own transaction."""
    transaction = os.urandom(12)
    request = bytes.fromhex("000100142112a442") + transaction + bytes.fromhex("80220008") + b"tailnode"
    fingerprint = zlib.crc32(request) ^ STUN_FINGERPRINT
    request += bytes.fromhex("80280004") + fingerprint.to_bytes(4, "big")
    answer = datagram(lab.stranger, "example.com", 3478, request)
    if answer[:2] != bytes.fromhex("0101") or answer[8:20] != transaction:
        raise CommandFailed(f"no binding success: {answer.hex()}")
    return answer.hex()


PUBLIC: dict[str, Visit] = {
    "80 redirect": redirect,
    "443 app": app,
    "443 api": api,
    "443 coordinator": coordinator,
    "2222 ssh": shell,
    "5432 psql": database,
    "27015/udp game": game,
    "8080 coordinator": plain_coordinator,
}
"""Every row of the seed's port-forward table, and what answers behind it."""


def seconds_since(start: float) -> float:
    """Of the monotonic clock."""
    return time.monotonic() - start


def datagram(space: Namespace, host: str, port: int, payload: bytes) -> bytes:
    """One datagram and its answer."""
    words = [sys.executable, "-m", "tests.lab.datagram", host, port, payload.hex()]
    return bytes.fromhex(space.run(*words, env={"PYTHONPATH": str(layout.ROOT)}).output)


def _expect(answer: str, part: str) -> str:
    if part not in answer:
        raise CommandFailed(f"expected {part!r} in {answer!r:.500}")
    return answer
