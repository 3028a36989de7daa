"""Direct where UDP passes, by the relay where it does not, and direct again; connections notice nothing."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Iterator

import pytest

from . import layout, paths, visits
from .lab import Lab
from .waiting import eventually

SWITCH_WITHIN = 20.0
"""A path is trusted for 6.5 s after its last pong; then what is sent goes by relay too."""
RETURN_WITHIN = 45.0
BODY = 4_000_000
HEADERS = 96
LINES = 400
"""Of a slow answer, one every 100 ms: it outlives both switches."""


def test_relay_when_udp_is_blocked_and_direct_again_after(lab: Lab) -> None:
    paths.settle_direct(lab, lab.a, lambda: _upload(lab))
    _upload(lab)
    slow = subprocess.Popen(
        lab.stranger.argv(["curl", "-sSfN", "--max-time", 120, f"https://app.example.com/drip/{LINES}"]),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lab.network.block_udp(layout.GATEWAY, layout.MACHINE_A.address)
        eventually("traffic goes by the relay", lambda: paths.goes(lab, lab.a, "relay") and _upload(lab), SWITCH_WITHIN)
        _carried_by_relay(lab)
        lab.network.unblock_udp()
        eventually("direct again", lambda: paths.goes(lab, lab.a, "direct") and lab.a.path_to(layout.GATEWAY_TAILNET), RETURN_WITHIN)
        _carried_directly(lab)
        output, _ = slow.communicate(timeout=LINES / 10 + 30)
        assert output.splitlines() == [str(number) for number in range(LINES)], "the open connection lost bytes"
    finally:
        slow.kill()
        slow.communicate()


def _upload(lab: Lab) -> bool:
    """Sends a body to machine A's site and gets it back, whole."""
    words = ["curl", "-sSf", "--max-time", 15, "--data-binary", "@-", "-o", "/dev/null", "-w", "%{size_download}"]
    answer = lab.stranger.run(*words, "https://app.example.com/echo", feed="x" * BODY)
    return answer.output == str(BODY)


def _counters(lab: Lab, path: str) -> dict[str, float]:
    path_of_client = "derp" if path == "relay" else "direct_ipv4"
    relay = {"relayed": lab.gateway.metric("genkan_relay_bytes_total") / 2} if path == "relay" else {}
    return {
        **relay,
        "sent by the gateway": lab.gateway.metric("genkan_tunnel_bytes_total", peer="machine-a", direction="sent", path=path),
        "received by the gateway": lab.gateway.metric("genkan_tunnel_bytes_total", peer="machine-a", direction="received", path=path),
        "received by the machine": lab.a.metric("tailscaled_inbound_bytes_total", path=path_of_client),
    }


def _carried_by_relay(lab: Lab) -> None:
    """A body goes through DERP: its counters rise by both directions of it, and no UDP carries it."""
    _upload_counted(lab, "relay")
    eventually("no UDP carries it any more", lambda: _udp_bytes_of_an_upload(lab) < BODY / 50, SWITCH_WITHIN)


def _carried_directly(lab: Lab) -> None:
    _upload_counted(lab, "direct")
    eventually("UDP carries both directions", lambda: _udp_bytes_of_an_upload(lab) > 2 * BODY, RETURN_WITHIN)


def _upload_counted(lab: Lab, path: str) -> int:
    """One upload, each counter of its path seen to rise by as much; returns what went as UDP on the LAN."""
    before = _counters(lab, path)
    udp = _udp_bytes_of_an_upload(lab)

    def risen() -> bool:
        after = _counters(lab, path)
        assert all(value - before[name] > BODY for name, value in after.items()), f"{before} -> {after}"
        return True

    eventually(f"the counters of the {path} path rise", risen, within=5)
    return udp


def _udp_bytes_of_an_upload(lab: Lab) -> int:
    """Bytes of UDP that the gateway and machine A put on their cables during one upload."""
    gateway, machine = layout.GATEWAY, layout.MACHINE_A.address
    only = f"udp and host {gateway} and host {machine}"
    with (
        lab.capture(lab.network.gateway, "eth0", only, HEADERS) as from_gateway,
        lab.capture(lab.a.space, "eth0", only, HEADERS) as from_machine,
    ):
        assert _upload(lab)
    return from_gateway.udp_bytes(gateway) + from_machine.udp_bytes(machine)


def test_udp_services_go_by_relay_too(lab: Lab) -> None:
    visits.game(lab)
    lab.network.block_udp(layout.GATEWAY, layout.MACHINE_C.address)
    eventually("the game answers by relay", lambda: visits.game(lab), SWITCH_WITHIN, every=0.5)
    before = _relayed_to_c(lab)
    visits.game(lab)
    eventually("the relay path's counter rises", lambda: _relayed_to_c(lab) > before, within=5)


def _relayed_to_c(lab: Lab) -> float:
    return lab.gateway.metric("genkan_tunnel_bytes_total", peer="machine-c", path="relay")


@pytest.fixture
def nameless(lab: Lab) -> Iterator[Lab]:
    """The lab while the gateway has no public name, and so no certificate that anybody vouches for."""
    file = lab.gateway.config / "genkan.toml"
    before = file.read_text()
    file.write_text(re.sub(r"^name = .*\n", "", before, flags=re.MULTILINE))
    _restart(lab)
    yield lab
    lab.network.unblock_udp()
    file.write_text(before)
    _restart(lab)


def _restart(lab: Lab) -> None:
    lab.gateway.stop()
    lab.gateway.start()
    lab.gateway.wait_until_up()
    hosts = {machine.plan.host for machine in lab.machines.values() if machine.started}
    # Who came too early waits for a while before it tries again.
    eventually("every machine is back", lambda: hosts <= lab.online(), within=90, every=0.5)


def test_without_a_public_name_the_relay_is_trusted_by_its_pin(nameless: Lab) -> None:
    lab = nameless
    eventually("A is told the pin", lambda: _pins(lab) and all(pin.startswith("sha256-raw:") for pin in _pins(lab)), within=20)
    lab.network.block_udp(layout.GATEWAY, layout.MACHINE_A.address)
    said = eventually("A reaches the gateway by relay", lambda: _ping_by_relay(lab), SWITCH_WITHIN, every=0.5)
    assert "DERP(" in said
    before = lab.gateway.metric("genkan_relay_bytes_total")
    site = f"http://{layout.MACHINE_A.tailnet}:8080/"
    assert lab.network.gateway.run("curl", "-sS", "--max-time", 8, site).output == "machine-a\n"
    assert lab.gateway.metric("genkan_relay_bytes_total") > before


def _pins(lab: Lab) -> list[str]:
    told = json.loads(lab.a.tailscale("debug", "derp-map").output)
    return [node.get("CertName", "") for region in told["Regions"].values() for node in region["Nodes"]]


def _ping_by_relay(lab: Lab) -> str:
    said = lab.a.ping(layout.GATEWAY_TAILNET)
    return said if "DERP(" in said else ""
