"""`kill -9` under traffic costs no login, no address and no more than ten seconds."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import layout, visits
from .lab import Lab
from .processes import CommandFailed
from .waiting import eventually

BACK_WITHIN = 10.0
VISITS = {**visits.PUBLIC, "3478/udp stun": visits.stun}
PAUSE = 0.5
"""Between two visits of one stranger: UDP flows of one address are limited, and each visit is a new one."""


class Traffic:
    """Strangers that come again and again to every public port while the `with` block runs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._keep_on, args=(name,)) for name in VISITS]
        self.visits: dict[str, int] = dict.fromkeys(VISITS, 0)

    def _keep_on(self, name: str) -> None:
        while not self._over.is_set():
            try:
                VISITS[name](self._lab)
                self.visits[name] += 1
            except CommandFailed:
                pass
            self._over.wait(PAUSE)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)


def _identities(lab: Lab) -> dict[str, tuple[object, ...]]:
    """What each machine is to itself and to the coordinator."""
    nodes = {node["given_name"]: (node["id"], node["node_key"], tuple(node["ip_addresses"])) for node in lab.gateway.ask("nodes", "list")}
    return {
        plan.host: (*nodes[plan.host], tuple(lab.machines[plan.name].addresses), lab.machines[plan.name].status()["Self"]["PublicKey"])
        for plan in layout.INSIDE
    }


def _logins(lab: Lab) -> dict[str, int]:
    return {plan.name: lab.machines[plan.name].log().count("RegisterReq: got response") for plan in layout.INSIDE}


def _seconds_until(lab: Lab, name: str, started: float) -> float:
    """When a new connection through a port first worked, counted from the exec."""
    eventually(name, lambda: VISITS[name](lab), BACK_WITHIN - (time.monotonic() - started), every=0.05)
    return time.monotonic() - started


def test_every_port_works_again_within_ten_seconds_of_exec(lab: Lab) -> None:
    with Traffic(lab) as traffic:
        eventually("every port has traffic", lambda: all(traffic.visits.values()), within=30)
        identities, logins = _identities(lab), _logins(lab)
        orders = lab.authority.orders()
        assert all(logins.values()), f"the count of logins counts nothing: {logins}"
        assert orders >= len(lab.public_names()), f"the count of orders counts nothing: {orders}"
        lab.gateway.kill()
        started = lab.gateway.start()
        with ThreadPoolExecutor(len(VISITS)) as pool:
            waits = {name: pool.submit(_seconds_until, lab, name, started) for name in VISITS}
            failures = {name: wait.exception() for name, wait in waits.items() if wait.exception()}
    assert not failures, f"not back: {failures}"
    seconds = {name: round(wait.result(), 1) for name, wait in waits.items()}
    print("seconds from exec:", seconds)
    assert max(seconds.values()) <= BACK_WITHIN, seconds
    eventually("all machines poll again", lambda: all(node["online"] for node in _inside_nodes(lab)), within=40)
    assert _identities(lab) == identities
    assert _logins(lab) == logins, "a machine logged in again"
    assert lab.authority.orders() == orders, "certificates were ordered again"


def _inside_nodes(lab: Lab) -> list[dict[str, object]]:
    hosts = {plan.host for plan in layout.INSIDE}
    return [node for node in lab.gateway.ask("nodes", "list") if node["given_name"] in hosts]


def test_what_was_acknowledged_just_before_the_kill_is_still_there(lab: Lab) -> None:
    made = []
    for number in range(20):
        name = f"made-{time.monotonic_ns()}-{number}"
        lab.gateway.admin("users", "create", name)
        made.append(name)
    lab.gateway.kill()
    lab.gateway.start()
    lab.gateway.wait_until_up()
    known = {user["name"] for user in lab.gateway.ask("users", "list")}
    assert set(made) <= known


def test_killed_again_and_again(lab: Lab) -> None:
    identities = _identities(lab)
    for _ in range(5):
        lab.gateway.kill()
        lab.gateway.start()
        lab.gateway.wait_until_up()
    eventually("strangers are served", lambda: visits.app(lab) and visits.database(lab), BACK_WITHIN)
    assert _identities(lab) == identities
