"""A few terms turn a table's sums into end-to-end latencies, and no more terms than the data bear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compofa.network import arch_blocks
from compofa.spaces.arch import Arch
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import laws, model
from lut.model import TERMS, LatencyModel
from lut.table import MissingEntry, Table


def sample(count: int, seed: int = 0) -> list[Arch]:
    rng, space = np.random.default_rng(seed), get_space("ofa", GLYPHS)
    return [space.sample(rng) for _ in range(count)]


def values_of(table: Table, archs: list[Arch]) -> np.ndarray:
    return model.features(table, [arch_blocks(GLYPHS, arch) for arch in archs])


@given(
    seed=st.integers(0, 10_000),
    weights=st.tuples(*(st.floats(0, 2) for _ in TERMS)),
)
@settings(max_examples=20)
def test_a_model_says_the_same_of_blocks_and_of_genotypes(
    table: Table, seed: int, weights: tuple[float, ...]
) -> None:
    latency = LatencyModel(table, dict(zip(TERMS, weights, strict=True)))
    archs = sample(3, seed)
    by_blocks = [latency.latency_ms(arch_blocks(GLYPHS, arch)) for arch in archs]
    np.testing.assert_allclose(latency.predict(encode(GLYPHS, archs)), by_blocks, rtol=1e-9)
    np.testing.assert_allclose(values_of(table, archs) @ np.array(weights), by_blocks, rtol=1e-9)


def test_without_a_calibration_a_model_is_the_table(table: Table) -> None:
    raw = LatencyModel(table)
    genotypes = encode(GLYPHS, sample(20))
    np.testing.assert_allclose(raw.predict(genotypes), table.predict(genotypes), rtol=1e-12)
    assert not raw.calibrated
    assert LatencyModel(table, {"scale": 1.1}).calibrated
    assert (raw.target, raw.family) == (table.target, table.family)


def test_a_model_does_not_answer_for_blocks_it_does_not_know(table: Table) -> None:
    arch = sample(1)[0]
    empty = LatencyModel(Table(table.header, {}), {"scale": 1.0, "call": 3.0})
    with pytest.raises(MissingEntry):
        empty.latency_ms(arch_blocks(GLYPHS, arch))
    with pytest.raises(MissingEntry):
        empty.predict(encode(GLYPHS, [arch]))


@pytest.mark.parametrize("terms", model.CANDIDATES, ids="+".join)
def test_the_fit_finds_the_coefficients_that_made_the_data(table: Table, terms: tuple[str, ...]) -> None:
    truth = np.array([1.2, 0.05, 0.003, 0.004, 0.3, 0.2]) * [name in terms for name in TERMS]
    values = values_of(table, sample(60))
    found = model.fit(values, values @ truth, terms)
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-9)


def test_what_a_block_costs_less_in_a_network_than_alone_is_found(table: Table) -> None:
    truth = np.array([1.0, 0.0, -0.003, 0.0, 0.0, 0.2])
    values = values_of(table, sample(60))
    measured = values @ truth * np.random.default_rng(0).normal(1, 0.005, 60)
    terms = model.choose_terms(values, measured)
    found = model.fit(values, measured, terms)
    assert found[TERMS.index("blocks")] == pytest.approx(-0.003, rel=0.2) or "call" in terms
    assert np.abs(values @ found / measured - 1).mean() < 0.006


def test_a_few_spoiled_measurements_do_not_bend_the_fit(table: Table) -> None:
    values = values_of(table, sample(40))
    rng = np.random.default_rng(0)
    measured = 1.3 * values[:, 0] * rng.normal(1, 0.01, 40)
    measured[:4] *= 3
    assert model.fit(values, measured, ("scale",))[0] == pytest.approx(1.3, rel=0.01)


def test_terms_are_chosen_when_the_data_need_them_and_left_out_when_not(table: Table) -> None:
    values = values_of(table, sample(60))
    noise = np.random.default_rng(0).normal(1, 0.01, 60)
    assert model.choose_terms(values, 1.1 * values[:, 0] * noise) == ("scale",)
    call = float(0.5 * values[:, 0].mean())
    assert "call" in model.choose_terms(values, (values[:, 0] + call) * noise)


def test_leaving_one_out_is_honest(table: Table) -> None:
    """A network whose measurement is changed gets the same prediction: it had no say in it."""
    values = values_of(table, sample(20))
    measured = values[:, 0] * np.random.default_rng(0).normal(1.2, 0.05, 20)
    before = laws.leave_one_out(values, measured)
    measured[7] *= 5
    after = laws.leave_one_out(values, measured)
    assert after[7] == before[7]
    assert (after != before).sum() == 19


def test_pure_noise_is_not_explained(table: Table) -> None:
    """With nothing to find, leaving one out must not look better than the noise that was put in."""
    values = values_of(table, sample(40))
    noise = np.random.default_rng(3).normal(1, 0.05, 40)
    error = np.abs(laws.leave_one_out(values, values[:, 0] * noise) / (values[:, 0] * noise) - 1).mean()
    assert error > 0.9 * np.abs(1 / noise - 1).mean()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_however_noisy_the_model_rests_on_the_table(table: Table, seed: int) -> None:
    values = values_of(table, sample(20))
    measured = np.random.default_rng(seed).uniform(0.1, 0.4, 20)
    assert model.rests_on_table(values, model.fit(values, measured, model.choose_terms(values, measured)))
