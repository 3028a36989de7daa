"""One lab of a name at a time on a machine: raising one removes what another of the same name left behind."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from .namespace import PREFIX

LOCK = Path(f"/run/lock/genkan-lab-{PREFIX}")


class LabBusy(Exception):
    """Another lab is running on this machine."""


def take() -> IO[str]:
    """Held until it is closed."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = LOCK.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise LabBusy("another lab is running on this machine; wait for it, press Ctrl-C there, or name this one by $GENKAN_LAB") from None
    return lock
