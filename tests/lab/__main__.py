"""`python3 -m tests.lab run [card]`: raise the lab (with the SD card in a virtual machine as its gateway), say what stands where, stay until Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import sys
from types import FrameType

from . import layout, services
from .lab import Lab, LabImpossible
from .lock import LabBusy
from .processes import CommandFailed
from .waiting import Late


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    if arguments not in (["run"], ["run", "card"]):
        print(__doc__, file=sys.stderr)
        return 2
    on_card = "card" in arguments
    for number in STOPS:
        signal.signal(number, interrupt)
    print(f"raising the lab ({'about a minute' if on_card else 'about half a minute'}) ...", flush=True)
    lab: Lab | None = None
    try:
        lab = Lab(on_card)
        with lab:
            lab.gateway.set_policy(lab.outside_policy())
            lab.join_outside()
            lab.wait_for_everybody()
            print(describe(lab), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("torn down")
    except (LabBusy, LabImpossible) as problem:
        print(f"lab: {problem}", file=sys.stderr)
        return 1
    except (CommandFailed, Late) as failure:
        print(f"lab: {failure}\n{lab.last_words()}", file=sys.stderr)
        return 1
    return 0


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Leaves the lab; a second Ctrl-C does not disturb the tearing down."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    print("\ntearing down ...", flush=True)
    raise KeyboardInterrupt


def describe(lab: Lab) -> str:
    """Addresses, joined nodes and commands to try."""
    sh = "tests/lab/sh"
    ssh = shlex.join(lab.shell.client("example.com", 2222, "hostname; uptime"))
    psql = lab.database.client("example.com", "select version()")
    rows = [
        "",
        "Where things stand",
        f"  internet   stranger {layout.STRANGER}, name server {layout.DNS_SERVER}, ACME authority {layout.AUTHORITY}",
        f"  router     {layout.HOUSE} outside, {layout.ROUTER} inside; forwards {_forwards(lab)}",
        f"  gateway    {layout.GATEWAY}, tailnet {layout.GATEWAY_TAILNET} ({'SD card in QEMU' if lab.on_card else 'genkan'}, process {lab.gateway.pid})",
        *(f"  {plan.name}          {plan.address}, tailnet {plan.tailnet or 'any'}, {plan.client}" for plan in layout.MACHINES),
        "",
        "Nodes, as machine A sees them (tailscale status)",
        *("  " + line for line in lab.a.tailscale("status", check=False).output.splitlines()),
        "",
        "Try, in another terminal",
        f"  {sh} stranger curl https://app.example.com",
        f"  {sh} stranger curl https://api.example.com",
        f"  {sh} stranger {ssh}",
        f"  {sh} stranger psql '{psql[1]}' -c '{psql[-1]}'",
        f"  {sh} stranger quakestat -cubes example.com:{services.GAME_PORT}",
        f"  {sh} a tailscale ping {layout.GATEWAY_TAILNET}",
        f"  {sh} lan tcpdump -ni any udp port 41641",
        *(f"  {hint}" for hint in lab.gateway.hints()),
        "",
        f"Logs: {lab.logs}",
        "Ready after " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in lab.seconds.items()),
        "Ctrl-C tears everything down.",
    ]
    return "\n".join(rows)


def _forwards(lab: Lab) -> str:
    return ", ".join(f"{outside}/{protocol}" for protocol, outside, _ in lab.gateway.forwards())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
