"""What `readelf` says about the binary, in the words of binary.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .layout import IMAGE
from .steps import Failed, run

EXPECTED = json.loads((IMAGE / "binary.json").read_text())


def check(path: Path, architecture: str) -> None:
    """Fails with what is otherwise than committed."""
    is_so, wanted = hardening(path), EXPECTED[architecture]
    wrong = [f"{name}: {is_so[name]}, not {value}" for name, value in wanted.items() if is_so[name] != value]
    if wrong:
        raise Failed(f"{path} is not hardened as image/binary.json says\n  " + "\n  ".join(wrong))


def hardening(path: Path) -> dict[str, object]:
    text = run("readelf", "-hldSW", path, env={"LC_ALL": "C"})
    flags = re.findall(r"\((?:FLAGS|FLAGS_1)\)\s+(?:Flags:\s*)?(.*)", text)
    segments = re.findall(r"^\s+(LOAD|GNU_STACK)\s.*?0x\w+\s+0x\w+\s+0x\w+\s+0x\w+\s+0x\w+\s([RWE ]{3})", text, re.M)
    machine, kind = re.search(r"Machine:\s+(.*)", text), re.search(r"Type:\s+(\w+)", text)
    return {
        "machine": machine and machine[1],
        "type": kind and kind[1],
        "flags": sorted(set(" ".join(flags).split())),
        "interpreter": "INTERP" in text,
        "needed": re.findall(r"\(NEEDED\).*\[(.*)\]", text),
        "relro": "GNU_RELRO" in text,
        "executable_stack": [access for kind, access in segments if kind == "GNU_STACK"] != ["RW "],
        "writable_code": any("W" in access and "E" in access for _, access in segments),
        "symbols": ".symtab" in text,
    }
