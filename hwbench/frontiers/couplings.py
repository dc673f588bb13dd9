"""Which couplings of depth with the other choices make the best frontier on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np
from numpy.typing import NDArray

from compofa.errors import InputError
from compofa.spaces.couplings import Coupling, count_couplings
from compofa.spaces.couplings import couplings as all_couplings
from compofa.spaces.registry import get_family
from compofa.spaces.space import Space, get_space
from hwbench.accuracy_source import AccuracySource, open_accuracy
from hwbench.inputs.costs import Given, Source, open_source
from hwbench.inputs.coverage import common_resolutions, runnable
from hwbench.inputs.trust import note_differences
from hwbench.searching import engine, programme
from hwbench.searching.problem import Problem
from hwbench.subnets import to_frame
from hwbench.telling import note, progress

if TYPE_CHECKING:
    from compofa.spaces.family import Family

MOST_SUBNETS = 20_000_000
"""That are looked at in all: some minutes of an accuracy predictor."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A coupling and its frontier.

    Args:
        coupling: what goes with what.
        published: whether it is CompOFA's.
        frontier: (cost, accuracy) of its subnets that no other of them beats, shape (n, 2), by rising cost.
        hypervolume: in the unit of the cost x accuracy.
    """

    coupling: Coupling
    published: bool
    frontier: Floats
    hypervolume: float


@dataclass(frozen=True)
class CouplingsResult:
    """All couplings, the best first.

    Args:
        family: whose.
        source: the cost.
        accuracy: where the accuracies come from.
        ranking: the couplings, by falling hypervolume.
        whole: the frontier of the space that holds them all, shape (n, 2).
        whole_hypervolume: of that.
        reference_point: cost and accuracy that hypervolumes are counted from: the worst of any coupling's subnets.
        subnets: of each coupling.
    """

    family: Family
    source: Source
    accuracy: AccuracySource
    ranking: list[Judged]
    whole: Floats
    whole_hypervolume: float
    reference_point: tuple[float, float]
    subnets: int

    @property
    def published_rank(self) -> int | None:
        """The place of CompOFA's own coupling, from 1; None if none of its subnets can run."""
        return next((i for i, judged in enumerate(self.ranking, start=1) if judged.published), None)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each coupling: its rank, what it couples, hypervolume, and that as a share of the whole space's."""
        for rank, judged in enumerate(self.ranking, start=1):
            yield {
                "rank": rank,
                "coupling": judged.coupling.describe(self.family),
                "published": judged.published,
                "hypervolume": judged.hypervolume,
                "share_of_ofa": judged.hypervolume / self.whole_hypervolume,
                "most_accurate": float(judged.frontier[-1, 1]),
            }

    def to_frame(self) -> Any:
        """:meth:`rows` as a pandas data frame."""
        return to_frame(self.rows())

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        cost, accuracy = self.reference_point
        return {
            "family": self.family.name,
            "cost": self.source.cost.name,
            **self.source.cost.describe(self.source.file),
            "target": self.source.cost.of,
            "accuracy": str(self.accuracy.path),
            "accuracy_is": self.accuracy.origin,
            "accuracy_of": self.accuracy.of.to_dict(),
            "accuracy_mae": self.accuracy.error,
            "reference_point": {self.source.cost.name: cost, "accuracy": accuracy},
            "subnets_each": self.subnets,
            "ofa_hypervolume": self.whole_hypervolume,
            "published_rank": self.published_rank,
            "couplings": list(self.rows()),
        }

    def __repr__(self) -> str:
        best, rank = next(self.rows()), self.published_rank
        own = f"is number {rank}" if rank else "cannot run there"
        return (
            f"{len(self.ranking):,} couplings of {self.family.name}, {self.subnets:,} subnets each, on "
            f"{self.source.cost.of}: best {best['coupling']} ({100 * best['share_of_ofa']:.2f} % of OFA's "
            f"hypervolume); CompOFA's own {own}"
        )


def couplings(
    cost: Given | None = None,
    *,
    family: str | Family | None = None,
    accuracy: str | Path | None = None,
    fixed: bool = True,
    seed: int = 0,
    force: bool = False,
) -> CouplingsResult:
    """Judge every coupling as large as CompOFA's by the hypervolume of its frontier; enumerated, not sampled.

    All accuracies are those of one supernet, which was trained for the whole space: what a supernet trained for one
    coupling alone would gain is not in them.

    >>> import hwbench
    >>> found = hwbench.couplings(hwbench.reference_table(), fixed=False)
    >>> len(found.ranking), 1 <= found.published_rank <= 27
    (27, True)

    Args:
        cost: a table or model (a path or an object), or a name of :data:`lut.costs.COUNTED`; None for the best table
            of the family.
        family: whose couplings (default: that of the cost, or glyphs).
        accuracy: of subnets of space ofa; None for what is shipped.
        fixed: vary the axis that CompOFA fixes (the kernel of each unit), too.
        seed: of the search of the whole space, that they are compared with.
        force: go on with what is not to be trusted or does not belong together.

    Raises:
        InputError: CompOFA's rule does not fit the family, or there are too many to look at.
    """
    wanted = get_family(family) if isinstance(family, str) else family
    source = open_source(cost, wanted, force)
    owner = source.cost.family
    if wanted and wanted.name != owner.name:
        raise InputError(f"{source} is of family {owner.name}, not of {wanted.name}")
    whole, _ = runnable(get_space("ofa", owner), source)
    source_of_accuracy = open_accuracy(Path(accuracy) if accuracy else None, whole)
    note_differences(source.cost, source_of_accuracy.of)
    sides = common_resolutions(whole, [source], source_of_accuracy.resolutions, force)
    kept = [i for i, side in enumerate(owner.resolutions) if side in sides]
    total = count_couplings(owner, fixed)
    subnets = get_space("compofa", owner).size() * len(sides)
    if total * subnets > MOST_SUBNETS:
        raise InputError(
            f"{total:,} couplings of {subnets:,} subnets each are {total * subnets:,.0f} in all, more than "
            f"{MOST_SUBNETS:,}: "
            + ("leave the fixed axis as it is (--keep-fixed)" if fixed else "take fewer resolutions")
        )
    found, worst = [], np.array([0.0, 1.0])
    with progress("judging couplings", total) as advance:
        for coupling in all_couplings(owner, fixed):
            points = _points(Space(owner, coupling, whole.forbidden), source, source_of_accuracy, kept)
            if len(points):
                worst = np.array([max(worst[0], points[:, 0].max()), min(worst[1], points[:, 1].min())])
                found.append((coupling, points[programme.nondominated(points[:, 0], points[:, 1])]))
            advance(1)
    if not found:
        raise InputError(f"{source}: no coupling has a subnet that can run")
    if len(found) < total:
        note(f"{total - len(found)} couplings have no subnet that can run and are left out")
    own = next(all_couplings(owner, fixed=False))
    ranking = sorted(
        (Judged(c, c == own, points, _hypervolume(points, worst)) for c, points in found),
        key=lambda judged: -judged.hypervolume,
    )
    problem = Problem(whole, (source.cost,), source_of_accuracy.predict, tuple(kept))
    front = engine.search(problem, np.empty((0, 1)), seed).frontier
    searched = np.column_stack([front.costs[:, 0], front.accuracy])
    # The couplings' own subnets are the space's, too: the search does not look at every one.
    everything = np.concatenate([searched, *(judged.frontier for judged in ranking)])
    best = everything[programme.nondominated(everything[:, 0], everything[:, 1])]
    return CouplingsResult(
        owner,
        source,
        source_of_accuracy,
        ranking,
        best,
        _hypervolume(best, worst),
        (float(worst[0]), float(worst[1])),
        subnets,
    )


def _points(space: Space, source: Source, accuracy: AccuracySource, resolutions: Sequence[int]) -> Floats:
    """(cost, accuracy) of every subnet of `space` that can run, at resolutions given by their index."""
    genotypes = space.enumerate_genotypes()
    genotypes = genotypes[np.isin(genotypes[:, 0], resolutions)]
    if not len(genotypes):
        return np.empty((0, 2))
    return np.column_stack([source.cost.predict(genotypes), accuracy.predict(genotypes)])


def _hypervolume(points: Floats, worst: Floats) -> float:
    return float(moocore.hypervolume(points, ref=worst, maximise=(False, True)))
