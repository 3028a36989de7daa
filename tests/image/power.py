"""A house whose power fails: a card behind a forgetful disk, the cut, and what must be so afterwards."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.lab import ca, layout
from tests.lab.card import Card
from tests.lab.gateway import program
from tests.lab.processes import CommandFailed, Outcome, run
from tests.lab.qemu import Virtual
from tests.lab.waiting import eventually

from .bench import Bench
from .forgetful_disk import Cut, Moment
from .forgetful_server import ForgetfulServer

NAMES = (layout.COORDINATOR_NAME, "hs2.example.com")
SETTINGS = f"""\
[coordinator]
name = "{NAMES[0]}"

[acme]
email = "owner@example.com"
directory = "{layout.DIRECTORY_URL}"
ca_file = "acme-ca.pem"

[time]
servers = ["{layout.DNS_SERVER}"]
"""
POLICY = (layout.ROOT / "tests" / "lab" / "config" / "acl.json").read_text()
KEY_FILE = "genkan/API-KEY.txt"
READY_WITHIN = 180.0
LOST = {"BOX-01", "BOX-02", "BOX-04", "BOX-05", "BOX-06", "CFG-01", "CFG-02", *(f"DATA-0{number}" for number in range(1, 8))}
"""No power cut may leave one of these conditions."""
HARMLESS = (
    # What fsck.vfat says of a FAT that was open for writing, and of clusters that nobody uses.
    r"fsck\.fat .*",
    r"There are differences between boot sector and its backup\.",
    r"This is mostly harmless\. Differences: \(offset:original/backup\)",
    r"\s*65:01/00",
    r"\s*Not automatically fixing this\.",
    r"Dirty bit is set\. .*",
    r"\s*Automatically removing dirty bit\.",
    r"FATs differ but appear to be intact\.",
    r"\s*Using first FAT\.",
    r"Free cluster summary wrong .*",
    r"\s*Auto-correcting\.",
    r"Reclaimed \d+ unused clusters? .*",
    r"Leaving filesystem unchanged\.",
    r".*: \d+ files, \d+/\d+ clusters",
    r"\s*",
)


class Life:
    """One power-on of a card, by the card's own boot loader, until the power is cut."""

    def __init__(self, house: PoweredHouse, card: Card, seed: int, moment: Moment | None, records: bool) -> None:
        self.card = card
        self.server = ForgetfulServer(card, seed, house.processes, records)
        self.server.start(moment)
        self.machine = house.boot(card, slot=None, drive=self.server.drive)

    @property
    def is_over(self) -> bool:
        return self.server.is_dead or not self.machine.alive

    def cut(self) -> Cut:
        """The end of it, now if it has not come by itself."""
        by_itself = self.server.is_dead
        seconds = time.monotonic() - self.machine.started
        self.machine.cut()
        cut = self.server.cut()
        print(f"  {seconds:5.1f} s: cut {'at its moment' if by_itself else 'by hand'}, {cut}", flush=True)
        return cut


class PoweredHouse(Bench):
    """A house with a time server, an authority for certificates, and one card that its owner has set up."""

    def __enter__(self) -> PoweredHouse:
        super().__enter__()
        # The card has its address; whoever asks for it must not be answered by another.
        self.network.gateway.run("ip", "link", "set", "eth0", "down")
        self.router_on()
        self.time_server()
        self.authority = ca.Authority(self.network.inet, self.scratch)
        self.authority.start(self.processes)
        self.transport_ca = self.authority.transport_ca.read_bytes()
        return self

    def set_up(self) -> None:
        """Boots a new card once: what all phases but the first begin with. Nothing reaches it from the internet, so it has no certificate."""
        self.owned = self.new_card()
        machine = self.boot(self.owned, slot=None)
        self.wait_ready(machine, READY_WITHIN)
        self.api_key = eventually("an API key on the card", lambda: written_key(self.owned), READY_WITHIN)
        eventually("a join file on the card", lambda: self.owned.has("genkan/JOIN.txt"), READY_WITHIN)
        # The drive is written last, and then closed.
        eventually("the keys' copy on the card", lambda: self.owned.has("genkan/.identity"), READY_WITHIN)
        eventually("STATUS.txt", lambda: "443" in self.owned.text("STATUS.txt"), READY_WITHIN)
        self.key = self.server_key()
        # Of what lies in a plain file nothing is forgotten.
        machine.cut()

    def clean_up(self) -> None:
        """Off with all machines, and away with all cards but the one that was set up."""
        for process in [running for running in self.processes.running if running.name.startswith(("card", "nbdkit"))]:
            self.processes.stop(process)
        for left in self.scratch.glob("card-*.*"):
            if left != self.owned.file:
                left.unlink()

    def new_card(self) -> Card:
        files: dict[str, str | bytes] = {"genkan_toml": SETTINGS, "acl_json": POLICY}
        card = self.card(**files)
        card.put("genkan/acme-ca.pem", self.transport_ca)
        card.put(KEY_FILE, "")
        return card

    def owned_card(self) -> Card:
        """A copy of the card that was set up."""
        self._boots += 1
        return self.owned.copy(self.scratch / f"card-{self._boots}.img")

    def power_on(self, card: Card, seed: int, moment: Moment | None = None, records: bool = False) -> Life:
        return Life(self, card, seed, moment, records)

    def recover(self, card: Card) -> Virtual:
        """The power is back: checks the file systems, and waits until the box is there by itself."""
        check_file_systems(card)
        machine = self.boot(card, slot=None)
        seconds = self.wait_ready(machine, READY_WITHIN)
        eventually("the console says ready", lambda: "state:   ready" in machine.said(), READY_WITHIN)
        codes = self.codes() | set(re.findall(r"^ +[X!.] ([A-Z]+-\d\d) ", machine.said(), re.MULTILINE))
        print(f"  {seconds:5.1f} s: ready again, {sorted(codes)}", flush=True)
        assert not codes & LOST, f"{self.status()['conditions']}\n{machine.tail()}"
        return machine

    def server_key(self) -> str:
        """The key by which clients know the box; "" while it does not answer."""
        url = f"http://{layout.GATEWAY}:8080/key?v=113"
        answer = self.network.router.run("curl", "-sSf", "--max-time", 2, url, check=False)
        return str(json.loads(answer.output)["publicKey"]) if answer.ok else ""

    def admin(self, *words: object, key: str = "", check: bool = True) -> Outcome:
        """One admin command, as from the owner's laptop."""
        environment = {"GENKAN_ADDRESS": layout.GATEWAY, "GENKAN_API_KEY": key or self.api_key}
        return self.network.router.run(program(), *words, env=environment, check=check, timeout=30)

    def ask(self, *words: object, key: str = "") -> Any:
        return json.loads(self.admin(*words, "--output", "json", key=key).output)


def written_key(card: Card) -> str:
    """The API key that lies on the card; "" when none does."""
    found = re.search(r"gkapi-\S+", card.text(KEY_FILE))
    return found[0] if found else ""


def check_file_systems(card: Card) -> None:
    """The owner's drive is whole but for what is harmless; the data partition is put in order by its journal. The card is not changed."""
    part = card.file.with_suffix(".part")
    try:
        extract(card, 1, part)
        assert not (told := vfat_problems(part)), told
        extract(card, 4, part)
        mended = run(["e2fsck", "-p", part], check=False, timeout=120)
        assert mended.code in (0, 1), mended
        assert run(["e2fsck", "-fn", part], check=False, timeout=120).ok
    finally:
        part.unlink(missing_ok=True)


def vfat_problems(part: Path) -> list[str]:
    """What fsck.vfat has against a FAT, but for the harmless."""
    lines = run(["fsck.vfat", "-n", part], check=False).output.splitlines()
    return [line for line in lines if not any(re.fullmatch(harmless, line) for harmless in HARMLESS)]


def extract(card: Card, number: int, to: Path) -> None:
    """A copy of a partition as a file."""
    offset, length = card.partition(number)
    length = min(length, card.file.stat().st_size - offset)
    run(["dd", f"if={card.file}", f"of={to}", "bs=1M", "iflag=skip_bytes,count_bytes", f"skip={offset}", f"count={length}", "conv=sparse", "status=none"])


def data_file(card: Card, path: str) -> bytes:
    """A file of the data partition, after its journal; `CommandFailed` when it is not there."""
    part, out = card.file.with_suffix(".part"), card.file.with_suffix(".out")
    out.unlink(missing_ok=True)
    try:
        extract(card, 4, part)
        run(["e2fsck", "-p", part], check=False, timeout=120)
        run(["debugfs", "-R", f"dump {path} {out}", part])
        if not out.exists():
            raise CommandFailed(f"no {path} on the data partition")
        return out.read_bytes()
    finally:
        part.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
