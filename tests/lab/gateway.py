"""The program under test in its namespace: `genkan serve`, its admin commands, its metrics, its size."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from . import layout
from .namespace import Namespace
from .network import Forward
from .processes import Outcome, Process, Processes, run
from .waiting import eventually

SEED_FILES = ("caddy.json", "acl.json")
ADMIN_PORT = 9090
ENVIRONMENT = {"RUST_BACKTRACE": "1", "GENKAN_LOG": "genkan=debug"}


def program() -> Path:
    """The binary to test: $GENKAN, or the release build."""
    return Path(os.environ.get("GENKAN") or layout.ROOT / "target" / "release" / "genkan").resolve()


class Gateway:
    """`genkan serve` with a configuration and a state that outlive its process."""

    def __init__(self, space: Namespace, scratch: Path, processes: Processes, transport_ca: Path) -> None:
        self.space = space
        self.config = scratch / "gateway-config"
        self.state = scratch / "gateway-state"
        self.program = program()
        self._processes = processes
        self._process: Process | None = None
        self.config.mkdir()
        self.state.mkdir(mode=0o700)
        self._write_config(transport_ca)

    def _write_config(self, transport_ca: Path) -> None:
        """The owner's two files as they are, and the few lines a genkan.toml needs in the lab."""
        for name in SEED_FILES:
            shutil.copyfile(seed_directory() / name, self.config / name)
        template = (Path(__file__).parent / "config" / "genkan.toml").read_text()
        values = {
            "NAME": layout.COORDINATOR_NAME,
            "DIRECTORY": layout.DIRECTORY_URL,
            "CA_FILE": str(transport_ca),
            "ADDRESS": layout.GATEWAY,
        }
        for key, value in values.items():
            template = template.replace(f"@{key}@", value)
        (self.config / "genkan.toml").write_text(template)

    @property
    def policy(self) -> dict[str, Any]:
        return json.loads((self.config / "acl.json").read_text())

    @property
    def seed_policy(self) -> dict[str, Any]:
        return json.loads((seed_directory() / "acl.json").read_text())

    def set_policy(self, policy: dict[str, Any]) -> None:
        """Puts a policy in place of the old one and asks for a reload, as an owner's editor and `kill -HUP` do."""
        self._replace("acl.json", policy)

    @property
    def routes(self) -> dict[str, Any]:
        return json.loads((self.config / "caddy.json").read_text())

    @property
    def seed_routes(self) -> dict[str, Any]:
        return json.loads((seed_directory() / "caddy.json").read_text())

    def set_routes(self, routes: dict[str, Any]) -> None:
        """The same with what Caddy's file says; the router does not know of new ports by this."""
        self._replace("caddy.json", routes)

    def _replace(self, name: str, document: dict[str, Any]) -> None:
        new = self.config / f"{name}.new"
        new.write_text(json.dumps(document, indent=2))
        new.rename(self.config / name)
        self.reload()

    def start(self) -> float:
        """Starts it; returns the monotonic time of the exec."""
        command = [self.program, "serve", "--config", self.config, "--state", self.state]
        self._process = self._processes.start("genkan", self.space.argv(command), ENVIRONMENT)
        return self._process.started

    def wait_until_up(self, within: float = 20) -> float:
        """Waits until the coordinator answers; returns the seconds since exec."""
        eventually("the coordinator answers on the LAN", self._answers, within, every=0.05)
        return time.monotonic() - self._process.started

    def _answers(self) -> bool:
        assert self._process.alive, f"genkan ended\n{self._process.tail()}"
        url = f"http://{layout.GATEWAY}:8080/key?v=113"
        return self.space.run("curl", "-sSf", "--max-time", 2, url).ok

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM and the end of it."""
        self._processes.stop(self._process, within=15)

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._processes.running.remove(self._process)

    def reload(self) -> None:
        self._process.signal(signal.SIGHUP)

    def log(self) -> str:
        return self._process.log.read_text(errors="replace")

    def tail(self) -> str:
        return self._process.tail()

    def admin(self, *words: object, check: bool = True) -> Outcome:
        """One admin command over the socket in the state directory."""
        return run([self.program, "--state", self.state, *words], check=check)

    def ask(self, *words: object) -> Any:
        """One admin command's JSON."""
        return json.loads(self.admin(*words, "--output", "json").output)

    def key(self, *options: object) -> str:
        """A new pre-auth key, for example `key("--host", "machine-a")`."""
        return str(self.ask("preauthkeys", "create", *options)["key"])

    def check(self) -> dict[str, Any]:
        """`genkan check --json` on the configuration."""
        return json.loads(run([self.program, "check", "--config", self.config, "--json"]).output)

    def forwards(self) -> list[Forward]:
        """The rows for the router, every one of them, as `check` derives them."""
        rows = self.check()["forwards"]
        return [(row["protocol"].lower(), int(row["external_port"]), int(row["to_port"])) for row in rows]

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`, by its name and labels as printed."""
        url = f"http://{layout.GATEWAY}:{ADMIN_PORT}/metrics"
        text = self.space.run("curl", "-sSf", "--max-time", 5, url).output
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def metric(self, name: str, **labels: str) -> float:
        """A metric summed over the labels not named."""
        total = 0.0
        for sample, value in self.metrics().items():
            found, _, rest = sample.partition("{")
            if found == name and all(re.search(rf'\b{key}="{re.escape(text)}"', rest) for key, text in labels.items()):
                total += value
        return total

    def hints(self) -> list[str]:
        """Commands to try."""
        return [
            f"{self.program} --state {self.state} nodes list",
            f"{self.program} check --config {self.config}",
            f"tests/lab/sh gateway curl -s http://{layout.GATEWAY}:{ADMIN_PORT}/metrics",
        ]

    def resident_bytes(self, kind: str = "VmRSS") -> int:
        """Its resident memory: all of it, or `RssAnon`, `RssFile`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{kind}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024


def seed_directory() -> Path:
    """The owner's two files as they were handed over when those are here, else the lab's equivalents."""
    handed = layout.ROOT.parent / "shared" / "seed"
    return handed if (handed / "caddy.json").exists() else Path(__file__).parent / "config"
