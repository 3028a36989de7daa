"""What no program on this machine can go below: the cipher's own time."""

from __future__ import annotations

import re

from tests.lab.processes import run

from .cpu import GATEWAY

INNER_PACKET = 1280
TCP_PAYLOAD = 1228
"""Of a packet of 1280 bytes: less 20 of IPv4, 20 of TCP and 12 of its time stamps."""


def crypto_bound() -> float:
    """CPU-seconds that sealing a GB of TCP payload takes (Bc): OpenSSL's ChaCha20-Poly1305 on packets of 1280 bytes."""
    words = ["openssl", "speed", "-elapsed", "-seconds", 1, "-bytes", INNER_PACKET, "-evp", "chacha20-poly1305"]
    output = run(["taskset", "-c", GATEWAY, *words]).output
    rate = float(re.search(r"^ChaCha20-Poly1305\s+([\d.]+)k", output, re.MULTILINE | re.IGNORECASE)[1]) * 1000
    return 1e9 / rate * INNER_PACKET / TCP_PAYLOAD
