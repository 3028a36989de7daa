"""What was found: medians, ratios with their intervals, a table, JSON and a plot."""

from __future__ import annotations

import json
import platform
import random
import statistics
from pathlib import Path
from xml.sax.saxutils import escape

from .cpu import Disturbance
from .measures import Result
from .rows import Row
from .stacks import NULL

Findings = dict
"""As it is written to report.json."""

RESAMPLES = 2000
STEADY_CRYPTO = 0.10
STEADY_LOAD = 3.0
STEADY_STOLEN = 0.02


def findings(
    chosen: list[Row], results: dict[str, dict[str, list[Result]]], bounds: list[float], around: Disturbance, builds: list[str]
) -> Findings:
    """Everything in one document."""
    return {
        "machine": {"kernel": platform.release(), "processor": _processor()},
        "crypto_bound": bounds,
        "load": around.load,
        "stolen": around.stolen,
        "doubts": _doubts(bounds, around),
        "builds": builds,
        "rows": [_row(row, results[row.name]) for row in chosen],
    }


def _row(row: Row, results: dict[str, list[Result]]) -> dict:
    stacks = {name: _stack(measured) for name, measured in results.items()}
    peers = [name for name in stacks if name in row.peers]
    found = {"name": row.name, "unit": row.unit, "reach": row.reach, "stacks": stacks}
    if peers:
        best = min(peers, key=lambda name: stacks[name]["median"])
        pairs = list(zip(stacks["genkan"]["values"], stacks[best]["values"]))
        found |= {"best": best, **_ratio([ours / max(theirs, 1e-9) for ours, theirs in pairs])}
    if NULL in stacks:
        pairs = list(zip(stacks[NULL]["values"], stacks["genkan"]["values"]))
        found["bound"] = {"asked": row.asked, **_ratio([bound / max(ours, 1e-9) for bound, ours in pairs])}
    return found


def _stack(measured: list[Result]) -> dict:
    values = [result.value for result in measured]
    also = {key: statistics.median(result.also[key] for result in measured) for key in measured[0].also}
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values), "values": values, "also": also}


def _ratio(ratios: list[float]) -> dict:
    """The median of the paired ratios, and where 95 of 100 resampled medians lie."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return {"ratio": statistics.median(ratios), "from": medians[RESAMPLES // 40], "to": medians[-RESAMPLES // 40]}


def _doubts(bounds: list[float], around: Disturbance) -> list[str]:
    """Why these figures may be worth nothing."""
    doubts = []
    if abs(bounds[-1] / bounds[0] - 1) > STEADY_CRYPTO:
        doubts.append(f"the processor's speed changed: the cipher took {bounds[0]:.3f} s/GB at the start, {bounds[-1]:.3f} at the end")
    if around.load > STEADY_LOAD:
        doubts.append(f"the load of the machine is {around.load:.1f}")
    if around.stolen > STEADY_STOLEN:
        doubts.append(f"the host took {around.stolen:.0%} of the time")
    return doubts


def table(found: Findings) -> str:
    """Markdown: a row for each measurement, a column for each stack."""
    names = list(dict.fromkeys(name for row in found["rows"] for name in row["stacks"] if name != NULL))
    lines = ["", "| what | unit | " + " | ".join(names) + " | of the best peer | reach |", "|---|---|" + "---|" * (len(names) + 2)]
    for row in found["rows"]:
        cells = [_cell(row["stacks"].get(name)) for name in names]
        lines.append(f"| {row['name']} | {row['unit']} | " + " | ".join(cells) + f" | {_share(row)} | {row['reach']:.2f} |")
    low, high = min(found["crypto_bound"]), max(found["crypto_bound"])
    lines += _bounds([row for row in found["rows"] if "bound" in row])
    lines += ["", f"Cipher alone (Bc): {low:.3f}-{high:.3f} CPU-s/GB. Load {found['load']:.1f}, stolen {found['stolen']:.1%}."]
    return "\n".join(lines + [f"Doubt: {doubt}" for doubt in found["doubts"]])


def _bounds(rows: list[dict]) -> list[str]:
    """A second table: the same path without a cipher (Bs), and how near to it genkan is."""
    if not rows:
        return []
    lines = ["", "| structural bound (Bs) | unit | bound | genkan | bound / genkan | asked |", "|---|---|---|---|---|---|"]
    for row in rows:
        figures = [f"{row['stacks'][name]['median']:.3g}" for name in (NULL, "genkan")]
        bound = row["bound"]
        share = _interval(bound, bound["ratio"] >= bound["asked"])
        lines.append(f"| {row['name']} | {row['unit']} | {' | '.join(figures)} | {share} | {bound['asked']:.2f} |")
    return lines


def _cell(stack: dict | None) -> str:
    if stack is None:
        return ""
    lost = stack["also"].get("lost %", 0)
    return f"{stack['median']:.3g}" + (f" ({lost:.2g} % lost)" if lost >= 0.005 else "")


def _share(row: dict) -> str:
    if "ratio" not in row:
        return ""
    return _interval(row, row["ratio"] <= row["reach"])


def _interval(ratio: dict, is_met: bool) -> str:
    """Bold where what is asked is met."""
    text = f"{ratio['ratio']:.2f} ({ratio['from']:.2f}-{ratio['to']:.2f})"
    return f"**{text}**" if is_met else text


def write(found: Findings, place: Path) -> None:
    """report.json, report.md and report.svg in `place`."""
    (place / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    (place / "report.md").write_text(table(found) + "\n")
    (place / "report.svg").write_text(plot(found))


def plot(found: Findings) -> str:
    """Bars of each row, as shares of its highest median."""
    relays = {"haproxy": "#b8860b", "nginx": "#4a6fa5", "caddy": "#a05050", "tokio-uring": "#7a5c99"}
    colours = {"genkan": "#2f6f4f", **relays, "wireguard-go": "#c98a4b", "boringtun": "#8a8a4a", NULL: "#bbb"}
    y, parts = 10, []
    for row in found["rows"]:
        highest = max(stack["median"] for stack in row["stacks"].values()) or 1
        parts.append(f'<text x="8" y="{y + 12}" font-weight="bold">{escape(row["name"])}, {escape(row["unit"])}</text>')
        y += 18
        for name, stack in row["stacks"].items():
            width = max(1, 420 * stack["median"] / highest)
            parts.append(f'<rect x="90" y="{y}" width="{width:.0f}" height="12" fill="{colours.get(name, "#777")}"/>')
            parts.append(f'<text x="8" y="{y + 10}">{escape(name)}</text><text x="{95 + width:.0f}" y="{y + 10}">{stack["median"]:.3g}</text>')
            y += 15
        y += 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="600" height="{y}" font-family="sans-serif" font-size="11">'
    return f'{head}<rect width="600" height="{y}" fill="white"/>{"".join(parts)}</svg>\n'


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
