"""`python3 -m benches`: raise the houses, measure round by round, write target/bench/."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.lab import lock
from tests.lab.__main__ import STOPS, interrupt
from tests.lab.gateway import program
from tests.lab.lab import LabImpossible, require_possible
from tests.lab.namespace import remove_all
from tests.lab.processes import CommandFailed, Processes, run
from tests.lab.waiting import Late

from . import calibration, report
from .cpu import FAR, Group, Steadiness
from .measures import TOOLS, Result
from .relays import CADDY, RELAYS, TOKIO_URING
from .rows import Row, rows
from .stacks import NULL, NULL_PROGRAM, PEERS, Stack, raise_genkan, raise_null, raise_peers, raise_tunnel
from .tunnels import BORINGTUN, TUNNELS, WIREGUARD_GO

LOADS = Path(__file__).parent / "load"


def main() -> int:
    options = _options()
    chosen = [row for row in rows() if not options.only or any(word in row.name for word in options.only)]
    if not chosen:
        print(f"no row has {' or '.join(options.only)} in its name", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(row.name for row in chosen))
        return 0
    options.peers = [name for name in options.peers if any(name in row.peers for row in chosen)]
    for number in STOPS:
        signal.signal(number, interrupt)
    try:
        require_possible(on_card=False)
        _require_peers(options.peers)
        with lock.take(), Field(options, chosen) as field:
            if options.hold:
                return hold(field)
            findings = field.measure()
    except (CommandFailed, Late, RuntimeError, LabImpossible, lock.LabBusy) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    report.write(findings, TOOLS)
    print(report.table(findings))
    print(f"\nJSON, table and plot: {TOOLS}/report.*")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each row is measured, all stacks in turn (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.5, help="how long each measurement works (%(default)s)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows with this in their name; may be given again")
    parser.add_argument("--peers", type=_peers, default=",".join(PEERS), help="which peers, by commas; empty for none (%(default)s)")
    parser.add_argument(
        "--build", action="append", type=_build, default=[], metavar="NAME=PATH", help="another genkan to measure beside this one; may be given again"
    )
    parser.add_argument("--hold", action="store_true", help="raise the houses, measure nothing, stay until Ctrl-C: for a profiler")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    return parser.parse_args()


def _peers(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"no peer is called {unknown[0]}; there are {', '.join(PEERS)}")
    return names


def _build(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH with the path of a genkan")
    return name, Path(path).resolve()


def _require_peers(peers: list[str]) -> None:
    """Refuses with the cure where the machine is too small or something is not installed."""
    if (os.cpu_count() or 1) < 2:
        raise LabImpossible("a processor for the gateway and one for everything else are needed, and there is one in all")
    installed = ("haproxy", "nginx", "iperf3", "wrk", "h2load", "ethtool", "wg", "gcc")
    built = {"caddy": CADDY, "wireguard-go": WIREGUARD_GO, "boringtun": BORINGTUN, "tokio-uring": TOKIO_URING}
    wanted = [program(), NULL_PROGRAM, *(place for name, place in built.items() if name in peers)]
    if missing := [name for name in (*installed, *map(str, wanted)) if not shutil.which(name)]:
        raise LabImpossible(f"not installed: {', '.join(missing)}; run `make bench`")


def hold(field: Field) -> int:
    """Says where things stand and waits."""
    for name, stack in field.stacks.items():
        ports = ", ".join(f"{service.name} {stack.port(service)}" for service in stack.published)
        pids = " ".join(str(pid) for group in stack.groups for pid in group.pids())
        https = f", HTTPS {stack.https_port}" if stack.https_port else ""
        print(f"{name}: strangers in {stack.house.stranger.full}; {ports}{https}; processes {pids}", flush=True)
    signal.pause()
    return 0


class Field:
    """Every house, raised and torn down; `measure` goes through the rows."""

    def __init__(self, options: argparse.Namespace, chosen: list[Row]) -> None:
        self.options = options
        self.chosen = chosen
        self.scratch = Path(tempfile.mkdtemp(prefix="genkan-bench-"))
        self.scratch.chmod(0o755)
        self.stacks: dict[str, Stack] = {}

    def __enter__(self) -> Field:
        remove_all()
        TOOLS.mkdir(parents=True, exist_ok=True)
        for source in LOADS.glob("*.c"):
            run(["gcc", "-O2", "-Wall", "-Wextra", "-o", TOOLS / source.stem, source])
        shutil.rmtree(TOOLS / "logs", ignore_errors=True)
        (TOOLS / "logs").mkdir()
        self.processes = Processes(TOOLS / "logs")
        self.far = Group("far", FAR)
        try:
            self._raise_stacks()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _raise_stacks(self) -> None:
        builds = [("genkan", program()), *self.options.build]
        for name, path in builds:
            _tell(f"raising {name}")
            self.stacks[name] = raise_genkan(name, path, self.processes, self.far, self.scratch, TOOLS)
        wanted = [relay for relay in RELAYS if relay.name in self.options.peers]
        if wanted:
            _tell(f"raising tailscaled with {', '.join(relay.name for relay in wanted)}")
            peers = raise_peers(wanted, program(), self.processes, self.far, self.scratch, TOOLS)
            self.stacks.update({stack.name: stack for stack in peers})
        for tunnel in (tunnel for tunnel in TUNNELS if tunnel.name in self.options.peers):
            _tell(f"raising {tunnel.name} with haproxy")
            self.stacks[tunnel.name] = raise_tunnel(tunnel, self.processes, self.far, self.scratch, TOOLS)
        if any(row.asked for row in self.chosen):
            _tell("raising the structural bound")
            self.stacks[NULL] = raise_null(self.processes, self.far, self.scratch, TOOLS)

    def measure(self) -> dict:
        """Paired and interleaved: in each round each stack once, row by row, each time in another order."""
        steadiness = Steadiness()
        bounds = [calibration.crypto_bound()]
        results: dict[str, dict[str, list[Result]]] = {row.name: {} for row in self.chosen}
        for number in range(self.options.rounds):
            for row in (row for row in self.chosen if number == 0 or not row.once):
                self._measure_row(row, number, results[row.name])
        bounds.append(calibration.crypto_bound())
        return report.findings(self.chosen, results, bounds, steadiness.disturbance(), [f"{name}={path}" for name, path in self.options.build])

    def _measure_row(self, row: Row, number: int, results: dict[str, list[Result]]) -> None:
        names = [name for name in self.stacks if _takes_part(name, row)]
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            result = row.measure(self.stacks[name], self.options.seconds)
            results.setdefault(name, []).append(result)
            also = "  ".join(f"{key} {value:.3g}" for key, value in result.also.items())
            _tell(f"{number + 1}/{self.options.rounds}  {row.name:40} {name:12} {result.value:8.3f} {row.unit:14} {also}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.processes.stop_all()
        remove_all()
        for house in {id(stack.house): stack.house for stack in self.stacks.values()}.values():
            house.remove()
        self.far.remove()
        shutil.rmtree(self.scratch, ignore_errors=True)


def _takes_part(name: str, row: Row) -> bool:
    """Every genkan in every row, a peer and the bound where they have what is measured."""
    if name == NULL:
        return row.asked is not None
    return name in row.peers or name not in PEERS


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
