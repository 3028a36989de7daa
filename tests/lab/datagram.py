"""One datagram there, one back: `python3 -m tests.lab.datagram HOST PORT HEX`; prints the answer in hex.

Exit 1 when no answer came within two seconds.
"""

from __future__ import annotations

import socket
import sys

PATIENCE = 2.0


def main() -> int:
    host, port, payload = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.settimeout(PATIENCE)
        # Connected, so that an answer from another address or port than the one spoken to is not taken.
        wire.connect((host, int(port)))
        wire.send(bytes.fromhex(payload))
        try:
            print(wire.recv(65535).hex())
        except OSError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
