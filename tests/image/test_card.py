"""The image of `make image`: its layout, its file systems, and what lies beside it."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "image"
SECTOR = 512
ALIGNMENT = 8192
LABELS = {1: "GENKAN", 2: "GENKAN-A", 3: "GENKAN-B"}


@cache
def image() -> Path:
    path = OUT / "genkan.img"
    assert path.exists(), "target/image/genkan.img is not there: run `make image`"
    return path


def partitions() -> list[tuple[int, int, int]]:
    """Type, first sector and sectors of the four."""
    with image().open("rb") as file:
        table = file.read(SECTOR)[446:510]
    return [(row[4], *struct.unpack("<II", row[8:16])) for row in (table[at : at + 16] for at in range(0, 64, 16))]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Each partition as a file."""
    folder = tmp_path_factory.mktemp("parts")
    made = {}
    with image().open("rb") as file:
        for number, (_, first, sectors) in enumerate(partitions(), 1):
            made[number] = folder / f"p{number}"
            file.seek(first * SECTOR)
            made[number].write_bytes(file.read(sectors * SECTOR))
    return made


def output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


def file_of(part: Path, name: str) -> bytes:
    return subprocess.run(("mtype", "-i", part, f"::{name}"), check=True, capture_output=True).stdout


def test_four_primary_partitions_under_our_signature() -> None:
    with image().open("rb") as file:
        assert struct.unpack("<I", file.read(SECTOR)[440:444]) == (0x67656E6B,)
    rows = partitions()
    assert [kind for kind, _, _ in rows] == [0x0C, 0x0C, 0x0C, 0x83]
    end = 0
    for _, first, sectors in rows:
        assert first % ALIGNMENT == 0
        assert first >= end
        end = first + sectors


def test_file_systems_are_clean_and_labelled(parts: dict[int, Path]) -> None:
    for number, label in LABELS.items():
        output("fsck.vfat", "-n", parts[number])
        assert f"Volume label is {label} " in output("mlabel", "-s", "-i", parts[number], "::") + " "
        assert parts[number].read_bytes()[82:87] == b"FAT32"
    output("e2fsck", "-fn", parts[4])
    assert output("e2label", parts[4]).strip() == "genkan-data"


def test_the_slots_are_the_same_and_their_manifest_is_true(parts: dict[int, Path]) -> None:
    manifest = json.loads(file_of(parts[2], "manifest.json"))
    assert file_of(parts[3], "manifest.json") == file_of(parts[2], "manifest.json")
    for row in manifest["files"]:
        for number in (2, 3):
            data = file_of(parts[number], row["name"])
            assert (len(data), hashlib.sha256(data).hexdigest()) == (row["size"], row["sha256"]), row["name"]


def test_the_switch_files_are_one_sector(parts: dict[int, Path]) -> None:
    """They are rewritten in place."""
    assert file_of(parts[1], "autoboot.txt").rstrip(b"\n").decode().splitlines() == [
        "[all]", "tryboot_a_b=1", "boot_partition=2", "[tryboot]", "boot_partition=3",
    ]  # fmt: skip
    assert len(file_of(parts[1], "autoboot.txt")) == len(file_of(parts[1], "slot.env")) == SECTOR


def test_the_owner_s_configuration_is_the_commented_example(parts: dict[int, Path]) -> None:
    assert file_of(parts[1], "genkan/genkan.toml") == (ROOT / "src" / "config" / "genkan.example.toml").read_bytes()


def test_start_here_needs_no_network(parts: dict[int, Path]) -> None:
    page = file_of(parts[1], "START-HERE.html").decode()
    assert "<svg" in page
    for word in ("src=", "<script", "<link", "@import", "url("):
        assert word not in page


def test_the_card_is_small_enough_to_download() -> None:
    image()
    assert (OUT / "genkan.img.zst").stat().st_size <= 30_000_000


def test_the_hashes_are_true() -> None:
    image()
    output("sh", "-c", f"cd {OUT} && sha256sum --check --strict --status genkan.img.sha256")


def test_the_bill_of_materials_names_locked_crates_and_debian_s_pins() -> None:
    image()
    rows = {(row["name"], row["version"]) for row in json.loads((OUT / "sbom.cdx.json").read_text())["components"]}
    locked = {(row["name"], row["version"]) for row in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    pinned = {(row["name"], row["version"]) for row in tomllib.loads((ROOT / "image" / "packages.toml").read_text())["package"] if row["on_card"]}
    assert pinned < rows
    assert rows - pinned < locked
    for name in ("tokio", "rustls", "redb", "boringtun", "ring"):
        assert any(name == row for row, _ in rows)


def test_every_part_has_a_licence_text() -> None:
    image()
    for row in json.loads((OUT / "sbom.cdx.json").read_text())["components"]:
        folders = [OUT / "licences" / f"{row['name']}-{row['version']}", OUT / "licences" / row["name"]]
        texts = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        assert any(path.stat().st_size > 500 for path in texts), row["name"]
