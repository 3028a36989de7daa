"""The card starts under all circumstances; each ends in a state and a text that its owner can act on."""

from __future__ import annotations

import os
import random
from typing import Iterator

import pytest

from tests.lab import layout, tls
from tests.lab.card import Card
from tests.lab.processes import run
from tests.lab.qemu import Virtual
from tests.lab.waiting import eventually

from . import broken_configs
from .bench import BOOT_WITHIN, Bench

LONG = os.environ.get("GENKAN_LONG") == "1"
SEED = int(os.environ.get("GENKAN_SEED") or random.randrange(1 << 32))
SAMPLE = broken_configs.BROKEN if LONG else random.Random(SEED).sample(broken_configs.BROKEN, 5)
ROUTER_LATE = 120 if LONG else 20
MIB = 1 << 20
TIME_FROM_HOUSE = f'[time]\nservers = ["{layout.DNS_SERVER}"]\n'


@pytest.fixture(scope="module")
def raised() -> Iterator[Bench]:
    print(f"GENKAN_SEED={SEED}")
    with Bench("boots") as bench:
        yield bench


@pytest.fixture
def bench(raised: Bench) -> Iterator[Bench]:
    """The router hands out addresses, and no machine runs."""
    raised.router_on()
    yield raised
    raised.all_off()


def told(card: Card, *parts: str, within: float = BOOT_WITHIN) -> str:
    """STATUS.txt when it has all of `parts`."""

    def text() -> str:
        status = card.text("STATUS.txt")
        missing = [part for part in parts if part not in status]
        assert not missing, f"{missing} not in\n{status}"
        return status

    return eventually(f"STATUS.txt tells {', '.join(parts)}", text, within, every=0.5)


def boot_to_ready(bench: Bench, card: Card) -> str:
    """Boots, waits, and gives what the box is known by; the machine is switched off in good order."""
    machine = bench.boot(card)
    bench.wait_ready(machine)
    identity = bench.identity()
    machine.shut_down()
    return identity


def test_as_flashed(bench: Bench) -> None:
    """Not one line was changed."""
    card = bench.card()
    machine = bench.boot(card)
    seconds = bench.wait_ready(machine)
    print(f"{seconds:.1f} s from power-on until the status page answers")
    # Machines outside cannot join without a public name: the owner must read that.
    told(card, layout.GATEWAY, "ready", "PUB-04")
    assert not machine.errors(), machine.errors()
    assert not bench.codes() & {"CFG-01", "DATA-01", "DATA-02", "BOX-03", "NET-01"}


def test_without_aes_instructions(bench: Bench) -> None:
    """As on a Pi 4: ChaCha20 whatever the client prefers. With them the client's order counts."""
    seen = {}
    for words in ("", "genkan.no_aes=1"):
        machine = bench.boot(bench.card(), append=words)
        bench.wait_ready(machine)
        agree = lambda order: tls.negotiated(bench.network.router, layout.GATEWAY, "hs.example.com", order)
        seen[words] = [agree(tls.AES_FIRST), agree(tls.CHACHA_FIRST)]
        machine.shut_down()
    aes, chacha = "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"
    assert seen == {"": [aes, chacha], "genkan.no_aes=1": [chacha, chacha]}


def test_without_a_router_and_with_a_late_one(bench: Bench) -> None:
    bench.router_off()
    card = bench.card()
    machine = bench.boot(card)
    eventually("the worker is ready without a network", lambda: "the worker is ready" in machine.said(), BOOT_WITHIN)
    told(card, "NET-03", within=90)
    bench.wait(machine, ROUTER_LATE)
    bench.router_on()
    bench.wait_ready(machine, within=90)
    assert "NET-03" not in bench.codes()
    assert "the worker starts" not in machine.said().split("the worker is ready", 1)[1], "it needed no second start"


def test_without_a_cable(bench: Bench) -> None:
    card = bench.card()
    machine = bench.virtual(card)
    machine.start()
    machine.unplug_cable()
    told(card, "NET-02", within=90)
    machine.plug_cable()
    bench.wait_ready(machine, within=90)
    assert "NET-02" not in bench.codes()


def test_in_1970(bench: Bench) -> None:
    """No board of ours but the Pi 5 has a clock that runs without power."""
    card = bench.card(genkan_toml=TIME_FROM_HOUSE)
    machine = bench.boot(card, clock="1970-01-01T00:00:00")
    bench.wait_ready(machine)
    eventually("the page says that the time is not known", lambda: "TIME-01" in bench.codes(), within=30)
    assert "1970-01-01" not in machine.said(), "the time starts at the build's, not at nought"
    server = bench.time_server()
    try:
        eventually("the time is known", lambda: not {"TIME-01", "TIME-10"} & bench.codes(), within=90, every=0.5)
        assert "time server" in bench.status()["box"]["clock"]
    finally:
        bench.processes.stop(server)


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_a_broken_configuration_is_named(bench: Bench, case: broken_configs.Broken) -> None:
    card = bench.card()
    card.remove("genkan/genkan.toml")
    for name, data in case.files.items():
        card.put(f"genkan/{name}", data)
    machine = bench.boot(card)
    bench.wait_ready(machine)
    told(card, "CFG-01", case.place)


def test_the_last_good_configuration_runs_on(bench: Bench) -> None:
    card = bench.card(genkan_toml=broken_configs.SETTINGS, caddy_json=broken_configs.CADDY, acl_json=broken_configs.POLICY)
    boot_to_ready(bench, card)
    card.put("genkan/genkan.toml", broken_configs.SETTINGS.replace("email", "e_mail"))
    machine = bench.boot(card)
    bench.wait_ready(machine)
    told(card, "CFG-01", "genkan.toml:5:1")
    assert bench.is_open(2222), "the service of the last good configuration is not served"


def test_a_full_data_partition(bench: Bench) -> None:
    card = bench.card()
    identity = boot_to_ready(bench, card)
    with card.mounted(4) as data:
        run(["sh", "-c", f"head -c 1G /dev/zero >{data}/filler"], check=False)
    machine = bench.boot(card)
    bench.wait_ready(machine)
    assert bench.identity() == identity
    told(card, "DATA-03")


def test_a_damaged_data_partition_is_repaired(bench: Bench) -> None:
    card = bench.card()
    identity = boot_to_ready(bench, card)
    with card.attached(4) as device:
        # A folder whose inode is gone, and a last mount that ended with errors.
        run(["debugfs", "-w", "-R", "clri /box/log", device])
        run(["debugfs", "-w", "-R", "ssv state 2", device])
    machine = bench.boot(card)
    bench.wait_ready(machine)
    assert bench.identity() == identity
    told(card, "DATA-01")


def test_a_ruined_data_partition_begins_anew(bench: Bench) -> None:
    card = bench.card()
    identity = boot_to_ready(bench, card)
    card.overwrite(4, 0, random.Random(SEED).randbytes(MIB) * 200)
    machine = bench.boot(card)
    bench.wait_ready(machine)
    assert bench.identity() == identity, "clients would not know the box any more"
    told(card, "DATA-02")


def test_a_missing_data_partition_is_made(bench: Bench) -> None:
    card = bench.card()
    identity = boot_to_ready(bench, card)
    card.forget_partition(4)
    machine = bench.boot(card)
    bench.wait_ready(machine)
    assert bench.identity() == identity
    machine.shut_down()
    assert card.partition(4)[1] > 100 * MIB
    assert boot_to_ready(bench, card) == identity
