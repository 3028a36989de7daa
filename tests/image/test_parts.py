"""The parts of the card's build that can be wrong without a boot noticing."""

from __future__ import annotations

import stat

import pytest

from image import kernel, packages
from image.cpio import Archive, Entry
from image.steps import Failed

HEADER = 110


def records(archive: bytes) -> list[tuple[str, list[int], bytes]]:
    """Name, numbers and data of each record, by the description of the format in the kernel's documentation."""
    found, at = [], 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        size, name_size = numbers[6], numbers[11]
        name = archive[at + HEADER : at + HEADER + name_size - 1].decode()
        begin = at + HEADER + name_size
        begin += -begin % 4
        found.append((name, numbers, archive[begin : begin + size]))
        at = begin + size
        at += -at % 4
    return found


def test_a_file_with_two_names_is_one_file() -> None:
    archive = Archive(date=7)
    archive.add(Entry("etc", stat.S_IFDIR | 0o755))
    archive.add(Entry("init", stat.S_IFREG | 0o555, b"12345", also=("genkan",)))
    archive.add(Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    _, first, second, device, end = records(archive.finish())
    assert (first[0], first[2], second[0], second[2]) == ("genkan", b"", "init", b"12345")
    assert first[1][0] == second[1][0], "one inode"
    assert first[1][4] == second[1][4] == 2, "two links"
    assert device[1][9:11] == [5, 1]
    assert end[0] == "TRAILER!!!"


def test_an_archive_depends_on_its_entries_alone() -> None:
    def made() -> bytes:
        archive = Archive(date=1_700_000_000)
        archive.add(Entry("a", stat.S_IFREG | 0o444, b"x"))
        return archive.finish()

    assert made() == made()


def test_symbols_that_did_not_survive_are_all_named() -> None:
    wanted = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x"\nCONFIG_D=y\n'
    kernel.assert_survived(wanted, 'CONFIG_A=y\nCONFIG_C="x"\nCONFIG_D=y\nCONFIG_E=y\n')
    with pytest.raises(Failed) as problem:
        kernel.assert_survived(wanted, 'CONFIG_A=m\nCONFIG_B=y\nCONFIG_C="x"\n# CONFIG_D is not set\n')
    text = str(problem.value)
    assert "3 symbols" in text
    for line in ("CONFIG_A: wanted y, is m", "CONFIG_B: wanted n, is y", "CONFIG_D: wanted y, is n"):
        assert line in text


def test_a_version_that_left_the_archive_is_told_with_those_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str, **_rest: object) -> str:
        if words[0] == "apt-cache":
            return " e2fsck-static | 9.9-1 | http://deb.debian.org/debian trixie/main arm64 Packages\n"
        if "download" in words:
            raise Failed("apt-get: not found")
        return ""

    monkeypatch.setattr(packages, "run", run)
    gone = packages.Package("e2fsck-static", "1.0-1", "arm64", "GPL-2.0-only", True)
    with pytest.raises(Failed, match=r"1\.0-1 is no longer.*There are: 9\.9-1\.\nPut one of them into image/packages\.toml"):
        packages._fetch(gone)


def test_every_group_of_the_kernel_s_configuration_has_a_reason() -> None:
    groups = kernel.FRAGMENT.read_text().strip().split("\n\n")
    for group in groups[1:]:
        assert group.startswith("# --- "), group.splitlines()[0]
