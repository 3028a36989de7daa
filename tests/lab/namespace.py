"""One network namespace: its making and unmaking, and commands inside it.

`ip netns exec` gives a command a mount namespace of its own too and lays the files of /etc/netns/NAME over /etc,
so each namespace has its own resolver, hosts and certificate authorities, and a program that rewrites
/etc/resolv.conf changes only its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Mapping, Sequence

from .processes import Outcome, run

PREFIX = os.environ.get("GENKAN_LAB", "gk") + "-"
"""$GENKAN_LAB keeps labs apart that stand on one machine at once; at most four letters, for interfaces are named after it."""
OVERLAYS = Path("/etc/netns")
SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


class Namespace:
    """A namespace named PREFIX and NAME."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.full = PREFIX + name
        self.etc = OVERLAYS / self.full

    def create(self, resolver: str | None) -> None:
        """Makes it, with loopback up and an /etc of its own; without a resolver no name resolves in it."""
        run(["ip", "netns", "add", self.full])
        run(["ip", "-n", self.full, "link", "set", "lo", "up"])
        self.etc.mkdir(parents=True, exist_ok=True)
        (self.etc / "resolv.conf").write_text(f"nameserver {resolver}\noptions timeout:2\n" if resolver else "\n")
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost {self.name}\n")

    def trust(self, authority: str) -> None:
        """Programs started from now on trust this certificate (PEM) as they trust the public authorities."""
        certificates = self.etc / "ssl" / "certs"
        certificates.mkdir(parents=True, exist_ok=True)
        system = SYSTEM_AUTHORITIES.read_text() if SYSTEM_AUTHORITIES.exists() else ""
        (certificates / "ca-certificates.crt").write_text(f"{system}\n{authority}\n")
        openssl = Path("/etc/ssl/openssl.cnf")
        if openssl.exists():
            shutil.copy(openssl, self.etc / "ssl" / "openssl.cnf")

    @property
    def authorities(self) -> Path:
        """The certificate bundle of this namespace."""
        return self.etc / "ssl" / "certs" / "ca-certificates.crt"

    def argv(self, command: Sequence[object]) -> list[str]:
        """The command line that runs `command` in here."""
        return ["ip", "netns", "exec", self.full, *map(str, command)]

    def run(
        self,
        *command: object,
        timeout: float = 20,
        check: bool = True,
        feed: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        return run(self.argv(command), timeout=timeout, check=check, feed=feed, env=env)

    def nft(self, rules: str) -> None:
        """Loads nftables rules."""
        self.run("nft", "-f", "-", feed=rules)

    def sysctl(self, key: str, value: str) -> None:
        path = "/proc/sys/" + key.replace(".", "/")
        self.run("sh", "-c", 'echo "$1" >"$2"', "sysctl", value, path)

    def sockets(self, *filters: str) -> str:
        """The output of `ss` without a header."""
        return self.run("ss", "-Hn", *filters).output


def existing() -> list[str]:
    """Full names of the lab's namespaces on this machine."""
    names = run(["ip", "netns", "list"]).output.splitlines()
    return [line.split()[0] for line in names if line.startswith(PREFIX)]


def remove_all() -> None:
    """Ends every process in the lab's namespaces and deletes them, whoever left them behind."""
    names = existing()
    _kill([pid for name in names for pid in _pids(name)])
    for name in names:
        run(["ip", "netns", "delete", name], check=False)
    for overlay in OVERLAYS.glob(PREFIX + "*"):
        shutil.rmtree(overlay, ignore_errors=True)
    if OVERLAYS.exists() and not any(OVERLAYS.iterdir()):
        OVERLAYS.rmdir()


def _pids(full_name: str) -> list[int]:
    return [int(pid) for pid in run(["ip", "netns", "pids", full_name], check=False).output.split()]


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
