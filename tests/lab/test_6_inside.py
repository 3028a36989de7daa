"""Without hairpin NAT: what `genkan check` says that machines in the house must do works."""

from __future__ import annotations

import json

from . import layout
from .lab import Lab
from .waiting import eventually

SITE = "https://app.example.com/"


def _advice(lab: Lab) -> dict[str, str]:
    return {row["subject"]: row["action"] for row in lab.gateway.check()["inside"]}


def test_the_router_leads_nobody_back_in(lab: Lab) -> None:
    """The condition of this file: by the public address a machine in the house reaches nothing."""
    assert not lab.c.fetch(SITE, within=3, check=False).ok


def test_joining_as_check_says(lab: Lab) -> None:
    """The machines of the lab joined with exactly these words."""
    words = _advice(lab)["join"].split()
    assert words[:2] == ["tailscale", "up"]
    assert words[words.index("--login-server") + 1] == layout.LAN_LOGIN
    for plan in layout.INSIDE:
        prefs = lab.machines[plan.name].tailscale("debug", "prefs").output
        assert f'"ControlURL": "{layout.LAN_LOGIN}"' in prefs


def test_names_in_the_routers_dns(lab: Lab) -> None:
    lines = [action for subject, action in _advice(lab).items() if subject != "join"]
    assert {line.split()[1] for line in lines} == set(lab.public_names())
    lab.set_house_names("".join(f"{line}\n" for line in lines))
    eventually("the site by name", lambda: lab.c.fetch(SITE).output == "machine-a\n", within=5)
    assert lab.c.fetch("https://api.example.com/").output == "machine-b\n"
    assert "publicKey" in lab.c.fetch(f"https://{layout.COORDINATOR_NAME}/key?v=142").output


def test_names_in_a_machines_hosts_file(lab: Lab) -> None:
    hosts = lab.c.space.etc / "hosts"
    before = hosts.read_text()
    lines = [action for subject, action in _advice(lab).items() if subject != "join"]
    hosts.write_text(before + "".join(f"{line}\n" for line in lines))
    try:
        assert lab.c.fetch(SITE).output == "machine-a\n"
    finally:
        hosts.write_text(before)


def test_the_relay_is_found_in_the_house(lab: Lab) -> None:
    """Machines in the house are told the relay's LAN address; the public one would be out of their reach."""
    relay = f"{layout.GATEWAY}:443"
    established = lambda: lab.a.space.sockets("-t", "state", "established", f"dst {layout.GATEWAY}")  # noqa: E731
    eventually("A holds a link to the relay", lambda: relay in established(), within=20)
    told = json.loads(lab.a.tailscale("debug", "derp-map").output)
    nodes = [node for region in told["Regions"].values() for node in region["Nodes"]]
    assert [node["IPv4"] for node in nodes] == [layout.GATEWAY], told
    check = lab.a.tailscale("netcheck", timeout=30).output
    assert "UDP: true" in check
    assert "Nearest DERP: unknown" not in check
