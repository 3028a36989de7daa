"""nbdkit with a forgetful disk, and the plug of it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

from tests.lab import layout
from tests.lab.card import Card
from tests.lab.processes import Process, Processes
from tests.lab.waiting import eventually

from .forgetful_disk import Cut, Moment, Write

PLUGIN = Path(__file__).with_name("forgetful_plugin.py")


class ForgetfulServer:
    """One power-on of a card behind nbdkit; after the cut the card's file holds what survived."""

    def __init__(self, card: Card, seed: int, processes: Processes, records: bool = False) -> None:
        """With `records`, all writes are kept in order, for `recorded`."""
        self.card = card
        self._record = card.file.with_suffix(".record") if records else None
        self.seed = seed
        self.socket = card.file.with_suffix(".nbd")
        self._processes = processes
        self._process: Process | None = None

    @property
    def drive(self) -> str:
        """For `Virtual`: with a write cache that the guest must flush."""
        return f"driver=nbd,server.type=unix,server.path={self.socket},cache.writeback=on"

    def start(self, moment: Moment | None = None) -> None:
        """Serves the card; with `moment`, until then."""
        self._report.unlink(missing_ok=True)
        self.arm(moment)
        self.socket.unlink(missing_ok=True)
        words = ["nbdkit", "--foreground", "--exit-with-parent", "--unix", self.socket, "--threads", 4, "python", PLUGIN]
        words += [f"card={self.card.file}", f"seed={self.seed}"]
        words += [f"record={self._record}"] if self._record else []
        self._process = self._processes.start("nbdkit", words, {"PYTHONPATH": str(layout.ROOT)})
        eventually("nbdkit's socket", self._listens, within=30)

    def _listens(self) -> bool:
        assert self._process.alive, self._process.tail()
        return self.socket.exists()

    def arm(self, moment: Moment | None) -> None:
        """Cuts the power at `moment`, or not by itself."""
        file = self.card.file.with_suffix(".arm")
        file.unlink(missing_ok=True)
        if moment:
            moment.save(file)

    @property
    def _report(self) -> Path:
        return self.card.file.with_suffix(".cut")

    @property
    def is_dead(self) -> bool:
        """Whether its moment has come."""
        return self._report.exists()

    def cut(self) -> Cut:
        """Pulls the plug if its moment has not come yet, and ends nbdkit. The machine must be gone: it would see errors."""
        self._processes.stop(self._process, within=60)
        return Cut(**json.loads(self._report.read_text()))

    def recorded(self) -> list[Write | None]:
        """After the cut: every write of this life, and None for each flush."""
        return pickle.loads(self._record.read_bytes())
