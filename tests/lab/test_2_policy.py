"""The policy holds on the wire: what it does not list is dropped by the receiving node; a reload takes at once."""

from __future__ import annotations

import copy
from typing import Any, Iterator

import pytest

from . import layout, services, visits
from .lab import Lab
from .machines import Machine
from .namespace import Namespace
from .waiting import eventually

UNLISTED = 9999
CONNECT_PATIENCE = 2
QUICK = 0.5
"""A connect that is tried again and again until it works must not outlast the time in which it should."""
RELOAD_WITHIN = 2.0
DROPS = "tailscaled_inbound_dropped_packets_total"


@pytest.fixture(scope="module")
def unlisted(raised: Lab) -> Iterator[None]:
    """A site on a port that no rule names, on machine A and on the gateway."""
    sites = [
        services.start_site(raised.processes, raised.a.space, UNLISTED, "unlisted"),
        services.start_site(raised.processes, raised.network.gateway, UNLISTED, "unlisted"),
    ]
    yield
    for site in sites:
        raised.processes.stop(site)


def connects(space: Namespace, address: str, source: str | None = None, patience: float = CONNECT_PATIENCE) -> bool:
    """Whether a TCP connection to the unlisted port stands up and the site behind it answers."""
    words = ["curl", "-sS", "--max-time", patience, *(["--interface", source] if source else [])]
    answer = space.run(*words, f"http://{address}:{UNLISTED}/", check=False)
    return answer.ok and answer.output == "unlisted\n"


def with_rule(policy: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    changed = copy.deepcopy(policy)
    changed["acls"].append({"action": "accept", "src": [source], "dst": [target]})
    return changed


def control_connections(lab: Lab) -> set[str]:
    """Who holds an established connection to the coordinator: `address:port` of each.

    Machines in the house come to 8080; machine E, outside, to 443, where its relay link is too. Strangers do not count.
    """
    ours = {plan.address for plan in layout.INSIDE} | {layout.ELSEWHERE}
    lines = lab.network.gateway.sockets("-t", "state", "established", "( sport = :8080 or sport = :443 )").splitlines()
    peers = {line.split()[-1].replace("[::ffff:", "").replace("]", "") for line in lines}
    return {peer for peer in peers if peer.rsplit(":", 1)[0] in ours}


def addresses_of(connections: set[str]) -> set[str]:
    return {peer.rsplit(":", 1)[0] for peer in connections}


def test_the_unlisted_port_answers_on_its_own_machine(lab: Lab, unlisted: None) -> None:
    assert connects(lab.a.space, "127.0.0.1")
    assert connects(lab.a.space, layout.MACHINE_A.tailnet)


def test_the_gateway_is_dropped_by_the_machine_until_the_policy_says_so(lab: Lab, unlisted: None) -> None:
    gateway, target = lab.network.gateway, layout.MACHINE_A.tailnet
    before = lab.a.metric(DROPS, reason="acl")
    assert not connects(gateway, target, layout.GATEWAY_TAILNET)
    assert lab.a.metric(DROPS, reason="acl") > before
    _opens_by_reload(lab, "raspberry-pi", gateway, layout.GATEWAY_TAILNET)


def test_a_machine_is_dropped_by_the_other_until_the_policy_says_so(lab: Lab, unlisted: None) -> None:
    b, target = lab.b.space, layout.MACHINE_A.tailnet
    assert not connects(b, target), "by the seed's policy B does not even know A"

    lab.gateway.set_policy(with_rule(lab.gateway.policy, "machine-b", "machine-a:8080"))
    eventually("B knows A", lambda: lab.b.peer(target), within=RELOAD_WITHIN)
    assert lab.b.fetch(f"http://{target}:8080/").output == "machine-a\n"
    before = lab.a.metric(DROPS, reason="acl")
    assert not connects(b, target)
    assert lab.a.metric(DROPS, reason="acl") > before
    _opens_by_reload(lab, "machine-b", b)


def _opens_by_reload(lab: Lab, host: str, source: Namespace, address: str | None = None) -> None:
    target = layout.MACHINE_A.tailnet
    lab.join_outside()
    held = control_connections(lab)
    everybody = {plan.address for plan in layout.INSIDE} | {layout.ELSEWHERE}
    assert addresses_of(held) == everybody, "a machine's control connection is missing from the count"
    lab.gateway.set_policy(with_rule(lab.gateway.policy, host, f"machine-a:{UNLISTED}"))
    eventually("the same connect works", lambda: connects(source, target, address, QUICK), within=RELOAD_WITHIN, every=0.05)
    assert held <= control_connections(lab), "a control connection was opened anew"


def test_the_gateway_drops_what_the_policy_does_not_list(lab: Lab, unlisted: None) -> None:
    assert connects(lab.network.gateway, layout.GATEWAY_TAILNET)
    before = _filter_drops(lab)
    assert not connects(lab.a.space, layout.GATEWAY_TAILNET)
    eventually("the gateway counts the drop", lambda: _filter_drops(lab) > before, within=5)
    lab.gateway.set_policy(with_rule(lab.gateway.policy, "machine-a", f"raspberry-pi:{UNLISTED}"))
    eventually("A reaches the gateway", lambda: connects(lab.a.space, layout.GATEWAY_TAILNET, patience=QUICK), within=RELOAD_WITHIN)


def _filter_drops(lab: Lab) -> float:
    return lab.gateway.metric("genkan_tunnel_drops_total", reason="filter_rules")


def test_a_policy_taken_back_closes_again(lab: Lab, unlisted: None) -> None:
    target = layout.MACHINE_A.tailnet
    gateway: Machine | Namespace = lab.network.gateway
    lab.gateway.set_policy(with_rule(lab.gateway.policy, "raspberry-pi", f"machine-a:{UNLISTED}"))
    eventually("open", lambda: connects(gateway, target, layout.GATEWAY_TAILNET, QUICK), within=RELOAD_WITHIN)
    lab.gateway.set_policy(lab.gateway.seed_policy)
    eventually("closed", lambda: not connects(gateway, target, layout.GATEWAY_TAILNET), within=RELOAD_WITHIN + CONNECT_PATIENCE)


def test_a_broken_policy_leaves_the_old_one_standing(lab: Lab) -> None:
    held = control_connections(lab)
    assert addresses_of(held) >= {plan.address for plan in layout.INSIDE}
    said = len(lab.gateway.log())
    (lab.gateway.config / "acl.json").write_text('{"acls": [{"action": "accept"')
    lab.gateway.reload()
    try:
        eventually("the log names the file", lambda: "acl.json" in lab.gateway.log()[said:], within=5)
        assert lab.gateway.alive
        assert visits.app(lab)
        assert held <= control_connections(lab)
    finally:
        lab.gateway.set_policy(lab.gateway.seed_policy)
