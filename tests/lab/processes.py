"""Programs of the lab: each with a log file, each stopped in bounded time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

TAIL_LINES = 25


class CommandFailed(Exception):
    """A program ended with a failure or ran out of time."""


@dataclass(frozen=True)
class Outcome:
    """What a finished command left behind."""

    code: int
    output: str
    errors: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def run(
    argv: Sequence[str],
    timeout: float = 20,
    check: bool = True,
    feed: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Outcome:
    """Runs a command to its end; with `check`, a failure is an exception that carries its output."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=feed,
            stdin=subprocess.DEVNULL if feed is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **env} if env else None,
        )
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(f"no end within {timeout:g} s: {' '.join(words)}\n{late.stdout!s}\n{late.stderr!s}") from None
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    if check and not outcome.ok:
        raise CommandFailed(f"exit {outcome.code}: {' '.join(words)}\n{outcome.output}{outcome.errors}")
    return outcome


@dataclass
class Process:
    """A running program and its log."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            self.popen.send_signal(number)

    def kill(self) -> None:
        """`kill -9` of the program and whatever it started, and the end of it seen."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(10)

    def stop(self, within: float = 5) -> None:
        """Asks with SIGTERM, then kills."""
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(within)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of its log."""
        try:
            text = self.log.read_text(errors="replace").splitlines()[-lines:]
        except OSError as error:
            text = [str(error)]
        state = "running" if self.alive else f"ended with {self.popen.returncode}"
        return "\n".join([f"--- {self.name} ({state}), {self.log}", *text])


class Processes:
    """All programs of one lab, in the order they were started."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: list[Process] = []

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Starts a program in a session of its own; its output is appended to `logs/NAME.log`."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **env} if env else None,
            )
        process = Process(name, popen, log)
        self.running.append(process)
        return process

    def stop(self, process: Process, within: float = 5) -> None:
        process.stop(within)
        self.running.remove(process)

    def stop_all(self) -> None:
        """Stops everything, last started first; asks all before waiting for any."""
        for process in reversed(self.running):
            process.signal(signal.SIGTERM)
        for process in reversed(self.running):
            process.stop()
        self.running.clear()

    def dead(self) -> list[Process]:
        """Programs that ended by themselves."""
        return [process for process in self.running if not process.alive]

    def tails(self, names: Sequence[str] = ()) -> str:
        """The tails of the logs of the named programs (all when none is named)."""
        chosen = [process for process in self.running if not names or process.name in names]
        return "\n".join(process.tail() for process in chosen)
