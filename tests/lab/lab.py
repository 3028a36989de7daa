"""The whole lab: raised in order, looked at, torn down always."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Callable, Sequence

from . import ca, card, clock, layout, lock, services
from .capture import Capture
from .card_gateway import CardGateway
from .gateway import Gateway
from .machines import Machine
from .namespace import PREFIX, Namespace, remove_all
from .network import Network
from .processes import Process, Processes
from .waiting import eventually

SCRATCH_PREFIX = f"genkan-lab-{PREFIX}"
LOGS = layout.ROOT / "target" / "lab"
KEPT_RUNS = 5
GUEST_USER = "guests"
CERTIFICATES_WITHIN = 60.0


class LabImpossible(Exception):
    """This machine cannot hold a lab; the text says what to do."""


class Lab:
    """The seed's network. `with Lab() as lab:` raises it and tears it down; one at a time on a machine.

    Its gateway is the program in a namespace or, `on_card`, the SD card in a virtual machine.
    """

    def __init__(self, on_card: bool = False) -> None:
        self.on_card = on_card
        self.network = Network()
        self.seconds: dict[str, float] = {}
        """How long each step of raising took."""
        self.joined: dict[str, float] = {}
        """Seconds from the gateway's exec until each machine was running."""
        self._lock: IO[str] | None = None
        self._last_words = ""

    def __enter__(self) -> Lab:
        require_possible(self.on_card)
        self._lock = lock.take()
        try:
            self._prepare()
            self._raise_up()
        except BaseException:
            if hasattr(self, "processes"):
                self._last_words = self.tails()
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if hasattr(self, "processes"):
            self.processes.stop_all()
        remove_all()
        if hasattr(self, "scratch"):
            shutil.rmtree(self.scratch, ignore_errors=True)
        (LOGS / "scratch").unlink(missing_ok=True)
        self._lock.close()

    def _prepare(self) -> None:
        """Directories of this run, after removing what a crashed run left."""
        remove_all()
        for left in Path(tempfile.gettempdir()).glob(SCRATCH_PREFIX + "*"):
            shutil.rmtree(left, ignore_errors=True)
        for old in sorted(LOGS.glob("2*"))[:-KEPT_RUNS]:
            shutil.rmtree(old, ignore_errors=True)
        self.scratch = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
        self.scratch.chmod(0o755)
        self.logs = LOGS / time.strftime("%Y%m%d-%H%M%S")
        self.logs.mkdir(parents=True)
        latest = LOGS / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(self.logs.name)
        (LOGS / "scratch").unlink(missing_ok=True)
        (LOGS / "scratch").symlink_to(self.scratch)
        self.processes = Processes(self.logs)

    def _raise_up(self) -> None:
        self._step("network", self.network.raise_up)
        self._step("internet", self._start_internet)
        self._step("services", self._start_services)
        self._step("gateway", self._start_gateway)
        self._step("machines", self._join_machines)
        self._step("certificates", self._wait_for_certificates)

    def _step(self, name: str, action: Callable[[], object]) -> None:
        start = time.monotonic()
        action()
        self.seconds[name] = time.monotonic() - start

    def _start_internet(self) -> None:
        self.authority = ca.Authority(self.network.inet, self.scratch)
        self.gateway = self.make_gateway()
        ca.start_dns(self.processes, self.network.inet, ["example.com", *self.public_names()])
        root = self.authority.start(self.processes)
        for space in self.network.all():
            space.trust(root)
        self.house_names = self.scratch / "house-names"
        self.house_names.write_text("")
        self.house_dns = ca.start_house_dns(self.processes, self.network.router, self.house_names)
        if self.on_card:
            clock.start(self.processes, self.network.inet)

    def make_gateway(self) -> Gateway:
        if not self.on_card:
            return Gateway(self.network.gateway, self.scratch, self.processes, self.authority.transport_ca)
        self.network.unplug_gateway()
        return CardGateway(self.network, self.scratch, self.processes, self.authority.transport_ca)

    def public_names(self) -> list[str]:
        """The DNS names that `genkan check` asks the owner to make."""
        return sorted({record["name"] for record in self.gateway.check()["dns"]})

    def _start_services(self) -> None:
        a, b, c = (self.network.machines[plan.name] for plan in layout.INSIDE)
        self.shell = services.SecureShell(a, self.scratch)
        self.shell.start(self.processes)
        services.start_site(self.processes, a, 8080, "machine-a")
        services.start_site(self.processes, b, 3000, "machine-b")
        self.database = services.Database(b, self.scratch)
        self.database.start(self.processes)
        services.start_game(self.processes, c)

    def _start_gateway(self) -> None:
        self.network.set_forwards(self.gateway.forwards())
        self.gateway.start()
        self.seconds["exec to answering"] = self.gateway.wait_until_up()

    def _join_machines(self) -> None:
        places = self.network.machines
        self.machines = {
            plan.name: Machine(plan, places[plan.name], self.scratch, self.processes) for plan in layout.MACHINES
        }
        self.a, self.b, self.c, self.e = (self.machines[plan.name] for plan in layout.MACHINES)
        for plan in layout.INSIDE:
            machine = self.machines[plan.name]
            machine.start()
            machine.join(self.gateway.key("--host", plan.host))
            eventually(f"{plan.name} is running", lambda: machine.running, within=20)

    def join_outside(self) -> None:
        """Machine E joins through the router's forwards, as the policy's `machine-e`; once. It is connected afterwards."""
        if not self.e.started:
            self.e.start()
        if not self.e.running:
            self._let_e_in()
        # After a restart of the gateway it waits for a while before it tries again.
        eventually("e is connected", lambda: self.e.plan.host in self.online(), within=90, every=0.5)

    def wait_for_everybody(self) -> None:
        """After a restart of the gateway each machine comes back in its own time."""
        hosts = {plan.host for plan in layout.MACHINES}
        eventually("all machines are connected", lambda: hosts <= self.online(), within=90, every=0.5)

    def online(self) -> set[str]:
        """Names of the nodes that hold a connection to the coordinator."""
        return {node["given_name"] for node in self.gateway.ask("nodes", "list") if node["online"]}

    def _let_e_in(self) -> None:
        before = self.gateway.policy
        self.gateway.set_policy(self.outside_policy())
        self.e.join(eventually("a key for machine-e", lambda: self.gateway.key("--host", self.e.plan.host), within=5))
        eventually("e is running", lambda: self.e.running, within=20)
        self.gateway.set_policy(before)

    def outside_policy(self) -> dict[str, Any]:
        """The seed's policy, and machine E that may reach machine A's site and the gateway."""
        policy = copy.deepcopy(self.gateway.seed_policy)
        policy["hosts"][layout.MACHINE_E.host] = layout.MACHINE_E.tailnet
        targets = ["machine-a:8080", "raspberry-pi:*"]
        policy["acls"].append({"action": "accept", "src": [layout.MACHINE_E.host], "dst": targets})
        return policy

    def guest_key(self, *options: str) -> str:
        """A key for a machine that the policy does not name."""
        if not any(user["name"] == GUEST_USER for user in self.gateway.ask("users", "list")):
            self.gateway.admin("users", "create", GUEST_USER)
        return self.gateway.key("--user", GUEST_USER, *options)

    def _wait_for_certificates(self) -> None:
        for name in self.public_names():
            eventually(f"a certificate for {name}", lambda: self._has_certificate(name), CERTIFICATES_WITHIN, every=0.5)

    def _has_certificate(self, name: str) -> bool:
        fetched = self.network.stranger.run("curl", "-sS", "-o", "/dev/null", "--max-time", 5, f"https://{name}/", check=False)
        assert fetched.ok, fetched.errors
        return True

    def set_routes(self, routes: dict[str, Any]) -> None:
        """Other routes at the gateway, and a router that forwards what they need."""
        self.gateway.set_routes(routes)
        self.network.set_forwards(self.gateway.forwards())

    def restore(self) -> None:
        """Undoes what a test may have left: cut cables, a changed policy or route, names in the house, a dead gateway."""
        self.network.unblock_udp()
        self.network.unblock_outer_udp()
        self.set_house_names("")
        if not self.gateway.alive:
            self.gateway.start()
            self.gateway.wait_until_up()
        if self.gateway.policy != self.gateway.seed_policy:
            self.gateway.set_policy(self.gateway.seed_policy)
        if self.gateway.routes != self.gateway.seed_routes:
            self.set_routes(self.gateway.seed_routes)

    def set_house_names(self, hosts: str) -> None:
        """What the router's resolver tells the LAN before it asks the internet, as lines of a hosts file."""
        if self.house_names.read_text() != hosts:
            self.house_names.write_text(hosts)
            self.house_dns.signal(signal.SIGHUP)

    @property
    def stranger(self) -> Namespace:
        return self.network.stranger

    def lan_capture(self, only: str = "") -> Capture:
        """A capture of everything that crosses the house's switch."""
        return self.capture(self.network.lan, "any", only)

    def capture(self, space: Namespace, interface: str, only: str = "", bytes_each: int = 0) -> Capture:
        """A capture of an interface of a place, for a `with` block."""
        return Capture(self.processes, space, interface, self.logs, only, bytes_each)

    def tails(self, names: Sequence[str] = ()) -> str:
        """The ends of the logs of the named programs, or of all."""
        return self.processes.tails(names)

    def last_words(self) -> str:
        """The tails of all logs as they were when raising it failed."""
        return self._last_words

    def ended(self) -> list[Process]:
        """Programs that should run and do not."""
        return self.processes.dead()


def require_possible(on_card: bool) -> None:
    """Refuses with the cure where a lab cannot be raised."""
    if os.geteuid() != 0:
        raise LabImpossible("the lab makes network namespaces: run it as root")
    if not Path("/dev/net/tun").exists():
        raise LabImpossible("no /dev/net/tun: `modprobe tun`, or give the container the device (--device /dev/net/tun)")
    missing = [name for name in ("ip", "nft", "dnsmasq", "pebble", "tcpdump", "psql", "ssh", "curl") if not shutil.which(name)]
    if missing:
        raise LabImpossible(f"not installed: {', '.join(missing)}; run `make setup`")
    if on_card and (lacks := card.missing()):
        raise LabImpossible(lacks)
    for plan in layout.MACHINES:
        if not (layout.PEERS / plan.client / "tailscaled").exists():
            raise LabImpossible(f"no client {plan.client} under target/peers; run `make peers`")
