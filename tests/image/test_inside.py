"""The box from inside, by the report that its owner can ask for, and its ports from outside."""

from __future__ import annotations

import errno
import json
import re
import signal
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.lab import layout
from tests.lab.qemu import Virtual
from tests.lab.waiting import eventually

from . import broken_configs
from .bench import BOOT_WITHIN, Bench

ROOT = Path(__file__).resolve().parents[2]
WORKER = "1000"
MIB = 1 << 20
RESIDENT_MAX = 32 * MIB

MOUNTS = {
    "/": ("rootfs", "ro"),
    "/proc": ("proc", "rw,nosuid,nodev,noexec"),
    "/sys": ("sysfs", "rw,nosuid,nodev,noexec"),
    "/dev": ("devtmpfs", "rw,nosuid,noexec"),
    "/run": ("tmpfs", "rw,nosuid,nodev,noexec"),
    "/tmp": ("tmpfs", "rw,nosuid,nodev,noexec"),
    "/sys/fs/pstore": ("pstore", "rw,nosuid,nodev,noexec"),
    "/boot": ("vfat", "ro,nosuid,nodev,noexec"),
    "/data": ("ext4", "rw,nosuid,nodev,noexec"),
}
"""File system and flags of every mount; on a card nothing is writable but /data, and /boot while something is written to it."""

TCP = {80, 443, 2222, 8080, 9090, 9443}
UDP_EVERYWHERE = {3478, 41641}
KEPT = 1 << 10
"""CAP_NET_BIND_SERVICE."""
BOUND = KEPT | 1 << 12
"""CAP_NET_ADMIN made the tunnel's interface; without privileges gained by exec nobody has it again."""


class Inside:
    """What the report says, and the machine that it is about."""

    def __init__(self, bench: Bench, machine: Virtual) -> None:
        self.bench = bench
        self.machine = machine
        self.report: dict[str, Any] = eventually("REPORT.txt", self._read, BOOT_WITHIN, every=0.5)

    def _read(self) -> dict[str, Any]:
        text = self.machine.card.text("REPORT.txt")
        assert text.endswith("}\n"), "it is not written yet"
        return json.loads(text)

    def process(self, name: str, **facts: str) -> dict[str, Any]:
        rows = [row for row in self.report["processes"] if row["Name"] == name and facts.items() <= row.items()]
        assert len(rows) == 1, rows
        return rows[0]


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    """One boot, with a service on a port of its own."""
    with Bench("inside") as bench:
        bench.router_on()
        bench.time_server()
        settings = broken_configs.SETTINGS + f'\n[time]\nservers = ["{layout.DNS_SERVER}"]\n'
        card = bench.card(genkan_toml=settings, caddy_json=broken_configs.CADDY, acl_json=broken_configs.POLICY)
        card.put("REPORT.txt", "")
        machine = bench.boot(card)
        bench.wait_ready(machine)
        yield Inside(bench, machine)


def test_the_mount_table(inside: Inside) -> None:
    found = {}
    for row in inside.report["mounts"]:
        _, place, kind, options, *_ = row.split()
        found[place] = (kind, options.split(","))
    assert found.keys() == MOUNTS.keys()
    for place, (kind, options) in MOUNTS.items():
        assert found[place][0] == kind, place
        missing = set(options.split(",")) - set(found[place][1])
        assert not missing, f"{place} is mounted without {missing}: {found[place][1]}"


def test_the_files_of_the_root(inside: Inside) -> None:
    listed = {row.split()[2] for row in (ROOT / "image" / "files.txt").read_text().splitlines() if row.startswith("root ")}
    # What is mounted over a folder is not of the root.
    listed -= {place for place in MOUNTS if place != "/"} | {"/dev/console", "/dev/null"}
    found = {row.split()[0]: row.split()[1:] for row in inside.report["files"]}
    # The kernel's own first root has this folder, before it unpacks ours.
    assert set(found) == listed | {"/root"}
    for path, (mode, owner) in found.items():
        assert owner == "0:0", path
        assert not int(mode, 8) & 0o6000, f"{path} is setuid"
        assert mode.startswith("120") or not int(mode, 8) & 0o022, f"{path} can be written by others"


def test_the_sockets(inside: Inside) -> None:
    sockets = inside.report["sockets"]
    assert {port(row) for row in sockets["tcp"] + sockets["tcp6"]} == TCP
    udp = {port(row) for row in sockets["udp"] + sockets["udp6"]}
    assert UDP_EVERYWHERE <= udp
    # One for the lease while it is asked for, and ephemeral ones of the tunnel's and the resolver's own.
    assert udp - UDP_EVERYWHERE - {68} <= set(range(32768, 61000)), udp


def port(address: str) -> int:
    """Of an address as the kernel prints it."""
    return int(address.rsplit(":", 1)[1], 16)


def test_no_other_port_answers(inside: Inside) -> None:
    """Every TCP port of the box, from a machine in the house."""
    scan = (
        "import socket, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def is_open(port):\n"
        "    with socket.socket() as probe:\n"
        "        probe.settimeout(5)\n"
        f"        return probe.connect_ex(('{layout.GATEWAY}', port)) == 0\n"
        "with ThreadPoolExecutor(64) as many:\n"
        "    print([port for port, found in enumerate(many.map(is_open, range(65536))) if found])\n"
    )
    found = json.loads(inside.bench.network.router.run("python3", "-c", scan, timeout=240).output)
    assert set(found) == TCP


def test_the_kernel_is_not_tainted_and_closed(inside: Inside) -> None:
    assert inside.report["tainted"] == "0"
    source = (ROOT / "src" / "appliance" / "hardening.rs").read_text()
    wanted = dict(re.findall(r'^\s*(?:const LATE.*)?\(?\("([\w/]+)", "(\d+)"\)', source, re.MULTILINE))
    wanted |= dict(re.findall(r'\("(kernel/(?:kexec_load|modules)_disabled)", "(\d)"\)', source))
    found = inside.report["settings"]
    assert len(found) > 25, found
    assert {name: value for name, value in found.items() if wanted[name] != value} == {}


def test_the_worker_is_not_root(inside: Inside) -> None:
    worker = inside.process("genkan", Uid="\t".join([WORKER] * 4))
    assert worker["Gid"].split() == [WORKER] * 4
    assert worker["Groups"] == ""
    assert worker["NoNewPrivs"] == "1"
    assert worker["Seccomp"] == "2"
    capabilities = {kind: int(worker[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd")}
    assert capabilities == {"CapEff": KEPT, "CapPrm": KEPT, "CapBnd": BOUND}


def test_nothing_but_process_1_is_root(inside: Inside) -> None:
    mine = [row for row in inside.report["processes"] if "VmRSS" in row]
    assert {row["Pid"] for row in mine if row["Uid"].split()[0] == "0"} == {1}, mine
    resident = sum(int(row["VmRSS"].split()[0]) * 1024 for row in mine)
    print(f"the whole userland holds {resident / MIB:.1f} MiB: {[(row['Name'], row['VmRSS']) for row in mine]}")
    assert resident <= RESIDENT_MAX


def test_the_sandbox_refuses(inside: Inside) -> None:
    tried = inside.report["sandbox"]
    wanted = dict.fromkeys(tried["files"], str(errno.EACCES))
    assert len(wanted) == 8
    # Processes of others are not even there.
    assert tried["files"] == wanted | {"/proc/1/status": str(errno.ENOENT)}
    assert (tried["code"], tried["signal"]) == (None, signal.SIGSYS)


def test_no_error_was_logged(inside: Inside) -> None:
    assert not inside.machine.errors()
