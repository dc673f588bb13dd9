"""Random networks of timm's families: at widths, depths and resolutions that nobody publishes.

timm's code builds them with random weights; nothing is downloaded. They are what kernels are collected from, so that
networks which are published stay unseen.
"""

from __future__ import annotations

import importlib
import io
import math
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compofa.errors import RunFailed
from hwbench.extras import need

OPSET = 17
SHORT_OF_TORCHVISION = ("nms", "qnms")
"""Operators that torchvision's Python asks for on import, and that its library does not bring where it was built for
another torch; no network of timm has one."""


@dataclass(frozen=True)
class RandomNetwork:
    """A network that can be built.

    Args:
        name: of family and settings.
        resolution: side of the input in pixels.
        build: makes the torch module.
    """

    name: str
    resolution: int
    build: Callable[[], Any]


Settings = tuple[str, dict[str, Any], int]
"""timm's name of a network, or ``module:class``; what is other than its own, ``@name`` for what that module calls so;
the resolution."""
Draw = Callable[[random.Random], Settings]


def _eights(rng: random.Random, low: int, high: int, step: int = 8) -> int:
    return step * rng.randint(math.ceil(low / step), high // step)


def _resolution(rng: random.Random, step: int = 32, low: int = 128, high: int = 288) -> int:
    return _eights(rng, low, high, step)


def _growing(rng: random.Random, first: int, step: int = 8) -> tuple[int, ...]:
    """Widths of four stages, each about twice the one before."""
    widths = [first]
    for _ in range(3):
        widths.append(step * round(widths[-1] * rng.uniform(1.6, 2.2) / step))
    return tuple(widths)


def _depths(rng: random.Random, most: int) -> tuple[int, ...]:
    return tuple(rng.randint(1, most) for _ in range(4))


def _resnet(rng: random.Random) -> Settings:
    name = rng.choice(("resnet18", "resnet26d", "seresnet50", "resnext50_32x4d", "ecaresnet26t"))
    width = _eights(rng, 24, 80)
    changes: dict[str, Any] = {"layers": _depths(rng, 3), "channels": tuple(width * 2**i for i in range(4))}
    if "resnext" in name:
        changes["channels"], changes["cardinality"] = (64, 128, 256, 512), rng.choice((8, 16, 32))
    return name, changes, _resolution(rng)


def _regnet(rng: random.Random) -> Settings:
    changes = {
        "depth": rng.randint(10, 18),
        "w0": _eights(rng, 24, 64),
        "wa": rng.uniform(12, 40),
        "wm": rng.uniform(2.1, 2.9),
        "group_size": rng.choice((8, 8, 16, 24)),
    }
    return rng.choice(("regnetx_004", "regnety_004")), changes, _resolution(rng)


def _vit(rng: random.Random) -> Settings:
    heads, patch = rng.randint(2, 7), rng.choice((14, 16, 16, 32))
    side = patch * rng.randint(8, 16)
    changes = {
        "embed_dim": heads * rng.choice((32, 48, 64, 64)),
        "num_heads": heads,
        "depth": rng.randint(2, 4),
        "patch_size": patch,
        "img_size": side,
        "mlp_ratio": rng.choice((2.0, 3.0, 4.0, 4.0)),
    }
    return rng.choice(("vit_tiny_patch16_224", "deit3_small_patch16_224")), changes, side


def _swin(rng: random.Random) -> Settings:
    heads, window = rng.choice((2, 3, 4)), rng.choice((7, 8))
    side = 32 * window * rng.choice((1, 1))
    changes = {
        "embed_dim": heads * rng.choice((16, 24, 32)),
        "num_heads": tuple(heads * 2**i for i in range(4)),
        "depths": (2, 2, 2, 2),
        "window_size": window,
        "img_size": side,
    }
    return "swin_tiny_patch4_window7_224", changes, side


def _mixer(rng: random.Random) -> Settings:
    patch = rng.choice((14, 16, 16, 32))
    side = patch * rng.randint(8, 16)
    changes: dict[str, Any] = {
        "embed_dim": _eights(rng, 96, 576, 32),
        "num_blocks": rng.randint(2, 4),
        "patch_size": patch,
        "img_size": side,
    }
    kind = rng.choice(("MixerBlock", "ResBlock", "SpatialGatingBlock"))
    changes["block_layer"] = f"@{kind}"
    if kind == "SpatialGatingBlock":
        changes |= {"mlp_layer": "@GatedMlp", "mlp_ratio": 6}
    return "mlp_mixer:MlpMixer", changes, side


def _convnext(rng: random.Random) -> Settings:
    name = rng.choice(("convnext_atto", "convnext_tiny", "convnextv2_atto"))
    return name, {"dims": _growing(rng, _eights(rng, 24, 80)), "depths": _depths(rng, 2)}, _resolution(rng)


def _metaformer(rng: random.Random) -> Settings:
    mixers = rng.choice((("@Pooling",) * 4, ("@SepConv",) * 4, ("@SepConv",) * 2 + ("@Attention",) * 2))
    dims = tuple(32 * round(width / 32) or 32 for width in _growing(rng, rng.choice((32, 64))))
    changes = {"dims": dims, "depths": _depths(rng, 2), "token_mixers": mixers}
    return "metaformer:MetaFormer", changes, _resolution(rng)


def _densenet(rng: random.Random) -> Settings:
    changes = {
        "growth_rate": _eights(rng, 16, 40),
        "block_config": tuple(rng.randint(2, 6) for _ in range(4)),
    }
    return "densenet121", changes, _resolution(rng)


def _pvt(rng: random.Random) -> Settings:
    changes = {
        "embed_dims": tuple(rng.choice((24, 32, 48, 64)) * h for h in (1, 2, 5, 8)),
        "depths": (1, 2, 1, 1),
    }
    return rng.choice(("pvt_v2_b0", "pvt_v2_b1")), changes, _resolution(rng)


def _edgenext(rng: random.Random) -> Settings:
    dims = tuple(width * rng.choice((2, 3, 4)) for width in (8, 16, 32, 48))
    return (
        "edgenext_xx_small",
        {"dims": dims, "depths": (1, 2, 2, 1), "heads": (8, 8, 8, 8)},
        _resolution(rng),
    )


def _xcit(rng: random.Random) -> Settings:
    heads = rng.choice((2, 4, 6))
    changes = {"embed_dim": heads * rng.choice((32, 48)), "num_heads": heads, "depth": rng.randint(2, 4)}
    return "xcit_tiny_12_p16_224", changes, 16 * rng.randint(8, 16)


def _starnet(rng: random.Random) -> Settings:
    return "starnet_s1", {"base_dim": _eights(rng, 16, 40), "depths": _depths(rng, 3)}, _resolution(rng)


def _mambaout(rng: random.Random) -> Settings:
    return (
        "mambaout_femto",
        {"dims": _growing(rng, _eights(rng, 24, 64)), "depths": _depths(rng, 2)},
        _resolution(rng),
    )


def _as_published(*names: str, step: int = 32) -> Draw:
    """Networks whose widths cannot be set: at random resolutions."""
    return lambda rng: (rng.choice(names), {}, _resolution(rng, step))


def _fixed(*published: tuple[str, int]) -> Draw:
    """Networks of which neither widths nor the resolution can be set."""
    return lambda rng: (lambda one: (one[0], {}, one[1]))(rng.choice(published))


GENERATED: dict[str, tuple[str, ...]] = {
    "mobilenetv2": ("efficientnet", "_gen_mobilenet_v2", "mobilenetv2_100"),
    "mobilenetv3-large": ("mobilenetv3", "_gen_mobilenet_v3", "mobilenetv3_large_100"),
    "mobilenetv3-small": ("mobilenetv3", "_gen_mobilenet_v3", "mobilenetv3_small_100"),
    "efficientnet": ("efficientnet", "_gen_efficientnet", "efficientnet_b0"),
    "efficientnet-lite": ("efficientnet", "_gen_efficientnet_lite", "efficientnet_lite0"),
    "mnasnet": ("efficientnet", "_gen_mnasnet_b1", "mnasnet_100"),
    "mixnet": ("efficientnet", "_gen_mixnet_s", "mixnet_s"),
    "lcnet": ("mobilenetv3", "_gen_lcnet", "lcnet_100"),
}
"""Family -> module of timm, the function that makes any width of it, and a network of the family."""

DRAWN: dict[str, Draw] = {
    "resnet": _resnet,
    "regnet": _regnet,
    "vit": _vit,
    "swin": _swin,
    "mixer": _mixer,
    "convnext": _convnext,
    "metaformer": _metaformer,
    "densenet": _densenet,
    "pvt": _pvt,
    "edgenext": _edgenext,
    "xcit": _xcit,
    "starnet": _starnet,
    "mambaout": _mambaout,
    "mobilevit": _as_published("mobilevitv2_125", "mobilevitv2_150"),
    "repvgg": _as_published("repvgg_a1", "mobileone_s2", "repghostnet_080", "ghostnet_130"),
    "fixed": _fixed(
        ("pit_s_224", 224),
        ("levit_256", 224),
        ("visformer_small", 224),
        ("twins_pcpvt_small", 224),
        ("efficientvit_m3", 224),
        ("tiny_vit_11m_224", 224),
        ("nest_small", 224),
    ),
    "resized cubic": _fixed(("crossvit_small_240", 240)),
    "resized linear": _fixed(("coat_mini", 224)),
    "mobile": _as_published(
        "repvit_m1_1", "fastvit_sa12", "efficientformerv2_s2", "rexnet_130", "mobilenetv4_hybrid_medium"
    ),
    "older": _as_published("vovnet57a", "res2net50_26w_4s", "hrnet_w18_small_v2", "skresnet34"),
}


def random_networks(seed: int) -> Iterator[RandomNetwork]:
    """Without end: the families in turn, each time in another order."""
    rng = random.Random(seed)
    families = [*DRAWN, *GENERATED]
    while True:
        for family in rng.sample(families, len(families)):
            yield _generated(family, rng) if family in GENERATED else _drawn(family, rng)


def _drawn(family: str, rng: random.Random) -> RandomNetwork:
    name, changes, resolution = DRAWN[family](rng)

    def build() -> Any:
        import timm

        module, _, kind = name.partition(":")
        if not kind:
            return timm.create_model(name, **changes)
        found = importlib.import_module(f"timm.models.{module}")
        return getattr(found, kind)(**{key: _looked_up(found, value) for key, value in changes.items()})

    return RandomNetwork(_named(name, changes, resolution), resolution, build)


def _looked_up(module: Any, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_looked_up(module, one) for one in value)
    named = isinstance(value, str) and value.startswith("@")
    return getattr(module, value[1:]) if named else value


def _generated(family: str, rng: random.Random) -> RandomNetwork:
    module, function, name = GENERATED[family]
    width, resolution = round(rng.uniform(0.35, 1.4), 2), _resolution(rng)

    def build() -> Any:
        make = getattr(importlib.import_module(f"timm.models.{module}"), function)
        return make(name, channel_multiplier=width)

    return RandomNetwork(_named(name, {"width": width}, resolution), resolution, build)


def _named(name: str, changes: dict[str, Any], resolution: int) -> str:
    said = " ".join(f"{key}={value}".replace(" ", "") for key, value in changes.items())
    return f"{name} {said} {resolution}px".replace("  ", " ")


# --- from timm to ONNX ---


def check_timm() -> None:
    """Raise Unavailable, with the remedy, where timm is not installed; get it ready where it is."""
    for name in ("timm", "torchvision"):
        need(name, "collecting kernels without ONNX files")
    _declare_operators()


@cache
def _declare_operators() -> tuple[Any, ...]:
    """Where torchvision was built for another torch than is here, its import asks for operators that are not there.
    The declarations hold as long as they are held."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for name in SHORT_OF_TORCHVISION:
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return (declared,)
    return ()


def export(network: RandomNetwork, path: Path, seed: int = 0) -> None:
    """Write the network as an ONNX file of fixed shape, with random weights that all differ.

    Raises:
        RunFailed: timm or torch cannot do it; some settings do not go together.
    """
    import torch

    side = network.resolution
    try:
        with _quiet():
            torch.manual_seed(seed)
            module = scrambled(network.build().eval(), seed)
            # The older exporter: five times as fast, and what the runtime makes of it is the same.
            torch.onnx.export(
                module, (torch.randn(1, 3, side, side),), str(path), dynamo=False, opset_version=OPSET
            )
    except Exception as error:  # assertions of timm, torch's own classes
        text = (str(error) or type(error).__name__).splitlines()[0][:160]
        raise RunFailed(f"{network.name} cannot be exported: {text}") from error


def scrambled(module: Any, seed: int = 0) -> Any:
    """`module` with random numbers where it begins with equal ones (normalisations, scales): exporters and runtimes
    share equal constants, and drop what a zero scale makes nothing of."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if (parameter.is_floating_point() and parameter.ndim <= 1) or float(parameter.std()) == 0:
                around = 1.0 if float(parameter.mean()) > 0.5 else 0.0
                parameter.copy_(0.2 * torch.rand(parameter.shape, generator=generator) + around - 0.1)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
