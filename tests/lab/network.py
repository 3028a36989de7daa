"""The cables: internet switch, two home routers, the house's LAN.

    stranger ---+                         +--- gateway .10
                |                         +--- a .20
    dns, ca  inet 203.0.113.0/24 - router - lan 192.168.50.0/24
                |                         +--- b .30
    e - outer --+                         +--- c .40

`inet` and `lan` are switches in namespaces of their own, so a capture in `lan` sees what a tapped cable would.
"""

from __future__ import annotations

from typing import Iterable, Sequence

from . import layout
from .namespace import Namespace, remove_all
from .processes import run

Forward = tuple[str, int, int]
"""Protocol, port outside, port on the gateway."""


class Network:
    """Every namespace of the lab by name, and the knobs of its routers."""

    def __init__(self) -> None:
        self.inet = Namespace("inet")
        self.stranger = Namespace("stranger")
        self.router = Namespace("router")
        self.lan = Namespace("lan")
        self.gateway = Namespace("gateway")
        self.outer = Namespace("outer")
        self.machines = {plan.name: Namespace(plan.name) for plan in layout.MACHINES}

    def all(self) -> list[Namespace]:
        return [
            self.inet,
            self.stranger,
            self.router,
            self.lan,
            self.gateway,
            self.outer,
            *self.machines.values(),
        ]

    def raise_up(self) -> None:
        """Makes everything, after removing what an earlier run may have left."""
        remove_all()
        self._make_internet()
        self._make_house()
        self._make_elsewhere()

    def _make_internet(self) -> None:
        self.inet.create(layout.DNS_SERVER)
        _make_switch(self.inet, (layout.DNS_SERVER, layout.AUTHORITY))
        self.stranger.create(layout.DNS_SERVER)
        _plug(self.inet, self.stranger, "eth0", layout.STRANGER)

    def _make_house(self) -> None:
        self.router.create(layout.DNS_SERVER)
        self.lan.create(None)
        _make_switch(self.lan, ())
        _plug(self.inet, self.router, "wan", layout.HOUSE)
        _plug(self.lan, self.router, "lan", layout.ROUTER)
        self.gateway.create(layout.ROUTER)
        _plug(self.lan, self.gateway, "eth0", layout.GATEWAY, layout.ROUTER)
        for plan in layout.INSIDE:
            machine = self.machines[plan.name]
            machine.create(layout.ROUTER)
            _plug(self.lan, machine, "eth0", plan.address, layout.ROUTER)
        self.router.sysctl("net.ipv4.ip_forward", "1")
        self.set_forwards(())

    def _make_elsewhere(self) -> None:
        self.outer.create(layout.DNS_SERVER)
        _plug(self.inet, self.outer, "wan", layout.ELSEWHERE)
        machine = self.machines[layout.MACHINE_E.name]
        machine.create(layout.DNS_SERVER)
        _plug(self.outer, machine, "eth0", layout.MACHINE_E.address, layout.OUTER_ROUTER, far_name="lan")
        self.outer.sysctl("net.ipv4.ip_forward", "1")
        self.outer.nft(_router_rules((), layout.ELSEWHERE))

    def set_forwards(self, forwards: Iterable[Forward]) -> None:
        """Makes the house's router forward exactly these ports to the gateway."""
        self.router.nft(_router_rules(tuple(forwards), layout.HOUSE))

    def unplug_gateway(self) -> None:
        """Takes the gateway's place off the switch, for a machine that brings its own cable."""
        _ip(self.gateway, "link", "set", "eth0", "down")

    def block_udp(self, one: str, other: str) -> None:
        """The house's switch drops UDP between two addresses, both ways."""
        pairs = f"{{ {one} . {other}, {other} . {one} }}"
        self.lan.nft(
            "table bridge block {\n"
            "  chain forward { type filter hook forward priority 0;\n"
            f"    ip saddr . ip daddr {pairs} meta l4proto udp counter drop\n"
            "  }\n}\n"
        )

    def unblock_udp(self) -> None:
        self.lan.run("nft", "delete", "table", "bridge", "block", check=False)

    def block_outer_udp(self) -> None:
        """E's router drops all UDP but DNS, as a strict firewall does."""
        self.outer.nft(
            "table ip block {\n"
            "  chain forward { type filter hook forward priority -10;\n"
            "    udp dport != 53 udp sport != 53 counter drop\n"
            "  }\n}\n"
        )

    def unblock_outer_udp(self) -> None:
        self.outer.run("nft", "delete", "table", "ip", "block", check=False)


def _make_switch(space: Namespace, addresses: Sequence[str]) -> None:
    _ip(space, "link", "add", "switch", "type", "bridge", "forward_delay", "0")
    space.sysctl("net.ipv6.conf.switch.disable_ipv6", "1")
    for address in addresses:
        _ip(space, "address", "add", f"{address}/24", "dev", "switch")
    _ip(space, "link", "set", "switch", "up")


def _plug(
    switch: Namespace,
    machine: Namespace,
    interface: str,
    address: str,
    router: str | None = None,
    far_name: str | None = None,
) -> None:
    """A cable from `machine` into `switch`; with `far_name`, a direct cable to a router's port of that name."""
    far = far_name or machine.name
    _ip(switch, "link", "add", "name", far, "type", "veth", "peer", "name", interface, "netns", machine.full)
    switch.sysctl(f"net.ipv6.conf.{far}.disable_ipv6", "1")
    machine.sysctl(f"net.ipv6.conf.{interface}.disable_ipv6", "1")
    if far_name and router:
        _ip(switch, "address", "add", f"{router}/24", "dev", far)
    else:
        _ip(switch, "link", "set", "dev", far, "master", "switch")
    _ip(switch, "link", "set", "dev", far, "up")
    _ip(machine, "address", "add", f"{address}/24", "dev", interface)
    _ip(machine, "link", "set", "dev", interface, "up")
    if router:
        _ip(machine, "route", "add", "default", "via", router)


def _ip(space: Namespace, *words: str) -> None:
    run(["ip", "-n", space.full, *words])


def _router_rules(forwards: Sequence[Forward], public: str) -> str:
    """A home router: masquerade outwards, the given forwards inwards, and no hairpin.

    What the LAN sends to the router's own public address is dropped, as many routers do.
    """
    rows = "\n".join(
        f'    iifname "wan" {protocol} dport {outside} dnat to {layout.GATEWAY}:{inside}'
        for protocol, outside, inside in forwards
    )
    return f"""
table ip home
delete table ip home
table ip home {{
  chain prerouting {{ type nat hook prerouting priority dstnat;
{rows}
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat;
    oifname "wan" masquerade
  }}
  chain forward {{ type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan" accept
    iifname "wan" ct status dnat accept
  }}
  chain input {{ type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ip daddr {public} iifname "lan" drop
    ct state established,related accept
    iifname "lan" accept
    icmp type echo-request accept
  }}
}}
"""
