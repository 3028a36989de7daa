"""One house of the benchmark: a stranger, a gateway and a machine on two cables.

    stranger 203.0.113.2 --- 203.0.113.1 gateway 192.168.77.10 --- 192.168.77.20 machine
                                          |  192.168.78.10           | 192.168.78.20
                                          +------- coordinator ------+     (peers' house only)

Its cables behave as a network card without segmentation in hardware (a Raspberry Pi's), and the far ends receive in threads of the
kernel's, so that the gateway's processor does the gateway's work only.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Sequence

from tests.lab.namespace import Namespace
from tests.lab.processes import Process, Processes, run

from .cpu import GATEWAY, Group, pin_polling

PUBLIC = "203.0.113.1"
STRANGER = "203.0.113.2"
GATEWAY_LAN = "192.168.77.10"
MACHINE_LAN = "192.168.77.20"
GATEWAY_TAILNET = "100.64.0.10"
"""Of a peer; genkan's own is 100.64.0.1."""
MACHINE_TAILNET = "100.64.0.2"
GATEWAY_CONTROL = "192.168.78.10"
MACHINE_CONTROL = "192.168.78.20"
COORDINATOR = "192.168.78.1"
SITE = "bench.example.com"
"""Resolves to the gateway at the stranger's."""


class House:
    """Three namespaces, two cables, and the far ends' control group."""

    def __init__(self, name: str, processes: Processes, far: Group) -> None:
        self.name = name
        self.processes = processes
        self.far = far
        self.stranger = Namespace(f"{name}-out")
        self.gateway = Namespace(f"{name}-gw")
        self.machine = Namespace(f"{name}-m")
        self.coordinator = Namespace(f"{name}-co")
        self.groups: list[Group] = []

    def raise_up(self, with_coordinator: bool) -> None:
        spaces = [self.stranger, self.gateway, self.machine]
        for space in spaces + ([self.coordinator] if with_coordinator else []):
            space.create(None)
            # BBR, where it is the default, paces by timers, which would be most of what is measured.
            space.sysctl("net.ipv4.tcp_congestion_control", "reno")
        # Short connections wait for a minute after their end. All relays of a house dial one address: its free ports would run out, and
        # the search for the last ones would be most of what is measured.
        self.gateway.sysctl("net.ipv4.tcp_tw_reuse", "1")
        (self.stranger.etc / "hosts").write_text(f"127.0.0.1 localhost\n{PUBLIC} {SITE}\n")
        _cable(self.stranger, "wan", STRANGER, self.gateway, "wan", PUBLIC)
        _cable(self.gateway, "eth0", GATEWAY_LAN, self.machine, "eth0", MACHINE_LAN)
        run(["ip", "-n", self.gateway.full, "route", "add", "default", "via", STRANGER])
        run(["ip", "-n", self.machine.full, "route", "add", "default", "via", GATEWAY_LAN])
        if with_coordinator:
            self._join_to_coordinator()
        self.set_segmentation(False)
        self._receive_in_threads()

    def _join_to_coordinator(self) -> None:
        """Both tailscaleds reach the coordinator, but not each other, by cables of its own."""
        space = self.coordinator
        run(["ip", "-n", space.full, "link", "add", "eth0", "type", "bridge"])
        run(["ip", "-n", space.full, "address", "add", f"{COORDINATOR}/24", "dev", "eth0"])
        for machine, name, address in ((self.gateway, "gw", GATEWAY_CONTROL), (self.machine, "m", MACHINE_CONTROL)):
            far = ["peer", "name", "control", "netns", machine.full]
            run(["ip", "-n", space.full, "link", "add", "name", name, "type", "veth", *far])
            run(["ip", "-n", space.full, "link", "set", "dev", name, "master", "eth0", "up"])
            run(["bridge", "-n", space.full, "link", "set", "dev", name, "isolated", "on"])
            run(["ip", "-n", machine.full, "address", "add", f"{address}/24", "dev", "control"])
            run(["ip", "-n", machine.full, "link", "set", "control", "up"])
        run(["ip", "-n", space.full, "link", "set", "eth0", "up"])

    def set_segmentation(self, by_card: bool) -> None:
        """Whether super-packets cross the cables whole, as no real card's do, or are cut before them."""
        state = "on" if by_card else "off"
        for space, device in self._ends():
            words = ["tso", state, "tx-udp-segmentation", state, "gso", "on", "gro", "on"]
            space.run("ethtool", "-K", device, *words)

    def _ends(self) -> list[tuple[Namespace, str]]:
        return [(self.stranger, "wan"), (self.gateway, "wan"), (self.gateway, "eth0"), (self.machine, "eth0")]

    def _receive_in_threads(self) -> None:
        for space, device in ((self.stranger, "wan"), (self.machine, "eth0")):
            space.run("sh", "-c", f"echo 1 >/sys/class/net/{device}/threaded")
        time.sleep(0.1)
        if pin_polling() < 2:
            raise RuntimeError("the far ends do not receive in threads: this kernel has no threaded NAPI for veth")

    def group(self, role: str) -> Group:
        """A group for a part of the gateway."""
        group = Group(f"{self.name}-{role}", GATEWAY)
        self.groups.append(group)
        return group

    def start_far(self, space: Namespace, name: str, *command: object) -> Process:
        """Starts a program at a far end."""
        return self.processes.start(f"{self.name}-{name}", self.far.argv(space.argv(command)))

    def start_in(self, group: Group, name: str, command: Sequence[object], **environment: str) -> Process:
        """Starts a part of the gateway."""
        return self.processes.start(f"{self.name}-{name}", group.argv(self.gateway.argv(command)), environment)

    def visit(self, *command: object, timeout: float = 60) -> str:
        """Runs a program at the stranger's, as long as it takes; its output."""
        return run(self.far.argv(self.stranger.argv(command)), timeout=timeout).output

    def remove(self) -> None:
        for group in self.groups:
            group.remove()


def _cable(one: Namespace, one_end: str, one_address: str, other: Namespace, other_end: str, other_address: str) -> None:
    far = ["peer", "name", other_end, "netns", other.full]
    run(["ip", "-n", one.full, "link", "add", one_end, "type", "veth", *far])
    for space, device, address in ((one, one_end, one_address), (other, other_end, other_address)):
        space.sysctl(f"net.ipv6.conf.{device}.disable_ipv6", "1")
        run(["ip", "-n", space.full, "address", "add", f"{address}/24", "dev", device])
        run(["ip", "-n", space.full, "link", "set", device, "up"])


def scratch_under(directory: Path, name: str) -> Path:
    """A fresh directory for one program."""
    place = directory / name
    place.mkdir(mode=0o755)
    return place
