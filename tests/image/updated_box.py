"""A card booted by U-Boot from itself, and its owner, who has an API key and sends it updates."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from tests.lab import layout
from tests.lab.processes import Outcome, run
from tests.lab.waiting import eventually

from .bench import Bench
from .releases import PROGRAM

BOOT_WITHIN = 180.0
WRITE_WITHIN = 300.0
"""Upload, verification, writing and reading of 64 MB in an emulator, with the start into it."""
KEY_FILE = "genkan/API-KEY.txt"
SLOTS = {"a": 2, "b": 3}
DATA = 4
OTHER = {"a": "b", "b": "a"}
SWITCH = "slot.env"


class UpdatedBox:
    """One card over many starts."""

    def __init__(self, bench: Bench, append: str = "") -> None:
        self.bench = bench
        self.card = bench.card()
        self.card.put(KEY_FILE, "")
        self.machine = bench.virtual(self.card, slot=None, append=append)
        self.start()
        self._key = eventually("an API key on the card", self._written_key, 60)

    def start(self) -> None:
        self.machine.start()
        self.wait_until_ready()
        print(f"\nready after {time.monotonic() - self.machine.started:.1f} s")

    def wait_until_ready(self) -> None:
        self.bench.wait_ready(self.machine, BOOT_WITHIN)

    def power_down(self) -> None:
        """Presses the power key, and sees the box end in good order."""
        self.machine.tell("system_powerdown")
        eventually("the box ends", lambda: not self.machine.alive, 60)
        self.machine.cut()

    def _written_key(self) -> str:
        found = re.search(r"gkapi-\S+", self.card.text(KEY_FILE))
        return found[0] if found else ""

    def update(self, file: Path, *words: str) -> Outcome:
        """`genkan update`."""
        return self._ask("update", *words, file)

    def list_nodes(self) -> Outcome:
        return self._ask("nodes", "list")

    def _ask(self, *words: object) -> Outcome:
        """A command from a computer of the house."""
        environment = {"GENKAN_ADDRESS": layout.GATEWAY, "GENKAN_API_KEY": self._key}
        return self.bench.network.router.run(PROGRAM, *words, timeout=WRITE_WITHIN, check=False, env=environment)

    def slot(self) -> str:
        """`a` or `b`, as the status page has it."""
        assert self.machine.alive, f"QEMU ended\n{self.machine.tail()}"
        return str(self.bench.status()["box"]["slot"])

    def wait_for_slot(self, slot: str, what: str, within: float = WRITE_WITHIN) -> None:
        """Waits until that slot's worker is ready; `Refused` ends the wait."""

        def is_there() -> bool:
            why = self.conditions().get("UPD-04")
            if why is not None:
                raise Refused(why)
            return self.slot() == slot

        eventually(what, is_there, within, every=1)

    def wait_for_starts(self, count: int, within: float = WRITE_WITHIN) -> None:
        eventually(f"{count} starts", lambda: self.starts() >= count, within, every=0.5)

    def starts(self) -> int:
        """Kernels that U-Boot has started since the power came."""
        return self.machine.said().count("Starting kernel ...")

    def conditions(self) -> dict[str, str]:
        """Codes of all that holds, with what is said of it."""
        status = self.bench.status()
        rows = [*status["conditions"], *status["box"]["conditions"]]
        return {row["code"]: f"{row['what']} {row.get('why') or ''}" for row in rows}

    def wait_for_text(self, *parts: str, without: str = "\0", within: float = 120) -> str:
        """STATUS.txt when it has all of the parts."""

        def read() -> str:
            text = self.card.text("STATUS.txt")
            assert all(part in text for part in parts) and without not in text, text
            return text

        return eventually(f"STATUS.txt with {parts}", read, within, every=1)

    def switch(self) -> tuple[str, str]:
        """What U-Boot will start: the slot, and the one to try."""
        lines = self.card.read(SWITCH).decode().splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        return values["genkan_slot"], values.get("genkan_try", "")

    def hash(self, slot: str) -> str:
        _, size = self.card.partition(SLOTS[slot])
        return hashlib.sha256(self.card.bytes_of(SLOTS[slot], 0, size)).hexdigest()

    def begins_with(self, slot: str, image: bytes) -> bool:
        return self.card.bytes_of(SLOTS[slot], 0, len(image)) == image

    def hashes(self) -> tuple[str, str, bytes]:
        """Of both slots, and the switch."""
        return self.hash("a"), self.hash("b"), self.card.read(SWITCH)

    def data_file(self, path: str) -> str:
        """A file of the data partition; the box must be off."""
        copy = self.card.file.with_suffix(".data")
        start, size = self.card.partition(DATA)
        run(["dd", f"if={self.card.file}", f"of={copy}", "bs=1M", f"skip={start}", f"count={size}", "iflag=skip_bytes,count_bytes", "conv=sparse"])
        try:
            return run(["debugfs", "-R", f"cat {path}", str(copy)]).output
        finally:
            copy.unlink()

    def written_bytes(self) -> int:
        """To the card, since this QEMU started."""
        rows = self.machine.tell("query-blockstats")
        return next(int(row["stats"]["wr_bytes"]) for row in rows if row.get("device") == "card")

    def login_key(self) -> str:
        """What the box calls itself towards Tailscale's clients."""
        url = f"http://{layout.GATEWAY}:8080/key?v=113"
        return self.bench.network.router.run("curl", "-sSf", "--max-time", 5, url).output


class Refused(Exception):
    """The box says that the update was not installed."""



class Stopwatch:
    """Prints how long things took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        print(f"{what} after {time.monotonic() - self._began:.1f} s")
