"""What a runtime has to tell and to do, so that the kernels of models can be timed in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from backends.kernels.files import ModelFile
from backends.kernels.kernel import Kernel, Tensor
from backends.measuring.backend import PairedBackend

Values = Mapping[str, NDArray[Any]]
Run = Callable[[], object]
"""Does the work once; everything that it reads and writes is bound."""


@dataclass(frozen=True)
class Cut:
    """A node of what a runtime made of a model.

    Args:
        index: its place in the order of the run.
        name: its name there.
        kernel: what it is; None where it cannot be cut out.
        why_not: then, the reason.
        op: its operator, as the runtime has it.
        layer: of the user's model; empty where none can be named.
    """

    index: int
    name: str
    kernel: Kernel | None
    why_not: str = ""
    op: str = ""
    layer: str = ""


class Made(Protocol):
    """What a runtime made of a model."""

    feeds: Values
    """A value for each input."""
    own_buffers: bool
    """Whether what flows inside a kernel that runs alone lies in memory of its own, which finds no cache warm. In a
    network all kernels share that memory: so such a kernel is run once before it counts."""

    @property
    def cuts(self) -> list[Cut]:
        """All nodes, in the order of the run."""

    def outputs_once(self) -> Values:
        """What one run gives, by name. Raises RunFailed if it fails."""

    def whole_run(self) -> Run:
        """One run of the whole."""

    def flowing_inputs(self, cut: Cut) -> list[str]:
        """Names of what a kernel takes that is no constant, each once."""

    def outputs(self, cut: Cut) -> list[str]:
        """Names of what it gives."""

    def input_name(self, cut: Cut, place: int) -> str:
        """Of the kernel's input at `place`."""

    def tensor(self, name: str) -> Tensor:
        """Element type and shape in memory of a value that kernels take or give."""

    def values(self, names: Sequence[str]) -> Values:
        """What the model gives at `names`, intermediate values among them."""

    def alone(self, cut: Cut, feeds: Values, takes: Values) -> Run:
        """One run of a node alone, which reads `feeds` and writes `takes`; it has run once. Raises RunFailed."""

    def beside(self, cut: Cut, feeds: Values) -> Run | None:
        """One run of what :meth:`alone` runs besides the kernel, whose time is taken off; None if nothing."""

    def computed(self, cut: Cut, feeds: Values) -> Values:
        """What the kernel alone makes of `feeds`, by name. Raises RunFailed."""


class Runtime(Protocol):
    """A runtime on this machine."""

    @property
    def backend(self) -> PairedBackend:
        """Its target, and the reference."""

    def small(self, model: bytes, feeds: Values) -> Run:
        """One run of a small ONNX model with memory of its own."""

    def made(self, model: ModelFile) -> AbstractContextManager[Made]:
        """What it makes of a model; there as long as the block lasts. Raises InputError if it cannot run it."""
