"""The gateway as the owner has it: a card with a few files on it, in a machine of its own."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from . import layout
from .card import Card
from .gateway import Gateway
from .network import Network
from .processes import Outcome, Processes
from .qemu import Virtual
from .waiting import eventually

KEY_FILE = "genkan/API-KEY.txt"
REPORT_FILE = "REPORT.txt"
CA_FILE = "acme-ca.pem"
BOOT_WITHIN = 60.0


class CardGateway(Gateway):
    """As `Gateway`, with the card's files as its configuration and the admin interface over the network.

    What it is asked, it is asked from the router: inside the house, as from the owner's laptop.
    """

    def __init__(self, network: Network, scratch: Path, processes: Processes, transport_ca: Path) -> None:
        super().__init__(network.router, scratch, processes, transport_ca)
        self.card = Card.flash(scratch / "card.img")
        self.machine = Virtual("gateway", self.card, network.lan, processes, scratch)
        self._api_key = ""
        self._earlier = processes.logs / "gateway-console-earlier.log"
        self._put_files()

    def _write_config(self, transport_ca: Path) -> None:
        super()._write_config(transport_ca)
        settings = self.config / "genkan.toml"
        # The card has its own interface and address; the authority's certificate lies beside the file.
        text = settings.read_text().replace(str(transport_ca), CA_FILE).split("[lan]")[0]
        settings.write_text(text + f'[time]\nservers = ["{layout.DNS_SERVER}"]\n')
        (self.config / CA_FILE).write_bytes(transport_ca.read_bytes())

    def _put_files(self) -> None:
        for file in self.config.iterdir():
            self.card.put(f"genkan/{file.name}", file.read_bytes())
        self.card.put(KEY_FILE, "")

    def start(self) -> float:
        # QEMU begins the console's file anew.
        with self._earlier.open("a") as kept:
            kept.write(self.machine.said())
        return self.machine.start()

    def wait_until_up(self, within: float = BOOT_WITHIN) -> float:
        eventually("the card answers on the LAN", self._answers, within, every=0.1)
        up = time.monotonic() - self.machine.started
        self._api_key = eventually("an API key on the card", self._written_key, within)
        return up

    def _answers(self) -> bool:
        assert self.machine.alive, f"QEMU ended\n{self.machine.tail()}"
        return self.space.run("curl", "-sSf", "--max-time", 2, f"http://{layout.GATEWAY}:8080/key?v=113", check=False).ok

    def _written_key(self) -> str:
        found = re.search(r"gkapi-\S+", self.card.text(KEY_FILE))
        return found[0] if found else ""

    @property
    def alive(self) -> bool:
        return self.machine.alive

    @property
    def pid(self) -> int:
        return self.machine.pid

    def stop(self) -> None:
        """By its power key."""
        self.machine.shut_down()

    def kill(self) -> None:
        self.machine.cut()

    def log(self) -> str:
        """What every boot so far said."""
        return self._earlier.read_text() + self.machine.said()

    def tail(self) -> str:
        return self.machine.tail()

    def admin(self, *words: object, check: bool = True) -> Outcome:
        """One admin command from the router, by address and API key."""
        environment = {"GENKAN_ADDRESS": layout.GATEWAY, "GENKAN_API_KEY": self._api_key}
        return self.space.run(self.program, *words, check=check, env=environment)

    def status(self) -> dict[str, Any]:
        """The status page's data."""
        return json.loads(self.space.run("curl", "-sSf", "--max-time", 5, f"http://{layout.GATEWAY}:9090/status.json").output)

    def seconds_to_ready(self) -> float:
        """From this boot's first process to its worker being ready, by the guest's own clock."""
        return float(re.search(r"^ *(\d+\.\d+) .*the worker is ready", self.machine.said(), re.MULTILINE)[1])

    def wish_for_report(self) -> None:
        """The next start fills the file; the machine is off."""
        self.card.put(REPORT_FILE, "")

    def report(self) -> dict[str, Any]:
        """What this boot found inside; a `ValueError` before it is written."""
        return json.loads(self.card.text(REPORT_FILE))

    def set_policy(self, policy: dict[str, Any]) -> None:
        """As the owner does: the card in a laptop, another file on it, and a new start."""
        if policy == self.policy:
            return
        super().set_policy(policy)
        self.stop()
        self.card.put("genkan/acl.json", (self.config / "acl.json").read_bytes())
        self.start()
        self.wait_until_up()

    def reload(self) -> None:
        """There is nobody to send a signal to."""

    def hints(self) -> list[str]:
        """Commands to try."""
        admin = f"GENKAN_ADDRESS={layout.GATEWAY} GENKAN_API_KEY={self._api_key}"
        return [
            f"{admin} tests/lab/sh router {self.program} nodes list",
            f"tests/lab/sh router curl -s http://{layout.GATEWAY}:9090/    # the status page; /status.json for programs",
            f"tail -f {self.machine.console}",
            f"mtype -i {self.card.drive()} ::STATUS.txt    # also ::genkan/JOIN.txt",
        ]
