"""Machines that come from outside, and keys and nodes that are no longer good."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import layout
from .lab import Lab
from .machines import Machine
from .waiting import eventually

SWITCH_WITHIN = 30.0


@pytest.fixture
def outside(lab: Lab) -> Machine:
    """Machine E, joined, with a policy that lets it reach machine A's site."""
    lab.join_outside()
    lab.gateway.set_policy(lab.outside_policy())
    eventually("E knows A", lambda: lab.e.peer(layout.MACHINE_A.tailnet), within=5)
    return lab.e


@pytest.fixture
def guest(lab: Lab) -> Iterator[Machine]:
    """A machine in the stranger's network that nobody knows; forgotten afterwards."""
    machine = Machine(layout.GUEST, lab.stranger, lab.scratch, lab.processes)
    machine.start()
    yield machine
    machine.forget()


def site_of_a(machine: Machine) -> str:
    return machine.fetch(f"http://{layout.MACHINE_A.tailnet}:8080/").output


def test_e_came_in_by_the_forward(lab: Lab, outside: Machine) -> None:
    """Its control connection is at the router's public address, and its node is the policy's machine-e."""
    assert layout.MACHINE_E.tailnet in outside.addresses
    peers = outside.space.sockets("-t", "state", "established", f"dst {layout.HOUSE}")
    assert f"{layout.HOUSE}:443" in peers or f"{layout.HOUSE}:80" in peers


def test_e_reaches_a_and_the_gateway_directly(lab: Lab, outside: Machine) -> None:
    eventually("A answers E", lambda: site_of_a(outside) == "machine-a\n", within=20)
    said = outside.ping(layout.GATEWAY_TAILNET, until_direct=True)
    assert f"via {layout.HOUSE}:41641" in said, said


def test_e_reaches_a_by_relay_when_udp_is_blocked(lab: Lab, outside: Machine) -> None:
    eventually("A answers E", lambda: site_of_a(outside) == "machine-a\n", within=20)
    lab.network.block_outer_udp()
    eventually("A answers E by relay", lambda: site_of_a(outside) == "machine-a\n", SWITCH_WITHIN, every=0.5)
    before, relayed = outside.metric("tailscaled_inbound_bytes_total", path="derp"), lab.gateway.metric("genkan_relay_bytes_total")
    assert site_of_a(outside) == "machine-a\n"
    assert outside.metric("tailscaled_inbound_bytes_total", path="derp") > before
    assert lab.gateway.metric("genkan_relay_bytes_total") > relayed
    said = eventually("the gateway by relay", lambda: _relayed_ping(outside), SWITCH_WITHIN, every=0.5)
    assert "DERP(" in said


def _relayed_ping(machine: Machine) -> str:
    said = machine.ping(layout.GATEWAY_TAILNET)
    return said if "DERP(" in said else ""


def test_a_one_shot_key_is_good_once(lab: Lab, guest: Machine) -> None:
    key = lab.guest_key()
    guest.join(key)
    eventually("the guest is running", lambda: guest.running, within=20)
    guest.forget()
    guest.start()
    refused = guest.join(key, within=15, check=False)
    assert not refused.ok
    assert "was used already" in refused.errors, refused.errors
    assert not guest.running


def test_a_reusable_key_is_good_twice(lab: Lab, guest: Machine) -> None:
    key = lab.guest_key("--reusable")
    guest.join(key)
    first = guest.addresses
    guest.forget()
    guest.start()
    guest.join(key)
    assert guest.addresses != first, "another machine got the same address"


def test_an_expired_key_is_told_in_a_sentence(lab: Lab, guest: Machine) -> None:
    key = lab.guest_key("--expiration", "1s")
    eventually("the key is over", lambda: _expired(lab), within=5)
    refused = guest.join(key, within=15, check=False)
    assert not refused.ok
    assert "expired" in refused.errors, refused.errors
    assert len(refused.errors.split()) > 4, "a sentence that a person can act on"


def _expired(lab: Lab) -> bool:
    import datetime

    newest = max(lab.gateway.ask("preauthkeys", "list"), key=lambda key: int(key["id"]))
    ends = datetime.datetime.fromisoformat(newest["expiration"].replace("Z", "+00:00"))
    return ends < datetime.datetime.now(datetime.timezone.utc)


def test_a_node_that_the_admin_deletes_is_cut_off(lab: Lab, outside: Machine) -> None:
    eventually("A answers E", lambda: site_of_a(outside) == "machine-a\n", within=20)
    assert outside.fetch(f"http://{layout.GATEWAY_TAILNET}:9090/metrics").ok
    key = lab.a.peer(layout.MACHINE_E.tailnet)["PublicKey"]
    node = next(node for node in lab.gateway.ask("nodes", "list") if node["given_name"] == "machine-e")
    lab.gateway.admin("nodes", "delete", "--identifier", node["id"], "--force")

    eventually("A has forgotten E", lambda: key not in (lab.a.status().get("Peer") or {}), within=5)
    eventually("E is told so", lambda: "it was deleted" in outside.log(), within=15)
    assert not outside.fetch(f"http://{layout.MACHINE_A.tailnet}:8080/", within=3, check=False).ok
    assert not outside.fetch(f"http://{layout.GATEWAY_TAILNET}:9090/metrics", within=3, check=False).ok
    assert "machine-e" not in {node["given_name"] for node in lab.gateway.ask("nodes", "list")}
    outside.forget()
    lab.join_outside()
    assert layout.MACHINE_E.tailnet in outside.addresses, "a new key brings it back to its reserved address"
