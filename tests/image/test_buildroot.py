"""buildroot/ says the same as image/, and Buildroot (a checkout in BUILDROOT) keeps what it says.

`BUILDROOT=/path/to/buildroot python3 -m pytest tests/image/test_buildroot.py`; without one, what needs it is skipped.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from image import boards, contents, cpio, from_tree, hardening, root
from image.steps import Failed

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / "buildroot"
DEFCONFIGS = sorted((TREE / "configs").iterdir())
NAMES = ["qemu_aarch64_virt", "raspberrypi3_64", "raspberrypi4_64", "raspberrypi5", "raspberrypizero2w_64"]
HERE = "$(BR2_EXTERNAL_GENKAN_PATH)/"
WANTED = (
    "BR2_aarch64=y", "BR2_TOOLCHAIN_EXTERNAL_BOOTLIN_AARCH64_MUSL_STABLE=y", "BR2_STATIC_LIBS=y", "BR2_DOWNLOAD_FORCE_CHECK_HASHES=y",
    "BR2_INIT_NONE=y", "BR2_SYSTEM_BIN_SH_NONE=y", "# BR2_PACKAGE_BUSYBOX is not set", "# BR2_TARGET_ENABLE_ROOT_LOGIN is not set",
    "# BR2_TARGET_GENERIC_GETTY is not set", "BR2_PACKAGE_E2FSPROGS=y", "BR2_PACKAGE_GENKAN=y", "BR2_TARGET_ROOTFS_CPIO=y",
    f'BR2_ROOTFS_OVERLAY="{HERE}../overlay"', f'BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES="{HERE}../image/kernel/genkan.config"',
    f'BR2_LINUX_KERNEL_PATCH="{HERE}../image/kernel/tryboot.patch"',
)  # fmt: skip

BUILDROOT = os.environ.get("BUILDROOT", "")
if not BUILDROOT:
    warnings.warn("BUILDROOT is not set: what Buildroot makes of buildroot/ is NOT tested", stacklevel=1)
needs_buildroot = pytest.mark.skipif(not BUILDROOT, reason="BUILDROOT is not set: clone Buildroot 2026.05 and name its folder")
each_defconfig = pytest.mark.parametrize("path", DEFCONFIGS, ids=lambda path: path.name)


def symbols(text: str) -> dict[str, str]:
    """BR2_X=value, and `# BR2_X is not set` as n; a line that is neither, and a symbol twice, is an error."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(BR2_\w+)=(y|\d+|0x[0-9a-f]+|\"[^\"]*\")|# (BR2_\w+) is not set", line)
        assert match, line
        name = match[1] or match[3]
        assert name not in found, line
        found[name] = match[2] or "n"
    return found


def board(path: Path) -> str:
    return symbols(path.read_text())["BR2_ROOTFS_POST_SCRIPT_ARGS"].strip('"')


def pinned() -> dict[str, str]:
    """Name: version, of the packages taken from Debian."""
    return {row["name"]: row["version"] for row in tomllib.loads((ROOT / "image" / "packages.toml").read_text())["package"]}


def test_the_tree_is_complete() -> None:
    assert re.fullmatch(r"name: GENKAN\ndesc: \S.{,39}\n", (TREE / "external.desc").read_text())
    sourced = re.findall(r'source "\$BR2_EXTERNAL_GENKAN_PATH/(\S+)"', (TREE / "Config.in").read_text())
    packages = sorted((TREE / "package").iterdir())
    assert set(sourced) == {f"package/{folder.name}/Config.in" for folder in packages}
    for folder in packages:
        assert (folder / "Config.in").exists()
        assert (folder / f"{folder.name}.mk").exists()
    assert "package/*/*.mk" in (TREE / "external.mk").read_text()


def test_there_is_one_defconfig_for_each_board() -> None:
    assert [path.name for path in DEFCONFIGS] == [f"genkan_{name}_defconfig" for name in NAMES]
    assert sorted(board(path) for path in DEFCONFIGS) == sorted(boards.ALL)


@each_defconfig
def test_a_defconfig_has_what_makes_the_card(path: Path) -> None:
    text = path.read_text()
    lines, values = text.splitlines(), symbols(text)
    for line in WANTED:
        assert line in lines
    trees = values.get("BR2_LINUX_KERNEL_INTREE_DTS_NAME", '""').strip('"').split()
    assert trees == [f"broadcom/{name}" for name in boards.trees((board(path),))]
    assert ("BR2_PACKAGE_GENKAN_FIRMWARE" in values) == bool(boards.firmware((board(path),)))
    assert ("BR2_PACKAGE_GENKAN_U_BOOT" in values) == (board(path) == "qemu-virt")


@each_defconfig
def test_what_a_defconfig_names_is_there(path: Path) -> None:
    named = re.findall(re.escape(HERE) + r'([^\s"]+)', path.read_text())
    assert len(named) == 8
    for name in named:
        file = TREE / name
        assert file.exists(), name
        assert not name.endswith(".sh") or os.access(file, os.X_OK), name


def test_debian_s_packages_are_those_of_the_image() -> None:
    versions = pinned()
    kernel = f"linux-source-7.3_{versions['linux-source-7.3']}_all.deb"
    for path in DEFCONFIGS:
        assert f"/{kernel}" in symbols(path.read_text())["BR2_LINUX_KERNEL_CUSTOM_TARBALL_LOCATION"]
    assert kernel in (TREE / "patches" / "linux" / "linux.hash").read_text()
    for package, name in (("genkan-firmware", "raspi-firmware"), ("genkan-u-boot", "u-boot-qemu")):
        folder = TREE / "package" / package
        assert f"_VERSION = {versions[name]}\n" in (folder / f"{package}.mk").read_text()
        assert f"  {name}_{versions[name]}_all.deb\n" in (folder / f"{package}.hash").read_text()


def test_every_firmware_file_is_installed() -> None:
    text = (TREE / "package" / "genkan-firmware" / "genkan-firmware.mk").read_text()
    assert set(re.search(r"foreach f,([^,]*),", text)[1].split()) == set(boards.firmware())


def test_the_devices_are_those_of_the_image() -> None:
    rows = [line.split() for line in (TREE / "board" / "genkan" / "devices.txt").read_text().splitlines() if line.startswith("/")]
    found = {row[0].lstrip("/"): (int(row[2], 8), (int(row[5]), int(row[6]))) for row in rows if row[1] == "c"}
    assert found == root.DEVICES


def test_each_script_is_sound_and_calls_the_image_s_code() -> None:
    scripts = sorted(TREE.rglob("*.sh"))
    assert len(scripts) == 5
    for script in scripts:
        subprocess.run(("sh", "-n", script), check=True)
    for name, action in (("post-build", "complete"), ("post-fakeroot", "prune"), ("post-image", "card")):
        text = (TREE / "board" / "genkan" / f"{name}.sh").read_text()
        assert f"python3 -m image.from_tree {action} " in text


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_what_rustc_hands_over_is_linked_to_a_static_pie(tmp_path: Path) -> None:
    """With this machine's gcc: which of its words win does not depend on the C library."""
    (tmp_path / "hello.c").write_text("int main(void) { return 7; }")
    program = tmp_path / "hello"
    wrapper = TREE / "package" / "genkan" / "static-pie.sh"
    command = (wrapper, "-static", "-no-pie", "-fPIE", "-s", tmp_path / "hello.c", "-o", program)
    subprocess.run(command, check=True, env={**os.environ, "GENKAN_CC": "gcc"})
    wanted = hardening.EXPECTED["x86_64"]
    found = hardening.hardening(program)
    assert {name: found[name] for name in wanted if name != "machine"} == {name: wanted[name] for name in wanted if name != "machine"}
    assert subprocess.run(program).returncode == 7


def test_pruning_leaves_the_listed_root(tmp_path: Path) -> None:
    kept = ("boot", "data", "dev", "proc", "run", "sys", "tmp", "etc/genkan", "sbin")
    for folder in (*kept, "bin", "usr/lib", "var"):
        (tmp_path / folder).mkdir(parents=True)
    program = tmp_path / "init"
    program.write_bytes(b"x")
    (tmp_path / "genkan").hardlink_to(program)
    for name in ("sbin/e2fsck", "etc/hosts", "etc/genkan/build.json", "etc/genkan/data.ext4.zst", "etc/genkan/release.pub"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "etc" / "resolv.conf").symlink_to("../run/resolv.conf")
    for name in ("bin/busybox", "usr/lib/os-release", "etc/passwd", "sbin/mke2fs", "var/x"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "bin" / "sh").symlink_to("busybox")
    (tmp_path / "bin" / "busybox").chmod(0o4755)
    from_tree.prune(tmp_path)
    left = {f"root {stat.filemode(path.lstat().st_mode)} /{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*")}
    assert left == {line for line in contents.lines() if line.startswith(("root -", "root d", "root l"))}


def test_an_archive_is_read_as_it_was_written() -> None:
    entries = [
        cpio.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)), cpio.Entry("etc", stat.S_IFDIR | 0o755),
        cpio.Entry("init", stat.S_IFREG | 0o555, b"12345", also=("genkan",)), cpio.Entry("link", stat.S_IFLNK | 0o777, b"etc"),
    ]  # fmt: skip
    archive = cpio.Archive(date=7)
    for entry in entries:
        archive.add(entry)
    assert cpio.read(archive.finish()) == entries
    with pytest.raises(ValueError, match="byte 0"):
        cpio.read(b"no archive")


def test_an_archive_of_cpio_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    made = subprocess.run("find . | LC_ALL=C sort | cpio --quiet -o -H newc", shell=True, cwd=tmp_path, check=True, capture_output=True).stdout
    (entry,) = cpio.read(made)
    assert (entry.path, entry.also, entry.data) == ("b", ("a",), b"12345")


def test_a_root_with_other_devices_is_refused() -> None:
    with pytest.raises(Failed, match="dev/mem"):
        from_tree._checked([cpio.Entry("dev/mem", stat.S_IFCHR | 0o600, device=(1, 1))])


def make(output: Path, *words: str) -> str:
    command = ("make", "-s", "-C", BUILDROOT, f"O={output}", f"BR2_EXTERNAL={TREE}", *words)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_buildroot
@each_defconfig
def test_every_symbol_survives(path: Path, tmp_path: Path) -> None:
    make(tmp_path, path.name)
    finished = symbols("\n".join(line for line in (tmp_path / ".config").read_text().splitlines() if re.match(r"BR2_|# BR2_", line)))
    wanted = symbols(path.read_text())
    lost = {name: finished.get(name, "n") for name, value in wanted.items() if finished.get(name, "n") != value}
    assert not lost
    assert finished["BR2_GENKAN_KERNEL"] == "y"
    make(tmp_path, "savedefconfig", f"BR2_DEFCONFIG={tmp_path}/saved")
    assert (tmp_path / "saved").read_text() == path.read_text()


@needs_buildroot
@each_defconfig
def test_nothing_is_built_for_the_root_but_what_it_has(path: Path, tmp_path: Path) -> None:
    make(tmp_path, path.name)
    packages = set(make(tmp_path, "show-targets").split())
    for name in ("busybox", "bash", "ifupdown-scripts", "initscripts", "dropbear"):
        assert name not in packages
    assert {"genkan", "linux", "e2fsprogs", "rootfs-cpio"} <= packages


@needs_buildroot
def test_check_package_is_content() -> None:
    if not shutil.which("shellcheck") or not importlib.util.find_spec("magic"):
        pytest.skip("check-package needs shellcheck and Python's magic (apt-get install shellcheck python3-magic)")
    files = [path for path in sorted(TREE.rglob("*")) if path.is_file() and path.name != "README.md"]
    done = subprocess.run((sys.executable, Path(BUILDROOT) / "utils" / "check-package", "--br2-external", *files), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
