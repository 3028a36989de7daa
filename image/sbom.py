"""What the card is made of, as CycloneDX: every crate in the binary, Rust's standard library, and the packages of the distribution."""

from __future__ import annotations

import json
import shutil
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from .layout import OUT, ROOT, build_time, commit, version
from .parts import Part
from .steps import run

TARGET = "aarch64-unknown-linux-musl"


def crates() -> list[dict]:
    """cargo's rows of the crates that the program is compiled from, without those of tests and build scripts; sorted."""
    metadata = json.loads(_cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET))
    rows = {row["id"]: row for row in metadata["packages"]}
    needs = {
        node["id"]: [need["pkg"] for need in node["deps"] if any(kind["kind"] is None for kind in need["dep_kinds"])]
        for node in metadata["resolve"]["nodes"]
    }
    seen: set[str] = set()
    waiting = [metadata["resolve"]["root"]]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(needs[current])
    return sorted((rows[name] for name in seen if rows[name]["source"]), key=lambda row: (row["name"], row["version"]))


def write(parts: Iterable[Part]) -> None:
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'genkan {version()} {commit()}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(build_time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "firmware", "name": "genkan", "version": version(), "bom-ref": "genkan"},
        },
        "components": [*_crates(), *(part.component() for part in parts)],
    }
    (OUT / "sbom.cdx.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _crates() -> Iterator[dict]:
    hashes = _checksums()
    for row in crates():
        purl = f"pkg:cargo/{row['name']}@{row['version']}"
        component = {"type": "library", "bom-ref": purl, "name": row["name"], "version": row["version"], "purl": purl}
        if row["license"]:
            component["licenses"] = [{"expression": row["license"].replace("/", " OR ")}]
        if digest := hashes.get((row["name"], row["version"])):
            component["hashes"] = [{"alg": "SHA-256", "content": digest}]
        yield component


def _checksums() -> dict[tuple[str, str], str]:
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(row["name"], row["version"]): row["checksum"] for row in lock["package"] if "checksum" in row}


def _cargo(*arguments: str) -> str:
    """rustup's cargo, or Debian's."""
    cargo = shutil.which("cargo") or "/usr/bin/cargo"
    return run(cargo, *arguments, cwd=ROOT)
