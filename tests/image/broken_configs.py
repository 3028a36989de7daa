"""Twenty configurations that owners really make, each broken in one way, and what must be said about them.

`python3 tests/image/broken_configs.py GENKAN` checks each with that binary and prints how many passed. The tests that boot a card import
`BROKEN` and expect the same code and place in STATUS.txt.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SETTINGS = """\
[coordinator]
name = "hs.example.com"

[acme]
email = "you@example.com"

[[expose]]
listen = "tcp/2222"
to = "machine-a:22"
"""

CADDY = """\
{
  "apps": {
    "http": {
      "servers": {
        "web": {
          "listen": [":443"],
          "routes": [
            {
              "match": [{"host": ["app.example.com"]}],
              "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "100.64.0.2:8080"}]}]
            }
          ]
        }
      }
    }
  }
}
"""

POLICY = """\
{
  "hosts": {
    "gateway": "100.64.0.1",
    "machine-a": "100.64.0.2"
  },
  "acls": [
    {"action": "accept", "src": ["gateway"], "dst": ["machine-a:22,8080"]}
  ]
}
"""

GOOD = {"genkan.toml": SETTINGS.encode(), "caddy.json": CADDY.encode(), "acl.json": POLICY.encode()}


@dataclass(frozen=True)
class Broken:
    """A folder of files, and the problem that must be among those told: its code and `file:line:column`, or the file alone."""

    name: str
    files: dict[str, bytes]
    code: str
    place: str


def broken(name: str, code: str, place: str) -> Broken:
    """Good files to begin with; `with_file` and `renamed` break one."""
    return Broken(name, dict(GOOD), code, place)


def with_file(case: Broken, file: str, content: str | bytes) -> Broken:
    data = content.encode() if isinstance(content, str) else content
    return Broken(case.name, {**case.files, file: data}, case.code, case.place)


def renamed(case: Broken, old: str, new: str) -> Broken:
    files = {new if name == old else name: data for name, data in case.files.items()}
    return Broken(case.name, files, case.code, case.place)


def settings(name: str, code: str, place: str, old: str, new: str) -> Broken:
    """The good settings with one thing in the place of another."""
    assert old in SETTINGS, old
    return with_file(broken(name, code, place), "genkan.toml", SETTINGS.replace(old, new, 1))


def caddy(name: str, code: str, place: str, old: str, new: str) -> Broken:
    assert old in CADDY, old
    return with_file(broken(name, code, place), "caddy.json", CADDY.replace(old, new, 1))


def policy(name: str, code: str, place: str, old: str, new: str) -> Broken:
    assert old in POLICY, old
    return with_file(broken(name, code, place), "acl.json", POLICY.replace(old, new, 1))


BROKEN = [
    settings("curly-quotes", "odd-character", "genkan.toml:2:8", '"hs.example.com"', "\u201chs.example.com\u201d"),
    settings("non-breaking-blank", "odd-character", "genkan.toml:5:6", "email =", "email\u00a0="),
    settings("misspelt-section", "unknown-key", "genkan.toml:1:2", "[coordinator]", "[cordinator]"),
    settings("misspelt-key", "unknown-key", "genkan.toml:5:1", "email", "e_mail"),
    settings("name-without-quotes", "syntax", "genkan.toml:2:8", '"hs.example.com"', "hs.example.com"),
    settings("lost-quote", "syntax", "genkan.toml:2:23", '"hs.example.com"', '"hs.example.com'),
    settings("name-without-dot", "bad-name", "genkan.toml:2:8", "hs.example.com", "gateway"),
    settings("mail-without-at", "bad-email", "genkan.toml:5:9", "you@example.com", "example.com"),
    settings("unknown-machine", "unknown-host", "genkan.toml:9:6", "machine-a", "machine-b"),
    settings("port-beyond-range", "bad-address", "genkan.toml:8:10", "tcp/2222", "tcp/222222"),
    settings("key-twice", "syntax", "genkan.toml:6:1", "\n[[expose]]", 'email = "me@example.com"\n[[expose]]'),
    settings("half-an-account", "missing-key", "genkan.toml:6:14", "\n[[expose]]", 'eab_key_id = "kid-1"\n\n[[expose]]'),
    with_file(broken("utf-16", "utf-16", "genkan.toml:1:1"), "genkan.toml", SETTINGS.encode("utf-16")),
    with_file(broken("windows-1252", "not-utf8", "genkan.toml:1:6"), "genkan.toml", "# caf\u00e9\n".encode("cp1252") + SETTINGS.encode()),
    renamed(broken("hidden-ending", "stray-file", "genkan.toml.txt"), "genkan.toml", "genkan.toml.txt"),
    renamed(broken("second-download", "stray-file", "acl (1).json"), "acl.json", "acl (1).json"),
    caddy("comma-at-the-end", "syntax", "caddy.json:6:28", '"listen": [":443"],', '"listen": [":443",],'),
    caddy("cut-off", "syntax", "caddy.json:2:11", CADDY[CADDY.index('\n    "http"') :], "\n"),
    policy("service-that-the-policy-forbids", "upstream-forbidden", "genkan.toml:9:6", "machine-a:22,8080", "machine-a:8080"),
    with_file(broken("two-policies", "two-policies", "policy.hujson"), "policy.hujson", POLICY),
]


def write(case: Broken, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in case.files.items():
        (folder / name).write_bytes(data)


def place(problem: dict[str, object]) -> str:
    """As people are shown it."""
    where = f"{problem['file']}:{problem['line']}:{problem['column']}"
    return where if problem["line"] else str(problem["file"])


def told(binary: str, folder: Path) -> tuple[int, list[dict[str, object]]]:
    """What `genkan check` says."""
    run = subprocess.run([binary, "check", "--json", "--config", str(folder)], capture_output=True, text=True, timeout=30)
    return run.returncode, json.loads(run.stdout)["problems"]


def failure(binary: str, case: Broken, folder: Path) -> str | None:
    """Why the case is not told as it must be."""
    write(case, folder)
    code, problems = told(binary, folder)
    found = [(problem["code"], place(problem)) for problem in problems]
    if code != 1:
        return f"exit status {code}, not 1; told {found}"
    if (case.code, case.place) not in found:
        return f"{case.code} at {case.place} is not among {found}"
    without = [problem["code"] for problem in problems if not problem["cure"]]
    return f"no cure for {without}" if without else None


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.splitlines()[2], file=sys.stderr)
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        good = Broken("good", GOOD, "", "")
        write(good, Path(scratch, "good"))
        code, problems = told(sys.argv[1], Path(scratch, "good"))
        if code != 0:
            failed += 1
            print(f"good files: exit status {code}, {problems}")
        for case in BROKEN:
            reason = failure(sys.argv[1], case, Path(scratch, case.name))
            failed += reason is not None
            print(f"{'FAILED' if reason else 'ok    '} {case.name}{': ' + reason if reason else ''}")
    print(f"{len(BROKEN) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
