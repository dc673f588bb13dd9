"""Whether promised limits are kept, and how much of them is given away.

    python benchmarks/bench_promise.py --recorded TABLE.jsonl ...
    python benchmarks/bench_promise.py TABLE.jsonl ... --seeds 20 --out kept.jsonl
    python benchmarks/bench_promise.py --out kept.jsonl

The tables must have been validated. Without tables: tells what the file holds; seeds that it holds are not measured
again. ``--recorded`` measures nothing: one half of a calibration promises, the other half is held against it, over
random halves.

Otherwise networks are searched for and measured as specialize does it: for each seed a made-up accuracy whose weights
are drawn anew, so that the picks differ; for each table five limits, spread over the latencies of its calibration; for
each limit eight networks of the calibration again, then up to --tries candidates, one after the other
(:class:`lut.promise_tries.Tries`). What was chosen is then measured afresh, which had no say in the choice: at once,
and once more when all limits of the seed are done, a minute later. Beside it, each measured once: the pick of a limit
on the prediction itself (``naive``) and the first candidate, of which only the model's bound is known (``by the
model``). Slack is what of the limit, or of the promise, is left.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backends.base import Backend
from compofa.network import arch_blocks
from compofa.spaces.family import Family
from compofa.spaces.layout import Genotypes, decode, encode
from compofa.spaces.space import get_space
from hwbench.searching import engine
from hwbench.searching.problem import Problem
from hwbench.specializing import RECHECKED, TRIES
from hwbench.validating.measuring import check_target, open_backend
from hwbench.validating.pace import measure_again
from lut.calibration import Calibration, calibration_path
from lut.costs import CostModel, macs
from lut.formats import read_table
from lut.lookup import Lookup
from lut.promise import Bound
from lut.promise_residuals import Residuals
from lut.promise_tries import Tries
from lut.promised import Promised

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the calibration's latencies, which are the limits."""
CONFIDENCES = (0.8, 0.95)
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


@dataclass
class Bench:
    """A table with what measures on its target.

    Args:
        path: of the table.
        backend: of its target.
        calibration: beside the table.
        residuals: of the calibration.
    """

    path: Path
    backend: Backend
    calibration: Calibration
    residuals: Residuals

    @classmethod
    def open(cls, path: Path) -> Self:
        """The table at `path`, on this machine."""
        table = read_table(path)
        calibration = Calibration.load(calibration_path(path), table)
        backend = open_backend(table.target, 0)
        check_target(table.target, backend.target, force=False)
        backend.use_reference(table.header.host.get("reference"))
        return cls(path, backend, calibration, Residuals.of(calibration))

    def measure(self, genotypes: Genotypes) -> float:
        """Milliseconds of one network, shape (1, columns), measured once."""
        family = self.calibration.table.family
        (arch,) = decode(family, genotypes)
        return self.backend.network_latencies([arch_blocks(family, arch)])[0].latency_ms

    def picks(self, quantile: float, seed: int, tries: int) -> Iterator[tuple[dict[str, Any], Genotypes]]:
        """A row of each way to keep one limit, and the network, shape (1, columns)."""
        family, model = self.calibration.table.family, self.calibration.model
        limit = float(np.quantile(model.predict(encode(family, self.calibration.archs)), quantile))
        accuracy = made_up_accuracy(family, np.random.default_rng(seed))
        again = measure_again(self.backend, self.calibration, RECHECKED, seed)
        common = {
            "table": self.path.name,
            "family": family.name,
            "seed": seed,
            "limit_ms": limit,
            "pace": float(np.mean(again)),
            "scatter": float(np.std(again, ddof=1)),
        }
        naive = self._search(model, accuracy, limit, seed).best.genotypes
        measured_ms = self.measure(naive)
        yield (
            {
                **common,
                "way": "naive",
                "promised_ms": float(model.predict(naive)[0]),
                "fresh_ms": measured_ms,
            },
            naive,
        )
        for confidence in CONFIDENCES:
            promised = Promised(model, Bound(self.residuals, confidence)).observing(again)
            found = self._search(promised, accuracy, limit, seed)
            state = self._tried(promised, found, limit, tries)
            places = list(state.measured_ms)
            first, chosen = places[0], state.chosen()
            yield (
                {
                    **common,
                    "way": f"{confidence} by the model",
                    "promised_ms": float(promised.predict(state.genotypes[[first]])[0]),
                    "fresh_ms": state.measured_ms[first],
                },
                state.genotypes[[first]],
            )
            genotypes = state.genotypes[[chosen]]
            bound = state.promise.bound
            assert isinstance(bound, Bound)
            yield (
                {
                    **common,
                    "way": f"{confidence}",
                    "promised_ms": state.bounds()[chosen],
                    "tries": len(places),
                    "kept": state.kept() is not None,
                    "points": 100 * float(state.accuracy[chosen] - state.accuracy[first]),
                    "reliability": bound.reliability,
                    "expected_ms": bound.pace * float(promised.expected_ms(genotypes)[0]),
                    "first_ms": state.measured_ms[chosen],
                    "tried": [
                        [float(promised.expected_ms(state.genotypes[[i]])[0]), ms]
                        for i, ms in state.measured_ms.items()
                    ],
                    "fresh_ms": self.measure(genotypes),
                },
                genotypes,
            )

    def _search(self, cost: CostModel, accuracy: Lookup, limit: float, seed: int) -> engine.Found:
        family = self.calibration.table.family
        space = get_space("ofa", family)
        covered = self.calibration.model.resolutions_in(space)
        sides = tuple(i for i, r in enumerate(family.resolutions) if r in covered)
        return engine.search(Problem(space, (cost,), accuracy.predict, sides), np.array([[limit]]), seed)

    def _tried(self, promised: Promised, found: engine.Found, limit: float, tries: int) -> Tries:
        genotypes = np.concatenate([found.best.genotypes, found.frontier.genotypes])
        accuracy = np.concatenate([found.best.accuracy, found.frontier.accuracy])
        _, distinct = np.unique(genotypes, axis=0, return_index=True)
        state = Tries(promised, limit, genotypes[distinct], accuracy[distinct])
        while len(state.measured_ms) < tries and (place := state.next()) is not None:
            state.measured_ms[place] = self.measure(state.genotypes[[place]])
        return state


def measure(tables: list[Path], seeds: int, tries: int, out: Path) -> None:
    """Everything, a line a pick; tables take turns. Stopped, it goes on with the seed that was under way."""
    benches = [Bench.open(path) for path in tables]
    done = {row["seed"] for row in read(out)} if out.exists() else set()
    for seed in sorted(set(range(seeds)) - done):
        picks = [
            (bench, row, genotypes)
            for bench in benches
            for quantile in QUANTILES
            for row, genotypes in bench.picks(quantile, seed, tries)
        ]
        for bench, row, genotypes in picks:
            row["later_ms"] = bench.measure(genotypes)
        with out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for _, row, _ in picks)


def read(out: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def tell(out: Path) -> None:
    """Shares kept and slack, by family and way, and what the choice flattered."""
    rows = read(out)
    families = sorted({row["family"] for row in rows})
    for name in (*families, "all"):
        mine = [row for row in rows if name in (row["family"], "all")]
        for way in dict.fromkeys(row["way"] for row in mine):
            some = [row for row in mine if row["way"] == way]
            _line(f"{name}, {way}", some)
            if "first_ms" in some[0]:
                _choice(some)


def _column(rows: list[dict[str, Any]], name: str) -> Floats:
    return np.array([row[f"{name}_ms"] for row in rows])


def _line(name: str, rows: list[dict[str, Any]]) -> None:
    limit, promised, fresh, later = (_column(rows, what) for what in ("limit", "promised", "fresh", "later"))
    kept, bound, after = (
        100 * np.mean(measured <= of) for measured, of in ((fresh, limit), (fresh, promised), (later, limit))
    )
    of_limit, of_promise = (100 * np.mean(1 - fresh / of) for of in (limit, promised))
    print(
        f"{name:32} {len(rows):4} kept {kept:5.1f} % (a minute later {after:5.1f} %, the bound {bound:5.1f} %), slack "
        f"mean {of_limit:5.2f} % of the limit ({of_promise:5.2f} % of the promise)"
    )


def _choice(rows: list[dict[str, Any]]) -> None:
    first, fresh, expected = (_column(rows, what) for what in ("first", "fresh", "expected"))
    back, over = 100 * (fresh / first - 1), [100 * (one / expected - 1) for one in (first, fresh)]
    tries, accepted, points, reliability = (
        np.mean([row[what] for row in rows]) for what in ("tries", "kept", "points", "reliability")
    )
    print(
        f"{'':8}{tries:.1f} measured, {100 * accepted:.0f} % with a promise within the limit, {points:+.2f} points "
        f"against the first; measured again {back.mean():+.2f} % (standard error {back.std() / len(back) ** 0.5:.2f}); "
        f"first over expected {over[0].mean():+.2f} %, fresh {over[1].mean():+.2f} % (s "
        f"{over[1].std():.2f}); reliability {reliability:.2f}"
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
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--tries", type=int, default=TRIES)
    p.add_argument("--out", type=Path, default=Path("kept.jsonl"))
    args = p.parse_args()
    if args.recorded:
        for path in args.tables:
            recorded(path)
        return
    if args.tables:
        measure(args.tables, args.seeds, args.tries, args.out)
    tell(args.out)


if __name__ == "__main__":
    main()
