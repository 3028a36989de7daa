"""The licence texts of everything on the card: one folder per part, and one text for the card with each licence once."""

from __future__ import annotations

import gzip
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from . import sbom
from .layout import OUT, ROOT
from .packages import COMMON
from .parts import Part
from .steps import Failed

FOLDER = OUT / "licences"
NAMES = ("licen", "copying", "copyright", "notice", "unlicense")
TEXT_MAX = 200_000

INTRODUCTION = """\
genkan is under the Apache License 2.0. This card also holds the work of others, under the licences below; each text is given once, with all
it belongs to.

The kernel, e2fsck and parts of what they are built from are free software under the GNU licences. Their complete source is {whence}:
{sources}
The kernel's configuration and the patches to it are in the folder image/kernel of genkan's source at the commit that build.json names.
"""


def write(parts: Sequence[Part], whence: str = "Debian's") -> None:
    """`whence`: who has the source of the parts."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for row in sbom.crates():
        _crate(row)
    for part in parts:
        for text in part.texts:
            _copy(text, FOLDER / part.name)
    _copy(ROOT / "LICENSE", FOLDER / "genkan")
    (FOLDER / "LICENCES.txt").write_text(_together(parts, whence))


def _crate(row: dict) -> None:
    """A crate without a licence file of its own gets the text of the licence that it names."""
    folder = FOLDER / f"{row['name']}-{row['version']}"
    source = Path(row["manifest_path"]).parent
    found = [path for path in sorted(source.iterdir()) if path.is_file() and path.name.lower().startswith(NAMES)]
    if row.get("license_file"):
        found.append(source / row["license_file"])
    for path in found:
        _copy(path, folder)
    if not found:
        folder.mkdir(parents=True)
        (folder / "LICENSE").write_text(_named(row["name"], row["license"] or "", row["authors"]))


def _named(name: str, expression: str, authors: list[str]) -> str:
    holder = ", ".join(authors) or f"the authors of {name}"
    if "MIT" in expression:
        return f"Copyright (c) {holder}\n\n{(Path(__file__).parent / 'licence-mit.txt').read_text()}"
    if "Apache-2.0" in expression:
        return f"Copyright (c) {holder}\n\n{(COMMON / 'Apache-2.0').read_text()}"
    if "BSD-3-Clause" in expression:
        return f"Copyright (c) {holder}\n\n{(COMMON / 'BSD').read_text()}"
    raise Failed(f"{name} has no licence file, and {expression!r} is none of those whose text is at hand: see image/licences.py")


def _copy(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    (folder / source.name).write_bytes(data)


def _together(parts: Sequence[Part], whence: str) -> str:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            text = path.read_text(errors="replace").replace("\r\n", "\n").strip()[:TEXT_MAX]
            owners[text].append(path.parent.name)
    sources = "".join(f"  {part.name} {part.version}\n" for part in parts)
    texts = [INTRODUCTION.format(whence=whence, sources=sources)]
    for text, names in sorted(owners.items(), key=lambda row: row[1]):
        texts.append(f"{'=' * 100}\n{', '.join(sorted(set(names)))}\n{'=' * 100}\n{text}\n")
    return "\n".join(texts)
