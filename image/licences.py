"""The licence texts of everything on the card: one folder per part, and one text for the card with each licence once."""

from __future__ import annotations

import gzip
import shutil
from collections import defaultdict
from pathlib import Path

from . import packages, sbom
from .layout import OUT, ROOT
from .steps import Failed

FOLDER = OUT / "licences"
NAMES = ("licen", "copying", "copyright", "notice", "unlicense")
COMMON = Path("/usr/share/common-licenses")
TEXT_MAX = 200_000

INTRODUCTION = """\
genkan is under the Apache License 2.0. This card also holds the work of others, under the licences below; each text is given once, with all
it belongs to.

The kernel, e2fsck and parts of what they are built from are free software under the GNU licences. Their complete source is Debian's:
{sources}
The kernel's configuration and the patches to it are in the folder image/kernel of genkan's source at the commit that build.json names.
"""


def write() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for row in sbom.crates():
        _crate(row)
    for package in packages.pinned():
        if package.on_card:
            _debian(package)
    _copy(ROOT / "LICENSE", FOLDER / "genkan")
    (FOLDER / "LICENCES.txt").write_text(_together())


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


def _debian(package: packages.Package) -> None:
    tree = packages.tree(package.name, package.architecture)
    _copy(tree / "usr" / "share" / "doc" / package.name / "copyright", FOLDER / package.name)
    for name in ("GPL-2", "LGPL-2"):
        if name in package.licence:
            _copy(COMMON / name, FOLDER / package.name)


def _copy(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    (folder / source.name).write_bytes(data)


def _together() -> str:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            text = path.read_text(errors="replace").replace("\r\n", "\n").strip()[:TEXT_MAX]
            owners[text].append(path.parent.name)
    sources = "".join(f"  {package.name} {package.version}\n" for package in packages.pinned() if package.on_card)
    parts = [INTRODUCTION.format(sources=sources)]
    for text, names in sorted(owners.items(), key=lambda row: row[1]):
        parts.append(f"{'=' * 100}\n{', '.join(sorted(set(names)))}\n{'=' * 100}\n{text}\n")
    return "\n".join(parts)
