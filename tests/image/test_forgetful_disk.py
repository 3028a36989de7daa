"""The disk that the power cuts happen to: what it must keep, what it may forget, and that a seed repeats it. No machine is booted."""

from __future__ import annotations

import random
import socket
import struct
from pathlib import Path
from typing import Iterator

import pytest

from tests.lab.card import Card
from tests.lab.processes import Processes

from .forgetful_disk import ForgetfulDisk, Moment, PowerLost, available
from .forgetful_server import ForgetfulServer

SIZE = 1 << 20
SEEDS = range(40)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    file = tmp_path / "card.img"
    file.write_bytes(bytes(SIZE))
    return file


def block(number: int) -> bytes:
    """4 KiB that are like no other."""
    return struct.pack("<I", number + 1) * 1024


def after_cut(card: Path, seed: int) -> bytes:
    """A fresh card; forty blocks written and flushed, overwritten two at a time, then the plug pulled."""
    card.write_bytes(bytes(SIZE))
    disk = ForgetfulDisk(card, seed)
    for number in range(40):
        disk.write(number * 4096, block(number))
    disk.flush()
    for number in range(0, 40, 2):
        disk.write(number * 4096, block(100 + number) + block(101 + number))
    assert disk.read(0, 4096) == block(100), "reads see what is not durable yet"
    disk.cut()
    disk.close()
    return card.read_bytes()


def test_each_page_is_the_flushed_one_or_the_new_one(card: Path) -> None:
    outcomes = set()
    for seed in SEEDS:
        content = after_cut(card, seed)
        pages = [content[at : at + 4096] for at in range(0, SIZE, 4096)]
        for number, page in enumerate(pages[:40]):
            assert page in (block(number), block(100 + number)), (seed, number)
        news = [page == block(100 + number) for number, page in enumerate(pages[:40])]
        outcomes |= {news[at] + news[at + 1] for at in range(0, 40, 2)}
        assert content[40 * 4096 :] == bytes(SIZE - 40 * 4096)
    assert outcomes == {0, 1, 2}, "forgotten, torn and kept"


def test_the_same_seed_leaves_the_same_card(card: Path) -> None:
    contents = [after_cut(card, seed) for seed in SEEDS]
    assert contents == [after_cut(card, seed) for seed in SEEDS]
    assert len(set(contents)) > len(SEEDS) // 2, "other seeds, other cards"


def test_what_was_flushed_or_forced_survives(card: Path) -> None:
    for seed in SEEDS:
        disk = ForgetfulDisk(card, seed)
        disk.write(0, block(seed))
        disk.flush()
        disk.write(4096, block(seed), forced=True)
        disk.cut()
        disk.close()
        assert card.read_bytes()[:8192] == block(seed) * 2, seed


def test_later_writes_win_over_earlier_ones(card: Path) -> None:
    """A write that is forgotten never takes back a forced one after it."""
    for seed in SEEDS:
        disk = ForgetfulDisk(card, seed)
        disk.write(0, block(1))
        disk.write(0, block(2), forced=True)
        disk.cut()
        disk.close()
        assert card.read_bytes()[:4096] == block(2), seed


def test_nothing_is_accepted_once_the_moment_has_come(card: Path) -> None:
    disk = ForgetfulDisk(card, 7)
    disk.write(0, block(0))
    Moment(2, 4096, 12288).save(card.with_suffix(".arm"))
    disk.write(4096, block(1))
    disk.write(0, block(2))
    with pytest.raises(PowerLost):
        disk.write(8192, block(3))
    left = card.read_bytes()
    for act in (lambda: disk.write(0, block(4)), disk.flush, lambda: disk.read(0, 512)):
        with pytest.raises(PowerLost):
            act()
    assert card.read_bytes() == left and disk.cut().writes == 4
    disk.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    running = Processes(tmp_path)
    yield running
    running.stop_all()


def test_nbdkit_serves_it(card: Path, processes: Processes) -> None:
    if not available():
        pytest.skip("no nbdkit with its Python plugin: run tests/install.sh")
    server = ForgetfulServer(Card(card), 5, processes)
    server.start()
    with Client(server.socket) as client:
        assert client.flags & 4 and client.flags & 8, "it can flush and FUA"
        assert not client.flags & 1 << 8, "one connection is all"
        client.write(0, block(1))
        client.flush()
        for number in range(1, 20):
            client.write(number * 4096, block(number))
        client.write(20 * 4096, block(20), forced=True)
        assert client.read(19 * 4096, 4096) == block(19)
    cut = server.cut()
    print(cut)
    content = card.read_bytes()
    assert content[:4096] == block(1) and content[20 * 4096 : 21 * 4096] == block(20)
    assert cut.writes == 21 and cut.kept + cut.torn + cut.forgotten == 20
    assert cut.forgotten and random.Random(5).random() < 0.9


class Client:
    """Just enough of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md): the simple handshake, one request at a time."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        assert self._take(16) == b"NBDMAGICIHAVEOPT"
        self._take(2)
        # Fixed newstyle without zeroes; NBD_OPT_EXPORT_NAME of the nameless export.
        self._socket.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
        self.size, self.flags = struct.unpack(">QH", self._take(10))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def read(self, offset: int, length: int) -> bytes:
        self._ask(0, offset, length)
        return self._take(length)

    def write(self, offset: int, content: bytes, forced: bool = False) -> None:
        self._ask(1, offset, len(content), content, int(forced))

    def flush(self) -> None:
        self._ask(3, 0, 0)

    def _ask(self, command: int, offset: int, length: int, content: bytes = b"", flags: int = 0) -> None:
        self._socket.sendall(struct.pack(">IHHQQI", 0x25609513, flags, command, 1, offset, length) + content)
        magic, error, _ = struct.unpack(">IIQ", self._take(16))
        assert (magic, error) == (0x67446698, 0)

    def _take(self, length: int) -> bytes:
        taken = b""
        while len(taken) < length:
            more = self._socket.recv(length - len(taken))
            assert more, "nbdkit closed the connection"
            taken += more
        return taken
