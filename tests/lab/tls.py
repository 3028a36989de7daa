"""TLS as OpenSSL's client negotiates it."""

from __future__ import annotations

import re
from pathlib import Path

from .namespace import Namespace

AES_FIRST = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
CHACHA_FIRST = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"


def negotiated(space: Namespace, address: str, name: str, order: str) -> str:
    """The cipher that server and client agree on when the client prefers `order`."""
    return _connect(space, address, name, f"-ciphersuites {order}")[0]


def resumes(space: Namespace, address: str, name: str, session: Path, version: str) -> bool:
    """Whether a second connection goes on with the session of the first, kept in the file `session`."""
    first = _connect(space, address, name, f"-{version} -sess_out {session}")
    second = _connect(space, address, name, f"-{version} -sess_in {session}")
    assert first[1] == "New", first
    return second[1] == "Reused"


def _connect(space: Namespace, address: str, name: str, options: str) -> tuple[str, str]:
    """Cipher, and `New` or `Reused`."""
    # Tickets of TLS 1.3 come after the handshake: the client must still be there.
    command = f"(sleep 0.5) | timeout 5 openssl s_client -connect {address}:443 -servername {name} {options} 2>&1"
    told = space.run("sh", "-c", command, check=False).output
    found = re.search(r"^(New|Reused), \S+, Cipher is (\S+)$", told, re.MULTILINE)
    assert found, told
    return found[2], found[1]
