"""`python3 -m image.from_tree`: the same card out of what another builder made. buildroot/ calls it from its scripts, in this order:

    complete TARGET-DIR BOARD             adds the files that say what this build is, after looking at the program
    prune TARGET-DIR                      leaves what files.txt lists of the root, with its modes
    card IMAGES-DIR BOARD PACKAGES-JSON   the card, from the root's archive, kernel, device trees and firmware

GENKAN_OUT is the folder where all of it goes. PACKAGES-JSON is what `make show-info` says, `-` for its standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from . import boards, card, contents, cpio, device_trees, hardening, licences, root, sbom, virt
from .cpio import Entry
from .layout import OUT, WORK, build_time
from .parts import Part
from .steps import Failed, say, step

MODES = {stat.filemode(kind | mode): mode for kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFCHR) for mode in range(0o1000)}
WHENCE = "what Buildroot's `make legal-info` collects"


def main() -> int:
    options = _arguments()
    try:
        match options.action:
            case "complete":
                complete(options.target, options.board)
            case "prune":
                prune(options.target)
            case "card":
                make_card(options.images, options.board, json.load(options.packages))
    except (Failed, OSError, ValueError, subprocess.CalledProcessError) as problem:
        print(f"image: {problem}", file=sys.stderr)
        return 1
    return 0


def complete(target: Path, board: str) -> None:
    """Adds to the root at `target` what is made anew by each build."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    program = target / "init"
    hardening.check(program, "aarch64")
    (target / "genkan").unlink(missing_ok=True)
    (target / "genkan").hardlink_to(program)
    for folder in root.FOLDERS:
        (target / folder).mkdir(exist_ok=True)
    for path, data in root.facts((board,)).items():
        # It may be there from the last build, unwritable.
        (target / path).unlink(missing_ok=True)
        (target / path).write_bytes(data)


def prune(target: Path) -> None:
    """Removes from the root at `target` what is not listed, and sets the modes of what is. To be run on a copy: there is no way back."""
    listed = {path: mode for part, mode, path in (line.split(maxsplit=2) for line in contents.lines() if line.startswith("root "))}
    for path in sorted(target.rglob("*"), reverse=True):
        name = f"/{path.relative_to(target)}"
        if name not in listed:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        elif not path.is_symlink():
            path.chmod(MODES[listed[name]])
    target.chmod(0o755)


def make_card(images: Path, board: str, packages: dict[str, dict]) -> None:
    """genkan.img and what belongs to it, from the folder `images`."""
    entries = _checked(cpio.read((images / "rootfs.cpio").read_bytes()))
    with step("bill of materials, licences"):
        parts = _parts(packages)
        sbom.write(parts)
        licences.write(parts, WHENCE)
    root.pack(entries)
    if board == "qemu-virt":
        virt.build(images / "u-boot.bin")
    card.build(_kernel(images, board), images / "genkan-firmware", (board,))
    contents.check(entries, (board,))
    say(f"{OUT / 'genkan.img.zst'}: the card for {board}")


def _checked(entries: list[Entry]) -> list[Entry]:
    """Looks at what the list of files does not: which devices there are, and that the root belongs to this commit and date."""
    devices = {entry.path: entry.device for entry in entries if stat.S_ISCHR(entry.mode)}
    if devices != {path: device for path, (_, device) in root.DEVICES.items()}:
        raise Failed(f"the devices of the root are {devices}")
    built = next((json.loads(entry.data)["built"] for entry in entries if entry.path == "etc/genkan/build.json"), None)
    if built != build_time():
        raise Failed(f"the root was completed for another commit or date ({built}, not {build_time()}): make it again")
    return entries


def _kernel(images: Path, board: str) -> Path:
    folder = WORK / "kernel"
    folder.mkdir()
    shutil.copyfile(images / "Image", folder / "Image")
    device_trees.collect(images, folder, (board,))
    return folder


def _parts(packages: dict[str, dict]) -> list[Part]:
    """What Buildroot built for the card; genkan itself, and packages that are only names for others, are none of it."""
    rows = [row for row in packages.values() if row["type"] == "target" and row.get("licenses", "unknown") != "unknown" and row["name"] != "genkan"]
    return [_part(row) for row in sorted(rows, key=lambda row: row["name"])]


def _part(row: dict) -> Part:
    version = row["version"] or "unversioned"
    folder = Path(os.environ.get("CONFIG_DIR", "."), row["source_dir"])
    texts = [folder / name for name in row["license_files"]]
    missing = [text for text in texts if not text.exists()]
    if missing:
        raise Failed(f"{row['name']}: no licence text at {missing[0]}; `make {row['name']}-dirclean` and `make` bring it back")
    return Part(row["name"], version, f"pkg:generic/{row['name']}@{version}", row["licenses"], tuple(texts), spdx=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="image.from_tree", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    complete = actions.add_parser("complete")
    pruning = actions.add_parser("prune")
    making = actions.add_parser("card")
    for action in (complete, pruning):
        action.add_argument("target", type=Path)
    making.add_argument("images", type=Path)
    for action in (complete, making):
        action.add_argument("board", choices=boards.ALL)
    making.add_argument("packages", type=argparse.FileType())
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
