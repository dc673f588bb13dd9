"""What the cases of ``benchmarks/gpu.sh`` found: scores of each way of timing blocks, clocks, and a line for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

TARGETS = {"mape_pct": 2.0, "within_5_pct": 99.0, "spearman": 0.99}
"""Of the calibrated model: at most, at least, at least."""
WAYS = ("cost", "alone_ms", "flushed_ms")
"""Of timing a block: differenced in context, alone, alone with the cache overwritten."""
TROUBLES = ("unavailable", "failed", "unfinished")
"""What a case says that has not been done."""


def ways(lut: Path) -> dict[str, Any]:
    """Scores of the sums of each way of timing blocks, against the same networks."""
    from lut.calibration import Calibration, calibration_path
    from lut.scores import scores
    from lut.table import Table

    table = Table.load(lut)
    kept = Calibration.load(calibration_path(lut), table)
    found = {}
    for way in WAYS:
        if way != "cost" and not all(way in dict(m.details) for m in table.entries.values()):
            continue
        other = Calibration(_timed(table, way), kept.archs, kept.first_ms, kept.second_ms)
        found[way] = {
            "raw": scores(other.measured_ms, other.raw_ms),
            "calibrated": scores(other.measured_ms, other.held_out_ms),
            "terms": dict(other.model.coefficients),
        }
    return found


def _timed(table: Any, way: str) -> Any:
    """The table with another of its figures as each block's latency."""
    if way == "cost":
        return table
    entries = {b: replace(m, latency_ms=float(dict(m.details)[way])) for b, m in table.entries.items()}
    return type(table)(table.header, entries)


def clocks(lut: Path) -> dict[str, Any]:
    """What the device's clocks did while the blocks were timed."""
    from lut.table import Table

    details = [dict(m.details) for m in Table.load(lut).entries.values()]
    speeds = sorted({float(d["sm_clock_mhz"]) for d in details if "sm_clock_mhz" in d})
    return {
        "sm_clock_mhz": [speeds[0], speeds[-1]] if speeds else None,
        "held_back": sorted({str(d["held_back"]) for d in details if "held_back" in d}),
        "blocks_held_back": sum("held_back" in d for d in details),
    }


def met(scores: dict[str, Any]) -> bool:
    """Whether scores meet :data:`TARGETS`."""
    return (
        scores["mape_pct"] <= TARGETS["mape_pct"]
        and scores["within_5_pct"] >= TARGETS["within_5_pct"]
        and (scores["spearman"] or 0.0) >= TARGETS["spearman"]
    )


def line(found: dict[str, Any]) -> str:
    """A case for people."""
    if "latency_ms" in found:
        return f"{found['latency_ms']:.3f} ms: the GPU takes it"
    if energies := found.get("energies"):
        raw, calibrated = (energies[which]["mape_pct"] for which in ("raw", "calibrated"))
        return f"energy: calibrated MAPE {calibrated:.2f} % (raw {raw:.1f} %), {energies['networks']} subnets"
    if "ways" not in found:
        return next((f"{kind}: {found[kind]}" for kind in TROUBLES if kind in found), "not begun")
    validated, built = found["validated"], found["built"]
    parts = [
        f"{way.removesuffix('_ms')} {scores['calibrated']['mape_pct']:.2f} % (raw {scores['raw']['mape_pct']:.1f} %)"
        for way, scores in found["ways"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in built["target"]["versions"].items())
    speeds = found["clocks"]["sm_clock_mhz"]
    verdict = "meets the targets" if met(found["ways"]["cost"]["calibrated"]) else "misses the targets"
    if validated.get("distrust"):
        verdict = f"not to be trusted: {validated['distrust']}"
    return "; ".join(
        [
            f"calibrated MAPE {', '.join(parts)}",
            f"repeatability {validated['repeatability_pct']:.2f} %, {validated['n']} subnets",
            f"SM {speeds[0]:.0f}-{speeds[1]:.0f} MHz" if speeds else "clocks unknown",
            versions,
            verdict,
        ]
    )
