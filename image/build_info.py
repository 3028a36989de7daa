"""build-info.json: what was built from what, by which tools, and how large it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from . import boards, packages
from .layout import OUT, binary, build_time, commit, version
from .steps import run

TOOLS = {"gcc": ("aarch64-linux-gnu-gcc", "--version"), "genimage": ("genimage", "--version"), "mke2fs": ("mke2fs", "-V"), "mkfs.vfat": ("mkfs.vfat", "--help"), "mtools": ("mtools", "--version"), "zstd": ("zstd", "--version")}  # fmt: skip


def write(kernel: Path) -> None:
    facts = {
        "version": version(), "commit": commit(), "built": build_time(), "boards": list(boards.ALL),
        "binary": _file(binary("aarch64")),
        "kernel": {"release": (kernel / "release").read_text().strip(), "key": kernel.name, "image": _file(kernel / "Image")},
        "debian": [{"name": package.name, "version": package.version, "architecture": package.architecture} | _file(package.archive)
                   for package in packages.pinned() if package.archive.exists()],
        "tools": {name: run(*command).splitlines()[0].strip() for name, command in TOOLS.items()},
        "card": [{"name": name} | _file(OUT / name) for name in ("genkan.img", "genkan.img.zst", "slot.img")],
    }  # fmt: skip
    (OUT / "build-info.json").write_text(json.dumps(facts, indent=2) + "\n")


def _file(path: Path) -> dict[str, int | str]:
    return {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
