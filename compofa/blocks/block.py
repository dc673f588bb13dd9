"""Blocks: what a backend measures and what a lookup table is keyed by.

A network is a tuple of :class:`Block`. Two blocks that run the same computation compare equal, whichever subnet
they came from. What a block computes is read off its operations (:mod:`compofa.blocks.operations`), which its kind
lists (:mod:`compofa.blocks.kinds`). Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from compofa.blocks import operations
from compofa.blocks.kinds import KINDS, make_divisible
from compofa.blocks.operations import INPUT, Listing, Operation
from compofa.errors import InputError

ACTIVATIONS = ("none", "relu", "relu6", "hswish")
"""That a block may have; ``none`` for none."""


@dataclass(frozen=True)
class Block:
    """One step of a network, batch size left out.

    >>> import hwbench
    >>> block = hwbench.Block("conv", (3, 32, 32), 16, kernel=3, stride=2)
    >>> block.out_shape, block.macs, block.params
    ((16, 16, 16), 110592, 464)

    Args:
        kind: one of :data:`~compofa.blocks.kinds.KINDS`; its function there says what it is made of. Fields that a
            kind does not take keep their defaults.
        in_shape: input (channels, height, width).
        out_channels: output channels, or classes.
        hidden_channels: width between the first and the last convolution; an ``mbconv`` whose hidden width is that
            of its input has no expand convolution.
        kernel: side of the (depthwise) convolution or of the pooling; padding is ``kernel // 2``.
        stride: of the same.
        se: squeeze-and-excitation after the depthwise convolution.
        act: ``none``, ``relu``, ``relu6`` or ``hswish``.
        shortcut: the input is added to the output; a ``bottleneck`` always adds it, projected where shapes differ.
        options: further whole numbers by name, of kinds of one's own (:func:`~compofa.blocks.register_kind`).

    Raises:
        InputError: a field is out of range or the fields contradict each other.
    """

    kind: str
    in_shape: tuple[int, int, int]
    out_channels: int
    hidden_channels: int = 0
    kernel: int = 1
    stride: int = 1
    se: bool = False
    act: str = "none"
    shortcut: bool = False
    options: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", tuple(self.in_shape))
        object.__setattr__(self, "options", _options(self.options))
        self._check_sizes()
        if self.kind not in KINDS:
            raise InputError(f"unknown block kind {self.kind!r}; there are {', '.join(KINDS)}")
        takes = KINDS[self.kind].fields
        if unknown := [name for name, _ in self.options if name not in takes]:
            raise InputError(f"a {self.kind} block takes no {', '.join(unknown)}: {self!r}")
        for name, default in _DEFAULTS.items():
            if name not in takes and getattr(self, name) != default:
                raise InputError(f"a {self.kind} block takes no {name}: {self!r}")
        if "hidden_channels" in takes and self.hidden_channels < 1:
            raise InputError(f"a {self.kind} block needs hidden_channels: {self!r}")
        if self.act not in ACTIVATIONS:
            raise InputError(f"unknown activation {self.act!r}; there are {', '.join(ACTIVATIONS)}")
        if self.kernel % 2 == 0:
            raise InputError(f"kernels are odd: {self!r}")
        if self.shortcut and (self.stride != 1 or self.in_shape[0] != self.out_channels):
            raise InputError(f"a shortcut needs stride 1 and equal channels: {self!r}")
        if KINDS[self.kind].keeps_channels and self.out_channels != self.in_shape[0]:
            raise InputError(f"a {self.kind} block keeps its channels: {self!r}")

    def _check_sizes(self) -> None:
        sizes = (*self.in_shape, self.out_channels, self.kernel, self.stride)
        if len(self.in_shape) != 3 or not all(type(s) is int and s > 0 for s in sizes):
            raise InputError(f"block sizes must be positive integers: {self!r}")
        if type(self.hidden_channels) is not int:
            raise InputError(f"hidden_channels must be an integer: {self!r}")

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """What the block computes, in an order in which it can be computed; the last one gives its output."""
        listing = Listing(self.in_shape)
        KINDS[self.kind].list_operations(self, listing)
        return tuple(listing.operations)

    @cached_property
    def out_shape(self) -> tuple[int, int, int]:
        """Output (channels, height, width); (classes, 1, 1) of a classifier."""
        channels, height, width = (*self.operations[-1].out_shape, 1, 1)[:3]
        return channels, height, width

    @property
    def se_channels(self) -> int:
        """Width of the squeeze, 0 without SE."""
        return make_divisible(self.hidden_channels / 4) if self.se else 0

    @property
    def expands(self) -> bool:
        """Whether an ``mbconv`` has its 1x1 expand convolution."""
        return self.kind == "mbconv" and self.hidden_channels != self.in_shape[0]

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates for one image; pooling, activations, BN and adds count as none."""
        return sum(operation.macs for operation in self.operations)

    @cached_property
    def params(self) -> int:
        """Trainable parameters, BN's scale and shift included, its running statistics not."""
        return sum(operation.params for operation in self.operations)

    @cached_property
    def peak_activations(self) -> int:
        """Values held at once for one image, at the moment when they are most: what an operation takes and gives,
        and what a later one still needs. Activations work in place."""
        last_use = {name: i for i, operation in enumerate(self.operations) for name in operation.inputs}
        last_use[self.operations[-1].name] = len(self.operations)
        held, peak = {INPUT: math.prod(self.in_shape)}, 0
        for i, operation in enumerate(self.operations):
            in_place = isinstance(operation, operations.Activation) and last_use[operation.inputs[0]] == i
            if in_place:
                del held[operation.inputs[0]]
            held[operation.name] = math.prod(operation.out_shape)
            peak = max(peak, sum(held.values()))
            held = {name: size for name, size in held.items() if last_use[name] > i}
        return peak

    def bytes_moved(self, batch: int = 1, bytes_per_element: int = 4) -> int:
        """Bytes of the input, the output and the weights (BN folded), each counted once.

        The least that must cross the memory bus when everything inside the block stays on chip.
        """
        cin, height, width = self.in_shape
        cout, out_height, out_width = self.out_shape
        activations = batch * (cin * height * width + cout * out_height * out_width)
        return bytes_per_element * (activations + self.params)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; :meth:`from_dict` reads them back."""
        fields = {**asdict(self), "in_shape": list(self.in_shape), "options": dict(self.options)}
        if not self.options:
            del fields["options"]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Block:
        """The block that :meth:`to_dict` wrote.

        Raises:
            ValueError: a field is missing, unknown or out of range.
        """
        try:
            return cls(**fields)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"not a block: {error}") from error

    def __str__(self) -> str:
        cin, height, width = self.in_shape
        hidden = f"-{self.hidden_channels}" if self.hidden_channels else ""
        flags = ("-se" if self.se else "") + ("-add" if self.shortcut else "")
        act = "" if self.act == "none" else f"-{self.act}"
        options = "".join(f"-{name}{value}" for name, value in self.options)
        return (
            f"{self.kind}-{cin}x{height}x{width}{hidden}-{self.out_channels}"
            f"-k{self.kernel}-s{self.stride}{flags}{act}{options}"
        )

    def option(self, name: str, default: int = 0) -> int:
        """A field of a kind of one's own."""
        return dict(self.options).get(name, default)


_DEFAULTS = {"hidden_channels": 0, "kernel": 1, "stride": 1, "se": False, "act": "none", "shortcut": False}


def _options(given: Any) -> tuple[tuple[str, int], ...]:
    pairs = sorted(given.items() if isinstance(given, dict) else given)
    if not all(isinstance(name, str) and name.isidentifier() and type(value) is int for name, value in pairs):
        raise InputError(f"options are whole numbers by name, not {given!r}")
    return tuple(pairs)


def total_macs(blocks: tuple[Block, ...]) -> int:
    """Multiply-accumulates of a network for one image."""
    return sum(block.macs for block in blocks)


def total_params(blocks: tuple[Block, ...]) -> int:
    """Trainable parameters of a static network."""
    return sum(block.params for block in blocks)


def check_kind(room: str, block: Block, known: Collection[str]) -> None:
    """Raise InputError, for a `room` that tells blocks apart by their kind, unless it knows that of `block`."""
    if block.kind not in known:
        raise InputError(f"{room} does not know blocks of kind {block.kind} ({block})")


def check_operations(room: str, block: Block) -> None:
    """Raise InputError, for a `room` that must know what a block computes, unless all its operations are known ones."""
    for operation in block.operations:
        if type(operation) not in operations.PRIMITIVES:
            raise operations.unknown(room, operation)


def check_chain(blocks: tuple[Block, ...]) -> None:
    """Raise ValueError unless each block takes what the one before it gives."""
    for before, after in pairwise(blocks):
        if before.out_shape != after.in_shape:
            raise InputError(
                f"{after} cannot follow {before}: it takes {after.in_shape}, not {before.out_shape}"
            )
