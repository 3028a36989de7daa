"""The five times of a box's life at which its power is cut, each with what was acknowledged before and must hold afterwards."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
import tomllib
from functools import cache
from pathlib import Path
from typing import Callable, Iterator

from tests.lab import layout
from tests.lab.card import Card
from tests.lab.gateway import program
from tests.lab.machines import Machine
from tests.lab.network import Network
from tests.lab.processes import CommandFailed, run
from tests.lab.waiting import Late, eventually

from .forgetful_disk import Moment
from .power import NAMES, READY_WITHIN, SETTINGS, Life, PoweredHouse, data_file, written_key

IMAGES = layout.ROOT / "target" / "image"
SECRET = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
SETTLED = 12.0
"""Seconds after readiness in which everything of a boot is written."""


def first_boot(house: PoweredHouse, seed: int) -> None:
    """A new card, at any of the writes of its first boot: the keys that were shown, and the API key that was written, stay."""
    card = house.new_card()
    life = house.power_on(card, seed, Moment(random.Random(seed).randint(1, 130)))
    seen = [key for _ in until_over(life, READY_WITHIN, since_ready=lambda: house.server_key()) if (key := house.server_key())]
    life.cut()
    key = written_key(card)
    house.recover(card)
    assert set(seen) <= {house.server_key()}, seen
    if key:
        house.admin("users", "list", key=key)
    print(f"  kept: {'the keys' if seen else 'nothing was shown yet'}, {'the API key' if key else 'no API key was written'}")


def joining(house: PoweredHouse, seed: int) -> None:
    """Users, keys and a real client's node: each that was acknowledged is there, and the client comes back."""
    card = house.owned_card()
    life = house.power_on(card, seed)
    house.wait_ready(life.machine, READY_WITHIN)
    machine = Machine(layout.MACHINE_A, house.network.machines["a"], house.scratch, house.processes)
    machine.forget()
    machine.start()
    key = house.ask("preauthkeys", "create", "--host", machine.plan.host)["key"]
    joined: list[bool] = []
    nodes: dict[str, str] = {}
    join = threading.Thread(target=lambda: joined.append(machine.join(key, check=False).ok))
    join.start()
    dice = random.Random(seed)
    if dice.random() < 0.5:
        # Half of the cuts come while it joins, half when it has.
        join.join(60)
        nodes = known_nodes(house)
    life.server.arm(Moment(dice.randint(1, 80)))
    users: list[str] = []
    for number, _ in enumerate(until_over(life, 60)):
        name = f"u{number}"
        if house.admin("users", "create", name, check=False).ok:
            users.append(name)
        if joined and joined[0] and not nodes:
            nodes = known_nodes(house)
    life.cut()
    try:
        house.recover(card)
        there = {user["name"] for user in house.ask("users", "list")}
        assert set(users) <= there, set(users) - there
        assert nodes.items() <= known_nodes(house).items(), nodes
        if nodes:
            eventually("the client is back", lambda: machine.plan.host in online(house), 120, every=1)
        print(f"  kept: {len(users)} users, {len(nodes)} nodes")
    finally:
        machine.stop()
        join.join(60)
        machine.forget()


def known_nodes(house: PoweredHouse) -> dict[str, str]:
    """Node keys by names."""
    return {node["given_name"]: node["node_key"] for node in house.ask("nodes", "list")}


def online(house: PoweredHouse) -> set[str]:
    return {node["given_name"] for node in house.ask("nodes", "list") if node["online"]}


def certificate(house: PoweredHouse, seed: int) -> None:
    """An order of a certificate: the one that a visitor has seen is there afterwards, and the account goes on."""
    house.network.set_forwards((("tcp", 80, 80), ("tcp", 443, 443)))
    try:
        card = house.owned_card()
        dice = random.Random(seed)
        # Half of the cuts come at any of the writes, most of them before the order's end; half as soon as a visitor has seen the certificate.
        life = house.power_on(card, seed, Moment(dice.randint(15, 60)) if dice.random() < 0.5 else None)
        seen = ""
        for _ in until_over(life, READY_WITHIN):
            if seen := served_certificate(house.network):
                break
        life.cut()
        accounts = house.authority.accounts()
        machine = house.recover(card)
        # An order that fails is tried again after two minutes.
        try:
            now = eventually("a certificate of the authority's", lambda: served_certificate(house.network), 300, every=0.5)
        except Late as late:
            orders = [line for line in machine.said().splitlines() if "acme" in line]
            raise AssertionError("\n".join([str(late), *orders])) from None
        if seen:
            assert (now, house.authority.accounts()) == (seen, accounts)
        print(f"  kept: {'the certificate' if seen else 'none was served yet'}")
    finally:
        house.network.set_forwards(())


def served_certificate(network: Network) -> str:
    """The serial number of the certificate that the authority made and visitors get; "" while there is none."""
    connect = f"openssl s_client -connect {layout.HOUSE}:443 -servername {NAMES[0]} </dev/null | openssl x509 -noout -issuer -serial"
    told = network.stranger.run("sh", "-c", f"timeout 5 {connect}", check=False).output
    found = re.search(r"issuer=.*Pebble.*\nserial=(\w+)", told)
    return found[1] if found else ""


def config(house: PoweredHouse, seed: int) -> None:
    """The owner's new settings, with a secret in them: they run afterwards, the secret is on one of the partitions, the last good ones are whole."""
    card = house.owned_card()
    card.put("genkan/genkan.toml", with_secret(SETTINGS.replace(NAMES[0], NAMES[1])))
    life = house.power_on(card, seed, Moment(random.Random(seed).randint(1, 60)))
    for _ in until_over(life, READY_WITHIN, since_ready=lambda: house.server_key()):
        pass
    life.cut()
    text = card.text("genkan/genkan.toml")
    assert tomllib.loads(text)["coordinator"]["name"] == NAMES[1], text
    is_moved = SECRET not in text
    if is_moved:
        assert data_file(card, "/box/secrets/acme.eab_hmac_key").decode().strip() == SECRET
    good = tomllib.loads(kept_settings(card))["coordinator"]["name"]
    machine = house.recover(card)
    assert house.server_key() == house.key
    eventually("the settings are the last good ones", lambda: NAMES[1] in kept_settings(card), 60, every=1)
    assert SECRET not in card.text("genkan/genkan.toml") and machine.alive
    print(f"  kept: the settings, {'moved' if is_moved else 'not moved yet'}; the last good ones were {good}'s")


def with_secret(settings: str) -> str:
    """With a secret in them, that the box moves to its data partition."""
    return settings.replace("[acme]\n", f'[acme]\neab_key_id = "kid-1"\neab_hmac_key = "{SECRET}"\n')


def kept_settings(card: Card) -> str:
    """The last good settings, under either of their two names."""
    try:
        return data_file(card, "/box/config/genkan.toml").decode()
    except CommandFailed:
        return data_file(card, "/box/config.old/genkan.toml").decode()


def update(house: PoweredHouse, seed: int) -> None:
    """An update, at three times: the slot is written, the switch is set, the new version is tried. One of the slots boots, and is whole."""
    card = house.owned_card()
    flashed = [digest(card, number) for number in (2, 3)]
    dice = random.Random(seed)
    life = house.power_on(card, seed)
    house.wait_ready(life.machine, READY_WITHIN)
    time_of_cut = dice.choice(("slot", "switch", "trial"))
    if time_of_cut == "slot":
        start, length = card.partition(3)
        life.server.arm(Moment(dice.randint(1, 60), start, start + length))
    file = packed_update(house.scratch)
    house.admin("update", file, check=False)
    if time_of_cut == "switch":
        # The sector of the switch, and what else the owner's drive gets.
        start, length = card.partition(1)
        life.server.arm(Moment(dice.randint(1, 4), start, start + length))
    elif time_of_cut == "trial":
        eventually("the box restarts", lambda: life.is_over or life.machine.said().count("FindCard") > 1, 240, every=0.2)
        life.server.arm(Moment(dice.randint(1, 60)))
    for _ in until_over(life, 90):
        pass
    life.cut()
    started = started_slots(card)
    for name in started:
        number = {"a": 2, "b": 3}[name]
        assert digest(card, number) in (flashed[number - 2], image_digest()), f"slot {name} may start and is not whole"
    house.recover(card)
    assert house.server_key() == house.key
    slot = house.status()["box"]["slot"].lower()
    assert slot in started, (slot, started)
    print(f"  kept: {time_of_cut}; slots {', '.join(started)} may start, {slot} runs")


def started_slots(card: Card) -> list[str]:
    """What the switch names: the slot that starts, and one to try."""
    return re.findall(r"^genkan_(?:slot|try)=([ab])$", card.text("slot.env").replace("\0", "\n"), re.MULTILINE)


def digest(card: Card, number: int) -> str:
    return hashlib.sha256(card.bytes_of(number, 0, card.partition(number)[1])).hexdigest()


@cache
def image_digest() -> str:
    """Of the slot that the update carries."""
    return hashlib.sha256((IMAGES / "slot.img").read_bytes()).hexdigest()


def packed_update(folder: Path) -> Path:
    """The built slot as a signed update, one build later."""
    file = folder / "genkan-0.9.0.gku"
    if not file.exists():
        words = ["--version", "0.9.0", "--build", "4000000000", "--board", "qemu-virt", "--slot-image", IMAGES / "slot.img", "--out", file]
        run([program(), "release", "pack", "--key", IMAGES / "keys" / "development.pem", *words], timeout=120)
    return file


def until_over(life: Life, within: float, since_ready: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Turns until the power is gone, for at most `within` seconds, or for `SETTLED` from when `since_ready` gives something."""
    deadline = time.monotonic() + within
    is_ready = False
    while not life.is_over and time.monotonic() < deadline:
        yield
        if not is_ready and since_ready():
            is_ready, deadline = True, time.monotonic() + SETTLED
        time.sleep(0.05)


PHASES: tuple[Callable[[PoweredHouse, int], None], ...] = (first_boot, joining, certificate, config, update)
