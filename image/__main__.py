"""`python3 -m image`: the SD card, from this tree and Debian's packages, into target/image."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import build_info, card, contents, kernel, licences, packages, root, sbom, virt
from .layout import IMAGE, OUT, ROOT, WORK, build_time
from .steps import Failed, run, step


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m image", description="Builds the SD card into target/image.")
    parser.add_argument("--as-built", action="store_true", help="take target/binary/aarch64/genkan as it is")
    options = parser.parse_args()
    start = time.monotonic()
    try:
        build(options.as_built)
    except Failed as problem:
        print(f"image: {problem}", file=sys.stderr)
        return 1
    except (OSError, subprocess.CalledProcessError) as problem:
        print(f"image: {problem}; `image/install.sh card` installs what the build uses", file=sys.stderr)
        return 1
    size = (OUT / "genkan.img.zst").stat().st_size
    print(f"target/image/genkan.img.zst: {size / 1e6:.1f} MB, {time.monotonic() - start:.0f} s")
    return 0


def build(as_built: bool) -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    build_time()
    built = kernel.build() if as_built else compile_both()
    entries = root.build()
    with step("bill of materials, licences"):
        parts = packages.parts()
        sbom.write(parts)
        licences.write(parts)
    card.build(built, packages.tree("raspi-firmware") / "usr" / "lib" / "raspi-firmware")
    virt.build(packages.tree("u-boot-qemu") / "usr" / "lib" / "u-boot" / "qemu_arm64" / "u-boot.bin")
    contents.check(entries)
    build_info.write(built)


def compile_both() -> Path:
    """The binary and the kernel, at once: the linker works on the one with a single core for minutes. Gives the kernel's folder."""
    for name in ("musl-dev", kernel.SOURCE):
        packages.tree(name)
    with ThreadPoolExecutor(1) as beside:
        binary = beside.submit(compile_binary)
        built = kernel.build()
        binary.result()
    return built


def compile_binary() -> None:
    log = OUT / "binary.log"
    log.unlink(missing_ok=True)
    with step(f"binary (its output: {log.relative_to(ROOT)})"):
        run(IMAGE / "binary.sh", "aarch64", log=log, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
