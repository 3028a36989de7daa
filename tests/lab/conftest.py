"""One lab for all tests of this directory, whole again before each of them; logs shown where one fails.

GENKAN_GATEWAY=card makes the SD card in a virtual machine its gateway, for the tests that know nothing of what the gateway runs on.
"""

from __future__ import annotations

import logging
import os
from typing import Iterator

import pytest

from . import echo_routes
from .lab import Lab, LabImpossible
from .lock import LabBusy
from .processes import CommandFailed
from .waiting import Late


ON_CARD = os.environ.get("GENKAN_GATEWAY") == "card"
collect_ignore = [] if ON_CARD else ["test_card.py"]


@pytest.fixture(scope="session")
def raised() -> Iterator[Lab]:
    """The lab, raised once."""
    lab = Lab(ON_CARD)
    try:
        with lab:
            logging.getLogger("lab").info("raised: %s", lab.seconds)
            yield lab
    except (LabBusy, LabImpossible) as problem:
        pytest.exit(f"lab: {problem}", returncode=1)
    except (CommandFailed, Late) as failure:
        pytest.exit(f"lab: {failure}\n{lab.last_words()}", returncode=1)


@pytest.fixture
def lab(raised: Lab) -> Iterator[Lab]:
    """The lab with the gateway running, the seed's policy and no cable blocked, before and after each test."""
    raised.restore()
    yield raised
    raised.restore()


@pytest.fixture
def listening(lab: Lab) -> Iterator[Lab]:
    """The lab with a service on machines A and C, and the gateway's ports that lead to them."""
    with echo_routes.opened(lab):
        yield lab


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds the ends of all logs to a failure's report."""
    outcome = yield
    report = outcome.get_result()
    lab = getattr(item, "funcargs", {}).get("raised")
    if report.failed and isinstance(lab, Lab):
        report.sections.append(("logs of the lab", lab.tails()))
