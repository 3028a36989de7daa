"""`ForgetfulDisk` as a plugin of nbdkit's: `nbdkit python forgetful_plugin.py card=FILE seed=N [record=FILE]`, with the project in PYTHONPATH.

SIGTERM is the cut, unless the disk was cut before. A flush and FUA are what the guest has to keep things by; there is one connection only,
for with several (multi-conn) a flush on one of them would have to count for all.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import nbdkit

from tests.image.forgetful_disk import ForgetfulDisk

API_VERSION = 2

settings: dict[str, str] = {}
disk: ForgetfulDisk


def config(key: str, value: str) -> None:
    settings[key] = value


def get_ready() -> None:
    global disk
    disk = ForgetfulDisk(Path(settings["card"]), int(settings["seed"]))
    if "record" in settings:
        disk.record = []


def open(readonly: bool) -> ForgetfulDisk:
    return disk


def get_size(_: ForgetfulDisk) -> int:
    return disk.size


def can_flush(_: ForgetfulDisk) -> bool:
    return True


def can_fua(_: ForgetfulDisk) -> int:
    return nbdkit.FUA_NATIVE


def can_multi_conn(_: ForgetfulDisk) -> bool:
    return False


def pread(_: ForgetfulDisk, buffer: bytearray, offset: int, flags: int) -> None:
    buffer[:] = disk.read(offset, len(buffer))


def pwrite(_: ForgetfulDisk, buffer: bytes, offset: int, flags: int) -> None:
    disk.write(offset, bytes(buffer), bool(flags & nbdkit.FLAG_FUA))


def flush(_: ForgetfulDisk, flags: int) -> None:
    disk.flush()


def cleanup() -> None:
    disk.cut()
    if "record" in settings:
        Path(settings["record"]).write_bytes(pickle.dumps(disk.record))
