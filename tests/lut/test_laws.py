"""Calibrations choose between corrected sums and the later of two clocks, and rightly so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compofa.network import arch_blocks
from compofa.spaces.layout import encode
from compofa.spaces.registry import GLYPHS, get_family
from compofa.spaces.space import get_space
from lut import laws, model, two_clocks
from lut.calibration import Calibration
from lut.later import later
from lut.model import Floats, LatencyModel
from lut.predictors.linear import Ridge
from lut.predictors.subnets import subnet_rows
from lut.scores import mape_pct
from lut.subnets_csv import read_subnets
from lut.table import Table

ROOT = Path(__file__).parents[2]
SCALE, CALL, BLOCKS, SE, ACTIVATIONS, WEIGHTS = range(len(model.TERMS))


def host_ms(values: Floats) -> Floats:
    """A host that launches for as long as the typical network works."""
    launches = 5 + values[:, BLOCKS] + 0.5 * values[:, SE]
    return launches * float(np.median(values[:, SCALE] / launches))


DEVICES: dict[str, tuple[Callable[[Floats], Floats], bool]] = {
    "works only": (lambda v: 1.2 * v[:, SCALE], False),
    "works after a call": (lambda v: 0.9 * v[:, SCALE] + 0.1, False),
    "loses something at each block": (
        lambda v: v[:, SCALE] + 0.01 * v[:, BLOCKS] + 0.05 * v[:, WEIGHTS],
        False,
    ),
    "moves activations": (lambda v: v[:, SCALE] + 0.05 * v[:, ACTIVATIONS] + 0.03, False),
    "launches, then works": (lambda v: 0.5 * host_ms(v) + v[:, SCALE], False),
    "launches while it works": (lambda v: np.maximum(host_ms(v), v[:, SCALE]), True),
    "launches while it mostly works": (lambda v: later(host_ms(v), v[:, SCALE], 4.0), True),
    "works beside a slow host": (lambda v: np.maximum(1.2 * host_ms(v), v[:, SCALE]), True),
}
"""Of a network's features, how long a made-up device takes; and whether it bends."""


@pytest.fixture(scope="module")
def values(table: Table) -> Floats:
    """Features of 240 subnets of glyphs."""
    rng, space = np.random.default_rng(0), get_space("ofa", GLYPHS)
    return model.features(table, [arch_blocks(GLYPHS, space.sample(rng)) for _ in range(240)])


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("noise", [0.002, 0.015])
def test_the_law_of_a_device_is_found(values: Floats, name: str, noise: float) -> None:
    true_ms, bends = DEVICES[name]
    truth = true_ms(values)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        some = rng.permutation(len(values))[:60]
        terms = laws.choose(values[some], truth[some] * np.exp(noise * rng.normal(size=60)))
        assert (terms == two_clocks.TERMS) is bends, f"seed {seed}: {terms}"


def test_two_clocks_predict_what_no_sum_does(values: Floats) -> None:
    truth = np.maximum(host_ms(values), values[:, SCALE])
    rng = np.random.default_rng(1)
    some, measured = np.arange(60), truth * np.exp(0.005 * rng.normal(size=len(truth)))
    law = two_clocks.fit(values[some], measured[some])
    sums = model.fit(values[some], measured[some], model.choose_terms(values[some], measured[some]))
    unseen = np.arange(60, len(values))
    of_law = np.abs(law.predict(*two_clocks.columns(values[unseen])) / truth[unseen] - 1).mean()
    of_sums = np.abs(values[unseen] @ sums / truth[unseen] - 1).mean()
    assert of_law < 0.005
    assert of_sums > 4 * of_law
    held_out = laws.leave_one_out(values[some], measured[some])
    assert 0.5 * of_law < np.abs(held_out / truth[some] - 1).mean() < 2 * of_law + 0.002


def bent(table: Table, count: int = 40) -> Calibration:
    """Subnets of glyphs on a device that launches while it works."""
    rng, space = np.random.default_rng(0), get_space("ofa", GLYPHS)
    archs = tuple(dict.fromkeys(space.sample(rng) for _ in range(count)))
    values = model.features(table, [arch_blocks(GLYPHS, arch) for arch in archs])
    truth = np.maximum(host_ms(values), values[:, SCALE])
    first, second = (tuple((truth * rng.normal(1, 0.003, len(truth))).tolist()) for _ in range(2))
    return Calibration(table, archs, first, second)


def test_a_calibration_of_two_clocks_is_kept_and_answers_alike_in_all_ways(
    table: Table, tmp_path: Path
) -> None:
    calibration = bent(table)
    assert calibration.terms == two_clocks.TERMS
    assert "later of launches and work" in calibration.model.provenance
    calibration.save(tmp_path / "c.json")
    loaded = Calibration.load(tmp_path / "c.json", table)
    assert loaded.model == calibration.model
    genotypes = encode(GLYPHS, calibration.archs)
    predicted = loaded.model.predict(genotypes)
    np.testing.assert_allclose(predicted, calibration.measured_ms, rtol=0.02)
    one_by_one = [loaded.model.latency_ms(blocks) for blocks in calibration.networks]
    np.testing.assert_allclose(predicted, one_by_one, rtol=1e-12)
    assert loaded.model.as_lookup() is None


@pytest.mark.parametrize("terms", [["launch_call", "scale"], ["launch_call", "blocks"], ["luck"]])
def test_terms_of_no_law_are_refused(table: Table, tmp_path: Path, terms: list[str]) -> None:
    path = tmp_path / "c.json"
    bent(table).save(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "settings": {"terms": terms}}))
    with pytest.raises(ValueError, match=r"c\.json: (unknown terms|the terms)"):
        Calibration.load(path, table)


CALIBRATIONS = {
    "hwbench/artefacts/glyphs-reference.jsonl": "hwbench/artefacts/glyphs-reference.calibration.json",
    "tests/lut/golden/imagenet-w1.0-0.1.0.jsonl": "tests/lut/golden/imagenet-w1.0-0.1.0.train.json",
    "tests/lut/golden/imagenet-w1.2-0.1.0.jsonl": "tests/lut/golden/imagenet-w1.2-0.1.0.train.json",
}
"""Tables measured on processors, with calibrations that were written before there were two clocks."""


EXPECTED_MS = {
    "hwbench/artefacts/glyphs-reference.jsonl": [
        0.1779762331160365,
        0.11275197002081694,
        0.13059593230525748,
    ],
    "tests/lut/golden/imagenet-w1.0-0.1.0.jsonl": [4.145356101403748, 2.121117838557425, 3.1861476312324646],
    "tests/lut/golden/imagenet-w1.2-0.1.0.jsonl": [3.926201386097404, 5.268768822536024, 3.626577707328053],
}
"""What they answered for the first three subnets, in milliseconds, when there were sums only."""


@pytest.mark.parametrize("of", CALIBRATIONS)
def test_calibrations_of_before_give_the_numbers_of_before(of: str) -> None:
    table = Table.load(ROOT / of)
    calibration = Calibration.load(ROOT / CALIBRATIONS[of], table)
    values = model.features(table, calibration.networks)
    weights = model.fit(values, calibration.measured_ms, calibration.terms)
    assert type(calibration.model) is LatencyModel
    assert calibration.model.coefficients == {t: w for t, w in zip(model.TERMS, weights, strict=True) if w}
    np.testing.assert_allclose(
        calibration.model.predict(encode(table.family, calibration.archs[:3])), EXPECTED_MS[of], rtol=1e-9
    )
    assert laws.choose(values, calibration.measured_ms) == calibration.terms


def test_published_gpus_bend_at_a_small_batch_and_not_at_a_large_one(
    published: Callable[[str], Path],
) -> None:
    """For a table's sums stands what a GPU takes at batch 64, learned from other rows."""
    path, family = published("help_ofa_mbv3_train.csv"), get_family("imagenet-w1.2")
    file = read_subnets(path, family)
    rows = subnet_rows(family, file.genotypes)
    launches, work = rows.linear["launches"], rows.linear["work"]
    for gpu, batch, wanted in (
        ("v100", 32, True),
        ("v100", 64, False),
        ("titan_rtx", 64, False),
        ("titan_rtx", 1, True),
    ):
        at_64, at_batch = (file.latencies(f"{gpu}_{b}") for b in (64, batch))
        sums = Ridge().fit(rows[::8], at_64[::8]).predict(rows)
        columns = [sums, launches[:, 0], launches[:, 1:].sum(axis=1), launches[:, 2], work[:, 2], work[:, 3]]
        values = np.column_stack(columns)
        some, unseen = slice(1, 240, 4), slice(241, None, 2)
        terms = laws.choose(values[some], at_batch[some])
        assert (terms == two_clocks.TERMS) is wanted, f"{gpu}_{batch}"
        if wanted:
            law = two_clocks.fit(values[some], at_batch[some])
            best = model.choose_terms(values[some], at_batch[some])
            of_law = mape_pct(at_batch[unseen], law.predict(*two_clocks.columns(values[unseen])))
            of_sums = mape_pct(
                at_batch[unseen], values[unseen] @ model.fit(values[some], at_batch[some], best)
            )
            assert of_law < 0.6 * of_sums
