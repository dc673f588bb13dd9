"""What ``import hwbench`` gives of networks and what they cost, as objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.blocks import Block, total_macs, total_params
from compofa.spaces.family import Family

if TYPE_CHECKING:
    from lut.model import LatencyModel


@dataclass(frozen=True)
class Network:
    """A network as its blocks, from the image to the classifier; iterating gives them.

    >>> import hwbench
    >>> network = hwbench.network("r24-k3e3_k3e3-k5e4_k5e4_k5e4-k3e3_k3e3-k3e6_k3e6_k3e6_k3e6-k5e3_k5e3")
    >>> network
    Network of 19 blocks at 24 px: 1.4 M MACs, 0.23 M parameters
    >>> network.peak_activations
    8064

    Args:
        blocks: in order.
    """

    blocks: tuple[Block, ...]

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return total_macs(self.blocks)

    @cached_property
    def params(self) -> int:
        """Trainable parameters."""
        return total_params(self.blocks)

    @cached_property
    def peak_activations(self) -> int:
        """Values held at once for one image, at most; times the bytes of one they are the memory for activations."""
        return max(block.peak_activations for block in self.blocks)

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.blocks[0].in_shape[1]

    def __repr__(self) -> str:
        size = f"{self.macs / 1e6:.1f} M MACs, {self.params / 1e6:.2f} M parameters"
        return f"Network of {len(self)} blocks at {self.resolution} px: {size}"


def families() -> tuple[str, ...]:
    """Names of all families, those of plug-ins included.

    >>> import hwbench
    >>> "glyphs" in hwbench.families() and "resnet50d" in hwbench.families()
    True
    """
    from compofa.spaces.registry import family_names

    return family_names()


def network(subnet: Any, family: Family | str = "glyphs") -> Network:
    """The network that a subnet stands for.

    >>> import hwbench
    >>> family = hwbench.get_family("imagenet-w1.0")
    >>> lists = {"ks": [3] * 20, "e": [6] * 20, "d": [4] * 5, "r": 224}
    >>> hwbench.network(lists, family)
    Network of 26 blocks at 224 px: 433.1 M MACs, 7.30 M parameters

    Args:
        subnet: an :class:`~compofa.spaces.arch.Arch`, its text, or a value of :mod:`compofa.configs`.
        family: whose subnet it is, or its name.

    Raises:
        InputError: there is no such family, or it has no such subnet; says why.
    """
    from compofa.configs import parse_config
    from compofa.network import arch_blocks
    from compofa.spaces.arch import Arch
    from compofa.spaces.registry import get_family

    owner = get_family(family) if isinstance(family, str) else family
    arch = subnet if isinstance(subnet, Arch) else parse_config(owner, subnet)
    return Network(arch_blocks(owner, arch))


def open_table(path: str | Path) -> LatencyModel:
    """The latencies of a table, calibrated if it was validated.

    >>> import hwbench
    >>> table = hwbench.open_table(hwbench.reference_table())
    >>> table.provenance
    'predicted by the calibrated table'
    >>> network = hwbench.network("r24-k3e3_k3e3-k5e4_k5e4_k5e4-k3e3_k3e3-k3e6_k3e6_k3e6_k3e6-k5e3_k5e3")
    >>> 0.01 < table.latency_ms(network) < 1
    True

    Args:
        path: a table that ``build_lut`` wrote, or one of the other formats of ``hwbench tables``.

    Returns:
        A model of the latency of any network of the table's blocks; its ``caution`` says why not to trust it, if there
        is a reason.

    Raises:
        InputError: it is no table, or a damaged one.
        OSError: it cannot be read.
    """
    from lut.calibration import load_model

    return load_model(Path(path))


def reference_table(name: str = "glyphs") -> Path:
    """A table that comes along, validated on the machine that its target names.

    >>> import hwbench
    >>> hwbench.reference_table().name
    'glyphs-reference.jsonl'
    >>> hwbench.open_table(hwbench.reference_table("h100-fp16-b64")).target.device
    'NVIDIA H100 80GB HBM3'

    Args:
        name: ``glyphs`` (one x86-64 core), ``h100-fp16-b1`` or ``h100-fp16-b64`` (``imagenet-w1.0`` at 224 px, torch
            on an NVIDIA H100, at that batch).

    Raises:
        InputError: there is none of that name.
    """
    from hwbench import shipped

    return shipped.reference_table(name)
