"""What no honest client says: `python3 -m tests.lab.garbage < plan.json`.

The plan is JSON: `host`, `protocol`, `port`, `kind`, `count`, and `recordings`, hex texts of what honest clients said to
that listener. Each piece is one connection or datagram. Prints JSON: how many pieces were sent, how many knocks
were turned away, how many connections were ended by the other side or left open by it, and the beginnings of the answers with their numbers.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import ssl
import struct
import sys
from collections import Counter
from typing import Any

KINDS = ("truncated", "oversized", "wrong-key", "replayed", "random")
AT_ONCE = 64
CONNECT_PATIENCE = 10.0
KNOCKS = 6
ANSWER_PATIENCE = 0.7
"""A server that says nothing for so long is silent; the connection is then reset."""
SETTLE = 0.5
LARGEST_DATAGRAM = 65_507
"""Of UDP over IPv4: it crosses the router in fragments."""
DISCO_MAGIC = bytes.fromhex("5453f09f92ac")
STUN_COOKIE = bytes.fromhex("2112a442")
CONTROL_UPGRADE = (
    "POST /ts2021 HTTP/1.1\r\nHost: hs.example.com\r\nUpgrade: tailscale-control-protocol\r\n"
    "Connection: upgrade\r\nX-Tailscale-Handshake: {}\r\n\r\n"
)
RELAY_UPGRADE = b"GET /derp HTTP/1.1\r\nHost: hs.example.com\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n"


def truncated(port: int, recordings: list[bytes]) -> bytes:
    """The beginning of something true."""
    whole = random.choice(recordings)
    return whole[: random.randrange(1, max(2, min(len(whole), 600)))]


def oversized(port: int, recordings: list[bytes]) -> bytes:
    """Lengths that promise too much, and too much."""
    filler = os.urandom(16) * random.randrange(256, 8192)
    endless = b"GET / HTTP/1.1\r\nHost: app.example.com\r\nX: " + filler.hex().encode()
    many = b"GET / HTTP/1.1\r\nHost: app.example.com\r\n" + b"A: b\r\n" * 3000 + b"\r\n"
    body = b"POST /key HTTP/1.1\r\nHost: hs.example.com\r\nContent-Length: 99999999999\r\n\r\n" + filler
    record = b"\x16\x03\x01\xff\xff" + filler
    frame = RELAY_UPGRADE + b"\x02" + struct.pack(">I", 0xFFFFFFFF) + filler
    noise = CONTROL_UPGRADE.format(base64.b64encode(_introduction(0xFFFF)).decode()).encode() + filler
    return random.choice([endless, many, body, record, frame, noise, random.choice(recordings) + filler])


def wrong_key(port: int, recordings: list[bytes]) -> bytes:
    """Well formed, with keys that the gateway does not have or know."""
    if port in (80, 443, 8080):
        hello = RELAY_UPGRADE + b"\x02" + struct.pack(">I", 32 + 24 + 64) + os.urandom(32 + 24 + 64)
        control = CONTROL_UPGRADE.format(base64.b64encode(_introduction(96)).decode()).encode()
        return random.choice([hello, control])
    if port == 41641:
        box = DISCO_MAGIC + os.urandom(32 + 24 + 62)
        initiation = b"\x01\0\0\0" + os.urandom(144)
        data = b"\x04\0\0\0" + os.urandom(4) + struct.pack("<Q", random.randrange(1000)) + os.urandom(96)
        return random.choice([box, initiation, data])
    if port == 3478:
        # A binding request whose fingerprint is not its own.
        return b"\x00\x01\x00\x08" + STUN_COOKIE + os.urandom(12) + b"\x80\x28\x00\x04" + os.urandom(4)
    whole = bytearray(random.choice(recordings))
    at = random.randrange(max(1, len(whole) - 32))
    whole[at : at + 32] = os.urandom(32)
    return bytes(whole)


def _introduction(length: int) -> bytes:
    """Message 1 of the control protocol's handshake: version 113, initiation, `length` bytes announced."""
    return struct.pack(">HBH", 113, 1, length) + os.urandom(96)


def piece(plan: dict[str, Any], recordings: list[bytes]) -> bytes:
    """One piece of the planned kind."""
    port = plan["port"]
    if plan["kind"] == "truncated":
        return truncated(port, recordings)
    if plan["kind"] == "oversized":
        return oversized(port, recordings)
    if plan["kind"] == "wrong-key":
        return wrong_key(port, recordings)
    if plan["kind"] == "replayed":
        return random.choice(recordings)
    return os.urandom(random.randrange(1, 1500))


class Sender:
    """Sends the pieces of one plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.recordings = [bytes.fromhex(text) for text in plan["recordings"]]
        self.tally: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.tls = ssl.create_default_context()
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE

    async def run(self) -> dict[str, Any]:
        if self.plan["protocol"] == "udp":
            await self._send_datagrams()
        else:
            slots = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._one_connection(slots) for _ in range(self.plan["count"])))
        return {**self.tally, "answers": dict(self.answers)}

    def _heard(self, answer: bytes) -> None:
        if answer:
            self.answers[answer[:12].decode("latin-1")] += 1

    async def _one_connection(self, slots: asyncio.Semaphore) -> None:
        async with slots:
            pair = await self._let_in()
            if pair is None:
                return
            reader, writer = pair
            try:
                await asyncio.wait_for(self._talk(reader, writer), CONNECT_PATIENCE)
            except (OSError, ssl.SSLError):
                self.tally["ended"] += 1
            except TimeoutError:
                self.tally["left open"] += 1
            finally:
                writer.transport.abort()

    async def _let_in(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection; a door that is closed for the moment, as by a ceiling, is tried again."""
        for attempt in range(KNOCKS):
            try:
                return await asyncio.wait_for(self._connect(), CONNECT_PATIENCE)
            except (OSError, ssl.SSLError, TimeoutError):
                self.tally["turned away"] += 1
                await asyncio.sleep(0.3 * attempt)
        self.tally["never let in"] += 1
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # What is said under TLS reaches the listener's second layer only inside a real TLS connection.
        inside = self.plan["port"] == 443 and (self.plan["kind"] == "wrong-key" or random.random() < 0.3)
        name = {"ssl": self.tls, "server_hostname": "hs.example.com"} if inside else {}
        return await asyncio.open_connection(self.plan["host"], self.plan["port"], **name)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tally["sent"] += 1
        writer.write(piece(self.plan, self.recordings))
        await writer.drain()
        if random.random() < 0.5 and writer.can_write_eof():
            writer.write_eof()
        try:
            answer = await asyncio.wait_for(reader.read(4096), ANSWER_PATIENCE)
        except TimeoutError:
            self.tally["left open"] += 1
            return
        self._heard(answer)
        self.tally["answered" if answer else "ended"] += 1

    async def _send_datagrams(self) -> None:
        loop = asyncio.get_running_loop()
        heard: list[bytes] = []

        class Ear(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                heard.append(data)

        target = (self.plan["host"], self.plan["port"])
        transport, _ = await loop.create_datagram_endpoint(Ear, remote_addr=target)
        for number in range(self.plan["count"]):
            transport.sendto(piece(self.plan, self.recordings)[:LARGEST_DATAGRAM])
            self.tally["sent"] += 1
            if number % 20 == 19:
                await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLE)
        transport.close()
        for answer in heard:
            self._heard(answer)
        self.tally["answered"] = len(heard)


def main() -> None:
    plan = json.load(sys.stdin)
    print(json.dumps(asyncio.run(Sender(plan).run())))


if __name__ == "__main__":
    main()
