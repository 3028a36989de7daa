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
ARCHES = ("x86_64", "aarch64")
WORKS = ("bulk", "small", "datagrams")
"""TCP super-packets of 49 segments at MTU 1280; acknowledgements of 52 bytes; datagrams of 512 bytes, 16 together."""
SHORT, LONG = 20, 60


class Missing(Exception):
    """Something that has to be installed, with the cure."""


@dataclass(frozen=True)
class Count:
    """Of one packet sealed or opened, and of 10^6 bytes of them."""

    work: str
    way: str
    arch: str
    per_packet: float
    per_megabyte: float


def build_plugin() -> Path:
    if not shutil.which("gcc"):
        raise Missing("gcc is not installed: apt-get install build-essential")
    PLUGIN.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", PLUGIN, SOURCE], check=True)
    return PLUGIN


def build(arch: str) -> Path:
    """The program of `examples/data_plane.rs` for `arch`; for a card's processor as the card's binary is built."""
    if arch == "aarch64":
        subprocess.run([ROOT / "image" / "binary.sh", arch, "data_plane"], cwd=ROOT, check=True)
        return ROOT / "target" / "binary" / arch / "data_plane"
    subprocess.run(["cargo", "build", "--release", "--locked", "--example", "data_plane"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "data_plane"


def emulator(arch: str) -> str:
    name = f"qemu-{arch}"
    if not shutil.which(name):
        raise Missing(f"{name} is not installed: image/install.sh qemu, or apt-get install qemu-user")
    return name


def count(arch: str, program: Path) -> list[Count]:
    """What sealing takes, and what opening takes beside it."""
    counts = []
    for work in WORKS:
        sealed, opened = _slope(arch, program, work), _slope(arch, program, f"{work}-open")
        for way, (packet, megabyte) in (("seal", sealed), ("open", tuple(both - one for both, one in zip(opened, sealed)))):
            counts.append(Count(work, way, arch, packet, megabyte))
    return counts


def _slope(arch: str, program: Path, work: str) -> tuple[float, float]:
    """Instructions per packet and per megabyte of payload."""
    (short, packets, payload), (long, more_packets, more_payload) = (_run(arch, program, work, rounds) for rounds in (SHORT, LONG))
    grown = long - short
    return grown / (more_packets - packets), grown / (more_payload - payload) * 1e6


def _run(arch: str, program: Path, work: str, rounds: int) -> tuple[int, int, int]:
    words = [emulator(arch), "-cpu", "max", "-plugin", PLUGIN, program, work, str(rounds)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr}")
    packets, payload = map(int, done.stdout.split())
    return int(done.stderr.split()[-1]), packets, payload


def table(counts: list[Count]) -> str:
    rows = ["| work | way | processor | instructions per packet | per MB |", "|---|---|---|---|---|"]
    rows += [f"| {one.work} | {one.way} | {one.arch} | {one.per_packet:,.0f} | {one.per_megabyte / 1e6:.2f} million |" for one in counts]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m benches.instructions", description=__doc__)
    parser.add_argument("--arch", default=",".join(ARCHES), help="by commas (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    arches = options.arch.split(",")
    if unknown := set(arches) - set(ARCHES):
        parser.error(f"no counts for {', '.join(sorted(unknown))}; there are {', '.join(ARCHES)}")
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
