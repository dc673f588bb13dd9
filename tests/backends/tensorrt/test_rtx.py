"""The real TensorRT-RTX, which parses and builds without a GPU: every sort of block, for every GPU, and its errors."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from backends.machine.cuda_probe import cuda_reason
from backends.tensorrt import build, library
from backends.tensorrt import outputs as right
from backends.tensorrt.build import Graph, Request
from backends.tensorrt.engines import Engines, Identity, graph_hash
from compofa.blocks import Block
from compofa.errors import InputError
from compofa.memory import keep_freed_memory
from compofa.spaces.making import CLASSIFIERS
from compofa.spaces.registry import FAMILIES, get_family
from compofa.spaces.space import get_space

pytestmark = pytest.mark.needs_rtx

TURING, OTHERS = "7.5", ("8.6", "8.9", "12.0")
SMALL = Block("mbconv", (8, 6, 6), 8, 24, kernel=3, act="relu", shortcut=True)


@pytest.fixture(scope="module", autouse=True)
def _rtx() -> None:
    library.use(library.RTX)
    keep_freed_memory()


def sorts(family: str) -> list[Block]:
    """A block of every sort that the family has: whatever a library may have no kernel for, but for its widths."""
    space = get_space("ofa", get_family(family))
    found: dict[tuple[object, ...], Block] = {}
    for block in space.all_blocks(space.family.resolutions[:1]):
        sort = (block.kind, block.kernel, block.stride, block.se, block.act, block.shortcut, block.expands)
        found.setdefault(sort, block)
    return list(found.values())


def refusals(blocks: list[Block], precision: str, *capabilities: str) -> dict[str, str]:
    """The kinds of those `blocks` that TensorRT-RTX does not build an engine of, and its words."""
    from backends.tensorrt import calls

    found = {}
    for block in blocks:
        try:
            built = calls.build(Graph((block,), precision).model(), capabilities=capabilities)
            assert len(built.plan) > 1000
        except calls.Refused as refused:
            found[block.kind] = str(refused)
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp16", "int8", "fp32"])
def test_every_sort_of_block_is_built_for_every_gpu(family: str, precision: str) -> None:
    blocks = sorts(family)
    assert len(blocks) >= 8
    # One engine for all of them: the library refuses it if it refuses one.
    everywhere = OTHERS if precision == "fp32" else (TURING, *OTHERS)
    assert refusals(blocks, precision, *everywhere) == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_turing_refuses_the_classifier_in_fp32_and_nothing_else(family: str) -> None:
    refused = refusals(sorts(family), "fp32", TURING)
    (kind,) = refused
    assert kind in CLASSIFIERS
    assert "FP32 GEMM is not supported" in refused[kind]


@pytest.mark.parametrize("capability", [TURING, *OTHERS])
def test_an_engine_is_of_the_gpu_it_was_built_for(capability: str) -> None:
    from backends.tensorrt import calls

    model = Graph((SMALL,), "fp16").model()
    one = calls.build(model, capabilities=(capability,)).plan
    others = [calls.build(model, capabilities=(other,)).plan for other in (TURING, *OTHERS)]
    assert sum(one == other for other in others) <= 1
    assert len(calls.build(model, capabilities=(TURING, *OTHERS)).plan) > len(one)


def test_a_whole_network_is_built() -> None:
    from backends.tensorrt import calls

    space = get_space("ofa", get_family("glyphs"))
    network = space.blocks(next(space.enumerate()))
    assert len(calls.build(Graph(network, "int8", batch=2).model(), capabilities=OTHERS).plan) > 10_000


def test_the_library_names_the_gpus_it_has() -> None:
    from backends.tensorrt import rtx_calls

    assert {TURING, "8.0", *OTHERS} <= set(rtx_calls.capabilities())
    for wrong in ("9.0", "8", "", "SM89", "89", "8.9 "):
        with pytest.raises(InputError, match=r"it has 7\.5, 8\.0, 8\.6, 8\.9, 12\.0"):
            rtx_calls.check_capability(wrong)


def test_progress_is_told_step_by_step() -> None:
    from backends.tensorrt import calls

    seen: list[tuple[str, int, int]] = []
    calls.build(
        Graph((SMALL,), "fp16").model(), capabilities=("8.9",), progress=lambda *step: seen.append(step)
    )
    assert len({phase for phase, _, _ in seen}) >= 2
    assert all(1 <= done <= total for _, done, total in seen)
    assert any(done == total > 1 for _, done, total in seen)


@pytest.mark.parametrize("content", [b"", b"of another GPU"])
def test_a_timing_cache_is_taken_or_begun_anew(content: bytes) -> None:
    from backends.tensorrt import calls

    model = Graph((SMALL,), "fp16").model()
    with pytest.warns(DeprecationWarning, match="no-ops in TensorRT-RTX"):
        built = calls.build(model, capabilities=("8.9",), timing_cache=content)
    with pytest.warns(DeprecationWarning, match="no-ops in TensorRT-RTX"):
        again = calls.build(model, capabilities=("8.9",), timing_cache=built.timing_cache)
    assert built.timing_cache and again.timing_cache == built.timing_cache
    assert calls.build(model, capabilities=("8.9",)).timing_cache is None


def test_what_tensorrt_learns_of_its_kernels_is_kept_for_the_next_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of TensorRT, which times kernels, walked with TensorRT-RTX, which takes its cache and does not."""
    monkeypatch.setattr(library, "used", lambda: library.TENSORRT)
    engines = Engines(tmp_path, Identity("tensorrt", "11", "8.9", "NVIDIA L4"))
    with pytest.warns(DeprecationWarning, match="no-ops in TensorRT-RTX"):
        assert build.handle(Request(Graph((SMALL,), "fp16"), engines), None)
    learnt = engines.timing_cache.read_bytes()
    assert learnt
    with pytest.warns(DeprecationWarning, match="no-ops in TensorRT-RTX"):
        assert build.handle(Request(Graph((SMALL,), "fp32"), engines), None)
    assert engines.timing_cache.read_bytes() == learnt
    assert {path.name for path in tmp_path.iterdir()} == {"tensorrt-11-sm89-nvidia-l4"}


# --- models that it does not take ---


def one_node(operator: str, element: int, domain: str = "") -> bytes:
    values = [helper.make_tensor_value_info(name, element, (1, 3, 4, 4)) for name in "xy"]
    node = helper.make_node(operator, ["x"], ["y"], name="the_node", domain=domain)
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


BROKEN = {
    "nothing": (b"", "Network must have at least one output"),
    "no model": (b"no model", "Failed to parse the ONNX model"),
    "cut": (Graph((SMALL,), "fp16").model()[:100], "Failed to parse the ONNX model"),
    "an operator of nobody": (one_node("Relu7", TensorProto.FLOAT), r"Plugin not found.*\(node the_node\)"),
    "an operator of a plug-in": (
        one_node("Mine", TensorProto.FLOAT, "org.me"),
        r"Plugin not found.*\(node the_node\)",
    ),
    "an operator it lacks": (one_node("Det", TensorProto.FLOAT), r"\(node the_node\)"),
    "texts": (one_node("Identity", TensorProto.STRING), "Failed to convert ONNX dat[ae] type"),
    "complex numbers": (one_node("Identity", TensorProto.COMPLEX64), "Failed to convert ONNX dat[ae] type"),
    "unsigned 16 bits": (one_node("Identity", TensorProto.UINT16), "Failed to convert ONNX dat[ae] type"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_it_does_not_take_is_refused_in_its_words(name: str) -> None:
    from backends.tensorrt import calls

    model, words = BROKEN[name]
    with pytest.raises(calls.Refused, match=f"tensorrt-rtx cannot (parse|build) .*{words}"):
        calls.build(model, capabilities=("8.9",))


@pytest.mark.skipif(cuda_reason() is None, reason="there is a GPU")
def test_an_engine_cannot_be_opened_without_a_gpu_and_the_process_lives() -> None:
    from backends.tensorrt import calls

    plan = calls.build(Graph((SMALL,), "fp16").model(), capabilities=("8.9",)).plan
    with pytest.raises(calls.TensorRTFailed, match="CUDA driver version is insufficient"):
        calls.Engine(plan)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plan: plan[:1000], "plan.header.size == blobSize failed"),
        (lambda plan: plan[:10], "bufferSize >= minBufferSize failed"),
        (lambda plan: b"", "empty memory buffer"),
        (lambda plan: b"x" * 2000, "magicTag == kEXPECTED_MAGIC_TAG failed"),
    ],
    ids=["cut", "its first bytes", "empty", "another file"],
)
def test_a_damaged_plan_is_refused_in_its_words(damage: object, words: str) -> None:
    from backends.tensorrt import calls

    plan = calls.build(Graph((SMALL,), "fp16").model(), capabilities=("8.9",)).plan
    with pytest.raises(calls.TensorRTFailed, match=words):
        calls.Engine(damage(plan))  # type: ignore[operator]


# --- what is kept with an engine ---


@pytest.mark.parametrize("precision", sorted(right.TOLERANCES))
@pytest.mark.parametrize("batch", [1, 3])
def test_the_right_output_is_kept_with_the_engine(tmp_path: Path, precision: str, batch: int) -> None:
    graph = Graph((SMALL, SMALL), precision, batch, seed=4)
    engines = Engines(tmp_path, Identity("tensorrt-rtx", "1", "8.9"))
    assert build.handle(Request(graph, engines), None)
    assert not build.handle(Request(graph, engines), None)
    engine = engines.load(graph_hash(graph.model(), tf32=graph.tf32))
    assert engine and not engine.checked
    # Of all the images at once, as a device computes them.
    x = right.random_input(right.model_input(graph.model()), 4)
    assert len(x) == batch
    outputs = right.reference(graph.model(), x)
    right.check(right.sample(right.ends(outputs), 4), engine.expected, precision)
    with pytest.raises(right.WrongOutput, match="differs from ONNX Runtime's by"):
        right.check(right.sample(right.ends(outputs[::-1] + outputs), 4), engine.expected, precision)


def test_a_sample_is_of_the_whole_output_and_always_the_same() -> None:
    import numpy as np

    values = np.arange(100_000, dtype=np.float32).reshape(2, 50, 1000)
    taken = right.sample(values, 1)
    assert taken.shape == (right.SAMPLE,) and (taken == right.sample(values, 1)).all()
    assert taken.min() < 1000 and taken.max() > 99_000
    assert len(right.sample(values[0, 0], 1)) == 1000


def test_a_request_arrives_as_it_was_sent(tmp_path: Path) -> None:
    wide = Block("mbconv", (8, 6, 6), 24, 48, kernel=5, se=True, act="hswish")
    engines = Engines(tmp_path, Identity("tensorrt", "11", "9.0", "NVIDIA H200"))
    request = Request(Graph((SMALL, wide), "int8", 64, 3), engines, "profile.json")
    assert request.line().count("\n") == 1
    assert Request.from_line(request.line()) == request
    assert onnx.load_from_string(request.graph.model()).graph.input[0].name == "x"
