"""Whether promised limits are kept, and how much of them is given away.

    python benchmarks/bench_promise.py --recorded TABLE.jsonl ...
    python benchmarks/bench_promise.py TABLE.jsonl ... --seeds 10 --out kept.jsonl
    python benchmarks/bench_promise.py --out kept.jsonl [--curse 0.006]

The tables must have been validated. Without tables: tells what the file holds, with promises raised by the share
--curse, which is what a term for flattered picks would do. ``--recorded`` measures nothing: one half of a calibration
promises, the other half is held against it, over random halves. Otherwise networks are searched for and measured,
once each: for each seed a made-up accuracy whose weights are drawn anew, so that the picks differ; for each table
five limits, spread over the latencies of its calibration. Four ways: the limit on the prediction itself (``naive``);
a promise of the device as it was when it was validated (``as validated``); and promises of this hour, after eight
networks of the calibration were measured again, at two confidences. Slack is what of the limit is left, by what was
measured; of those that are kept.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend
from compofa.network import arch_blocks
from compofa.spaces.family import Family
from compofa.spaces.layout import decode, encode
from compofa.spaces.space import get_space
from hwbench.searching import engine
from hwbench.searching.problem import Problem
from hwbench.validating.measuring import check_target, open_backend
from hwbench.validating.pace import measure_again
from lut.calibration import Calibration, calibration_path
from lut.costs import CostModel, macs
from lut.formats import read_table
from lut.lookup import Lookup
from lut.promise import Bound, Residuals
from lut.promised import Promised

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the calibration's latencies, which are the limits."""
CONFIDENCES = (0.8, 0.95)
AGAIN = 8
HALVES = 20

Floats = NDArray[np.float64]


def made_up_accuracy(family: Family, rng: np.random.Generator) -> Lookup:
    """An additive accuracy: what a block is worth grows with its work, times a random weight."""
    work = macs(family).as_lookup()
    assert work is not None
    weights = np.nan_to_num(work.slots[0]) ** rng.uniform(0.3, 1) * rng.lognormal(0, 0.5, work.slots[0].shape)
    weights[:, 0] = 0
    slots = np.broadcast_to(weights / weights.max(1).sum() / 2, work.slots.shape)
    return Lookup(family, np.linspace(0, 0.2 * rng.random(), len(work.fixed)), np.array(slots))


def ways(
    calibration: Calibration, residuals: Residuals, again: tuple[float, ...]
) -> Iterator[tuple[str, CostModel]]:
    """What the limits are put on."""
    model = calibration.model
    yield "naive", model
    for confidence in CONFIDENCES:
        promised = Promised(model, Bound(residuals, confidence))
        yield f"as validated {confidence}", promised
        yield f"{confidence}", promised.observing(again)


def one_limit(
    backend: Backend, calibration: Calibration, residuals: Residuals, quantile: float, seed: int
) -> Iterator[dict[str, Any]]:
    """Recheck, search each way within one limit, and measure what was found, in random order, as specialize does."""
    family, rng = calibration.table.family, np.random.default_rng(seed)
    space, model = get_space("ofa", family), calibration.model
    accuracy = made_up_accuracy(family, rng)
    limit = float(np.quantile(model.predict(encode(family, calibration.archs)), quantile))
    covered = model.resolutions_in(space)
    sides = tuple(i for i, r in enumerate(family.resolutions) if r in covered)
    again = measure_again(backend, calibration, AGAIN, seed)
    picks = []
    for way, cost in ways(calibration, residuals, again):
        best = engine.search(Problem(space, (cost,), accuracy.predict, sides), np.array([[limit]]), seed).best
        (arch,) = decode(family, best.genotypes)
        predicted_ms, promised_ms = (float(one.predict(best.genotypes)[0]) for one in (model, cost))
        picks.append((arch, {"way": way, "predicted_ms": predicted_ms, "promised_ms": promised_ms}))
    for i in rng.permutation(len(picks)).tolist():
        arch, row = picks[i]
        (measured,) = backend.network_latencies([arch_blocks(family, arch)])
        yield {
            "family": family.name,
            "seed": seed,
            "pace": float(np.mean(again)),
            "limit_ms": limit,
            "arch": str(arch),
            **row,
            "measured_ms": measured.latency_ms,
        }


def measure(tables: list[Path], seeds: int, out: Path) -> None:
    """Everything, a line a pick; tables take turns."""
    opened = []
    for path in tables:
        table = read_table(path)
        calibration = Calibration.load(calibration_path(path), table)
        backend = open_backend(table.target, 0)
        check_target(table.target, backend.target, force=False)
        backend.use_reference(table.header.host.get("reference"))
        opened.append((path, backend, calibration, Residuals.of(calibration)))
    with out.open("a", encoding="utf-8") as file:
        for seed in range(seeds):
            for path, backend, calibration, residuals in opened:
                for quantile in QUANTILES:
                    for row in one_limit(backend, calibration, residuals, quantile, seed):
                        file.write(json.dumps({"table": path.name, **row}) + "\n")
                    file.flush()


def tell(out: Path, curse: float = 0.0) -> None:
    """Shares kept and slack, by way, family and size; promises, and the limits that they are for, raised by the
    share `curse`."""
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["way"] != "naive":
            row["promised_ms"], row["limit_ms"] = (
                row[f"{one}_ms"] * (1 + curse) for one in ("promised", "limit")
            )
    for family in sorted({row["family"] for row in rows}):
        mine = [row for row in rows if row["family"] == family]
        for way in dict.fromkeys(row["way"] for row in mine):
            _line(f"{family}, {way}", [row for row in mine if row["way"] == way])
        for table in sorted({row["table"] for row in mine}):
            some = [row for row in mine if row["table"] == table and row["way"] == "0.95"]
            limits = sorted({row["limit_ms"] for row in some})
            for limit in limits:
                _line(f"  {table}, 0.95 within {limit:.4g} ms", [r for r in some if r["limit_ms"] == limit])
    for way in dict.fromkeys(row["way"] for row in rows):
        _line(f"all, {way}", [row for row in rows if row["way"] == way])


def _line(name: str, rows: list[dict[str, Any]]) -> None:
    limit, promised, predicted, measured = (
        np.array([row[f"{what}_ms"] for row in rows])
        for what in ("limit", "promised", "predicted", "measured")
    )
    kept, bound = (100 * np.mean(measured <= of) for of in (limit, promised))
    off = measured / predicted / np.array([row["pace"] for row in rows]) - 1
    slack, of_limit = (100 * np.mean(1 - measured / of) for of in (promised, limit))
    print(
        f"{name:42} {len(rows):4} kept {kept:5.1f} % (the bound {bound:5.1f} %), slack mean {slack:5.2f} % of the "
        f"promise ({of_limit:5.2f} % of the limit); measured over predicted at this pace {100 * off.mean():+.2f} % "
        f"(s {100 * off.std():.2f})"
    )


def recorded(path: Path) -> None:
    """Hold one half of a calibration against what the other half promises, over random halves."""
    whole = Calibration.load(calibration_path(path), read_table(path))
    found: dict[float, list[Floats]] = {confidence: [] for confidence in CONFIDENCES}
    for seed in range(HALVES):
        one, other = np.array_split(np.random.default_rng(seed).permutation(len(whole.archs)), 2)
        half = Calibration(whole.table, *(tuple(part[i] for i in one) for part in _columns(whole)))
        genotypes = encode(whole.table.family, [whole.archs[i] for i in other])
        residuals = Residuals.of(half)
        for confidence, errors in found.items():
            promised_ms = Promised(half.model, Bound(residuals, confidence)).predict(genotypes)
            for measured in _columns(whole)[1:]:
                errors.append(1 - np.array([measured[i] for i in other]) / promised_ms)
    for confidence, errors in found.items():
        left = np.concatenate(errors)
        kept = 100 * np.mean(left >= 0)
        print(
            f"{path.name:30} confidence {confidence}: kept {kept:.1f} %, slack mean {100 * left.mean():.2f} %"
        )


def _columns(calibration: Calibration) -> list[tuple[Any, ...]]:
    return [c for c in (calibration.archs, calibration.first_ms, calibration.second_ms) if c]


def main() -> None:
    """Run what the arguments ask for."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    p.add_argument("tables", type=Path, nargs="*")
    p.add_argument("--recorded", action="store_true")
    p.add_argument("--seeds", type=int, default=10)
    p.add_argument("--out", type=Path, default=Path("kept.jsonl"))
    p.add_argument("--curse", type=float, default=0.0)
    args = p.parse_args()
    if args.recorded:
        for path in args.tables:
            recorded(path)
        return
    if args.tables:
        measure(args.tables, args.seeds, args.out)
    tell(args.out, args.curse)


if __name__ == "__main__":
    main()
