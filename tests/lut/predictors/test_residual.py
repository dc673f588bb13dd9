"""The roofline carries over, the residual is learned where it is there, and the intervals hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compofa.blocks import Block
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from lut.formats.ofa import read_ofa
from lut.predictors.block_rows import block_rows
from lut.predictors.residual import MIN_ROWS, Kernel, RooflineResidual, fit_costs
from lut.scores import mape_pct

BLOCKS = get_space("ofa", get_family("imagenet-w1.0")).all_blocks((128, 160, 192, 224))


def roofline_ms(block: Block) -> float:
    """10 us a block, 2 GMAC/s, SE twice a block's own cost."""
    return 0.01 + 0.02 * block.se + block.macs / 2e6


def bent_ms(block: Block) -> float:
    """What no sum of costs says: narrow inputs are slow, and kernels of 7 are."""
    return roofline_ms(block) * (1 + 4 / block.in_shape[0]) * (1.3 if block.kernel == 7 else 1)


def split(seed: int, share: float) -> tuple[list[Block], list[Block]]:
    order = np.random.default_rng(seed).permutation(len(BLOCKS))
    count = round(share * len(BLOCKS))
    return [BLOCKS[i] for i in order[:count]], [BLOCKS[i] for i in order[count:]]


def latencies(blocks: list[Block], of=bent_ms, noise: float = 0.0, seed: int = 0) -> np.ndarray:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    return np.array([of(block) for block in blocks]) * np.exp(noise * rng.standard_normal(len(blocks)))


def test_a_sum_of_costs_is_found_exactly_and_needs_no_residual() -> None:
    """All costs but those it uses get no weight that matters, and it extrapolates to another resolution."""
    known = [b for b in BLOCKS if b.in_shape[1] <= 80][::3]
    model = RooflineResidual().fit(block_rows(known), latencies(known, roofline_ms))
    larger = get_space("ofa", get_family("imagenet-w1.0")).all_blocks((224,))
    assert mape_pct(latencies(list(larger), roofline_ms), model.predict(block_rows(larger))) < 0.1


def test_what_the_costs_leave_out_is_learned() -> None:
    known, others = split(0, 0.5)
    model = RooflineResidual().fit(block_rows(known), latencies(known))
    truth = latencies(others)
    assert model.chosen == "costs + kernel"
    assert mape_pct(truth, model.predict(block_rows(others))) < 3
    assert model.cv_mape_pct["costs + kernel"] < 0.5 * model.cv_mape_pct["costs"]


def test_noise_is_no_residual() -> None:
    known, _ = split(0, 0.5)
    model = RooflineResidual().fit(block_rows(known), latencies(known, roofline_ms, noise=0.1))
    assert model.cv_mape_pct[model.chosen] < 11
    others = split(0, 0.5)[1]
    assert mape_pct(latencies(others, roofline_ms), model.predict(block_rows(others))) < 4


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_intervals_cover_what_they_say(coverage: float) -> None:
    held = []
    for seed in range(8):
        known, others = split(seed, 0.4)
        model = RooflineResidual(seed).fit(block_rows(known), latencies(known, noise=0.02, seed=seed))
        low, high = model.interval(block_rows(others), coverage)
        truth = latencies(others, noise=0.02, seed=seed + 100)
        held.append(np.mean((low <= truth) & (truth <= high)))
    assert coverage - 0.04 < np.mean(held) < coverage + 0.07


def test_a_block_unlike_all_measured_ones_gets_a_wide_interval() -> None:
    known = [b for b in BLOCKS if b.kind == "mbconv"][::2]
    model = RooflineResidual().fit(block_rows(known), latencies(known))
    near, far = [b for b in BLOCKS if b.kind == "mbconv"][1:2], [b for b in BLOCKS if b.kind == "linear"]
    width = []
    for blocks in (near, far):
        low, high = model.interval(block_rows(blocks))
        width.append(float((high / low)[0]))
    assert width[1] > 1.1 * width[0]


def test_every_prediction_is_positive_however_little_a_block_does() -> None:
    known = [b for b in BLOCKS if b.kind == "mbconv"][::5]
    model = RooflineResidual().fit(block_rows(known), np.array([b.macs / 1e6 for b in known]))
    pools = block_rows([b for b in BLOCKS if b.kind == "pool"])
    assert (model.predict(pools) > 0).all()
    assert (model.interval(pools)[0] > 0).all()


def test_the_same_rows_give_the_same_answer() -> None:
    known, others = split(1, 0.3)
    one, two = (
        RooflineResidual(3).fit(block_rows(known), latencies(known)).predict(block_rows(others))
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


def test_weights_are_never_negative() -> None:
    rng = np.random.default_rng(0)
    costs = rng.random((50, 4))
    weights = fit_costs(np.hstack([costs, np.zeros((50, 1))]), costs @ [1, 2, 0, 0] + 0.5 * rng.random(50))
    assert (weights >= 0).all() and weights[-1] == 0


def test_the_kernel_is_matern_five_halves() -> None:
    from sklearn.gaussian_process.kernels import Matern

    points = np.random.default_rng(0).random((5, 3))
    expected = 0.3 * Matern(1.7, nu=2.5)(points[:2], points[2:])
    np.testing.assert_allclose(Kernel(0.3, 1.7).between(points[:2], points[2:]), expected)


@pytest.mark.parametrize(
    ("count", "bad", "says"),
    [
        (MIN_ROWS - 1, 1.0, f"{MIN_ROWS} measured blocks or more"),
        (MIN_ROWS, 0.0, "positive"),
        (MIN_ROWS, float("nan"), "positive"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(count: int, bad: float, says: str) -> None:
    latency = np.full(count, 1.0)
    latency[-1] = bad
    with pytest.raises(ValueError, match=says):
        RooflineResidual().fit(block_rows(BLOCKS[:count]), latency)


@pytest.mark.parametrize(
    ("coverage", "says"), [(0.0, "between 0 and 1"), (1.0, "between"), (0.99, "too few")]
)
def test_a_coverage_that_the_rows_cannot_give_is_refused(coverage: float, says: str) -> None:
    known = list(get_space("ofa", GLYPHS).all_blocks((16,)))[:30]
    model = RooflineResidual().fit(block_rows(known), latencies(known))
    with pytest.raises(ValueError, match=says):
        model.interval(block_rows(known), coverage)


# --- the published tables ---


@pytest.mark.parametrize("share", [1.0, 60 / 96])
def test_note10_from_three_resolutions_at_two_others(published: Callable[[str], Path], share: float) -> None:
    """The README's claim: at most 3 % per block, 1.5 % per network; also from 60 of each resolution's 96."""
    tables = {
        r: read_ofa(published("note10_lut") / f"{r}_lookup_table.yaml") for r in (160, 176, 192, 208, 224)
    }
    rng = np.random.default_rng(0)
    known = [
        (block, entries[i][1].latency_ms)
        for r in (160, 192, 224)
        for entries in [list(tables[r].entries.items())]
        for i in rng.permutation(96)[: round(share * 96)]
        for block in [entries[i][0]]
    ]
    blocks, ms = zip(*known, strict=True)
    model = RooflineResidual().fit(block_rows(blocks), np.array(ms))
    space = get_space("ofa", tables[160].family)
    for resolution in (176, 208):
        truth = tables[resolution].entries
        predicted = dict(zip(truth, model.predict(block_rows(list(truth))).tolist(), strict=True))
        measured = np.array([m.latency_ms for m in truth.values()])
        assert mape_pct(measured, np.array(list(predicted.values()))) < 3
        networks = [space.blocks(space.sample(rng, resolution)) for _ in range(200)]
        sums = np.array([[truth[b].latency_ms, predicted[b]] for net in networks for b in net])
        ends = np.cumsum([len(net) for net in networks])[:-1]
        totals = np.array([part.sum(axis=0) for part in np.split(sums, ends)])
        assert mape_pct(totals[:, 0], totals[:, 1]) < 1.5
