"""New TLS 1.3 connections one after the other, a request on each: `handshakes.py HOST PORT NAME PATH SECONDS new|resumed`; prints how many.

Exit 1 where one that should resume a session did not, or the other way round.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time


def main() -> int:
    host, port, name, path, seconds, kind = sys.argv[1:]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    session = visit(context, host, int(port), name, request, None)[0] if kind == "resumed" else None
    count = 0
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        newest, resumed = visit(context, host, int(port), name, request, session)
        if resumed != (kind == "resumed"):
            print(f"connection {count} was {'' if resumed else 'not '}resumed", file=sys.stderr)
            return 1
        session = newest if session else None
        count += 1
    print(count)
    return 0


def visit(
    context: ssl.SSLContext, host: str, port: int, name: str, request: bytes, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    """One connection; the session to resume next, and whether this one was resumed."""
    with socket.create_connection((host, port)) as plain:
        with context.wrap_socket(plain, server_hostname=name, session=session) as secure:
            secure.sendall(request)
            answer = b""
            while part := secure.recv(65536):
                answer += part
            if b" 200 " not in answer.split(b"\r\n", 1)[0]:
                raise ValueError(f"answered with {answer[:100]!r}")
            return secure.session, bool(secure.session_reused)


if __name__ == "__main__":
    sys.exit(main())
