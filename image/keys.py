"""Whose updates the card takes. The private half never comes here; without any key given, a development key is made once per tree.

GENKAN_RELEASE_PUB: a file of public keys, base64 of 32 bytes, one a line. GENKAN_RELEASE_KEY: a private key (PEM), of which the public half is taken.
"""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

from .layout import ROOT
from .steps import Failed, say

DEVELOPMENT = ROOT / "target" / "image" / "keys" / "development.pem"
# What stands before the 32 bytes in an Ed25519 public key (RFC 8410).
PREFIX = bytes.fromhex("302a300506032b6570032100")


def public() -> str:
    """The text of /etc/genkan/release.pub."""
    given = os.environ.get("GENKAN_RELEASE_PUB")
    if given:
        return Path(given).read_text()
    private = os.environ.get("GENKAN_RELEASE_KEY")
    if private:
        return f"{_public_half(Path(private))} # release\n"
    if not DEVELOPMENT.exists():
        DEVELOPMENT.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        subprocess.run(("openssl", "genpkey", "-algorithm", "ed25519", "-out", DEVELOPMENT), check=True, capture_output=True)
    say(f"the card takes updates signed by {DEVELOPMENT}; give GENKAN_RELEASE_KEY or GENKAN_RELEASE_PUB for a release")
    return f"{_public_half(DEVELOPMENT)} # development\n"


def _public_half(private: Path) -> str:
    done = subprocess.run(("openssl", "pkey", "-in", private, "-pubout", "-outform", "DER"), capture_output=True)
    if done.returncode or not done.stdout.startswith(PREFIX) or len(done.stdout) != len(PREFIX) + 32:
        raise Failed(f"{private}: not an Ed25519 private key in PEM (openssl genpkey -algorithm ed25519)")
    return base64.b64encode(done.stdout.removeprefix(PREFIX)).decode()
