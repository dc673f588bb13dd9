"""The checks: data, coverage, drift and accuracy, each of every golden set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from compofa.errors import InputError
from hwbench.gating import baseline as frozen_state
from hwbench.gating import golden as golden_sets
from hwbench.gating.baseline import Baseline, Frozen
from hwbench.gating.findings import FAIL, PASS, SKIP, Finding
from hwbench.gating.golden import Entry, Figures, GoldenSet
from hwbench.gating.models import COVERAGE, MODELS, Answers, answer
from hwbench.gating.statistics import LEVEL, RESAMPLES, SCORES, Change, Judged, change, draw, holm

FINER = 4
"""Times finer than the level, divided by the cases, the p of one case is told."""
DRIFT_LIMIT = 1e-3
"""Largest relative change of any prediction. The golden data never change, so neither does a prediction,
but for another library's last digits; a tenth of a percent is far above those and far below any noise."""
LEARNED_DRIFT_LIMIT = 1e-2
"""The same for models that are fitted by search: last digits may end it elsewhere."""
LEAST_COVERED = 0.87
"""Of 90 % intervals, on subnets not fitted on."""


@dataclass(frozen=True)
class State:
    """What the present code makes of a set.

    Args:
        golden: the set.
        coverage: share of the space's blocks that have an entry, 0 to 1.
        answers: by model.
    """

    golden: GoldenSet
    coverage: float
    answers: dict[str, Answers]

    @classmethod
    def of(cls, golden: GoldenSet) -> State:
        """Fit all models on the set's training half and ask them what the set asks."""
        coverage = golden.table.coverage(golden.space, golden.table.header.resolutions)
        return cls(golden, coverage, {name: answer(name, golden) for name in MODELS})


def load_manifest(folder: Path) -> tuple[dict[str, Entry], list[Finding]]:
    """The sets in `folder` by name; none and a finding if its manifest cannot be used."""
    try:
        if entries := golden_sets.read_manifest(folder):
            return entries, []
        reason = f"{folder} holds no golden sets"
    except (OSError, InputError) as error:
        reason = _reason(error)
    advice = f"{reason}; restore it, or --freeze TABLE makes a set"
    return {}, [Finding("data", golden_sets.MANIFEST, "manifest", "unusable", "readable", FAIL, advice)]


def load_states(folder: Path, entries: Sequence[Entry]) -> tuple[list[State], list[Finding]]:
    """The sets that can be judged by, and a finding for each set, whether it can or not."""
    states, found = [], []
    for entry in entries:
        try:
            golden = golden_sets.load(folder, entry)
        except (OSError, InputError) as error:
            found.append(Finding("data", entry.name, "files", "unusable", "as frozen", FAIL, _reason(error)))
            continue
        states.append(State.of(golden))
        subnets = len(golden.training.archs), len(golden.test.archs)
        noise_pct = golden_sets.repeatability_pct(golden.test)
        value = f"{subnets[0]} + {subnets[1]} subnets, repeatable to {noise_pct:.1f} %"
        numbers = {"training": subnets[0], "test": subnets[1], "repeatability_pct": noise_pct}
        found.append(Finding("data", entry.name, "files", value, "as frozen", PASS, numbers=numbers))
    return states, found


def load_baseline(path: Path) -> tuple[Baseline, list[Finding]]:
    """The baseline at `path`; an empty one and a finding if there is none."""
    try:
        return Baseline.load(path), []
    except (OSError, InputError) as error:
        advice = f"{_reason(error)}; --update-baseline writes one"
        return Baseline({}, {}), [Finding("data", "baseline", "file", "unusable", "readable", FAIL, advice)]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def judge(states: Sequence[State], baseline: Baseline) -> list[Finding]:
    """All that is to be said of `states` beside `baseline`."""
    found: list[Finding] = []
    pairs: list[tuple[State, Frozen]] = []
    for state in states:
        frozen = baseline.sets.get(state.golden.name)
        if frozen is None or not _belongs(frozen, state.golden):
            found.append(_not_in_baseline(state.golden, frozen))
        else:
            pairs.append((state, frozen))
        found += coverage(state, frozen.coverage if frozen else None)
    for state, frozen in pairs:
        found += drift(state, frozen)
    found += accuracy([c for state, frozen in pairs for c in comparisons(state, frozen)])
    return found + [finding for state in states for finding in intervals(state)]


def vanished(entries: Iterable[Entry], baseline: Baseline) -> list[Finding]:
    """Sets that the baseline has and the folder has no longer: what is not there is not checked."""
    return [
        Finding(
            "data",
            name,
            "files",
            "gone",
            "as in the baseline",
            FAIL,
            "the baseline has this set, the manifest has it no longer: if that is meant, --update-baseline",
        )
        for name in sorted(set(baseline.sets) - {entry.name for entry in entries})
    ]


def _belongs(frozen: Frozen, golden: GoldenSet) -> bool:
    counts = {len(predicted) for predicted in frozen.predicted_ms.values()}
    return frozen.digest == golden.entry.digest and counts <= {len(golden.asked)}


def _not_in_baseline(golden: GoldenSet, frozen: Frozen | None) -> Finding:
    value = "other data" if frozen else "none"
    why = "is of other golden data" if frozen else "lacks this set"
    advice = f"the baseline {why}: make it anew with --update-baseline"
    return Finding("data", golden.name, "baseline", value, "of these data", FAIL, advice)


# --- coverage ---


def coverage(state: State, before: float | None) -> Iterator[Finding]:
    """Blocks of the space with an entry, against the baseline, and subnets asked about with an answer."""
    least = 1.0 if before is None else before
    resolutions = state.golden.table.header.resolutions
    missing = state.golden.table.missing(state.golden.space, resolutions)
    yield Finding(
        "coverage",
        state.golden.name,
        "blocks",
        f"{100 * state.coverage:.1f} %",
        f"{100 * least:.1f} %",
        PASS if state.coverage >= least else FAIL,
        "" if state.coverage >= least else f"no entry for {len(missing)} blocks, first {missing[0]}",
        {"coverage": state.coverage, "limit": least},
    )
    for model, answers in state.answers.items():
        count = int(np.isfinite(answers.predicted_ms).sum())
        yield Finding(
            "coverage",
            state.golden.name,
            model,
            f"{count} subnets",
            f"{len(answers.predicted_ms)} subnets",
            FAIL if answers.trouble else PASS,
            answers.trouble,
            {"answered": count, "limit": len(answers.predicted_ms)},
        )


# --- drift ---


def drift(state: State, frozen: Frozen) -> Iterator[Finding]:
    """How far each model's predictions are from the baseline's."""
    for model in dict.fromkeys((*frozen.predicted_ms, *state.answers)):
        yield _model_drift(state, frozen, model)


def _model_drift(state: State, frozen: Frozen, model: str) -> Finding:
    most = DRIFT_LIMIT if model == "calibrated" else LEARNED_DRIFT_LIMIT
    name, limit = state.golden.name, f"{100 * most:g} %"
    if model not in state.answers or model not in frozen.predicted_ms:
        value = "gone" if model in frozen.predicted_ms else "new"
        advice = f"model {model} is {value}: if that is meant, --update-baseline"
        return Finding("drift", name, model, value, limit, FAIL, advice)
    before, after = frozen.predicted_ms[model], state.answers[model].predicted_ms
    moved = np.abs(after / before - 1)[np.isfinite(after)]  # the others have no answer, as coverage says
    if not len(moved):
        return Finding("drift", name, model, "no answers", limit, SKIP, "see coverage")
    largest, count = float(moved.max()), int((moved > most).sum())
    return Finding(
        "drift",
        name,
        model,
        f"{100 * largest:.2g} %" if largest > 1e-6 else "none",
        limit,
        FAIL if count else PASS,
        f"{count} of {len(moved)} predictions of {model} moved, by {100 * np.median(moved):.2g} % in the middle: "
        "if that is meant, --update-baseline"
        if count
        else "",
        {"largest": largest, "median": float(np.median(moved)), "moved": count, "limit": most},
    )


# --- accuracy ---


@dataclass(frozen=True)
class Comparison:
    """One model on one set, then and now.

    Args:
        target: the set's name.
        limits, margins: the set's.
        model: its name.
        before, after: what the baseline and the present code are judged by; the same subnets in one order.
    """

    target: str
    limits: Figures
    margins: Figures
    model: str
    before: Judged
    after: Judged


def comparisons(state: State, frozen: Frozen) -> Iterator[Comparison]:
    """The models that can be compared: those of the baseline that still answer for enough subnets."""
    measured = state.golden.test.measured_ms
    tested = slice(len(measured))
    for model, answers in state.answers.items():
        answered = np.flatnonzero(np.isfinite(answers.predicted_ms[tested]))
        if model not in frozen.predicted_ms or len(answered) < golden_sets.MIN_SUBNETS:
            continue  # said by drift or by coverage
        predicted = (frozen.predicted_ms[model], answers.predicted_ms)
        before, after = (Judged(measured, p[tested])[answered] for p in predicted)
        entry = state.golden.entry
        yield Comparison(entry.name, entry.limits, entry.margins, model, before, after)


def accuracy(compared: Sequence[Comparison], resamples: int | None = None) -> list[Finding]:
    """Each score of each model against the baseline's, with Holm's correction over all of them: it regressed
    if it became worse by more than the margin, beyond chance, and is worse than the floor. Of many cases more samples
    are drawn: the smallest p that so many can give must stay below the level, times the cases."""
    count = len(compared) * len(SCORES)
    resamples = resamples or max(RESAMPLES, math.ceil(FINER * count / LEVEL))
    cases = [(c, key, found) for c in compared for key, found in _changes(c, resamples)]
    adjusted = holm([found.p for _, _, found in cases])
    return [_accuracy_finding(*case, p) for case, p in zip(cases, adjusted, strict=True)]


def _changes(compared: Comparison, resamples: int) -> Iterator[tuple[str, Change]]:
    picks = draw(len(compared.after.measured_ms), resamples=resamples)
    for key, score in SCORES.items():
        margin = getattr(compared.margins, key)
        yield key, change(score, compared.before, compared.after, margin, picks)


def _accuracy_finding(compared: Comparison, key: str, found: Change, p: float) -> Finding:
    score = SCORES[key]
    limit, margin = (float(getattr(figures, key)) for figures in (compared.limits, compared.margins))
    below_floor = score.sign * (found.after - limit) > 0
    failed = p < LEVEL and below_floor
    before, after, floor = (f"{x:.{score.digits}f}{score.unit}" for x in (found.before, found.after, limit))
    floor = f"{'at most' if score.sign > 0 else 'at least'} {floor}"
    allowed = f"was {before}, {'margin' if found.least is None else 'chance'} aside"
    return Finding(
        "accuracy",
        compared.target,
        f"{compared.model}: {score.title}",
        after if before == after else f"{after} (was {before})",
        allowed if below_floor and not failed else floor,
        FAIL if failed else PASS,
        f"{compared.model}: {score.title} went from {before} to {after}: worse by {found.least:.{score.digits}f} "
        f"or more (95 % bound; margin {margin:g}), and no longer {floor}: find the change that did it"
        if failed
        else "",
        {"score": key, **asdict(found), "p_holm": p, "margin": margin, "floor": limit},
    )


def intervals(state: State) -> Iterator[Finding]:
    """Whether intervals hold as many measured latencies as they promise: fails if so few would be chance in one
    case of twenty even at :data:`LEAST_COVERED`."""
    from scipy.stats import binom

    count = len(state.golden.test.archs)
    for model, answers in state.answers.items():
        if answers.covered is None:
            continue
        p = float(binom.cdf(answers.covered, count, LEAST_COVERED))
        share = f"{100 * answers.covered / count:.1f} %"
        yield Finding(
            "accuracy",
            state.golden.name,
            f"{model}: {100 * COVERAGE:g} % interval",
            f"{share} covered",
            f"at least {100 * LEAST_COVERED:g} %, chance aside",
            FAIL if p < LEVEL else PASS,
            f"the {100 * COVERAGE:g} % intervals of {model} hold only {share} of the measured latencies"
            if p < LEVEL
            else "",
            {"covered": answers.covered, "subnets": count, "p": p, "limit": LEAST_COVERED},
        )


def present(states: Sequence[State]) -> Baseline:
    """The baseline that `states` would make.

    Raises:
        ValueError: a model has no answer for some subnet.
    """
    frozen = {
        state.golden.name: frozen_state.freeze(state.golden.entry.digest, state.coverage, state.answers)
        for state in states
    }
    return Baseline(frozen, frozen_state.environment())
