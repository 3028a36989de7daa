"""Where the build's files lie, and what it is told by the environment."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "image"
OVERLAY = ROOT / "overlay"
# Buildroot keeps what it makes in its own output folder.
OUT = Path(os.environ.get("GENKAN_OUT") or ROOT / "target" / "image").resolve()
WORK = OUT / "work"
PACKAGES = IMAGE / "packages.toml"


def binary(architecture: str) -> Path:
    return ROOT / "target" / "binary" / architecture / "genkan"


def version() -> str:
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def build_time() -> int:
    """Seconds since 1970 for every date on the card: SOURCE_DATE_EPOCH, else the commit's."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given) if given else int(_git("log", "-1", "--format=%ct"))


def commit() -> str:
    """The commit's hash; `-dirty` behind it when files differ from it. GENKAN_COMMIT goes before it."""
    given = os.environ.get("GENKAN_COMMIT")
    return given or _git("describe", "--always", "--dirty", "--exclude=*", "--abbrev=40")


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(("git", "-C", str(ROOT), *arguments), check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as problem:
        raise SystemExit("not a git checkout: set SOURCE_DATE_EPOCH (seconds since 1970) and GENKAN_COMMIT") from problem
