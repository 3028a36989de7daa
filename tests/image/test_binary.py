"""The binaries of `make binary` are hardened as image/binary.json says, start, and are loaded at a new address each time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from image.hardening import EXPECTED, hardening

ROOT = Path(__file__).resolve().parents[2]
STARTS = 10
LONG = os.environ.get("GENKAN_LONG") == "1"
BUILT = sorted(EXPECTED) if LONG else ["aarch64"]
"""The other machine's binary is not on the card, and takes as long to build: `make binary`."""


def binary(architecture: str) -> Path:
    path = ROOT / "target" / "binary" / architecture / "genkan"
    assert path.exists(), f"{path.relative_to(ROOT)} is not there: run `make binary`"
    return path


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program at work: what it prints is more than its pipe takes, and nobody reads."""
    process = subprocess.Popen((path, "completion", "bash"), stdout=subprocess.PIPE)
    try:
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        assert process.stdout.read(1), "it printed nothing"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def load_address(path: Path) -> str:
    with held(path) as process:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            if line.endswith(str(path)):
                return line.split("-")[0]
    raise AssertionError("the program is not in its own memory map")


@pytest.mark.parametrize("architecture", BUILT)
def test_the_binary_is_hardened_as_committed(architecture: str) -> None:
    assert hardening(binary(architecture)) == EXPECTED[architecture]


def test_a_program_of_this_machine_is_not_hardened_so() -> None:
    assert hardening(Path(shutil.which("readelf")).resolve()) != EXPECTED[os.uname().machine]


@pytest.mark.skipif(not LONG, reason="needs the binary of this machine's kind: `make binary`, or make test-long")
def test_ten_starts_are_at_ten_addresses() -> None:
    path = binary(os.uname().machine)
    addresses = {load_address(path) for _ in range(STARTS)}
    assert len(addresses) == STARTS, sorted(addresses)


@pytest.mark.parametrize("architecture", BUILT)
def test_the_binary_starts(architecture: str) -> None:
    """A wrong pair of start files is noticed only by this."""
    path = binary(architecture)
    emulator = () if architecture == os.uname().machine else (f"qemu-{architecture}",)
    if emulator and not shutil.which(emulator[0]):
        pytest.skip(f"{emulator[0]} is not installed (apt-get install qemu-user)")
    done = subprocess.run((*emulator, path, "--version"), capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("genkan "), done


@pytest.mark.parametrize("architecture", BUILT)
def test_no_path_of_this_machine_is_in_the_binary(architecture: str) -> None:
    data = binary(architecture).read_bytes()
    for folder in (ROOT, Path.home() / ".cargo"):
        assert str(folder).encode() not in data
