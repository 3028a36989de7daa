"""What the machines offer: OpenSSH, PostgreSQL, a UDP game server, and a small site; all real but the site."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from pathlib import Path

from . import layout
from .namespace import Namespace
from .processes import Process, Processes
from .waiting import eventually

DATABASE_USER = "dbuser"
DATABASE = "mydb"
DATABASE_PASSWORD = "lab"
GAME_PORT = 27014
"""The port of play; queries go to the next one, which the seed publishes."""
QUERY_PORT = GAME_PORT + 1


def start_site(processes: Processes, space: Namespace, port: int, name: str) -> Process:
    """The machine's web site on `port`, which answers with `name`."""
    command = [sys.executable, "-m", "tests.lab.web", port, name]
    process = processes.start(f"{space.name}-site-{port}", space.argv(command), env={"PYTHONPATH": str(layout.ROOT)})
    _wait_for_listener(space, "-lt", port)
    return process


def start_echo(processes: Processes, space: Namespace, port: int) -> Process:
    """The service of `echo.py`, over TCP and UDP."""
    command = [sys.executable, "-m", "tests.lab.echo", port]
    process = processes.start(f"{space.name}-echo", space.argv(command), env={"PYTHONPATH": str(layout.ROOT)})
    _wait_for_listener(space, "-lt", port)
    return process


def start_game(processes: Processes, space: Namespace) -> Process:
    """Debian's cube2-server; answers queries on 27015/udp."""
    command = [*_as_user("nobody"), "/usr/games/cube2-server", f"-j{GAME_PORT}", "-m", "-nlab"]
    process = processes.start(f"{space.name}-game", space.argv(command))
    _wait_for_listener(space, "-lu", QUERY_PORT)
    return process


class SecureShell:
    """sshd on port 22 with keys of its own; root may log in with the one user key."""

    def __init__(self, space: Namespace, scratch: Path) -> None:
        self.space = space
        self.place = scratch / "sshd"
        self.user_key = self.place / "user"

    def start(self, processes: Processes) -> Process:
        self.place.mkdir()
        # Debian's sshd will not start without its privilege separation directory, which its service file makes.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for name in ("host", "user"):
            self.space.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.place / name)
        settings = self.place / "sshd_config"
        settings.write_text(
            f"Port 22\nHostKey {self.place / 'host'}\nAuthorizedKeysFile {self.place / 'user.pub'}\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "UsePAM no\nUseDNS no\nStrictModes no\nPidFile none\nMaxStartups 200:30:400\nPrintMotd no\n"
        )
        process = processes.start(f"{self.space.name}-sshd", self.space.argv(["/usr/sbin/sshd", "-D", "-e", "-f", settings]))
        _wait_for_listener(self.space, "-lt", 22)
        return process

    def client(self, host: str, port: int, *command: str) -> list[str]:
        """The ssh command line of a user who knows the key."""
        return [
            "ssh", "-F", "none", "-i", str(self.user_key), "-p", str(port),
            "-o", "BatchMode=yes", "-o", "ConnectTimeout=8",
            "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.place / 'known_hosts'}",
            "-o", "LogLevel=ERROR",
            f"root@{host}", *command,
        ]  # fmt: skip


class Database:
    """A PostgreSQL cluster of its own on port 5432."""

    def __init__(self, space: Namespace, scratch: Path) -> None:
        self.space = space
        self.place = scratch / "postgres"
        self.programs = _newest_postgres()

    def start(self, processes: Processes) -> Process:
        self._create()
        command = [*_as_user("postgres"), self.programs / "postgres", "-D", self.place / "cluster", "-k", self.place]
        process = processes.start(f"{self.space.name}-postgres", self.space.argv([*command, "-h", "0.0.0.0"]))
        eventually("PostgreSQL", lambda: self._local("SELECT 1"), within=20)
        self._local(f"CREATE ROLE {DATABASE_USER} LOGIN PASSWORD '{DATABASE_PASSWORD}'")
        self._local(f"CREATE DATABASE {DATABASE} OWNER {DATABASE_USER}")
        return process

    def _create(self) -> None:
        self.place.mkdir()
        shutil.chown(self.place, "postgres", "postgres")
        initdb = [self.programs / "initdb", "-D", self.place / "cluster", "--auth=trust", "-E", "UTF8", "--locale=C", "-N"]
        self.space.run(*_as_user("postgres"), *initdb, timeout=60)
        access = self.place / "cluster" / "pg_hba.conf"
        access.write_text("local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n")

    def _local(self, sql: str) -> str:
        words = ["psql", "-h", self.place, "-U", "postgres", "-d", "postgres", "-Atqc", sql]
        return self.space.run(*_as_user("postgres"), *words).output or "done"

    @staticmethod
    def client(host: str, sql: str, port: int = 5432) -> list[str]:
        """The psql command line of a user outside; without TLS, as the cluster has none."""
        target = f"host={host} port={port} user={DATABASE_USER} dbname={DATABASE} connect_timeout=8"
        target += f" password={DATABASE_PASSWORD} sslmode=disable"
        return ["psql", target, "-Atqc", sql]


def _as_user(name: str) -> list[str]:
    return ["setpriv", f"--reuid={name}", f"--regid={_group(name)}", "--clear-groups", "env", "-C", "/", "HOME=/nonexistent"]


def _group(name: str) -> str:
    return "nogroup" if name == "nobody" else name


def _newest_postgres() -> Path:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: int(path.split("/")[4]))
    if not found:
        raise FileNotFoundError("no PostgreSQL under /usr/lib/postgresql; run `make setup`")
    return Path(os.path.dirname(found[-1]))


def _wait_for_listener(space: Namespace, kind: str, port: int) -> None:
    eventually(f"port {port} in {space.name}", lambda: space.sockets(kind, f"sport = {port}"), within=15)
