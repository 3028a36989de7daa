"""A line to a service that stays open: `python3 -m tests.lab.line tcp|udp HOST PORT`.

What is read goes out, what comes in is printed; over UDP each line is a datagram. Nothing is sent unasked, keep-alives neither.
"""

from __future__ import annotations

import socket
import sys
import threading

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def main() -> int:
    kind, host, port = sys.argv[1:]
    with socket.socket(socket.AF_INET, KINDS[kind]) as wire:
        wire.connect((host, int(port)))
        threading.Thread(target=send_lines, args=(wire,), daemon=True).start()
        try:
            while heard := wire.recv(65535):
                sys.stdout.write(heard.decode())
                sys.stdout.flush()
        except OSError as error:
            print(error)
            return 1
    print("the other side has closed the connection")
    return 1


def send_lines(wire: socket.socket) -> None:
    """Each as it is read."""
    for line in sys.stdin:
        wire.sendall(line.encode())


if __name__ == "__main__":
    sys.exit(main())
