"""Every check and test in order: `python3 -m tests.verify [--only lint|code|card|lab] [--long]`.

A failed stage does not stop the ones after it, but for those that need it. The last line counts everything.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping

ROOT = Path(__file__).resolve().parents[1]
LONG_CASES = "20000"
LAB_ROUNDS = 3
GRACE_SECONDS = 45


@dataclass
class Counts:
    """Passed, failed and skipped checks."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Counts) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class Stage:
    """One command; `reads` says whose summary lines its output carries."""

    name: str
    group: str
    command: tuple[str, ...]
    minutes: float
    reads: str = "exit"
    needs: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


def stages(long: bool) -> list[Stage]:
    """Cheap ones first; the lab needs the release build."""
    aside = ("--manifest-path", "tests/oracle/Cargo.toml")
    peer = ("--manifest-path", "tests/peers/tokio-uring-relay/Cargo.toml")
    target = {"CARGO_TARGET_DIR": str(ROOT / "target" / "oracle")}
    cases = {"PROPTEST_CASES": LONG_CASES} if long else {}
    longer = {"GENKAN_LONG": "1"} if long else {}
    oracle = ("cargo", "test", "--locked", *aside)
    oracle_clippy = ("cargo", "clippy", "--locked", *aside, "--all-targets", "--", "-D", "warnings")
    peer_clippy = ("cargo", "clippy", "--locked", *peer, "--", "-D", "warnings")
    deny = ("target/tools/bin/cargo-deny", "--log-level", "error", "check", "bans", "licenses", "sources")
    rows = [
        Stage("format", "lint", ("cargo", "fmt", "--check"), 2),
        Stage("dependencies", "lint", deny, 5),
        Stage("clippy", "lint", ("cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"), 15),
        Stage("oracle format", "lint", ("cargo", "fmt", *aside, "--check"), 2),
        Stage("oracle clippy", "lint", oracle_clippy, 15, env=target),
        Stage("peer format", "lint", ("cargo", "fmt", *peer, "--check"), 2),
        Stage("peer clippy", "lint", peer_clippy, 5, env={"CARGO_TARGET_DIR": str(ROOT / "target" / "peers" / "rust")}),
        Stage("rustdoc", "lint", ("cargo", "doc", "--locked", "--no-deps", "--document-private-items"), 10, env={"RUSTDOCFLAGS": "-D warnings"}),
        Stage("tests", "code", ("cargo", "test", "--locked", "--no-fail-fast", "--", "--include-ignored"), 60 if long else 20, "cargo", env=cases),
        Stage("broken", "code", (sys.executable, "tests/image/broken_configs.py", "target/debug/genkan"), 2, needs="tests"),
        Stage("card's builders", "code", (sys.executable, "-m", "pytest", "-q", "-rs", "tests/image/test_parts.py", "tests/image/test_buildroot.py"), 10, "pytest"),
        Stage("oracles", "code", oracle, 20, "cargo", env=target),
        Stage("release", "lab", ("cargo", "build", "--release", "--locked"), 20),
    ]
    pytest = (sys.executable, "-m", "pytest", "-q", "-rs", "--durations=8")
    rows += [
        Stage("instructions", "code", (*pytest, "tests/test_instructions.py"), 15, "pytest", needs="tests"),
        Stage("card", "card", (sys.executable, "-m", "image"), 25),
        *([Stage("binary", "card", ("image/binary.sh", "x86_64"), 20)] if long else []),
        Stage("hardening", "card", (*pytest, "tests/image/test_binary.py"), 5, "pytest", needs="card", env=longer),
        Stage("card's files", "card", (*pytest, "tests/image/test_card.py"), 5, "pytest", needs="card"),
        Stage("card's flows", "card", (*pytest, "-s", "tests/lab/test_1_strangers.py", "tests/lab/test_card.py"), 10, "pytest", needs="card", env={"GENKAN_GATEWAY": "card"}),
        Stage("card inside", "card", (*pytest, "-s", "tests/image/test_inside.py"), 10, "pytest", needs="card"),
        Stage("card's boots", "card", (*pytest, "tests/image/test_boots.py", "tests/image/test_raspi3b.py"), 90 if long else 15, "pytest", needs="card", env=longer),
        Stage("card's updates", "card", (*pytest, "tests/image/test_updates.py"), 40 if long else 15, "pytest", needs="card", env=longer),
    ]
    cuts = ("tests/image/test_forgetful_disk.py", "tests/image/test_power_cuts.py")
    rows.append(Stage("power cuts", "card", (*pytest, "-s", *cuts), 90 if long else 15, "pytest", needs="card", env=longer))
    lab = (*pytest, "tests/lab")
    for number in range(LAB_ROUNDS if long else 1):
        # Ten minutes of silence are the same in every round.
        once = longer if number == 0 else {}
        rows.append(Stage(f"lab{number + 1 if long else ''}", "lab", lab, 45 if once else 30, "pytest", needs="release", env=once))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("lint", "code", "card", "lab"))
    parser.add_argument("--long", action="store_true", help="many more generated cases, the lab several times, ten minutes of silence")
    options = parser.parse_args()
    total = Counts()
    rows: list[str] = []
    done: set[str] = set()
    for stage in stages(options.long):
        if options.only not in (None, stage.group):
            continue
        if stage.needs and stage.needs not in done:
            counts, seconds = Counts(failed=1), 0.0
            print(f"== {stage.name}: not run, for {stage.needs} failed", flush=True)
        else:
            counts, seconds = perform(stage)
        if not counts.failed:
            done.add(stage.name)
        total.add(counts)
        rows.append(f"  {stage.name:14} {seconds:6.0f} s   {counts}")
    print("\n" + "\n".join(rows) + f"\n{total}", flush=True)
    return 1 if total.failed else 0


def perform(stage: Stage) -> tuple[Counts, float]:
    """Runs one stage with its output shown as it comes."""
    print(f"== {stage.name}: {' '.join(stage.command)}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(
        stage.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={**os.environ, **stage.env}, process_group=0,
    )  # fmt: skip
    clock = threading.Timer(stage.minutes * 60, interrupt, (process, f"{stage.name}: out of time"))
    clock.start()
    lines: list[str] = []
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        process.wait()
    except KeyboardInterrupt:
        interrupt(process, "interrupted")
        process.wait(GRACE_SECONDS)
        raise
    finally:
        clock.cancel()
    return count(stage.reads, lines, process.returncode), time.monotonic() - start


def interrupt(process: subprocess.Popen[str], why: str) -> None:
    """As Ctrl-C would, so that the lab tears itself down; then by force."""
    print(f"== {why}", flush=True)
    os.killpg(process.pid, signal.SIGINT)
    force = threading.Timer(GRACE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    force.daemon = True
    force.start()


def count(reads: str, lines: list[str], code: int) -> Counts:
    """The counts in a runner's output (a Rust test that lacks what it needs passes, but says so); a failure that no runner counted (it did not build) counts as one."""
    counts = Counts()
    if reads == "cargo":
        for passed, failed, ignored in re.findall(r"(\d+) passed; (\d+) failed; (\d+) ignored", "".join(lines)):
            counts.add(Counts(int(passed), int(failed), int(ignored)))
        silent = sum(line.startswith("SKIPPED: ") for line in lines)
        counts.add(Counts(passed=-silent, skipped=silent))
    elif reads == "pytest":
        summary = lines[-1] if lines else ""
        numbers = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", summary)}
        counts = Counts(numbers.get("passed", 0), numbers.get("failed", 0) + numbers.get("error", 0), numbers.get("skipped", 0))
    elif code == 0:
        counts = Counts(passed=1)
    if code != 0 and not counts.failed:
        counts.failed = 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
