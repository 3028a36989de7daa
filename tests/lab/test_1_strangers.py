"""From the internet each service is reached, and what is said crosses the LAN only inside WireGuard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import pytest

from . import layout, tls, visits
from .capture import marker
from .lab import Lab
from .machines import Machine
from .waiting import eventually


@pytest.mark.parametrize("name", visits.PUBLIC)
def test_each_public_port_answers(lab: Lab, name: str) -> None:
    assert visits.PUBLIC[name](lab)


def say_by_https(lab: Lab, text: str) -> str:
    return visits.site(lab, "app.example.com", f"/mark/{text}")


def say_by_api(lab: Lab, text: str) -> str:
    return visits.site(lab, "api.example.com", f"/mark/{text}")


def say_by_sql(lab: Lab, text: str) -> str:
    return visits.database(lab, f"SELECT '{text}'")


def say_by_datagram(lab: Lab, text: str) -> str:
    # The game's query port sends back the request in front of its answer.
    return visits.datagram(lab.stranger, "example.com", 27015, text.encode()).decode(errors="replace")


@pytest.mark.parametrize(
    ("machine", "say", "encrypted"),
    [("a", say_by_https, True), ("b", say_by_api, True), ("b", say_by_sql, False), ("c", say_by_datagram, False)],
)
def test_nothing_said_is_readable_on_the_lan(lab: Lab, machine: str, say: Callable[[Lab, str], str], encrypted: bool) -> None:
    target = lab.machines[machine]
    text = marker()
    say(lab, marker())
    before = _traffic(lab, target)
    # From the router to the gateway a stranger's own words run as he sent them; past the gateway they must not be readable.
    with lab.lan_capture("" if encrypted else f"not host {layout.STRANGER}") as wire, lab.capture(target.space, "tailscale0") as inside:
        assert text in say(lab, text)

    assert inside.has(text), "the control saw no marker on the machine's own TUN: this test would prove nothing"
    carried = wire.count(f"udp and host {layout.GATEWAY} and host {target.plan.address}")
    assert carried > 0, "no WireGuard on the LAN: the capture looks at the wrong cable"
    assert wire.dropped() == 0
    assert not wire.has(text)
    eventually("all counters rise", lambda: _all_rose(before, _traffic(lab, target)), within=5)


def _traffic(lab: Lab, machine: Machine) -> dict[str, float]:
    """The WireGuard peers' counters: the machine's of the gateway, and the gateway's of the machine."""
    peer = machine.peer(layout.GATEWAY_TAILNET)
    host = machine.plan.host
    return {
        "machine received": peer["RxBytes"],
        "machine sent": peer["TxBytes"],
        "gateway sent": lab.gateway.metric("genkan_tunnel_bytes_total", peer=host, direction="sent"),
        "gateway received": lab.gateway.metric("genkan_tunnel_bytes_total", peer=host, direction="received"),
    }


def _all_rose(before: dict[str, float], after: dict[str, float]) -> bool:
    assert all(value > before[name] for name, value in after.items()), f"{before} -> {after}"
    return True


@pytest.mark.parametrize("name", ["app.example.com", "api.example.com", layout.COORDINATOR_NAME])
def test_the_certificate_is_the_authoritys(lab: Lab, name: str) -> None:
    words = ["curl", "-sSv", "-o", "/dev/null", "--max-time", visits.PATIENCE, f"https://{name}/"]
    told = lab.stranger.run(*words).errors
    assert "issuer: CN=Pebble Intermediate" in told
    assert f'subjectAltName: host "{name}" matched' in told


def test_sites_speak_http_2_and_http_1(lab: Lab) -> None:
    version = ["-o", "/dev/null", "-w", "%{http_version}"]
    assert visits.site(lab, "app.example.com", "/", *version) == "2"
    assert visits.site(lab, "app.example.com", "/", "--http1.1", *version) == "1.1"


def test_the_upstream_learns_who_asked(lab: Lab) -> None:
    seen = json.loads(visits.site(lab, "app.example.com", "/headers", "-H", "X-Forwarded-For: 198.51.100.7"))
    headers = {name.lower(): value for name, value in seen.items()}
    assert headers["x-forwarded-for"] == layout.STRANGER, "a stranger's own claim is not passed on"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == "app.example.com"
    assert headers["host"] == "app.example.com"


def test_bodies_are_streamed(lab: Lab) -> None:
    """The first line of a slow answer arrives long before its last."""
    words = ["-o", "/dev/null", "-w", "%{time_starttransfer} %{time_total}"]
    first, last = map(float, visits.site(lab, "app.example.com", "/drip/20", *words).split())
    assert last > 1.8
    assert last - first > 0.8, "the answer was held back until it was whole"


def test_a_stranger_sees_no_metrics(lab: Lab) -> None:
    assert lab.gateway.metrics()
    refused = lab.stranger.run("curl", "-sS", "--max-time", 3, "http://example.com:9090/metrics", check=False)
    assert not refused.ok


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_a_visitor_who_comes_back_resumes_the_session(lab: Lab, version: str, tmp_path: Path) -> None:
    assert tls.resumes(lab.stranger, layout.HOUSE, "app.example.com", tmp_path / "session", version)


def test_the_visitors_order_of_ciphers_counts_where_aes_is_fast(lab: Lab) -> None:
    agree = lambda order: tls.negotiated(lab.stranger, layout.HOUSE, "app.example.com", order)
    assert agree(tls.AES_FIRST) == "TLS_AES_128_GCM_SHA256"
    assert agree(tls.CHACHA_FIRST) == "TLS_CHACHA20_POLY1305_SHA256"
