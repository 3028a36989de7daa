"""`python3 -m image`: the SD card, from target/binary/aarch64/genkan and Debian's packages, into target/image."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

from . import build_info, card, contents, kernel, licences, packages, root, sbom, virt
from .layout import OUT, WORK, build_time
from .steps import Failed, step


def main() -> int:
    start = time.monotonic()
    try:
        build()
    except Failed as problem:
        print(f"image: {problem}", file=sys.stderr)
        return 1
    except (OSError, subprocess.CalledProcessError) as problem:
        print(f"image: {problem}; `image/install.sh card` installs what the build uses", file=sys.stderr)
        return 1
    size = (OUT / "genkan.img.zst").stat().st_size
    print(f"target/image/genkan.img.zst: {size / 1e6:.1f} MB, {time.monotonic() - start:.0f} s")
    return 0


def build() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    build_time()
    built = kernel.build()
    entries = root.build()
    with step("bill of materials, licences"):
        parts = packages.parts()
        sbom.write(parts)
        licences.write(parts)
    card.build(built, packages.tree("raspi-firmware") / "usr" / "lib" / "raspi-firmware")
    virt.build(packages.tree("u-boot-qemu") / "usr" / "lib" / "u-boot" / "qemu_arm64" / "u-boot.bin")
    contents.check(entries)
    build_info.write(built)


if __name__ == "__main__":
    sys.exit(main())
