"""A search as it is asked for: files and limits in, subnets out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compofa.errors import InputError
from compofa.spaces.layout import decode
from compofa.spaces.registry import get_family
from compofa.spaces.space import Space, get_space
from hwbench.accuracy_source import AccuracySource, open_accuracy
from hwbench.inputs.costs import Given, Source, open_sources
from hwbench.inputs.coverage import LeftOut, common_resolutions, runnable
from hwbench.inputs.idle import refuse_idle
from hwbench.inputs.trust import insist, note_differences
from hwbench.searching import engine
from hwbench.searching.engine import Found
from hwbench.searching.limits import Limit, check_positive, constraints_of, limits_of
from hwbench.searching.problem import Evaluated, Problem
from hwbench.subnets import Subnet, to_frame
from hwbench.telling import note
from lut.costs import CostModel, macs, params, within_memory

if TYPE_CHECKING:
    from compofa.spaces.family import Family
    from lut.promised import Promised

MOST_NAMED = 8
"""Resolutions that a line lists."""
LIMITABLE = {"max_macs": macs, "max_params": params}
"""What can be limited beside the costs that a search is given."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Args:
        problem: what was searched.
        sources: the costs that are traded against accuracy, by name.
        counted: costs that are limited besides, after these in the problem.
        accuracy: the accuracies.
        constraints: limits by the name of the cost, one for each search; none if the whole frontier was asked for.
        found: the answer, as arrays.
        seconds: that the search took, reading files left out.
        left_out: by name, what a device cannot run; those of which something is left out.
        memory_mb: most memory for activations, if that is limited.
        promises: by name, what limits hold for in place of the sources' own predictions, where that was asked for.
        measuring: what measuring took and came to, where that was asked for.
    """

    problem: Problem
    sources: dict[str, Source]
    counted: tuple[CostModel, ...]
    accuracy: AccuracySource
    constraints: list[dict[str, float]]
    found: Found
    seconds: float
    left_out: dict[str, LeftOut]
    memory_mb: float | None = None
    promises: Mapping[str, Promised] = field(default_factory=dict)
    measuring: Mapping[str, Any] | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the costs: those of the sources, what is promised of them, and what is counted; of several sources
        each with its own name."""
        return [
            *columns_of(self.predicting),
            *columns_of(self.promises),
            *(cost.name for cost in self.counted),
        ]

    @property
    def predicting(self) -> dict[str, CostModel]:
        """The sources' costs, by name."""
        return {name: source.cost for name, source in self.sources.items()}

    @property
    def frontier(self) -> list[Subnet]:
        """All that no other beats in one respect without losing in another, by the first cost, rising."""
        return self.subnets(self.found.frontier)

    @property
    def best(self) -> list[Subnet | None]:
        """The most accurate within each constraint, in their order; None where no subnet meets it."""
        answers = iter(self.subnets(self.found.best, self.found.may_miss.tolist()))
        return [None if i in self.unmet else next(answers) for i in range(len(self.constraints))]

    @property
    def unmet(self) -> dict[int, str]:
        """For each constraint that no subnet meets, by its place: why."""
        return self.found.unmet

    def subnets(self, evaluated: Evaluated, may_miss: Sequence[float] | None = None) -> list[Subnet]:
        """Rows of arrays as objects."""
        archs = decode(self.problem.space.family, evaluated.genotypes)
        misses: Sequence[float | None] = [None] * len(archs) if may_miss is None else may_miss
        costs = evaluated.costs
        if self.promises:
            predicted = [cost.predict(evaluated.genotypes) for cost in self.predicting.values()]
            costs = np.column_stack([*predicted, costs])
        rows = zip(archs, evaluated.accuracy.tolist(), costs.tolist(), misses, strict=True)
        return [
            Subnet(arch, accuracy, dict(zip(self.columns, numbers, strict=True)), missed)
            for arch, accuracy, numbers, missed in rows
        ]

    def to_frame(self) -> Any:
        """The frontier as a pandas data frame, one row a subnet."""
        return to_frame(subnet.to_dict() for subnet in self.frontier)

    def __repr__(self) -> str:
        space = self.problem.space
        lines = [
            f"{space.family.name}, space {space.name}: {len(self.found.frontier)} subnets on the frontier, "
            f"{self.found.evaluations:,} evaluated in {1e3 * self.seconds:.0f} ms ({self.found.method})"
        ]
        lines += [f"  within {c}: {b or self.unmet[i]}" for i, (c, b) in enumerate(self._answers())]
        return "\n".join(lines)

    def _answers(self) -> Iterable[tuple[str, Subnet | None]]:
        for constraint, best in zip(self.constraints, self.best, strict=True):
            yield ", ".join(f"{name} {limit:g}" for name, limit in constraint.items()), best

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        from hwbench.searching.document import describe

        return describe(self)


def columns_of(costs: Mapping[str, CostModel]) -> dict[str, str]:
    """Column -> name of the cost; of several costs each with its own name."""
    return {f"{cost.name}_{name}" if len(costs) > 1 else cost.name: name for name, cost in costs.items()}


def search(
    costs: Given | Mapping[str, Given] | None = None,
    *,
    latency_ms: Limit | Iterable[Limit] = (),
    confidence: float | None = None,
    recheck: int = 0,
    max_macs: float | None = None,
    max_params: float | None = None,
    max_memory_mb: float | None = None,
    space: str | Space = "ofa",
    family: str | Family | None = None,
    accuracy: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
    supernet_sha256: str | None = None,
    measure: int = 0,
    supernet: str | Path | None = None,
    measured: str | Path | None = None,
    data: str | None = None,
    workers: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> SearchResult:
    """The most accurate subnet within each limit, and the frontier.

    >>> import hwbench
    >>> found = hwbench.search(hwbench.reference_table(), space="compofa", latency_ms=[0.2, 0.3])
    >>> [subnet.latency_ms <= limit for subnet, limit in zip(found.best, [0.2, 0.3])]
    [True, True]

    Args:
        costs: a table or model (a path or an object), a name of :data:`lut.costs.COUNTED`, or several by name; None for
            the best table of the family here.
        latency_ms: limits in milliseconds, one a search; with several costs one limit for each, by name.
        confidence: with which the device keeps each latency limit, such as 0.95: a network is within it if
            :class:`lut.promised.Promised` says so. None: limits hold for predictions.
        recheck: so many of the calibration's networks are measured again first, so that the promise is of this hour; on
            the table's target.
        max_macs: most MACs, in millions.
        max_params: most parameters, in millions.
        max_memory_mb: most memory for activations at once, in MB, at the precision and batch of the costs.
        space: what is searched: a space or its name.
        family: whose subnets (default: that of the costs, or glyphs).
        accuracy: a file of measured accuracies, a predictor of ours, or OFA's published one; None for what is shipped.
        seed: of the subnets that are tried.
        force: go on with what is not to be trusted or does not belong together.
        supernet_sha256: of the file whose subnets are searched; accuracies of another one are refused.
        measure: measure up to so many subnets in the supernet, those that tell most, and answer with measured ones
            only (:mod:`hwbench.searching.measuring`); 0 for none.
        supernet: to measure in; None for the shipped one.
        measured: file that each measured accuracy is appended to, and that a second run goes on with, up to `measure`
            in all; None for one in the cache folder.
        data: to measure on (default: what the supernet was trained on).
        workers: processes that measure; one for each core unless given.
        clock: in seconds.

    Raises:
        InputError: what was given does not belong together, or is broken; says how.
        MissingEntry: a table lacks blocks of the space.
        Infeasible: no subnet meets any of the limits; names the nearest.
    """
    if not measure:
        of_measuring = {"supernet": supernet, "measured": measured, "data": data, "workers": workers}
        refuse_idle(of_measuring, "is of measuring: give measure, too")
    most = {"max_macs": max_macs, "max_params": max_params}
    for name, limit in {**most, "max_memory_mb": max_memory_mb}.items():
        check_positive(name, limit)
    owner = get_family(family) if isinstance(family, str) else family
    sources = open_sources(costs, owner, force)
    first = next(iter(sources.values())).cost
    searched = get_space(space, first.family) if isinstance(space, str) else space
    if searched.family.name != first.family.name:
        raise InputError(f"the space is one of {searched.family.name}, the costs are of {first.family.name}")
    left_out: dict[str, LeftOut] = {}
    for name, source in sources.items():
        searched, lost = runnable(searched, source)
        left_out |= {name: lost} if lost else {}
    if max_memory_mb:
        searched = within_memory(searched, max_memory_mb, *_format_of(sources))
    given = Path(accuracy) if accuracy else None
    bench = None
    if measure:
        from hwbench.searching.in_supernet import open_supernet

        trained, file = (Path(path) if path else None for path in (supernet, measured))
        bench = open_supernet(searched, measure, trained, file, given, force, data=data, workers=workers)
    accuracies = bench.source if bench else open_accuracy(given, searched)
    if supernet_sha256:
        check_supernet(accuracies, supernet_sha256, searched.name, force)
    for source in sources.values():
        note_differences(source.cost, accuracies.of)
    counted = {name: LIMITABLE[name](searched.family) for name, limit in most.items() if limit}
    constraints = constraints_of(
        latency_ms, sources, {counted[name].name: most[name] or 0.0 for name in counted}
    )
    own = {source.cost.name for source in sources.values()}
    more = tuple(cost for cost in counted.values() if cost.name not in own)
    problem = make_problem(searched, sources, more, accuracies, force)
    promises = _promises(sources, confidence, recheck, seed, force)
    if promises:
        problem = replace(problem, costs=(*promises.values(), *more))
    limits = limits_of(constraints, problem, [*sources, *(c.name for c in more)])
    start, spent = clock(), None
    if bench:
        rounds, spent = bench.search(problem, limits, seed)
    found = rounds.found if bench else engine.search(problem, limits, seed)
    seconds = clock() - start
    return SearchResult(
        problem,
        sources,
        more,
        accuracies,
        constraints,
        found,
        seconds,
        left_out,
        max_memory_mb,
        promises,
        spent,
    )


def _promises(
    sources: Mapping[str, Source], confidence: float | None, recheck: int, seed: int, force: bool
) -> dict[str, Promised]:
    """What is promised of each source; nothing where no confidence was asked for.

    Raises:
        InputError: a source cannot promise it; says what to run.
    """
    if confidence is None:
        if recheck:
            raise InputError("--recheck is for promises: give --confidence, too")
        return {}
    from hwbench.inputs.promises import promised
    from hwbench.validating.pace import pace_now

    found = {name: promised(source, confidence, force) for name, source in sources.items()}
    if not recheck:
        return found
    return {name: one.observing(pace_now(sources[name], recheck, seed, force)) for name, one in found.items()}


def make_problem(
    space: Space,
    sources: Mapping[str, Source],
    counted: Sequence[CostModel],
    accuracy: AccuracySource,
    force: bool = False,
) -> Problem:
    """The search problem, at all resolutions that the costs cover and the accuracies are known at; says which are
    left out.

    Raises:
        MissingEntry: a table lacks blocks of the space; names the first.
        InputError: there is no resolution in common.
    """
    if unknown := [r for r in space.family.resolutions if r not in accuracy.resolutions]:
        sides = (
            ", ".join(map(str, unknown)) + " px"
            if len(unknown) <= MOST_NAMED
            else f"{len(unknown)} resolutions"
        )
        note(f"{accuracy.path} says nothing of {sides}: subnets of these resolutions are left out")
    common = common_resolutions(space, list(sources.values()), accuracy.resolutions, force)
    return Problem(
        space=space,
        costs=(*(source.cost for source in sources.values()), *counted),
        accuracy=accuracy.after_pick,
        resolutions=tuple(i for i, r in enumerate(space.family.resolutions) if r in common),
    )


def _format_of(sources: Mapping[str, Source]) -> tuple[str, int]:
    """Precision and batch of the costs, for what memory holds; where they do not say, fp32 and one image.

    Raises:
        InputError: they differ in them.
    """
    settings = (source.cost.setting for source in sources.values())
    found = {setting[:2] if setting else ("fp32", 1) for setting in settings}
    if len(found) > 1:
        raise InputError(
            "--max-memory-mb with targets of different precision or batch: search them one by one"
        )
    return found.pop()


MEASURE_ITS_OWN = (
    "measure its own with hwbench evaluate --supernet FILE --space SPACE --sample 500 --out own.accuracy.jsonl, and "
    "give --accuracy own.accuracy.jsonl"
)


def check_supernet(accuracy: AccuracySource, sha256: str, space: str, force: bool) -> None:
    """Refuse accuracies that were measured in another supernet, unless forced.

    Raises:
        InputError: they are of another one; says how to measure its own.
    """
    found = accuracy.of.supernet_sha256
    if found is None:
        note(f"{accuracy.path} does not say which supernet its accuracies are of: taken for this one's")
    elif found != sha256:
        advice = MEASURE_ITS_OWN.replace("SPACE", space)
        insist(
            f"{accuracy.path} holds accuracies {accuracy.of}, not of this one ({sha256[:12]}): {advice}",
            force,
        )
