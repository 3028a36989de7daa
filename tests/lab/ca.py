"""The internet's name server and certificate authority: dnsmasq and pebble, beside the internet's switch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Sequence

from . import layout
from .namespace import Namespace
from .processes import Process, Processes, run
from .waiting import eventually


def start_dns(processes: Processes, inet: Namespace, names: Sequence[str]) -> Process:
    """A name server that knows the house's public names and nothing else of the world."""
    records = [f"--host-record={name},{layout.HOUSE}" for name in names]
    command = [
        *_dnsmasq(layout.DNS_SERVER),
        "--no-resolv",
        "--address=/#/",
        f"--host-record={layout.AUTHORITY_NAME},{layout.AUTHORITY}",
        *records,
    ]
    process = processes.start("dns", inet.argv(command))
    _answers(inet, layout.DNS_SERVER)
    return process


def start_house_dns(processes: Processes, router: Namespace, overrides: Path) -> Process:
    """The router's resolver for the LAN: asks the internet, but for the names in `overrides` (a hosts file). Gives the card its address.

    It reads `overrides` again on SIGHUP.
    """
    command = [
        *_dnsmasq(layout.ROUTER),
        "--no-resolv",
        f"--server={layout.DNS_SERVER}",
        f"--addn-hosts={overrides}",
        "--cache-size=0",
        # The card, like any machine that is plugged in, asks the router for its address; the router always gives it this one.
        "--interface=lan",
        f"--dhcp-range={layout.ROUTER},static,1h",
        f"--dhcp-host={layout.CARD_HARDWARE_ADDRESS},{layout.GATEWAY}",
        "--dhcp-leasefile=/dev/null",
        "--dhcp-authoritative",
    ]
    process = processes.start("house-dns", router.argv(command))
    _answers(router, layout.ROUTER)
    return process


def _dnsmasq(address: str) -> list[str]:
    return [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
        "--no-hosts",
        "--bind-interfaces",
        f"--listen-address={address}",
        "--except-interface=lo",
        "--log-facility=-",
    ]


def _answers(space: Namespace, address: str) -> None:
    eventually(
        f"name server on {address}",
        lambda: space.sockets("-lu", f"src {address}:53"),
        within=10,
    )


class Authority:
    """Pebble: an ACME authority that resolves by the internet's name server and validates on ports 80 and 443."""

    def __init__(self, inet: Namespace, scratch: Path) -> None:
        self.inet = inet
        self.scratch = scratch
        self.transport_ca = scratch / "acme-transport-ca.pem"
        """What a client of the directory has to trust; not what the issued certificates hang on."""
        self._make_transport_certificate()

    def start(self, processes: Processes) -> str:
        """Starts it; returns the root (PEM) of the certificates it will issue."""
        configuration = {
            "listenAddress": f"{layout.AUTHORITY}:14000",
            "managementListenAddress": f"{layout.AUTHORITY}:15000",
            "certificate": str(self.scratch / "acme-transport.pem"),
            "privateKey": str(self.scratch / "acme-transport.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        path = self.scratch / "pebble.json"
        path.write_text(json.dumps({"pebble": configuration}))
        command = ["pebble", "-strict", "-config", path, "-dnsserver", f"{layout.DNS_SERVER}:53"]
        self._process = processes.start("pebble", self.inet.argv(command), env={"PEBBLE_VA_NOSLEEP": "1"})
        return eventually("pebble's root certificate", self._root, within=15)

    def orders(self) -> int:
        """How many certificates it has issued."""
        return self._process.log.read_text().count("Issued certificate serial")

    def accounts(self) -> int:
        """How many accounts it has."""
        return self._process.log.read_text().count("accounts in memory")

    def _root(self) -> str:
        url = f"https://{layout.AUTHORITY_NAME}:15000/roots/0"
        return self.inet.run("curl", "-sSf", "--cacert", self.transport_ca, url).output

    def _make_transport_certificate(self) -> None:
        key, leaf = self.scratch / "acme-transport.key", self.scratch / "acme-transport.pem"
        ca_key = self.scratch / "acme-transport-ca.key"
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        run([
            *new, "-subj", "/CN=lab transport", "-keyout", ca_key, "-out", self.transport_ca,
            "-addext", "keyUsage=critical,keyCertSign,digitalSignature",
        ])  # fmt: skip
        run([
            *new, "-subj", f"/CN={layout.AUTHORITY_NAME}", "-keyout", key, "-out", leaf,
            "-CA", self.transport_ca, "-CAkey", ca_key,
            "-addext", f"subjectAltName=DNS:{layout.AUTHORITY_NAME}",
            "-addext", "basicConstraints=critical,CA:FALSE",
        ])  # fmt: skip
