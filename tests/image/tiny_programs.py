"""Programs for the card that do one bad thing, as static ELF files for AArch64 of a few bytes."""

from __future__ import annotations

import struct

BASE = 0x400000
HEADERS = 64 + 56
SYSTEM_CALL = 0xD4000001
BRANCH_TO_ITSELF = 0x14000000

MKNODAT, OPENAT, PPOLL, EXIT = 33, 56, 73, 93
WATCHDOG = b"/dev/watchdog\0\0\0"
WATCHDOG_DEVICE = 10 << 8 | 130
CHARACTER_DEVICE = 0o020600
WRITE_ONLY = 1


def ending() -> bytes:
    """Ends at once; as process 1 it takes the kernel with it."""
    return _program(b"", [*_call(EXIT, 1)])


def hanging() -> bytes:
    """Opens the watchdog, which begins to count, and never does anything again."""
    path = BASE + HEADERS
    code = [
        *_call(MKNODAT, 0, path, CHARACTER_DEVICE, WATCHDOG_DEVICE),
        *_call(OPENAT, 0, path, WRITE_ONLY, 0),
        *_call(PPOLL, 0, 0, 0, 0),
        BRANCH_TO_ITSELF,
    ]
    return _program(WATCHDOG, code)


def _call(number: int, *arguments: int) -> list[int]:
    loads = [word for register, value in enumerate(arguments) for word in _load(register, value)]
    return [*loads, *_load(8, number), SYSTEM_CALL]


def _load(register: int, value: int) -> list[int]:
    """`movz` for the low half, `movk` for the high one."""
    low = 0xD2800000 | (value & 0xFFFF) << 5 | register
    high = 0xF2A00000 | (value >> 16) << 5 | register
    return [low, high] if value >> 16 else [low]


def _program(data: bytes, code: list[int]) -> bytes:
    """One segment: headers, data, code."""
    body = data + struct.pack(f"<{len(code)}I", *code)
    size = HEADERS + len(body)
    entry = BASE + HEADERS + len(data)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    file = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, entry, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    return identity + file + segment + body
