"""Debian's packages, in the versions of packages.toml, by an apt that has its own sources, lists and cache."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .layout import OUT, PACKAGES, ROOT
from .parts import Part
from .steps import Failed, run, step

APT = OUT / "apt"
ARCHIVES = APT / "archives"
UNPACKED = OUT / "debian"
COMMON = Path("/usr/share/common-licenses")


@dataclass(frozen=True)
class Package:
    """One row of packages.toml."""

    name: str
    version: str
    architecture: str
    licence: str
    on_card: bool

    @property
    def archive(self) -> Path:
        """Where apt puts it: a colon of the version is %3a in the name."""
        return ARCHIVES / f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"

    @property
    def tree(self) -> Path:
        return UNPACKED / f"{self.name}_{self.version}_{self.architecture}"


def pinned() -> list[Package]:
    return [Package(**row) for row in tomllib.loads(PACKAGES.read_text())["package"]]


def tree(name: str, architecture: str | None = None) -> Path:
    """The unpacked files of a package; fetched if they are not there."""
    for package in pinned():
        if package.name == name and architecture in (None, package.architecture):
            return _unpacked(package)
    raise Failed(f"{name} is not in {PACKAGES.relative_to(ROOT)}")


def find(name: str) -> Package:
    return next(package for package in pinned() if package.name == name)


def parts() -> list[Part]:
    """Those of which something is on the card."""
    return [_part(package) for package in pinned() if package.on_card]


def _part(package: Package) -> Part:
    purl = f"pkg:deb/debian/{package.name}@{package.version}?arch={package.architecture}"
    copyright = _unpacked(package) / "usr" / "share" / "doc" / package.name / "copyright"
    named = (COMMON / name for name in ("GPL-2", "LGPL-2") if name in package.licence)
    return Part(package.name, package.version, purl, package.licence, (copyright, *named))


def _unpacked(package: Package) -> Path:
    if not package.tree.exists():
        if not package.archive.exists():
            with step(f"fetching {package.name} {package.version}"):
                _fetch(package)
        partial = package.tree.with_suffix(".partial")
        run("rm", "-rf", partial)
        partial.mkdir(parents=True)
        run("dpkg-deb", "-x", package.archive, partial)
        partial.rename(package.tree)
    return package.tree


def _fetch(package: Package) -> None:
    apt = {"APT_CONFIG": str(_configuration())}
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    wanted = f"{package.name}:{package.architecture}={package.version}"
    if package.architecture == "all":
        wanted = f"{package.name}={package.version}"
    run("apt-get", "-q", "update", env=apt)
    try:
        run("apt-get", "-q", "download", wanted, cwd=ARCHIVES, env=apt)
    except Failed as problem:
        rows = run("apt-cache", "madison", package.name, env=apt).splitlines()
        there = sorted({row.split("|")[1].strip() for row in rows if row.count("|") == 2})
        if package.version in there:
            raise
        raise Failed(
            f"{package.name} {package.version} is no longer in Debian's archive. There are: {', '.join(there) or 'none'}.\n"
            f"Put one of them into {PACKAGES.relative_to(ROOT)} and build again."
        ) from problem


def _configuration() -> Path:
    """An apt.conf that shares nothing with the machine's but its keys."""
    settings = tomllib.loads(PACKAGES.read_text())
    for folder in ("lists/partial", "cache/archives/partial", "parts"):
        (APT / folder).mkdir(parents=True, exist_ok=True)
    (APT / "status").touch()
    sources = [
        f"deb [signed-by={settings['keyring']}] {settings['mirror']} {suite} {' '.join(components)}\n"
        for suite, components in settings["suites"].items()
    ]
    (APT / "sources.list").write_text("".join(sources))
    options = {
        "Dir::Etc::sourcelist": APT / "sources.list", "Dir::Etc::sourceparts": APT / "parts", "Dir::Etc::parts": APT / "parts",
        "Dir::Etc::preferences": "/dev/null", "Dir::Etc::preferencesparts": APT / "parts", "Dir::State::lists": APT / "lists",
        "Dir::State::status": APT / "status", "Dir::Cache": APT / "cache", "APT::Architecture": "arm64",
        "APT::Sandbox::User": "", "Acquire::Languages": "none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Retries": "3",
    }  # fmt: skip
    lines = [f'{name} "{value}";\n' for name, value in options.items()] + ['APT::Architectures { "arm64"; "amd64"; };\n']
    path = APT / "apt.conf"
    path.write_text("".join(lines))
    return path


if __name__ == "__main__":
    # `python3 -m image.packages NAME [ARCHITECTURE]`: prints where the package's files are.
    print(tree(*sys.argv[1:]), file=sys.stdout)
