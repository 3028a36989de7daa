"""Four partitions to one image, and what a download needs beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from . import boards, owner, slot
from .layout import IMAGE, OUT, WORK, build_time
from .steps import run, step

LOG = OUT / "genimage.log"


def build(kernel: Path, firmware: Path, names: Sequence[str] = boards.ALL) -> None:
    """Writes genkan.img, .zst and .sha256; the partitions' files stay in work/tree."""
    tree = WORK / "tree"
    with step("partitions' files"):
        owner.build(firmware, tree / "owner", names)
        slot.build(kernel, firmware, tree / "slot-a", names)
        shutil.copytree(tree / "slot-a", tree / "slot-b")
        for path in [tree, *tree.rglob("*")]:
            os.utime(path, (build_time(), build_time()))
    with step("card"):
        LOG.unlink(missing_ok=True)
        run(
            "genimage", "--config", IMAGE / "genimage.cfg", "--rootpath", tree, "--inputpath", WORK, "--outputpath", WORK / "out",
            "--tmppath", WORK / "tmp", log=LOG, env={"SOURCE_DATE_EPOCH": str(build_time()), "TZ": "UTC"},
        )  # fmt: skip
        image = OUT / "genkan.img"
        (WORK / "out" / "genkan.img").rename(image)
        shutil.copyfile(WORK / "out" / "slot-a.vfat", OUT / "slot.img")
    with step("compressing"):
        # The second slot is the first one over again, 64 MiB further on.
        run("zstd", "-q", "-f", "-15", "--long=27", "-T0", image, "-o", OUT / "genkan.img.zst")
    lines = [f"{hashlib.sha256((OUT / name).read_bytes()).hexdigest()}  {name}\n" for name in ("genkan.img", "genkan.img.zst")]
    (OUT / "genkan.img.sha256").write_text("".join(lines))
