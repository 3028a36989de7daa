"""After all that garbage: what `test_1_strangers` shows, once more, on the same process."""

from __future__ import annotations

from .test_1_strangers import (  # noqa: F401  (collected here a second time)
    test_each_public_port_answers,
    test_nothing_said_is_readable_on_the_lan,
    test_the_certificate_is_the_authoritys,
)
