"""What a kernel is: one node of an optimised model, with everything that decides how long it takes.

Two kernels are equal if operator, attributes, shapes and element types are, and the values of small constants of whole
numbers (axes, shapes, steps). What the weights are does not matter: random ones take as long.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from compofa.errors import InputError

MOST_VALUES = 32
"""Constants of whole numbers with more values than these are data, not a setting."""
LARGEST_DIMENSION = 2**40
LONGEST_RANK = 64
MOST_TENSORS = 4096

ITEM_BYTES = {
    **{f"{sign}int{bits}": bits / 8 for sign in ("", "u") for bits in (4, 8, 16, 32, 64)},
    **{"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "bool": 1, "string": 16},
}


@dataclass(frozen=True)
class Tensor:
    """What goes into a kernel or comes out of it.

    Args:
        dtype: element type, as NumPy calls it.
        shape: in elements.
        constant: it is part of the model: weights, or a setting.
        values: of a constant that is a setting, flat; None otherwise.
    """

    dtype: str
    shape: tuple[int, ...]
    constant: bool = False
    values: tuple[int, ...] | None = None

    @property
    def elements(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """In memory."""
        return math.ceil(self.elements * ITEM_BYTES.get(self.dtype, 4))

    def to_dict(self) -> dict[str, Any]:
        """The fields, JSON-ready."""
        fields: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape)}
        if self.constant:
            fields["constant"] = True
        if self.values is not None:
            fields["values"] = list(self.values)
        return fields

    @classmethod
    def from_dict(cls, fields: Any) -> Tensor:
        """What :meth:`to_dict` gave.

        Raises:
            InputError: it is something else.
        """
        if not isinstance(fields, dict) or not fields.keys() <= {"dtype", "shape", "constant", "values"}:
            raise InputError(f"{fields!r:.80} is no tensor of a kernel")
        dtype, shape, values = fields.get("dtype"), fields.get("shape"), fields.get("values")
        if not isinstance(dtype, str) or not _whole(shape, LONGEST_RANK) or min(shape, default=0) < 0:
            raise InputError(f"{fields!r:.80} is no tensor of a kernel")
        if math.prod(shape) > LARGEST_DIMENSION:
            raise InputError(f"a tensor of {math.prod(shape)} elements is none of any network")
        if values is not None and not _whole(values, MOST_VALUES):
            raise InputError(f"{values!r:.80} are no values of a setting")
        constant = fields.get("constant", False) is True
        return cls(dtype, tuple(shape), constant, None if values is None else tuple(values))

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) or "scalar"


def _whole(numbers: Any, most: int) -> bool:
    return (
        isinstance(numbers, list)
        and len(numbers) <= most
        and all(type(n) is int and abs(n) <= LARGEST_DIMENSION**2 for n in numbers)
    )


@dataclass(frozen=True)
class Kernel:
    """One operator as the runtime runs it.

    Args:
        op: its name, as the runtime has it.
        domain: whose operator it is; empty for ONNX's own.
        since: the version of the operator set in which it got its present meaning.
        attributes: JSON of the attributes, names sorted.
        inputs: None where one is left out.
        outputs: None where nobody takes one.
        in_place: which input its first output takes the place of; None where it has memory of its own.
    """

    op: str
    domain: str
    since: int
    attributes: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    in_place: int | None = None

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The attributes by name."""
        found: dict[str, Any] = json.loads(self.attributes)
        return found

    @cached_property
    def key(self) -> str:
        """Short hash that equal kernels share."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def weight_bytes(self) -> int:
        """Of the constants that it reads."""
        return sum(t.size_bytes for t in self.inputs if t and t.constant)

    @property
    def input_bytes(self) -> int:
        """Of the activations that it reads."""
        return sum(t.size_bytes for t in self.inputs if t and not t.constant)

    @property
    def output_bytes(self) -> int:
        """Of what it writes."""
        return sum(t.size_bytes for t in self.outputs if t)

    def to_dict(self) -> dict[str, Any]:
        """The fields, JSON-ready; :meth:`from_dict` reads them back."""
        return {
            "op": self.op,
            **({"domain": self.domain} if self.domain else {}),
            "since": self.since,
            **({"attributes": dict(self.settings)} if self.settings else {}),
            "inputs": [t and t.to_dict() for t in self.inputs],
            "outputs": [t and t.to_dict() for t in self.outputs],
            **({} if self.in_place is None else {"in_place": self.in_place}),
        }

    @classmethod
    def from_dict(cls, fields: Any) -> Kernel:
        """What :meth:`to_dict` gave.

        Raises:
            InputError: it is something else.
        """
        if not isinstance(fields, dict):
            raise InputError("not a kernel")
        op, domain, since = fields.get("op"), fields.get("domain", ""), fields.get("since")
        attributes, sides = fields.get("attributes", {}), [fields.get("inputs"), fields.get("outputs")]
        whole = isinstance(op, str) and isinstance(domain, str) and type(since) is int
        if not whole or not isinstance(attributes, dict):
            raise InputError(f"{fields!r:.80} is no kernel")
        for side in sides:
            if not isinstance(side, list) or len(side) > MOST_TENSORS:
                raise InputError(f"{fields!r:.80} is no kernel")
        inputs, outputs = (tuple(None if t is None else Tensor.from_dict(t) for t in side) for side in sides)
        in_place = fields.get("in_place")
        if in_place is not None and (type(in_place) is not int or not 0 <= in_place < len(inputs)):
            raise InputError(f"{in_place!r:.80} is no input of a kernel")
        return cls(str(op), domain, int(since), dumped(attributes), inputs, outputs, in_place)

    def __str__(self) -> str:
        shown = [str(t) for t in self.inputs if t and t.values is None and t.elements > 1]
        return f"{self.op}({', '.join(shown)})"


def dumped(attributes: Mapping[str, Any]) -> str:
    """Attributes as a kernel keeps them."""
    return json.dumps(attributes, sort_keys=True, separators=(",", ":"), allow_nan=False)
