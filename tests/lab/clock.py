"""A real time server on the lab's internet: chrony, which serves this machine's time and leaves its clock alone."""

from __future__ import annotations

from . import layout
from .namespace import Namespace
from .processes import Process, Processes
from .waiting import eventually


def start(processes: Processes, inet: Namespace) -> Process:
    """Answers SNTP on the name server's address."""
    settings = processes.logs / "chrony.conf"
    settings.write_text(
        f"local stratum 3\nallow all\nbindaddress {layout.DNS_SERVER}\ncmdport 0\npidfile {processes.logs}/chrony.pid\n"
    )
    process = processes.start("time", inet.argv(["chronyd", "-d", "-x", "-u", "root", "-f", settings]))
    eventually("the time server", lambda: inet.sockets("-lu", "sport = :123"), within=10)
    return process
