from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from compofa.accuracy_predictor import CHUNK, FEATURES, AccuracyPredictor, one_hot
from compofa.arch import extreme
from compofa.families import GLYPHS, get_family
from compofa.genotype import encode
from compofa.spaces import get_space


def drawn(count, seed=0, family=GLYPHS):
    space = get_space("ofa", family)
    rng = np.random.default_rng(seed)
    return encode(family, [space.sample(rng) for _ in range(count)])


def synthetic(genotypes):
    """An accuracy that depends on the blocks, the resolution and both together."""
    size = (genotypes[:, 1:] * np.linspace(1, 2, GLYPHS.slots)).sum(1) / 300
    return 0.5 + 0.3 * np.tanh(size) + 0.02 * genotypes[:, 0] + 0.01 * genotypes[:, 0] * size


def test_one_hot_is_the_published_layout():
    """20 slots x 3 kernels, 20 x 3 expands, inactive slots zero, then the resolutions."""
    family = get_family("imagenet-w1.0")
    small = one_hot(family, encode(family, [extreme(family, largest=False, resolution=160)]))[0]
    assert small.shape == (60 + 60 + 25,)
    kernels, expands, resolution = small[:60].reshape(20, 3), small[60:120].reshape(20, 3), small[120:]
    active = np.tile([1, 1, 0, 0], 5)
    np.testing.assert_array_equal(kernels, np.outer(active, [1, 0, 0]))
    np.testing.assert_array_equal(expands, np.outer(active, [1, 0, 0]))
    assert resolution.tolist().index(1) == family.resolutions.index(160)


@pytest.mark.parametrize("features", FEATURES)
def test_different_subnets_have_different_features(features):
    genotypes = np.unique(drawn(200), axis=0)
    assert len(np.unique(FEATURES[features](GLYPHS, genotypes), axis=0)) == len(genotypes)


def test_fit_predicts_unseen_subnets_and_reports_an_honest_error():
    train, test = drawn(400, seed=0), drawn(1000, seed=1)
    predictor = AccuracyPredictor.fit(GLYPHS, train, synthetic(train))
    error = np.abs(predictor.predict(test) - synthetic(test)).mean()
    held_out = predictor.report["held_out"]
    assert error < 0.005
    assert held_out["spearman"] > 0.98
    assert error == pytest.approx(held_out["mae"], rel=0.6)


def test_round_trip(tmp_path):
    genotypes = drawn(80)
    predictor = AccuracyPredictor.fit(GLYPHS, genotypes, synthetic(genotypes))
    predictor.save(tmp_path / "p.safetensors")
    loaded = AccuracyPredictor.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(loaded.predict(genotypes), predictor.predict(genotypes))
    assert loaded.report == predictor.report


def test_too_few_and_foreign_files_are_refused(tmp_path):
    genotypes = drawn(49)
    with pytest.raises(ValueError, match="50 measured subnets"):
        AccuracyPredictor.fit(GLYPHS, genotypes, synthetic(genotypes))
    (tmp_path / "p.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="not an accuracy predictor"):
        AccuracyPredictor.load(tmp_path / "p.safetensors")


@pytest.mark.parametrize("depths", [(2, 3), (2, 3, 4)], ids=["odd slots", "even slots"])
@pytest.mark.parametrize("features", FEATURES)
def test_predictions_are_those_of_the_dense_layers(depths: tuple[int, ...], features: str) -> None:
    family = replace(GLYPHS, depths=depths)
    space, rng = get_space("ofa", family), np.random.default_rng(0)
    genotypes = encode(family, [space.sample(rng) for _ in range(CHUNK + 5)])  # more than one part
    inputs = FEATURES[features](family, genotypes)
    sizes = (inputs.shape[1], 11, 7, 1)
    layers = tuple(
        (rng.standard_normal((after, before), dtype=np.float32), rng.standard_normal(after, dtype=np.float32))
        for before, after in pairwise(sizes)
    )
    values = inputs.astype(np.float64)
    for number, (weight, bias) in enumerate(layers):
        values = (np.maximum(values, 0) if number else values) @ weight.T + bias
    predictor = AccuracyPredictor(family, features, layers, {})
    np.testing.assert_allclose(predictor.predict(genotypes), values[:, 0], rtol=1e-3, atol=1e-3)
    assert predictor.predict(genotypes[:0]).shape == (0,)
