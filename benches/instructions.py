"""`python3 -m benches.instructions`: instructions of the tunnel's data plane per packet, counted by QEMU's user mode.

Exact and the same on every machine, so a card's processor can be derived from it: two lengths of a run are subtracted. The kernel's part
is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(__file__).parent / "count" / "instructions.c"
PLUGIN = ROOT / "target" / "bench" / "instructions.so"
PROCESSORS = {"x86_64": "max", "aarch64": "cortex-a72"}
"""QEMU's names: the richest x86_64 (AVX2, no AVX-512), and a Raspberry Pi 4's, without AES."""
WORKS = ("bulk", "small", "datagrams")
"""TCP super-packets of 49 segments at MTU 1280; acknowledgements of 52 bytes; datagrams of 512 bytes. The last two 16 together."""
SHORT, LONG = 20, 420
"""Rounds. What starts a process differs by some thousand instructions from run to run, and the difference is shared by so many."""


class Missing(Exception):
    """Something that has to be installed, with the cure."""


@dataclass(frozen=True)
class Count:
    """Of one packet sealed, opened, or only encrypted, and of 10^6 bytes of payload if they have one."""

    work: str
    way: str
    arch: str
    per_packet: float
    per_megabyte: float | None


def build_plugin() -> Path:
    _need("gcc", "apt-get install build-essential")
    PLUGIN.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", PLUGIN, SOURCE], check=True)
    return PLUGIN


def build(arch: str) -> Path:
    """The program of `examples/data_plane.rs` for `arch`; for a card's processor as the card's binary is built."""
    if arch == "aarch64":
        _need("aarch64-linux-gnu-gcc", "image/install.sh binary")
        _make([ROOT / "image" / "binary.sh", arch, "data_plane"])
        return ROOT / "target" / "binary" / arch / "data_plane"
    _need("cargo", "install Rust from https://rustup.rs")
    _make(["cargo", "build", "--release", "--locked", "--example", "data_plane"])
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "data_plane"


def emulator(arch: str) -> str:
    return _need(f"qemu-{arch}", "image/install.sh qemu, or apt-get install qemu-user")


def _need(name: str, cure: str) -> str:
    if not shutil.which(name):
        raise Missing(f"{name} is not installed: {cure}")
    return name


def _make(words: list[str | Path]) -> None:
    """What it says goes to standard error, for standard output has the counts."""
    subprocess.run(words, cwd=ROOT, check=True, stdout=sys.stderr)


def count(arch: str, program: Path) -> list[Count]:
    """What sealing takes, what opening takes beside it, and what of sealing is the cipher's."""
    counts = []
    for work in WORKS:
        sealed, payload = _slope(arch, program, work)
        both, _ = _slope(arch, program, f"{work}-open")
        cipher, _ = _slope(arch, program, f"{work}-cipher")
        for way, each in (("seal", sealed), ("open", both - sealed), ("cipher", cipher)):
            counts.append(Count(work, way, arch, each, each / payload * 1e6 if payload else None))
    return counts


def _slope(arch: str, program: Path, work: str) -> tuple[float, float]:
    """Instructions and bytes of payload of one packet."""
    short, long = (_run(arch, program, work, rounds) for rounds in (SHORT, LONG))
    instructions, packets, payload = (more - less for less, more in zip(short, long))
    return instructions / packets, payload / packets


def _run(arch: str, program: Path, work: str, rounds: int) -> tuple[int, int, int]:
    """Instructions of the whole run, its packets, and their bytes of payload."""
    words = [emulator(arch), "-cpu", PROCESSORS[arch], "-plugin", PLUGIN, program, work, str(rounds)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr}")
    packets, payload = map(int, done.stdout.split())
    return int(done.stderr.split()[-1]), packets, payload


def table(counts: list[Count]) -> str:
    rows = ["| work | way | processor | instructions per packet | per MB of payload |", "|---|---|---|---|---|"]
    for one in counts:
        megabyte = f"{one.per_megabyte / 1e6:.2f} million" if one.per_megabyte else ""
        rows.append(f"| {one.work} | {one.way} | {one.arch} | {one.per_packet:,.0f} | {megabyte} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m benches.instructions", description=__doc__)
    parser.add_argument("--arch", default=",".join(PROCESSORS), help="by commas (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    arches = options.arch.split(",")
    if unknown := set(arches) - set(PROCESSORS):
        parser.error(f"no counts for {', '.join(sorted(unknown))}; there are {', '.join(PROCESSORS)}")
    try:
        build_plugin()
        counts = [one for arch in arches if emulator(arch) for one in count(arch, build(arch))]
    except (Missing, RuntimeError, subprocess.CalledProcessError) as problem:
        print(f"instructions: {problem}", file=sys.stderr)
        return 1
    print(json.dumps([asdict(one) for one in counts]) if options.json else table(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
