"""A Raspberry Pi of sorts: QEMU's `virt` with the card in it, its network cable in a namespace's switch."""

from __future__ import annotations

import json
import os
import re
import socket
import time
import zlib
from pathlib import Path
from typing import Any

from . import layout
from .card import Card
from .namespace import Namespace
from .processes import CommandFailed, Process, Processes, run
from .waiting import eventually

MEMORY_MB = 512
"""A Zero 2 W has no more."""
MACHINE = ("qemu-system-aarch64", "-M", "virt,acpi=off", "-cpu", "cortex-a72", "-smp", "2", "-accel", "tcg,thread=multi", "-m", str(MEMORY_MB))
PRESS_EVERY = 5.0
"""Seconds between two presses of the power key."""
U_BOOT = layout.ROOT / "target" / "image" / "qemu"
U_BOOT_SETTINGS = layout.ROOT / "image" / "qemu" / "u-boot.env"
SETTINGS_BYTES = 0x40000
FLASH_BYTES = 64 << 20
# The memory that survives a warm reset, as image/qemu/boot.cmd has it.
RAMOOPS = (
    "reserve_mem=512K:4096:ramoops ramoops.mem_name=ramoops ramoops.record_size=0x8000 "
    "ramoops.console_size=0x20000 ramoops.pmsg_size=0x10000"
)
KERNEL_FILES = ("kernel8.img", "root.cpio.zst")
SLOTS = {"a": 2, "b": 3}


class Virtual:
    """One virtual machine; `start` powers it on, `cut` pulls its plug."""

    def __init__(
        self,
        name: str,
        card: Card,
        switch: Namespace,
        processes: Processes,
        scratch: Path,
        slot: str | None = None,
        append: str = "",
        clock: str = "",
        drive: str = "",
    ) -> None:
        """`slot` boots that slot's kernel without U-Boot; `append` goes on the kernel's command line; `clock` is QEMU's `-rtc base=`;
        `drive` replaces the card's file by another block device."""
        self.name = name
        self.card = card
        self.console = processes.logs / f"{name}-console.log"
        self._switch = switch
        self._processes = processes
        self._scratch = scratch
        self._slot = slot
        self._append = append
        self._clock = clock
        self._drive = drive or f"file={card.file},format=raw,cache=writeback"
        self._process: Process | None = None
        self._tap = f"tap-{name}"[:15]

    def start(self) -> float:
        """Powers it on; returns the monotonic time of QEMU's start."""
        self._plug_in()
        self._monitor_path.unlink(missing_ok=True)
        self._process = self._processes.start(self.name, self._switch.argv(self._command()))
        return self._process.started

    def _plug_in(self) -> None:
        if run(["ip", "-n", self._switch.full, "link", "show", self._tap], check=False).ok:
            return
        for words in (
            ("tuntap", "add", "dev", self._tap, "mode", "tap"),
            ("link", "set", "dev", self._tap, "master", "switch"),
            ("link", "set", "dev", self._tap, "up"),
        ):
            run(["ip", "-n", self._switch.full, *words])

    @property
    def _monitor_path(self) -> Path:
        return self._scratch / f"{self.name}.qmp"

    def _command(self) -> list[str]:
        words = [*MACHINE, "-display", "none", "-nodefaults", "-no-user-config"]
        words += ["-serial", f"file:{self.console}", "-qmp", f"unix:{self._monitor_path},server=on,wait=off"]
        words += ["-drive", f"if=none,id=card,{self._drive}", "-device", "virtio-blk-pci,drive=card"]
        words += ["-netdev", f"tap,id=lan,ifname={self._tap},script=no,downscript=no"]
        words += ["-device", f"virtio-net-pci,netdev=lan,mac={layout.CARD_HARDWARE_ADDRESS},romfile=", "-device", "virtio-rng-pci"]
        words += ["-device", "i6300esb", "-action", "watchdog=reset"]
        words += ["-rtc", f"base={self._clock}"] if self._clock else []
        return words + (self._from_slot(self._slot) if self._slot else self._from_card())

    def _from_card(self) -> list[str]:
        flash = self._settings() if self._append else U_BOOT / "u-boot-settings.img"
        return ["-bios", str(U_BOOT / "u-boot.bin"), "-drive", f"if=pflash,unit=1,format=raw,readonly=on,file={flash}"]

    def _settings(self) -> Path:
        """U-Boot's settings with the words that image/qemu/boot.cmd adds to the command line: a CRC-32, and lines that end with zeros."""
        lines = [*U_BOOT_SETTINGS.read_text().splitlines(), f"genkan_arguments={self._append}"]
        block = b"".join(line.encode() + b"\0" for line in lines).ljust(SETTINGS_BYTES - 4, b"\0")
        flash = self._scratch / f"{self.name}-settings.img"
        flash.write_bytes(zlib.crc32(block).to_bytes(4, "little") + block)
        os.truncate(flash, FLASH_BYTES)
        return flash

    def _from_slot(self, slot: str) -> list[str]:
        files = []
        for name in KERNEL_FILES:
            file = self._scratch / f"{self.name}-{name}"
            file.write_bytes(self.card.read(name, SLOTS[slot]))
            files.append(str(file))
        line = f"console=ttyAMA0 loglevel=4 {RAMOOPS} genkan.slot={slot} genkan.try=0 {self._append}".strip()
        return ["-kernel", files[0], "-initrd", files[1], "-append", line]

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def started(self) -> float:
        return self._process.started

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        """The console's text so far."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def errors(self) -> list[str]:
        """What the console calls an error, or a panic."""
        return [line for line in self.said().splitlines() if re.search(r"\bERROR\b|panicked|Kernel panic", line)]

    def cut(self) -> None:
        """Pulls the plug."""
        if self._process is not None:
            self._process.kill()
            self._processes.running.remove(self._process)
            self._process = None

    def shut_down(self, within: float = 60) -> None:
        """Presses the power key until the machine is off: QEMU holds it for 100 ms, of which a guest that waits for a processor sees nothing."""
        pressed = 0.0

        def is_off() -> bool:
            nonlocal pressed
            if self.alive and time.monotonic() - pressed > PRESS_EVERY:
                self.tell("system_powerdown")
                pressed = time.monotonic()
            return not self.alive

        eventually(f"{self.name} is off", is_off, within)
        self.cut()

    def tell(self, command: str, **arguments: Any) -> Any:
        """One command of QEMU's machine protocol."""
        with Monitor(self._monitor_path) as monitor:
            return monitor.ask(command, **arguments)

    def unplug_cable(self) -> None:
        self.tell("set_link", name="lan", up=False)

    def plug_cable(self) -> None:
        self.tell("set_link", name="lan", up=True)

    def tail(self) -> str:
        return f"--- console of {self.name}, {self.console}\n" + "\n".join(self.said().splitlines()[-40:])


class Monitor:
    """QEMU's machine protocol over its socket."""

    def __init__(self, path: Path) -> None:
        eventually("QEMU's monitor", path.exists, within=10)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            line = self._lines.readline()
            if not line:
                raise CommandFailed(f"QEMU ended while it was asked for {command}")
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise CommandFailed(f"QEMU refuses {command}: {answer['error']}")
        raise CommandFailed(f"QEMU does not answer {command}")


