"""The kernel: Debian's source, our configuration, one image for every board. Built once per configuration, source and compiler."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from pathlib import Path

from . import boards, device_trees, packages
from .layout import IMAGE, OUT, ROOT
from .steps import Failed, run, say, step

FRAGMENT = IMAGE / "kernel" / "genkan.config"
PATCHES = sorted((IMAGE / "kernel").glob("*.patch"))
SOURCE = "linux-source-7.3"
CROSS = "aarch64-linux-gnu-"
# Bumped when this file builds differently from the same inputs.
RECIPE = 1


def build() -> Path:
    """A folder with `Image`, `config` and the device trees."""
    done = OUT / "kernel" / key()
    if done.exists():
        say(f"kernel {packages.find(SOURCE).version}: as built before")
        return done
    partial = done.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    objects = partial / "objects"
    objects.mkdir(parents=True)
    source = _source(partial)
    log = OUT / "kernel" / "build.log"
    log.unlink(missing_ok=True)
    make = ("make", "-C", str(source), f"O={objects}", "ARCH=arm64", f"CROSS_COMPILE={CROSS}", f"-j{os.cpu_count()}")
    env = {
        "KCONFIG_ALLCONFIG": str(FRAGMENT),
        "KBUILD_BUILD_TIMESTAMP": time.asctime(time.gmtime((source / "Makefile").stat().st_mtime)),
        "KBUILD_BUILD_USER": "genkan", "KBUILD_BUILD_HOST": "genkan",
    }  # fmt: skip
    with step("kernel configuration"):
        run(*make, "allnoconfig", log=log, env=env)
        assert_survived(FRAGMENT.read_text(), (objects / ".config").read_text())
    with step(f"kernel (its output: {log.relative_to(ROOT)})"):
        run(*make, "Image", *(f"broadcom/{name}.dtb" for name in boards.trees()), log=log, env=env)
    _collect(objects, partial)
    shutil.rmtree(objects)
    shutil.rmtree(partial / "source")
    partial.rename(done)
    return done


def key() -> str:
    """Names what the kernel is made of."""
    digest = hashlib.sha256()
    compiler = run(f"{CROSS}gcc", "--version").splitlines()[0]
    for text in (str(RECIPE), packages.find(SOURCE).version, compiler, FRAGMENT.read_text(), *(patch.read_text() for patch in PATCHES)):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def assert_survived(fragment: str, finished: str) -> None:
    """Fails with every symbol of the fragment that the finished configuration has otherwise: renamed, or its needs are not met."""
    have = symbols(finished)
    lost = [f"{name}: wanted {value}, is {have.get(name, 'n')}" for name, value in symbols(fragment).items() if have.get(name, "n") != value]
    if lost:
        raise Failed(f"{FRAGMENT.relative_to(ROOT)}: {len(lost)} symbols did not survive\n  " + "\n  ".join(lost))


def symbols(text: str) -> dict[str, str]:
    """CONFIG_X=value, and `# CONFIG_X is not set` as n."""
    found = dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.M))
    return found | dict.fromkeys(re.findall(r"^# (CONFIG_\w+) is not set$", text, re.M), "n")


def _source(partial: Path) -> Path:
    archive = packages.tree(SOURCE) / "usr" / "src" / f"{SOURCE}.tar.xz"
    with step("kernel source"):
        (partial / "source").mkdir()
        run("tar", "-xf", archive, "-C", partial / "source")
    source = partial / "source" / SOURCE
    made = (source / "Makefile").stat().st_mtime
    for patch in PATCHES:
        run("patch", "-p1", "-i", patch, cwd=source)
    os.utime(source / "Makefile", (made, made))
    return source


def _collect(objects: Path, done: Path) -> None:
    boot = objects / "arch" / "arm64" / "boot"
    shutil.copyfile(boot / "Image", done / "Image")
    shutil.copyfile(objects / ".config", done / "config")
    shutil.copyfile(objects / "include" / "config" / "kernel.release", done / "release")
    device_trees.collect(boot / "dts" / "broadcom", done)


if __name__ == "__main__":
    # `python3 -m image.kernel CONFIG`: whether a finished configuration has all that genkan.config asks for.
    try:
        assert_survived(FRAGMENT.read_text(), Path(sys.argv[1]).read_text())
    except Failed as problem:
        sys.exit(f"image: {problem}")
