"""Networks as OFA publishes them: a ``net.config`` in JSON of MobileNetV3, ProxylessNAS or ResNet becomes blocks.

The layout is that of OFA's code (github.com/mit-han-lab/once-for-all, MIT): a first convolution, inverted residual
blocks with their widths written out, an expanding convolution where there is one, a mixing one, a classifier; or a
stem of convolutions, a pooling, bottlenecks, a classifier. Nothing is taken from a family, so any widths, depths and
strides are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compofa.blocks import Block, make_divisible
from compofa.errors import InputError

ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "h_swish": "hswish", None: "none"}
Shape = tuple[int, int, int]


def published_network(config: Any, resolution: int) -> tuple[Block, ...]:
    """The network that `config` describes, at a square input of `resolution` pixels.

    Raises:
        InputError: it is none, or has a layer that cannot be built; names it.
    """
    try:
        name = config["name"]
        if name not in ("MobileNetV3", "ProxylessNASNets", "ResNets"):
            raise InputError(f"networks of kind {str(name)[:40]!r} are not read")
        if name != "ResNets" and ("final_expand_layer" in config) != (name == "MobileNetV3"):
            raise InputError(f"a {name} has {'a' if name == 'MobileNetV3' else 'no'} final_expand_layer")
        return (_resnet if name == "ResNets" else _network)(config, resolution)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"not a net.config of OFA: {type(error).__name__} {error} while it was read"
        ) from error


def _network(config: Mapping[str, Any], resolution: int) -> tuple[Block, ...]:
    blocks: list[Block] = []

    def append(make: Callable[[Mapping[str, Any], Shape], Block], layer: Mapping[str, Any]) -> None:
        shape = blocks[-1].out_shape if blocks else (int(layer["in_channels"]), resolution, resolution)
        blocks.append(make(layer, shape))

    append(_conv, config["first_conv"])
    for layer in config["blocks"]:
        append(_inverted_residual, layer)
    if "final_expand_layer" in config:
        append(_conv, config["final_expand_layer"])
        blocks.append(_pool(blocks[-1]))
        append(_mix, config["feature_mix_layer"])
    else:  # ProxylessNAS mixes before it pools
        append(_conv, config["feature_mix_layer"])
        blocks.append(_pool(blocks[-1]))
    append(_classifier, config["classifier"])
    return tuple(blocks)


def _resnet(config: Mapping[str, Any], resolution: int) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for outer in config["input_stem"]:
        layer = outer["conv"] if outer["name"] == "ResidualBlock" else outer
        shape = blocks[-1].out_shape if blocks else (int(layer["in_channels"]), resolution, resolution)
        blocks.append(_conv(layer, shape, shortcut=layer is not outer))
    # Its kernel and stride are not written down: the code has them.
    blocks.append(Block("maxpool", blocks[-1].out_shape, blocks[-1].out_channels, kernel=3, stride=2))
    for layer in config["blocks"]:
        blocks.append(_bottleneck(layer, blocks[-1].out_shape))
    blocks.append(_pool(blocks[-1]))
    blocks.append(_classifier(config["classifier"], blocks[-1].out_shape))
    return tuple(blocks)


def _bottleneck(layer: Mapping[str, Any], shape: Shape) -> Block:
    _check(layer, "ResNetBottleneckBlock", shape, groups=1, downsample_mode="avgpool_conv")
    out = layer["out_channels"]
    return Block(
        "bottleneck",
        shape,
        out,
        hidden_channels=layer.get("mid_channels") or make_divisible(round(out * layer["expand_ratio"])),
        kernel=layer["kernel_size"],
        stride=layer["stride"],
        act=_activation(layer),
    )


def _pool(before: Block) -> Block:
    return Block("pool", before.out_shape, before.out_channels)


def _conv(layer: Mapping[str, Any], shape: Shape, shortcut: bool = False) -> Block:
    _check(layer, "ConvLayer", shape, groups=1, dilation=1, bias=False, use_bn=True, has_shuffle=False)
    return Block(
        "conv",
        shape,
        layer["out_channels"],
        kernel=layer["kernel_size"],
        stride=layer["stride"],
        act=_activation(layer),
        shortcut=shortcut,
    )


def _mix(layer: Mapping[str, Any], shape: Shape) -> Block:
    _check(layer, "ConvLayer", shape, groups=1, kernel_size=1, stride=1, bias=False, use_bn=False)
    return Block("mix", shape, layer["out_channels"], act=_activation(layer))


def _inverted_residual(outer: Mapping[str, Any], shape: Shape) -> Block:
    if outer["name"] not in ("MobileInvertedResidualBlock", "ResidualBlock"):
        raise InputError(f"unknown block {outer['name']!r}")
    layer = outer.get("mobile_inverted_conv") or outer["conv"]
    _check(layer, "MBInvertedConvLayer", shape)
    shortcut = outer["shortcut"]
    if shortcut is not None and shortcut["name"] != "IdentityLayer":
        raise InputError(f"unknown shortcut {shortcut['name']!r}")
    hidden = layer.get("mid_channels") or round(shape[0] * layer["expand_ratio"])
    if layer["use_se"] and make_divisible(hidden // 4) != make_divisible(hidden / 4):
        raise InputError(f"a squeeze of {hidden} channels that are no multiple of 4 is not built")
    return Block(
        "mbconv",
        shape,
        layer["out_channels"],
        hidden_channels=hidden,
        kernel=layer["kernel_size"],
        stride=layer["stride"],
        se=bool(layer["use_se"]),
        act=_activation(layer),
        shortcut=shortcut is not None,
    )


def _classifier(layer: Mapping[str, Any], shape: Shape) -> Block:
    name = "LinearLayer"
    if layer["name"] != name or layer["in_features"] != shape[0] or not layer["bias"] or layer["use_bn"]:
        raise InputError(f"the classifier is no {name} of {shape[0]} features with a bias: {dict(layer)}")
    return Block("linear", shape, layer["out_features"])


def _activation(layer: Mapping[str, Any]) -> str:
    if layer["act_func"] not in ACTIVATIONS:
        raise InputError(f"unknown activation {layer['act_func']!r} of a {layer['name']}")
    return ACTIVATIONS[layer["act_func"]]


def _check(layer: Mapping[str, Any], name: str, shape: Shape, **wanted: Any) -> None:
    """Raise InputError unless `layer` is called `name`, takes `shape`, and is as `wanted`."""
    if layer["name"] != name:
        raise InputError(f"unknown layer {layer['name']!r} where a {name} should be")
    if layer["in_channels"] != shape[0]:
        raise InputError(
            f"a {name} takes {layer['in_channels']} channels, the layer before it gives {shape[0]}"
        )
    for key, value in wanted.items():
        if layer.get(key, value) != value:
            raise InputError(f"a {name} with {key} {layer[key]!r} is not built")
