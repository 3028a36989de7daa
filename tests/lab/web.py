"""The HTTP service of a machine: `python3 -m tests.lab.web PORT NAME`.

`GET /` names the machine, `GET /mark/TEXT` answers TEXT in its body, `GET /headers` answers the request's headers as
JSON, `GET /drip/COUNT` sends COUNT lines one every 100 ms, `POST /echo` answers what it was sent.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST_ECHO = 64 * 1024 * 1024


class Site(BaseHTTPRequestHandler):
    """One request to the machine's site."""

    protocol_version = "HTTP/1.1"
    name = "nobody"

    def do_GET(self) -> None:
        section, _, rest = self.path.lstrip("/").partition("/")
        if section == "mark":
            self._answer(f"{self.name} {rest}\n".encode())
        elif section == "headers":
            self._answer(json.dumps(dict(self.headers.items())).encode())
        elif section == "drip":
            self._drip(int(rest))
        elif section == "":
            self._answer(f"{self.name}\n".encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LONGEST_ECHO:
            self.send_error(413)
            return
        self._answer(self.rfile.read(length))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, count: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(count):
            line = f"{number}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(0.1)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        sys.stderr.write(f"{self.client_address[0]} {format % args}\n")


def main() -> None:
    Site.name = sys.argv[2]
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Site).serve_forever()


if __name__ == "__main__":
    main()
