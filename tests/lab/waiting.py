"""Waits that end: poll until something is so, or fail with what was last seen."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

from .processes import CommandFailed

T = TypeVar("T")


class Late(AssertionError):
    """Something did not become so in the time it had."""


def eventually(what: str, probe: Callable[[], T], within: float, every: float = 0.1) -> T:
    """The first truthy value of `probe`, polled for `within` seconds; one that comes later is too late.

    An `OSError`, `AssertionError`, `LookupError` or `CommandFailed` from the probe counts as "not yet"; the last
    one, or the last value, is told when time is up.
    """
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            value = probe()
            if value and time.monotonic() <= deadline:
                return value
            last = f"{value!s:.1000}, {time.monotonic() - deadline:.1f} s too late" if value else value
        except (OSError, AssertionError, LookupError, CommandFailed) as error:
            last = error
        if time.monotonic() > deadline:
            raise Late(f"not within {within:g} s: {what}; last seen: {last!s:.2000}")
        time.sleep(every)
