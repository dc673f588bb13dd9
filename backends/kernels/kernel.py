"""What a kernel is: one node of an optimised model, with everything that decides how long it takes.

Two kernels are equal if operator, attributes, shapes and element types are, and the values of small constants of whole
numbers (axes, shapes, steps). What the weights are does not matter: random ones take as long.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from compofa.errors import InputError

MOST_VALUES = 32
"""Constants of whole numbers with more values than these are data, not a setting."""
MOST_ELEMENTS = 2**40
LONGEST_TEXT = 2000
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

    def to_text(self) -> str:
        """As tables write it: ``float32 1x64x56x56``, ``float32 64x64x3x3 constant``, ``int64 2 constant 1,-1``."""
        values = [] if self.values is None else [",".join(map(str, self.values))]
        return " ".join([self.dtype, str(self), *(["constant"] if self.constant else []), *values])

    @classmethod
    def from_text(cls, text: Any) -> Tensor:
        """What :meth:`to_text` gave.

        Raises:
            InputError: it is something else.
        """
        found = _TENSOR.fullmatch(text) if isinstance(text, str) and len(text) < LONGEST_TEXT else None
        if not found:
            raise InputError(f"{text!r:.80} is no tensor of a kernel")
        shape = () if found["shape"] == "scalar" else tuple(map(int, found["shape"].split("x")))
        if math.prod(shape) > MOST_ELEMENTS:
            raise InputError(f"{text:.80} is larger than any network has")
        values = (
            None if found["values"] is None else tuple(map(int, filter(None, found["values"].split(","))))
        )
        return cls(found["dtype"], shape, found["constant"] is not None, values)

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) or "scalar"


_TENSOR = re.compile(
    r"(?P<dtype>[a-z]+[a-z0-9_]*) (?P<shape>scalar|\d{1,15}(?:x\d{1,15})*)(?P<constant> constant)?"
    r"(?P<values>(?<=constant) (?:-?\d{1,19}(?:,-?\d{1,19})*)?)?"
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

    def __hash__(self) -> int:
        return hash(self.key)  # found once; that of all fields would be found each time

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
            "inputs": [t and t.to_text() for t in self.inputs],
            "outputs": [t and t.to_text() for t in self.outputs],
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
        op, domain = fields.get("op"), fields.get("domain", "")
        since: Any = fields.get("since")
        attributes: Any = fields.get("attributes", {})
        sides: list[Any] = [fields.get("inputs"), fields.get("outputs")]
        whole = isinstance(op, str) and isinstance(domain, str) and type(since) is int
        if not whole or not isinstance(attributes, dict):
            raise InputError(f"{fields!r:.80} is no kernel")
        for side in sides:
            if not isinstance(side, list) or len(side) > MOST_TENSORS:
                raise InputError(f"{fields!r:.80} is no kernel")
        inputs, outputs = (tuple(None if t is None else Tensor.from_text(t) for t in side) for side in sides)
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
