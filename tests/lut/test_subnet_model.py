"""A model file holds measurements and a choice, and gives the same answers when it is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compofa.errors import InputError
from compofa.spaces.layout import Genotypes, encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut import subnet_model
from lut.predictors import gaussian_process
from lut.predictors.auto import AutoPredictor
from lut.predictors.base import Floats
from lut.predictors.subnets import subnet_rows
from lut.subnet_model import SubnetModel, merge_repeats


def measured(count: int, seed: int = 0) -> tuple[Genotypes, Floats]:
    rng, space = np.random.default_rng(seed), get_space("ofa", GLYPHS)
    genotypes = encode(GLYPHS, [space.sample(rng) for _ in range(count)])
    rows = subnet_rows(GLYPHS, genotypes)
    return genotypes, (0.1 + rows.prior) * rng.normal(1, 0.02, count)


@pytest.fixture(scope="module")
def model() -> SubnetModel:
    model = SubnetModel.fit(GLYPHS, "cpu_ms", *measured(60), AutoPredictor(("additive", "gp"), seed=1))
    model.about["measured"] = "s.csv"
    return model


@pytest.fixture
def saved(model: SubnetModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "m.json")
    return tmp_path / "m.json"


def test_what_was_saved_predicts_the_same(model: SubnetModel, saved: Path) -> None:
    again, (others, _) = SubnetModel.load(saved), measured(500, seed=1)
    np.testing.assert_allclose(again.interval(others), model.interval(others), rtol=1e-6)
    assert (again.family, again.column, again.about) == (GLYPHS, "cpu_ms", {"measured": "s.csv"})
    assert again.predictor.candidates == model.predictor.candidates


def test_the_file_is_text_of_measurements(model: SubnetModel, saved: Path) -> None:
    content = json.loads(saved.read_text())
    assert content["origin"] == "predicted from measurements"
    assert content["versions"]["numpy"] == np.__version__
    assert [row["measured_ms"] for row in content["rows"]] == model.latency_ms.tolist()
    assert len(saved.read_text().splitlines()) > 60


def test_chunks_do_not_change_the_answer(model: SubnetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    others, _ = measured(50, seed=1)
    whole = model.interval(others)
    monkeypatch.setattr(subnet_model, "CHUNK", 7)
    np.testing.assert_allclose(model.interval(others), whole, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(others), model.interval(others).predicted_ms)
    assert [len(part) for part in model.interval(others[:0])] == [0, 0, 0]


@pytest.mark.parametrize("name", ["gp", "roofline-gp"])
def test_what_was_searched_for_is_not_searched_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = SubnetModel.fit(GLYPHS, "ms", *measured(60), AutoPredictor((name,)))
    fitted.save(tmp_path / "m.json")
    content = json.loads((tmp_path / "m.json").read_text())
    assert np.shape(content["searched"][name]["log_variances"])[0] == len(gaussian_process.STEPS)
    others = measured(200, seed=1)[0]
    expected = fitted.interval(others)
    searches = []
    search = gaussian_process._Kernel.most_evident
    monkeypatch.setattr(
        gaussian_process._Kernel,
        "most_evident",
        lambda *arguments: searches.append(name) or search(*arguments),
    )
    again = SubnetModel.load(tmp_path / "m.json")
    assert searches == []
    np.testing.assert_allclose(again.interval(others), expected, rtol=1e-6)
    assert again.predictor.searched() == fitted.predictor.searched()
    for unknown in ({}, None):
        anew = SubnetModel.load(changed(tmp_path / "m.json", searched=unknown))
        assert len(searches) == len(gaussian_process.STEPS)
        np.testing.assert_allclose(anew.interval(others), expected, rtol=1e-6)
        searches.clear()


def test_the_search_of_another_version_is_done_again(tmp_path: Path) -> None:
    fitted = SubnetModel.fit(GLYPHS, "ms", *measured(60), AutoPredictor(("gp",)))
    fitted.save(tmp_path / "m.json")
    again = SubnetModel.load(
        changed(tmp_path / "m.json", method=0, searched={"gp": {"log_variances": [[0]]}})
    )
    assert again.predictor.searched() == fitted.predictor.searched()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([[0.0]], "not those of the file: fit the model again"),
        ([[0.0] * 9] * 3, "not those of the file"),
        ("x", "m.json: "),
        (None, "not those of the file"),
        ([[float("nan")]], "not JSON: NaN is no number"),
    ],
)
def test_broken_variances_are_refused(tmp_path: Path, found: object, message: str) -> None:
    SubnetModel.fit(GLYPHS, "ms", *measured(60), AutoPredictor(("gp",))).save(tmp_path / "m.json")
    with pytest.raises(ValueError, match=message):
        SubnetModel.load(changed(tmp_path / "m.json", searched={"gp": {"log_variances": found}}))


def changed(path: Path, **fields: object) -> Path:
    """`path` with other fields, and without the seal: as an old file, or one edited on purpose."""
    content = {**json.loads(path.read_text()), **fields}
    content.pop("sha256", None)
    path.write_text(json.dumps(content))
    return path


def test_a_damaged_file_is_refused(saved: Path) -> None:
    content = json.loads(saved.read_text())
    for key in ("weights", "about", "rows", "column", "settings"):
        damaged = {**content, key: json.loads(json.dumps(content[key]))}
        if key == "rows":
            damaged["rows"][0]["measured_ms"] += 1e-6
        elif key == "column":
            damaged["column"] += "x"
        else:
            damaged[key]["x"] = 1
        (saved.parent / "damaged.json").write_text(json.dumps(damaged))
        with pytest.raises(InputError, match=r"damaged.json: damaged, or edited by hand"):
            SubnetModel.load(saved.parent / "damaged.json")


def test_a_choice_of_another_version_is_made_again(model: SubnetModel, saved: Path) -> None:
    again = SubnetModel.load(changed(saved, method=0, weights={"gone": 1.0}))
    assert again.about["chosen_anew"]
    assert again.predictor.weights == model.predictor.weights


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "x"}, "not a hwbench model"),
        ({"schema": 2}, "schema 2; this version of hwbench reads schema 1: fit the model again"),
        ({"family": "nas"}, "unknown family 'nas'"),
        ({"weights": {"gnn": 1.0}}, "unknown model 'gnn'"),
        ({"rows": [{"arch": "r24"}]}, "not a subnet"),
        ({"rows": []}, "latencies must be|no rows"),
        ({"weights": {}}, "weights"),
        ({"rows": 3}, "damaged one: "),
        ({"searched": 3}, "damaged one: "),
        ({"weights": {"gp": 1.0}, "searched": {"gp": {"x": 1}}}, "lacks 'log_variances'"),
        ({"settings": {}}, "lacks 'models'"),
    ],
)
def test_a_broken_file_is_refused(saved: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"m.json: .*({message})"):
        SubnetModel.load(changed(saved, **fields))


def test_a_wrong_latency_in_a_file_is_refused(saved: Path) -> None:
    rows = json.loads(saved.read_text())["rows"]
    rows[3]["measured_ms"] = -1
    with pytest.raises(ValueError, match="positive milliseconds"):
        SubnetModel.load(changed(saved, rows=rows))


@pytest.mark.parametrize("cut", [0, 1, 100, 5000])
def test_a_file_cut_short_is_refused(saved: Path, cut: int) -> None:
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not JSON"):
        SubnetModel.load(saved)


def test_resolutions_that_nothing_was_measured_at_are_known(model: SubnetModel) -> None:
    few = SubnetModel(
        GLYPHS, "x", model.genotypes[model.genotypes[:, 0] == 1], model.latency_ms, model.predictor
    )
    assert few.unseen_resolutions(model.genotypes) == (16, 24, 28, 32)
    assert model.unseen_resolutions(model.genotypes) == ()


def test_repeats_become_one() -> None:
    genotypes, latency = measured(5)
    same, unchanged, spread = merge_repeats(genotypes, latency)
    assert spread is None and same is genotypes and unchanged is latency
    twice, times = (
        np.vstack([genotypes, genotypes[[3, 3, 1]]]),
        np.append(latency, latency[[3, 3, 1]] * [1.1, 1.2, 1.1]),
    )
    merged, median, spread = merge_repeats(twice, times)
    np.testing.assert_array_equal(merged, genotypes)
    np.testing.assert_allclose(median, latency * [1, 1.05, 1, 1.1, 1])
    assert spread == pytest.approx(100 * np.mean([0.05 / 1.05, 0.05 / 1.05, 0.1 / 1.1, 0, 0.1 / 1.1]))
