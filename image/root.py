"""The read-only root: overlay/, the binary, e2fsck, who made it, whose updates it takes, and an empty data partition."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import boards, keys, packages
from .cpio import Archive, Entry
from .layout import OVERLAY, WORK, binary, build_time, commit, version
from .steps import Failed, run, step

FOLDERS = ("boot", "data", "dev", "etc", "etc/genkan", "proc", "run", "sbin", "sys", "tmp")
# The kernel gives /init its console before anything is mounted.
DEVICES = {"dev/console": (0o600, (5, 1)), "dev/null": (0o666, (1, 3))}

DATA_MIB = 32
DATA_UUID = "67656e6b-0000-4000-8000-000000000004"
DATA_HASH_SEED = "67656e6b-0000-4000-8000-000000000005"
# Block groups for cards up to 1 TiB can be added while it is mounted.
DATA_GROWS_TO_BLOCKS = 1 << 28
DATA_JOURNAL_MIB = 8
DATA_FEATURES = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed,64bit"


def build() -> list[Entry]:
    """Writes work/root.cpio.zst; the entries, in order, for the list of files."""
    entries = sorted([*_made(), *_overlay()], key=lambda entry: entry.path)
    pack(entries)
    return entries


def pack(entries: list[Entry]) -> None:
    """Writes work/root.cpio.zst."""
    with step("root"):
        archive = Archive(build_time())
        for entry in entries:
            archive.add(entry)
        plain = WORK / "root.cpio"
        plain.write_bytes(archive.finish())
        run("zstd", "-q", "-f", "-19", "--single-thread", plain, "-o", WORK / "root.cpio.zst")


def facts(names: Sequence[str] = boards.ALL) -> dict[str, bytes]:
    """The files that say what this build is. Leaves the empty data partition in work/data.ext4 too."""
    with step("data partition, empty"):
        data = _data()
    return {"etc/genkan/build.json": _build_json(names), "etc/genkan/data.ext4.zst": data.read_bytes(), "etc/genkan/release.pub": keys.public().encode()}


def _build_json(names: Sequence[str]) -> bytes:
    facts = {"version": version(), "built": build_time(), "commit": commit(), "boards": list(names)}
    return (json.dumps(facts, indent=2) + "\n").encode()


def _made() -> Iterator[Entry]:
    for folder in FOLDERS:
        yield Entry(folder, stat.S_IFDIR | 0o755)
    for path, (mode, device) in DEVICES.items():
        yield Entry(path, stat.S_IFCHR | mode, device=device)
    program = binary("aarch64")
    if not program.exists():
        raise Failed("no target/binary/aarch64/genkan: run `make binary`")
    yield Entry("init", stat.S_IFREG | 0o555, program.read_bytes(), also=("genkan",))
    yield Entry("sbin/e2fsck", stat.S_IFREG | 0o555, (packages.tree("e2fsck-static") / "usr/sbin/e2fsck.static").read_bytes())
    for path, data in facts().items():
        yield Entry(path, stat.S_IFREG | 0o444, data)


def _overlay() -> Iterator[Entry]:
    """Files and links; folders are made above, for git keeps no empty ones."""
    for path in sorted(OVERLAY.rglob("*")):
        name = path.relative_to(OVERLAY).as_posix()
        if path.is_symlink():
            yield Entry(name, stat.S_IFLNK | 0o777, os.readlink(path).encode())
        elif path.is_file():
            yield Entry(name, stat.S_IFREG | 0o444, path.read_bytes())


def _data() -> Path:
    image = WORK / "data.ext4"
    image.unlink(missing_ok=True)
    env = {"E2FSPROGS_FAKE_TIME": str(build_time()), "MKE2FS_CONFIG": "/dev/null", "MKE2FS_DEVICE_SECTSIZE": "512"}
    extended = f"resize={DATA_GROWS_TO_BLOCKS},hash_seed={DATA_HASH_SEED},root_owner=0:0,lazy_itable_init=0,nodiscard"
    run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "1", "-L", "genkan-data", "-U", DATA_UUID,
        "-O", DATA_FEATURES, "-J", f"size={DATA_JOURNAL_MIB}", "-E", extended, image, f"{DATA_MIB}M", env=env,
    )  # fmt: skip
    packed = WORK / "data.ext4.zst"
    run("zstd", "-q", "-f", "-19", "--single-thread", image, "-o", packed)
    return packed
