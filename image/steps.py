"""Progress: one line per step with its seconds; a failing command is shown with the end of what it said."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TAIL_LINES = 30


class Failed(Exception):
    """The build cannot go on; the text says why and what to do."""


@contextmanager
def step(title: str) -> Iterator[None]:
    print(f"  {title} ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    print(f"  {title}: {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


def run(*command: str | Path, log: Path | None = None, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Runs a command and returns its standard output (or, if that is empty, its error output); with `log`, all goes there instead."""
    words = [str(word) for word in command]
    environment = {**os.environ, **(env or {})}
    if log is None:
        done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace")
        output = done.stdout + done.stderr if done.returncode else done.stdout or done.stderr
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as sink:
            done = subprocess.run(words, cwd=cwd, env=environment, stdout=sink, stderr=subprocess.STDOUT)
        output = log.read_text(errors="replace") if done.returncode else ""
    if done.returncode:
        tail = "\n".join(output.splitlines()[-TAIL_LINES:])
        raise Failed(f"{' '.join(words)}\n{tail}\nended with {done.returncode}")
    return output


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
