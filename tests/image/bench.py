"""A house with nothing in it but a router and the card: for looking at one boot at a time."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Sequence

from tests.lab import ca, clock, layout, lock
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

    def __init__(self, name: str, public_names: Sequence[str] = ("example.com",)) -> None:
        """`public_names` are the house's in the internet's DNS."""
        self.network = Network()
        self.public_names = public_names
        self.logs = LOGS / name
        self._boots = 0
        self._machines: list[Virtual] = []
        self._leases: Process | None = None

    def __enter__(self) -> Bench:
        self._lock = lock.take()
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        self.scratch = Path(tempfile.mkdtemp(prefix="genkan-card-"))
        self.processes = Processes(self.logs)
        self.network.raise_up()
        self.network.unplug_gateway()
        ca.start_dns(self.processes, self.network.inet, self.public_names)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.processes.stop_all()
        remove_all()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self._lock.close()

    def router_on(self) -> None:
        """The router hands out addresses from now on."""
        if self._leases is not None:
            return
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
        machine = Virtual(f"card{self._boots}", card, self.network.lan, self.processes, self.scratch, **options)
        self._machines.append(machine)
        return machine

    def boot(self, card: Card, **options: Any) -> Virtual:
        machine = self.virtual(card, **options)
        machine.start()
        return machine

    def all_off(self) -> None:
        """Pulls every plug, and throws the cards away."""
        for machine in self._machines:
            machine.cut()
            machine.card.delete()
        self._machines.clear()

    def wait(self, machine: Virtual, seconds: float) -> None:
        """Lets time pass, in which the machine must not end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert machine.alive, machine.tail()
            time.sleep(1)

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

    def identity(self) -> str:
        """The public key by which clients know the box."""
        url = f"http://{layout.GATEWAY}:8080/key?v=113"
        return str(json.loads(self.network.router.run("curl", "-sSf", "--max-time", 5, url).output)["publicKey"])

    def is_open(self, port: int) -> bool:
        """Whether a TCP port of the box takes connections."""
        probe = ("bash", "-c", f"exec 3<>/dev/tcp/{layout.GATEWAY}/{port}")
        return self.network.router.run(*probe, timeout=10, check=False).ok
