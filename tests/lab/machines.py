"""A machine with a real tailscaled."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from . import layout
from .layout import MachinePlan
from .namespace import Namespace
from .processes import CommandFailed, Outcome, Process, Processes
from .waiting import eventually

JOIN_WITHIN = 40.0


class Machine:
    """One machine: its namespace, its tailscaled, its view of the tailnet."""

    def __init__(self, plan: MachinePlan, space: Namespace, scratch: Path, processes: Processes) -> None:
        self.plan = plan
        self.space = space
        self.state = scratch / f"machine-{plan.name}"
        self.bin = self.state / "bin"
        self._processes = processes
        self._daemon: Process | None = None

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def log_name(self) -> str:
        return f"{self.name}-tailscaled"

    def start(self) -> None:
        """Starts tailscaled with the state it has."""
        self.state.mkdir(exist_ok=True)
        self._write_command()
        program = layout.PEERS / self.plan.client / "tailscaled"
        socket = self.state / "tailscaled.sock"
        environment = {
            "TS_NO_LOGS_NO_SUPPORT": "true",
            "TS_DEBUG_FIREWALL_MODE": "nftables",
            "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
            # On a machine with systemd-resolved it would otherwise be asked to forget an interface of the host.
            "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent",
        }
        command = [program, f"--statedir={self.state}", f"--socket={socket}", f"--tun={self.plan.tun}", "--verbose=1"]
        self._daemon = self._processes.start(self.log_name, self.space.argv(command), environment)
        eventually(f"tailscaled of {self.name}", lambda: self._backend(), within=15)

    def _write_command(self) -> None:
        """A `tailscale` that speaks to this machine's daemon, for people and tests alike."""
        self.bin.mkdir(exist_ok=True)
        program = layout.PEERS / self.plan.client / "tailscale"
        script = self.bin / "tailscale"
        script.write_text(f'#!/bin/sh\nexec "{program}" --socket="{self.state / "tailscaled.sock"}" "$@"\n')
        script.chmod(0o755)

    @property
    def started(self) -> bool:
        return self._daemon is not None and self._daemon.alive

    def stop(self) -> None:
        """Stops tailscaled; its state stays."""
        self._processes.stop(self._daemon)

    def forget(self) -> None:
        """Stops tailscaled and throws its state away: the next start is a machine nobody knows."""
        if self.started:
            self.stop()
        shutil.rmtree(self.state, ignore_errors=True)

    def tailscale(self, *words: object, timeout: float = 20, check: bool = True) -> Outcome:
        """Runs the machine's `tailscale` command."""
        return self.space.run(self.bin / "tailscale", *words, timeout=timeout, check=check)

    def join(self, key: str, within: float = JOIN_WITHIN, check: bool = True) -> Outcome:
        """`tailscale up` with a pre-auth key, as the owner would type it."""
        words = ["up", "--login-server", self.plan.login, "--auth-key", key, "--accept-dns=false"]
        words += ["--hostname", self.plan.host, f"--timeout={int(within)}s"]
        outcome = self.tailscale(*words, timeout=within + 10, check=False)
        if check and not outcome.ok:
            raise CommandFailed(f"{self.name} did not join: {outcome.output}{outcome.errors}\n{self._daemon.tail()}")
        return outcome

    def status(self) -> dict[str, Any]:
        """`tailscale status --json`."""
        return json.loads(self.tailscale("status", "--json").output)

    def _backend(self) -> str:
        return str(self.status()["BackendState"])

    @property
    def running(self) -> bool:
        return self._backend() == "Running"

    @property
    def addresses(self) -> list[str]:
        """Its own tailnet addresses."""
        return list(self.status()["Self"].get("TailscaleIPs") or [])

    def peer(self, tailnet_address: str) -> dict[str, Any]:
        """The status of one peer; a `LookupError` when it is not known."""
        for peer in (self.status().get("Peer") or {}).values():
            if tailnet_address in (peer.get("TailscaleIPs") or ()):
                return peer
        raise LookupError(f"{self.name} knows no peer {tailnet_address}")

    def path_to(self, tailnet_address: str) -> str:
        """How the last packet went: an endpoint's `address:port`, or "" when by relay or not at all."""
        return str(self.peer(tailnet_address).get("CurAddr") or "")

    def ping(self, tailnet_address: str, until_direct: bool = False, within: float = 10) -> str:
        """`tailscale ping`: what it said about the path."""
        words = ["ping", "--timeout=2s", f"--until-direct={str(until_direct).lower()}", "--c=5", tailnet_address]
        return self.tailscale(*words, timeout=within + 2, check=False).output

    def metric(self, name: str, **labels: str) -> float:
        """One of the client's own counters, summed over the labels not named (`tailscale metrics print`)."""
        text = self.tailscale("metrics", "print").output
        total = 0.0
        for line in text.splitlines():
            match = re.fullmatch(rf"{re.escape(name)}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
                total += float(match[2])
        return total

    def log(self) -> str:
        """Everything its tailscaled has logged in this lab."""
        return self._daemon.log.read_text(errors="replace")

    def warnings(self) -> list[str]:
        """What the client holds against its world: its health messages."""
        return list(self.status().get("Health") or [])

    def fetch(self, url: str, *options: object, within: float = 8, check: bool = True) -> Outcome:
        """`curl` from this machine."""
        return self.space.run("curl", "-sS", "--max-time", within, *options, url, timeout=within + 5, check=check)
