import contextlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compofa.accuracy.candidates import CANDIDATES
from compofa.accuracy.fitting import fit_predictor
from compofa.accuracy.inputs import KINDS, Capacities, all_inputs
from compofa.accuracy.origin import AccuracyOrigin
from compofa.accuracy.predictor import CHUNK, AccuracyPredictor
from compofa.accuracy.predictor_file import from_header
from compofa.errors import InputError
from compofa.spaces.arch import extreme
from compofa.spaces.features import one_hot
from compofa.spaces.layout import encode, layout
from compofa.spaces.registry import FAMILIES, GLYPHS, get_family
from compofa.spaces.space import get_space


def drawn(count, seed=0, family=GLYPHS):
    space = get_space("ofa", family)
    rng = np.random.default_rng(seed)
    return encode(family, [space.sample(rng) for _ in range(count)])


def synthetic(genotypes):
    """An accuracy that depends on the blocks, the resolution and both together."""
    size = (genotypes[:, 1:] * np.linspace(1, 2, layout(GLYPHS).slots)).sum(1) / 300
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


def every_kind(family):
    """Each kind of inputs; capacities with a few anchors."""
    return [*KINDS.values(), Capacities(drawn(9, seed=3, family=family))]


@pytest.mark.parametrize("kind", range(3))
def test_different_subnets_have_different_features(kind):
    genotypes = np.unique(drawn(200), axis=0)
    inputs = all_inputs(every_kind(GLYPHS)[kind], GLYPHS, genotypes)
    assert len(np.unique(inputs, axis=0)) == len(genotypes)


def test_fit_predicts_unseen_subnets_and_reports_an_honest_error():
    train, test = drawn(400, seed=0), drawn(1000, seed=1)
    predictor = fit_predictor(GLYPHS, train, synthetic(train))
    error = np.abs(predictor.predict(test) - synthetic(test)).mean()
    held_out = predictor.report["held_out"]
    assert error < 0.005
    assert held_out["spearman"] > 0.98
    assert error == pytest.approx(held_out["mae"], rel=0.6)


def test_round_trip(tmp_path):
    genotypes = drawn(80)
    predictor = fit_predictor(GLYPHS, genotypes, synthetic(genotypes))
    predictor.save(tmp_path / "p.safetensors")
    loaded = AccuracyPredictor.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(loaded.predict(genotypes), predictor.predict(genotypes))
    assert loaded.report == predictor.report


def test_too_few_and_foreign_files_are_refused(tmp_path):
    genotypes = drawn(49)
    with pytest.raises(ValueError, match="50 measured subnets"):
        fit_predictor(GLYPHS, genotypes, synthetic(genotypes))
    (tmp_path / "p.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="not an accuracy predictor"):
        AccuracyPredictor.load(tmp_path / "p.safetensors")


@pytest.mark.parametrize("name", ["glyphs", "glyphs-proxyless", "glyphs-resnet"], ids=["even", "odd", "wide"])
@pytest.mark.parametrize("kind", range(3))
def test_predictions_are_those_of_the_dense_layers(name: str, kind: int) -> None:
    family = FAMILIES[name]
    space, rng = get_space("ofa", family), np.random.default_rng(0)
    genotypes = encode(family, [space.sample(rng) for _ in range(CHUNK + 5)])  # more than one part
    looked_at = every_kind(family)[kind]
    inputs = all_inputs(looked_at, family, genotypes)
    sizes = (inputs.shape[1], 11, 7, 1)
    layers = tuple(
        (rng.standard_normal((after, before), dtype=np.float32), rng.standard_normal(after, dtype=np.float32))
        for before, after in pairwise(sizes)
    )
    layers = (*layers[:-1], (layers[-1][0] / 1000, np.full(1, 0.5, np.float32)))  # fractions come out
    values = inputs.astype(np.float64)
    for number, (weight, bias) in enumerate(layers):
        values = (np.maximum(values, 0) if number else values) @ weight.T + bias
    anchors = looked_at.anchors if isinstance(looked_at, Capacities) else None
    predictor = AccuracyPredictor(family, looked_at.name, layers, {}, anchors=anchors)
    np.testing.assert_allclose(predictor.predict(genotypes), values[:, 0], atol=1e-5)
    assert predictor.predict(genotypes[:0]).shape == (0,)
    assert np.std(values) > 0.003 and 0 < values.min() < values.max() < 1


# --- asked only where it was fitted ---


def fitted(genotypes, offset=0.0):
    """By the cheapest candidate."""
    accuracy = np.clip(synthetic(genotypes) + offset, 0, 1)
    return fit_predictor(GLYPHS, genotypes, accuracy, candidates=CANDIDATES[:1])


@pytest.mark.parametrize("kept", [(4,), (0, 2), (0, 1, 2, 3, 4)])
def test_a_predictor_knows_the_resolutions_that_it_was_fitted_at(kept, tmp_path):
    everything = drawn(900)
    genotypes = everything[np.isin(everything[:, 0], kept)][:160]
    fitted(genotypes).save(tmp_path / "p.safetensors")
    predictor = AccuracyPredictor.load(tmp_path / "p.safetensors")
    assert predictor.resolutions == tuple(GLYPHS.resolutions[i] for i in kept)
    assert np.abs(predictor.predict(genotypes) - synthetic(genotypes)).mean() < 0.01
    for other in set(range(5)) - set(kept):
        with pytest.raises(InputError, match=f"knows only the resolutions {predictor.resolutions[0]}"):
            predictor.predict(everything[everything[:, 0] == other])


def test_a_resolution_of_a_few_subnets_is_not_known():
    everything = drawn(900)
    many, few = everything[everything[:, 0] == 4][:100], everything[everything[:, 0] == 0][:9]
    assert fitted(np.concatenate([few, many])).resolutions == (32,)
    one_more = everything[everything[:, 0] == 0][:10]
    assert fitted(np.concatenate([one_more, many])).resolutions == (16, 32)


@pytest.mark.parametrize(
    ("unseen", "words"),
    [
        (lambda g: ((g[:, 5:9] - 1) % 3 == 2) & (g[:, 5:9] > 0), "k7e3 as block 1 of unit 2"),
        (lambda g: g[:, 5:9] > 6, "k3e6 as block 1 of unit 2"),
        (lambda g: ((g[:, 5:9] > 0).sum(1) == 3)[:, None], "3 blocks in unit 2"),
        (lambda g: ((g[:, 5:9] > 0).sum(1) == 2)[:, None], "2 blocks in unit 2"),
    ],
    ids=["kernel", "expand", "depth 3", "depth 2"],
)
def test_a_predictor_knows_the_choices_that_it_was_fitted_to(unseen, words, tmp_path):
    everything = drawn(1500)
    outside = unseen(everything).any(axis=1)
    fitted(everything[~outside][:250]).save(tmp_path / "p.safetensors")
    predictor = AccuracyPredictor.load(tmp_path / "p.safetensors")
    assert len(predictor.predict(everything[~outside])) > 250
    with pytest.raises(InputError, match=f"was fitted to no subnet with {words}"):
        predictor.predict(everything[outside])


@pytest.mark.parametrize("offset", [-0.3, 0.3])
def test_accuracies_below_none_or_above_all_never_leave_it(offset):
    genotypes = drawn(300)
    predictor = fitted(genotypes, offset)
    (weight, bias), *_ = predictor.layers
    shifted = replace(predictor, layers=((weight, bias + np.float32(offset)), *predictor.layers[1:]))
    predicted = shifted.predict(drawn(2000, seed=2))
    assert 0 <= predicted.min() <= predicted.max() <= 1
    assert predicted.min() == 0 if offset < 0 else predicted.max() == 1


def test_what_is_no_fraction_is_refused():
    genotypes = drawn(100)
    for scale in (100, -1):
        with pytest.raises(InputError, match="fractions from 0 to 1"):
            fit_predictor(GLYPHS, genotypes, scale * synthetic(genotypes))
    predictor = fitted(genotypes)
    per_cent = replace(predictor, layers=tuple((100 * w, 100 * b) for w, b in predictor.layers))
    with pytest.raises(InputError, match="accuracies are fractions"):
        per_cent.predict(genotypes)


# --- files ---


def test_what_the_accuracies_are_of_is_kept(tmp_path):
    genotypes, path = drawn(80), tmp_path / "p.safetensors"
    origin = AccuracyOrigin("glyphs-ofa", "ab" * 32, "glyphs-v1-test", 2480)
    fit_predictor(GLYPHS, genotypes, synthetic(genotypes), origin=origin).save(path)
    assert AccuracyPredictor.load(path).origin == origin


def test_a_predictor_of_version_0_1_0_loads_as_it_was():
    """Byte for byte what that version shipped, but cut to its header."""
    layers = ((np.full((1, 750), 1e-4, np.float32), np.full(1, 0.5, np.float32)),)
    header = {
        "schema": 1,
        "family": "glyphs",
        "features": "one-hot-by-resolution",
        "resolutions": [16, 20, 24, 28, 32],
        "report": {"model": "ridge-by-resolution", "subnets": 1600, "held_out": {"mae": 0.004}},
    }
    arrays = {"0.weight": layers[0][0], "0.bias": layers[0][1]}
    predictor = from_header(header, arrays)
    assert predictor.origin == AccuracyOrigin() and predictor.coverage is None
    x = all_inputs(KINDS["one-hot-by-resolution"], GLYPHS, genotypes := drawn(20))
    np.testing.assert_allclose(predictor.predict(genotypes), 0.5 + 1e-4 * x.sum(1), atol=1e-6)


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_is_one_clear_error_or_changes_nothing(saved, position, bit):
    path, content, predictor, genotypes = saved
    damaged = bytearray(content)
    damaged[position % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    with contextlib.suppress(InputError):
        loaded = AccuracyPredictor.load(path)
        np.testing.assert_array_equal(loaded.predict(genotypes), predictor.predict(genotypes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path, genotypes = tmp_path_factory.mktemp("saved") / "p.safetensors", drawn(80)
    predictor = fitted(genotypes)
    predictor.save(path)
    return path, path.read_bytes(), predictor, genotypes
