"""Static quantisation by ONNX Runtime's own tools, of whole networks and of parts of them.

Q/DQ nodes around every operator that the tools know: activations in ``uint8`` per tensor, ranges from calibration data;
weights in ``int8`` per output channel. ONNX Runtime fuses them into its integer kernels, which keep channels last.

Inside a quantised network whole numbers flow from block to block, channels last. A block that is quantised alone would
get and give floating-point numbers, channels first, and would pay for two conversions and two transpositions that the
network does not make. So what is timed of a block is cut out of a quantised chain (:func:`part_of_network`): it takes
and gives what it does in the network. Only an image comes in, and logits go out, as the network itself does it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block
from compofa.blocks.operations import Convolution
from compofa.graph import network_to_onnx

if TYPE_CHECKING:
    import onnx

Feeds = Mapping[str, NDArray[Any]]
"""One set of inputs by name."""

QUANTIZATION = "static, uint8 activations, int8 weights per channel"
"""As targets tell it."""
RANDOM_INPUTS = 2
"""Calibration data where none are given: the ranges of activations do not change what a kernel costs."""
LEAST_CHANNELS = 8
"""Fewer are an image: the network's own input, which is quantised inside it."""
CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
BEFORE, LAST = "before", "last"
"""What flows into a chain, and out of it."""


def quantised(model: onnx.ModelProto, feeds: Iterable[Feeds]) -> onnx.ModelProto:
    """`model` in int8; inputs and outputs stay as they are.

    Args:
        model: in fp32, with its weights.
        feeds: calibration data. The range of each activation is from the least to the largest value seen.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Given(quantization.CalibrationDataReader):
        """One input after the other."""

        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> Feeds | None:
            return next(self.left, None)

    with quietly(), tempfile.TemporaryDirectory(prefix="hwbench-") as folder:
        plain, ready, found = (str(Path(folder) / name) for name in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(model, plain)
        # Symbolic shape inference refuses what it does not know; ONNX's own does.
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            found,
            Given(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(found)


def part_of_network(blocks: tuple[Block, ...], *, batch: int = 1, seed: int = 0) -> onnx.ModelProto:
    """A chain of blocks with random weights, quantised as inside a network.

    Args:
        blocks: the chain; a whole network is one.
        batch: images in one run.
        seed: of weights and calibration data.

    Returns:
        A model with one input: float32 of shape (batch, channels, height, width) if it is an image, or uint8, channels
        last if the chain has a convolution; and one output likewise, or float32 logits of shape (batch, classes).
    """
    model = network_to_onnx(blocks, batch=batch, seed=seed)
    _add_neighbours(model.graph)
    rng = np.random.default_rng(seed)
    shape = (batch, *blocks[0].in_shape)
    feeds = [{"x": rng.standard_normal(shape, dtype=np.float32)} for _ in range(RANDOM_INPUTS)]
    return _cut_out(quantised(model, feeds), blocks)


def _add_neighbours(graph: onnx.GraphProto) -> None:
    """An operator before and one behind the chain, both of which change nothing, so that the chain's own input and
    output are quantised like all that flows between operators."""
    from onnx import helper

    for node in graph.node:
        node.input[:] = [BEFORE if name == "x" else name for name in node.input]
        node.output[:] = [LAST if name == "y" else name for name in node.output]
    for place, (taken, given) in ((0, ("x", BEFORE)), (len(graph.node) + 1, (LAST, "y"))):
        graph.node.insert(place, helper.make_node("LeakyRelu", [taken], [given], name=given, alpha=1.0))


def _cut_out(model: onnx.ModelProto, blocks: tuple[Block, ...]) -> onnx.ModelProto:
    """The chain without its neighbours: whole numbers at both ends, unless they are the network's own."""
    from onnx.shape_inference import infer_shapes
    from onnx.utils import Extractor

    takers = {name: node for node in model.graph.node for name in node.input}
    rounded, last_rounded = (takers[name].output[0] for name in (BEFORE, LAST))
    convolves = [_convolves(block) for block in blocks]
    image = blocks[0].in_shape[0] < LEAST_CHANNELS and convolves[0]
    logits = len(blocks[-1].operations[-1].out_shape) == 1
    start = BEFORE if image else rounded
    end = takers[last_rounded].output[0] if logits else last_rounded
    made: onnx.ModelProto = Extractor(infer_shapes(model)).extract_model([start], [end])
    if any(convolves) and not image:
        _turn_input(made.graph)
    if any(convolves) and not logits:
        _turn_output(made.graph)
    return made


def _convolves(block: Block) -> bool:
    """Whether it has a convolution, for which ONNX Runtime keeps channels last."""
    return any(isinstance(operation, Convolution) for operation in block.operations)


def _turn_input(graph: onnx.GraphProto) -> None:
    """Take channels last, in place; ONNX Runtime finds that this and its own turning cancel out."""
    from onnx import helper

    (x,) = graph.input
    graph.node.insert(0, helper.make_node("Transpose", ["x"], [x.name], name="x", perm=CHANNELS_FIRST))
    x.CopyFrom(_turned("x", x))


def _turn_output(graph: onnx.GraphProto) -> None:
    """Give channels last, in place."""
    from onnx import helper

    (y,) = graph.output
    graph.node.append(helper.make_node("Transpose", [y.name], ["y"], name="y", perm=CHANNELS_LAST))
    y.CopyFrom(_turned("y", y))


def _turned(name: str, value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    from onnx import helper

    tensor = value.type.tensor_type
    shape = [tensor.shape.dim[axis].dim_value for axis in CHANNELS_LAST]
    return helper.make_tensor_value_info(name, tensor.elem_type, shape)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """The tools print advice for people who call them by hand."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
