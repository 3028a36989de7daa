"""What the card has of others besides crates: a row of the bill of materials, and the licence texts that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """One package of the distribution that the card is built from."""

    name: str
    version: str
    purl: str
    licence: str
    texts: tuple[Path, ...]
    # Whether `licence` is an SPDX expression, and not words.
    spdx: bool = True

    def component(self) -> dict:
        """As CycloneDX has it."""
        return {
            "type": "operating-system" if self.name.startswith("linux") else "library",
            "bom-ref": self.purl, "name": self.name, "version": self.version, "purl": self.purl,
            "licenses": [{"expression": self.licence} if self.spdx else {"license": {"name": self.licence}}],
        }  # fmt: skip
