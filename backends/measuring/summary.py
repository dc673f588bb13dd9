"""Ratios become latencies: the median over rounds, its interval, and whether it is to be trusted."""

from __future__ import annotations

import math

import numpy as np

from backends.base import Measurement
from backends.measuring.pairing import Floats, Paired
from backends.measuring.timing import TimingSettings
from compofa.errors import RunFailed

BETWEEN_BUILDS = 0.015
"""Standard deviation of a latency from one build to another, as a fraction, beyond what the rounds of one build
show: memory that lies elsewhere, and a machine that treats case and reference differently in another hour. From pairs
of builds of imagenet-w1.0 at 160 px on a machine of two cores that others used, too (benchmarks/bench_pairing.py): with
0.004 the intervals held 77 % of the other build's values."""
Z95 = 1.96
"""Of the normal distribution: 95 of 100 lie within so many standard deviations."""


def summarise(
    ratios: Floats,
    reference_ms: float,
    settings: TimingSettings,
    *,
    paired: Paired,
    spread: float = 0.0,
    seed: int = 0,
) -> list[Measurement]:
    """A measurement of each case.

    The interval is where *another build's* value lies 95 times of 100: rounds of one build share its memory and its
    hour, so the interval that they span by themselves holds another build's value far less often.

    Args:
        ratios: in runs of the reference, shape (cases, rounds); differences of what `paired` holds, or the same.
        reference_ms: what a run of the reference takes.
        settings: for the noise limit and the number of resamples.
        paired: where the ratios come from, for the share of runs left out, shape (cases, ...), and the pace.
        spread: standard deviation from one copy of a case to another, as a fraction.
        seed: of the bootstrap.

    Raises:
        RunFailed: some case has no ratio: the clock stands still.
    """
    if not len(ratios):
        return []
    known = np.isfinite(ratios)
    if not known.any(axis=1).all():
        raise RunFailed(
            "the clock by which runs are timed stands still: nothing can be measured on this machine"
        )
    return [
        _measurement(row[there], reference_ms, settings, spread, seed, details)
        for row, there, details in zip(ratios, known, _details(paired), strict=True)
    ]


def _details(paired: Paired) -> list[tuple[tuple[str, float | str], ...]]:
    pace = round(100 * (paired.pace - 1), 1)
    return [
        (("left_out_pct", round(100 * share, 1)), ("slowdown_pct", pace))
        for share in paired.left_out.tolist()
    ]


def _measurement(
    ratios: Floats,
    reference_ms: float,
    settings: TimingSettings,
    spread: float,
    seed: int,
    details: tuple[tuple[str, float | str], ...],
) -> Measurement:
    latency = float(np.median(ratios))
    picks = np.random.default_rng(seed).integers(len(ratios), size=(settings.resamples, len(ratios)))
    of_rounds = float(np.std(np.median(ratios[picks], axis=1)))
    # Twice: this build's error and the other's.
    half = Z95 * math.sqrt(2 * (of_rounds**2 + (max(spread, BETWEEN_BUILDS) * latency) ** 2))
    # Nothing takes less than no time, however noisy; a difference of two runs, though, may come out below it.
    low = max(latency - half, 0.0) if latency > 0 else latency - half
    return Measurement(
        origin="measured",
        latency_ms=latency * reference_ms,
        low_ms=low * reference_ms,
        high_ms=(latency + half) * reference_ms,
        rounds_ms=tuple((ratios * reference_ms).tolist()),
        noisy=len(ratios) < settings.rounds / 2 or half > settings.noise_limit * abs(latency),
        details=details,
    )
