"""Classification networks that boards were measured with, as layer lists, and the published measurements.

The networks are those of the Vitis AI model zoo as their papers or TensorFlow-Slim define them; a test compares
their operations with those in the zoo's names. Left out: pruned networks, whose widths are not published, and
those whose operations we could not reproduce (MobileNetV3 small: 105 instead of 132 million; EfficientNet-EdgeTPU
S, M, L: 14 to 19 % short). The measurements are end-to-end frames a second of one thread. KV260's
(``kv260_published.csv``) are those of Xilinx/Vitis-AI 2.5, ``model_zoo/README.md`` at 00cfb6f8d86e (Apache-2.0);
ZCU102's, of Vitis AI 3.0, are not shipped but read from a CSV with the columns board, zoo_name and fps_thread1.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from backends.fpga.layers import Layer, squeeze_excite
from compofa.blocks import make_divisible
from compofa.errors import InputError

Layers = tuple[Layer, ...]
Shape = tuple[int, int, int]


class Builder:
    """A network being put together, layer after layer.

    Args:
        side: of the input image, in pixels; it has three channels.
    """

    def __init__(self, side: int) -> None:
        self.layers: list[Layer] = []
        self.shape: Shape = (3, side, side)

    def _append(self, layer: Layer) -> Builder:
        self.layers.append(layer)
        self.shape = layer.out_shape
        return self

    def conv(
        self,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        act: str = "relu",
        add: bool = False,
        valid: bool = False,
    ) -> Builder:
        """A convolution, with padding unless `valid`."""
        return self._append(Layer("conv", self.shape, channels, kernel, stride, act, add, valid))

    def depthwise(self, kernel: int, stride: int = 1, act: str = "relu") -> Builder:
        """A depthwise convolution with padding."""
        return self._append(Layer("depthwise", self.shape, self.shape[0], kernel, stride, act))

    def pool(self, kernel: int, stride: int, valid: bool = False) -> Builder:
        """A pooling, with padding unless `valid`."""
        return self._append(Layer("pool", self.shape, self.shape[0], kernel, stride, valid=valid))

    def branches(self, *paths: Callable[[Builder], object]) -> Builder:
        """Paths from the same input, their outputs side by side."""
        start, channels = self.shape, 0
        for path in paths:
            self.shape = start
            path(self)
            channels += self.shape[0]
        self.shape = (channels, *self.shape[1:])
        return self

    def global_pool(self) -> Builder:
        """The average over all pixels."""
        return self.pool(self.shape[1], 1, valid=True)

    def classifier(self, classes: int = 1000) -> Layers:
        """Global pooling and a fully connected layer; the finished network."""
        return tuple(self.global_pool().conv(classes, act="none").layers)


# --- MobileNets (Howard et al., arXiv:1704.04861; Sandler et al., arXiv:1801.04381) ---


def mobilenet_v1(width: float, side: int) -> Layers:
    net = Builder(side).conv(make_divisible(32 * width), 3, 2)
    for channels, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)]:
        net.depthwise(3, stride).conv(make_divisible(channels * width))
    net.depthwise(3, 2).conv(make_divisible(1024 * width)).depthwise(3).conv(make_divisible(1024 * width))
    return net.classifier(1001)


def _inverted(
    net: Builder, channels: int, hidden: int, kernel: int, stride: int, act: str = "relu", se: int = 0
) -> None:
    """An inverted residual; no expansion if `hidden` is the width already, SE of width `se` if any."""
    before = net.shape[0]
    if hidden != before:
        net.conv(hidden, act=act)
    net.depthwise(kernel, stride, act)
    if se:
        net.layers += squeeze_excite(net.shape, se)
    net.conv(channels, act="none", add=stride == 1 and channels == before)


def mobilenet_v2(width: float, side: int = 224) -> Layers:
    net = Builder(side).conv(make_divisible(32 * width), 3, 2)
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)]
    for expand, channels, depth, stride in [*rows, (6, 320, 1, 1)]:
        for i in range(depth):
            _inverted(
                net, make_divisible(channels * width), expand * net.shape[0], 3, stride if i == 0 else 1
            )
    return net.conv(make_divisible(1280 * max(width, 1.0))).classifier(1001)


# --- EfficientNets (Tan and Le, arXiv:1905.11946) ---

B0 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""(expand, kernel, stride, channels, depth) of each stage."""


def efficientnet_lite0() -> Layers:
    net = Builder(224).conv(32, 3, 2)
    for expand, kernel, stride, channels, depth in B0:
        for i in range(depth):
            _inverted(net, channels, expand * net.shape[0], kernel, stride if i == 0 else 1)
    return net.conv(1280).classifier()


def efficientnet_b0() -> Layers:
    net = Builder(224).conv(32, 3, 2, "swish")
    for expand, kernel, stride, channels, depth in B0:
        for i in range(depth):
            before = net.shape[0]
            step = stride if i == 0 else 1
            _inverted(net, channels, expand * before, kernel, step, "swish", before // 4)
    return net.conv(1280, act="swish").classifier()


# --- ResNets (He et al., arXiv:1512.03385) ---

Place = str
"""Where a stage of bottlenecks takes its stride: ``first1x1`` or ``first3x3`` of its first block, or the 3x3 of
its last block (``last3x3``, TensorFlow-Slim)."""


def resnet(depths: Sequence[int], place: Place, side: int = 224, classes: int = 1000) -> Layers:
    """A ResNet of bottlenecks."""
    net = Builder(side).conv(64, 7, 2).pool(3, 2)
    for stage, depth in enumerate(depths):
        for i in range(depth):
            last = place == "last3x3"
            here = i == depth - 1 and stage < 3 if last else i == 0 and stage > 0
            _bottleneck(net, 64 * 2**stage, 2 if here else 1, place)
    return net.classifier(classes)


def _bottleneck(net: Builder, width: int, stride: int, place: Place) -> None:
    start = net.shape
    if start[0] != 4 * width:
        net.conv(4 * width, stride=stride, act="none")  # the projection of the shortcut
        net.shape = start
    at_first = stride if place == "first1x1" else 1
    net.conv(width, stride=at_first).conv(width, 3, stride // at_first).conv(4 * width, add=True)


def resnet18(classes: int = 15) -> Layers:
    net = Builder(224).conv(64, 7, 2).pool(3, 2)
    for stage in range(4):
        for i in range(2):
            width, stride, start = 64 * 2**stage, 2 if i == 0 and stage else 1, net.shape
            if stride > 1:
                net.conv(width, stride=2, act="none")
                net.shape = start
            net.conv(width, 3, stride).conv(width, 3, add=True)
    return net.classifier(classes)


# --- VGG (arXiv:1409.1556), SqueezeNet 1.1 (arXiv:1602.07360), Inception v1 (arXiv:1409.4842) ---


def vgg(depths: Sequence[int]) -> Layers:
    net = Builder(224)
    for width, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
        for _ in range(depth):
            net.conv(width, 3)
        net.pool(2, 2)
    # The first fully connected layer sees the whole 7x7 map.
    return tuple(net.conv(4096, 7, valid=True).conv(4096).conv(1000, act="none").layers)


def squeezenet() -> Layers:
    net = Builder(224).conv(64, 3, 2, valid=True).pool(3, 2, valid=True)
    for squeezed, channels, pooled in (
        *((16, 64, False), (16, 64, True), (32, 128, False), (32, 128, True)),
        *((48, 192, False), (48, 192, False), (64, 256, False), (64, 256, False)),
    ):
        net.conv(squeezed)
        net.branches(lambda n, c=channels: n.conv(c), lambda n, c=channels: n.conv(c, 3))  # type: ignore[misc]
        if pooled:
            net.pool(3, 2, valid=True)
    return tuple(net.conv(1000).global_pool().layers)


INCEPTION_V1 = (
    (64, 96, 128, 16, 32, 32, 1),
    (128, 128, 192, 32, 96, 64, 2),
    (192, 96, 208, 16, 48, 64, 1),
    (160, 112, 224, 24, 64, 64, 1),
    (128, 128, 256, 24, 64, 64, 1),
    (112, 144, 288, 32, 64, 64, 1),
    (256, 160, 320, 32, 128, 128, 2),
    (256, 160, 320, 32, 128, 128, 1),
    (384, 192, 384, 48, 128, 128, 1),
)
"""1x1, 3x3 reduce, 3x3, second 3x3 reduce, second 3x3, after the pool, stride of the pool that follows."""


def inception_v1() -> Layers:
    """As in TensorFlow-Slim: 3x3 in place of 5x5."""
    net = Builder(224).conv(64, 7, 2).pool(3, 2).conv(64).conv(192, 3).pool(3, 2)
    for one, reduce3, three, reduce5, five, after, stride in INCEPTION_V1:
        net.branches(
            partial(Builder.conv, channels=one),
            lambda n, r=reduce3, c=three: n.conv(r).conv(c, 3),  # type: ignore[misc]
            lambda n, r=reduce5, c=five: n.conv(r).conv(c, 3),  # type: ignore[misc]
            lambda n, c=after: n.pool(3, 1).conv(c),  # type: ignore[misc]
        )
        if stride > 1:
            net.pool(3, 2)
    return net.classifier(1001)


NETWORKS: dict[str, Callable[[], Layers]] = {
    "tf_mobilenetv1_0.25_imagenet_128_128_27M": partial(mobilenet_v1, 0.25, 128),
    "tf_mobilenetv1_0.5_imagenet_160_160_150M": partial(mobilenet_v1, 0.5, 160),
    "tf_mobilenetv1_1.0_imagenet_224_224_1.14G": partial(mobilenet_v1, 1.0, 224),
    "tf_mobilenetv2_1.0_imagenet_224_224_602M": partial(mobilenet_v2, 1.0),
    "tf_mobilenetv2_1.4_imagenet_224_224_1.16G": partial(mobilenet_v2, 1.4),
    "tf2_Efficientnet-lite_imagenet_224_224_0.77G": efficientnet_lite0,
    "pt_vehicle-color-classification_VCoR_224_224_3.64G": resnet18,
    "tf_resnetv1_50_imagenet_224_224_6.97G": partial(resnet, (3, 4, 6, 3), "last3x3"),
    "tf2_resnet50_imagenet_224_224_7.76G": partial(resnet, (3, 4, 6, 3), "first1x1"),
    "pt_resnet50_imagenet_224_224_8.2G": partial(resnet, (3, 4, 6, 3), "first3x3"),
    "tf_resnetv1_101_imagenet_224_224_14.4G": partial(resnet, (3, 4, 23, 3), "last3x3"),
    "tf_resnetv1_152_imagenet_224_224_21.83G": partial(resnet, (3, 8, 36, 3), "last3x3"),
    "tf_resnetv2_50_imagenet_299_299_13.1G": partial(resnet, (3, 4, 6, 3), "last3x3", 299),
    "tf_resnetv2_101_imagenet_299_299_26.78G": partial(resnet, (3, 4, 23, 3), "last3x3", 299),
    "tf_vgg16_imagenet_224_224_30.96G": partial(vgg, (2, 2, 3, 3, 3)),
    "tf_vgg19_imagenet_224_224_39.28G": partial(vgg, (2, 2, 4, 4, 4)),
    "pt_squeezenet_imagenet_224_224_703.5M": squeezenet,
    "tf_inceptionv1_imagenet_224_224_3G": inception_v1,
    "tf2_efficientnet-b0_imagenet_224_224_0.78G": efficientnet_b0,
}
"""The zoo's name -> its layers. The zoo writes 0.36G for efficientnet-b0, its own table 0.78."""


@dataclass(frozen=True)
class Measured:
    """A network's published latency on a board, end to end, one thread."""

    network: str
    board: str
    latency_ms: float


def measurements(board: str, zoo: Path | None = None) -> tuple[Measured, ...]:
    """The published measurements of `board`, milliseconds as 1000 / frames a second.

    Args:
        board: ``kv260``, whose measurements are shipped, or ``zcu102``.
        zoo: CSV of the zoo's throughput, for ``zcu102``.

    Raises:
        ValueError: there are none, or the file lacks a column.
        OSError: the file cannot be read.
    """
    if board == "kv260":
        text = (files("backends.fpga") / "kv260_published.csv").read_text(encoding="utf-8")
        found = {row["network"]: float(row["fps"]) for row in csv.DictReader(text.splitlines())}
    elif board == "zcu102" and zoo is not None:
        found = _read_zoo(zoo, "ZCU102")
    elif board == "zcu102":
        raise InputError("the measurements of zcu102 are not shipped: give the zoo's CSV")
    else:
        raise InputError(f"no measurements of board {board!r}; there are kv260, zcu102")
    return tuple(Measured(name, board, 1000 / found[name]) for name in NETWORKS if name in found)


def _read_zoo(path: Path, board: str) -> dict[str, float]:
    """One-thread frames a second of the networks that a zoo CSV has for `board`."""
    try:
        rows = [
            row
            for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
            if row["board"].startswith(board)
        ]
        return {_our_name(row["zoo_name"]): float(row["fps_thread1"]) for row in rows if row["fps_thread1"]}
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is no CSV of the zoo's throughput: {error}") from error


def _our_name(zoo_name: str) -> str:
    """:data:`NETWORKS` writes efficientnet-b0's operations as the zoo's own table has them, not as its name."""
    return zoo_name.replace(
        "efficientnet-b0_imagenet_224_224_0.36G", "efficientnet-b0_imagenet_224_224_0.78G"
    )
