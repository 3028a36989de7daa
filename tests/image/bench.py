"""A house with nothing in it but a router and the card: for looking at one boot at a time."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lab import ca, clock, layout
from tests.lab.card import Card
from tests.lab.namespace import remove_all
from tests.lab.network import Network
from tests.lab.processes import Process, Processes
from tests.lab.qemu import Virtual
from tests.lab.waiting import eventually

LOGS = layout.ROOT / "target" / "card"
BOOT_WITHIN = 60.0
"""Emulated, on a busy machine; the figure that counts is printed."""


class Bench:
    """`with Bench(name) as bench:` raises the router and tears everything down after."""

    def __init__(self, name: str) -> None:
        self.network = Network()
        self.logs = LOGS / name
        self._boots = 0
        self._leases: Process | None = None

    def __enter__(self) -> Bench:
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        self.scratch = Path(tempfile.mkdtemp(prefix="genkan-card-"))
        self.processes = Processes(self.logs)
        self.network.raise_up()
        self.network.unplug_gateway()
        ca.start_dns(self.processes, self.network.inet, ["example.com"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.processes.stop_all()
        remove_all()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def router_on(self) -> None:
        """The router hands out addresses from now on."""
        names = self.scratch / "house-names"
        names.touch()
        self._leases = ca.start_house_dns(self.processes, self.network.router, names)

    def router_off(self) -> None:
        if self._leases is not None:
            self.processes.stop(self._leases)
            self._leases = None

    def time_server(self) -> Process:
        """An SNTP server on the lab's internet."""
        return clock.start(self.processes, self.network.inet)

    def card(self, **files: str | bytes) -> Card:
        """A flashed card, with files in `genkan/` by their names (`_` for the dot)."""
        self._boots += 1
        card = Card.flash(self.scratch / f"card-{self._boots}.img")
        for name, content in files.items():
            card.put(f"genkan/{name.replace('_', '.')}", content)
        return card

    def virtual(self, card: Card, **options: Any) -> Virtual:
        """A machine with the card in it, off; booted straight from slot A unless told otherwise."""
        self._boots += 1
        options.setdefault("slot", "a")
        return Virtual(f"card{self._boots}", card, self.network.lan, self.processes, self.scratch, **options)

    def boot(self, card: Card, **options: Any) -> Virtual:
        machine = self.virtual(card, **options)
        machine.start()
        return machine

    def wait_ready(self, machine: Virtual, within: float = BOOT_WITHIN) -> float:
        """Waits until the status page says that the worker is ready; returns the seconds since power-on."""
        eventually("the status page says ready", lambda: self._ready(machine), within, every=0.2)
        return time.monotonic() - machine.started

    def _ready(self, machine: Virtual) -> bool:
        assert machine.alive, f"QEMU ended\n{machine.tail()}"
        return bool(self.status().get("version"))

    def status(self) -> dict[str, Any]:
        """The status page's data, as a laptop in the house reads it."""
        url = f"http://{layout.GATEWAY}:9090/status.json"
        return json.loads(self.network.router.run("curl", "-sSf", "--max-time", 2, url).output)

    def codes(self) -> set[str]:
        """Codes of the conditions that the status page shows."""
        return {condition["code"] for condition in self.status()["conditions"]}
