"""Whatever is wrong with a model's file is said in one line that tells what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from backends.kernels.files import read_model
from backends.kernels.graph import optimised
from compofa.errors import InputError

Build = Callable[..., Path]


def test_a_model_is_read_with_its_size(cnn: Path) -> None:
    model = read_model(cnn)
    assert model.name == "cnn" and model.size_bytes == pytest.approx(cnn.stat().st_size, rel=0.1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an ONNX model"),
        (b"PK\x03\x04 something else altogether", "not an ONNX model"),
        (b"hello\n" * 100, "not an ONNX model"),
    ],
)
def test_another_file_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_model(path)


def test_a_truncated_file_is_told_from_another(cnn: Path) -> None:
    cnn.write_bytes(cnn.read_bytes()[:-500])
    with pytest.raises(InputError, match="truncated or damaged ONNX model"):
        read_model(cnn)


def relu(path: Path, tiny: Build, **more: object) -> Path:
    return tiny(path, [helper.make_node("Relu", ["x"], ["y"], name="r")], {}, **more)


def test_an_open_shape_names_the_input_and_the_option(tmp_path: Path, tiny: Build) -> None:
    path = relu(tmp_path / "x.onnx", tiny, shape=("batch", 3, "height", 8))
    with pytest.raises(InputError, match=r"input x has the shape batchx3xheightx8, in which batch is open"):
        read_model(path)
    with pytest.raises(InputError, match=r"height is open: give --input x=SHAPE"):
        read_model(path, batch=2)
    model = read_model(path, {"x": (2, 3, 8, 8)})
    with optimised(model, 1) as made:
        assert made.feeds["x"].shape == (2, 3, 8, 8)


def test_batch_fills_the_first_dimension(tmp_path: Path, tiny: Build) -> None:
    model = read_model(relu(tmp_path / "x.onnx", tiny, shape=("n", 3)), batch=4)
    with optimised(model, 1) as made:
        assert made.feeds["x"].shape == (4, 3)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"z": (1, 3)}, "has no input z; it has x"),
        ({"x": (1, 3, 4)}, "has 2 dimensions, not 3"),
        ({"x": (2, 3)}, "fixed shape 1x3"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(
    shapes: dict[str, tuple[int, ...]], said: str, tmp_path: Path, tiny: Build
) -> None:
    with pytest.raises(InputError, match=said):
        read_model(relu(tmp_path / "x.onnx", tiny, shape=(1, 3)), shapes)


def test_an_input_without_any_shape_names_the_option(tmp_path: Path, tiny: Build) -> None:
    path = relu(tmp_path / "x.onnx", tiny, shape=None, inputs=[("x", TensorProto.FLOAT, None)])
    with pytest.raises(InputError, match=r"input x has no shape: give --input x=SHAPE"):
        read_model(path)
    read_model(path, {"x": (2, 2)})


def external(path: Path) -> Path:
    onnx.save(
        onnx.load(str(path)), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    return path.parent / "weights.bin"


def test_external_data_are_used_and_missed(cnn: Path) -> None:
    weights = external(cnn)
    model = read_model(cnn)
    assert model.size_bytes > weights.stat().st_size
    with optimised(model, 1) as made:
        assert made.cuts
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"weights.bin is truncated"):
        read_model(cnn)
    weights.unlink()
    with pytest.raises(InputError, match=r"lacks its external data weights.bin"):
        read_model(cnn)


def test_a_link_to_a_model_is_followed(cnn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a hub's cache keeps files: by hash, with links to them by name."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    (blobs / "0123").write_bytes(cnn.read_bytes())
    (snapshot / "model.onnx").symlink_to(blobs / "0123")
    monkeypatch.chdir(snapshot)
    model = read_model(Path("model.onnx"))
    with optimised(model, 1) as made:
        assert made.cuts and model.name == "model"


def test_external_data_elsewhere_are_refused(cnn: Path) -> None:
    external(cnn)
    proto = onnx.load(str(cnn), load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../secret"
    cnn.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match="no file beside it"):
        read_model(cnn)


def test_external_data_and_an_open_shape(tmp_path: Path, tiny: Build) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")]
    path = tiny(tmp_path / "x.onnx", nodes, {"w": np.ones((4, 4), np.float32)}, shape=("n", 4))
    external(path)
    with optimised(read_model(path, batch=3), 1) as made:
        assert [str(cut.kernel) for cut in made.cuts] == ["MatMul(3x4, 4x4)"]


@pytest.mark.parametrize(
    ("node", "more", "said"),
    [
        (helper.make_node("Relu", ["x"], ["y"]), {"opset": 99}, r"newer opset than ONNX Runtime here has"),
        (helper.make_node("Magic", ["x"], ["y"]), {}, r"no operator .*Magic"),
        (helper.make_node("Magic", ["x"], ["y"], domain="acme"), {}, r"acme"),
    ],
)
def test_what_the_runtime_lacks_is_named(
    node: onnx.NodeProto, more: dict[str, int], said: str, tmp_path: Path, tiny: Build
) -> None:
    path = tiny(tmp_path / "x.onnx", [node], {}, shape=(1, 3), **more)
    with pytest.raises(InputError, match=said) as caught, optimised(read_model(path), 1):
        pass
    assert "\n" not in str(caught.value)
