"""Talking by lines with a program that stays."""

from __future__ import annotations

import queue
import subprocess
import threading
from types import TracebackType
from typing import Mapping, Sequence

from .processes import CommandFailed
from .waiting import Late


class Conversation:
    """What is said goes to the program's input; what is heard comes from its output and its errors. It ends with the `with` block."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        pipe = subprocess.PIPE
        self._program = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, bufsize=1, env=env)
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._program.stdout:
            self._heard.put(line.rstrip("\n"))

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._program.kill()
        self._program.communicate()

    def say(self, line: str) -> None:
        try:
            self._program.stdin.write(line + "\n")
        except OSError as error:
            raise CommandFailed(f"{self.name}: {error}; last heard: {self.unheard()}") from None

    def hear(self, within: float) -> str:
        """The next line."""
        try:
            return self._heard.get(timeout=within)
        except queue.Empty:
            raise Late(f"{self.name}: nothing heard within {within:g} s") from None

    def unheard(self) -> list[str]:
        """What came and nobody asked for."""
        lines = []
        while not self._heard.empty():
            lines.append(self._heard.get())
        return lines
