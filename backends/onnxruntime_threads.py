"""ONNX Runtime on several threads of the host's processor: blocks in chains, differenced.

With one thread a block is timed alone, in rotation (:mod:`backends.measuring.rotation`). With more, that says little:
waking the workers takes longer than most blocks, and a network wakes them once. On two threads sums of blocks that were
timed alone are 48 % off (``imagenet-w1.0`` at 160 px), those of differenced ones 7 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from backends.base import Network, Settings, Target
from backends.chained import CPU_TIMINGS, ChainBackend
from backends.device import Device
from backends.machine.clocks import Case, Clocks, Run

IN_CHAINS = ("blocks", "in chains")
"""Of a target whose blocks are measured this way."""


class Opener(Protocol):
    """Makes networks ready to run, and knows what they run on."""

    clocks: Clocks

    @property
    def target(self) -> Target:
        """What is measured."""

    @property
    def reference_target(self) -> Target:
        """Under which the reference is kept."""

    def run_of(self, network: Network, seed: int) -> Run:
        """One run of `network` with random weights, input and output bound beforehand."""

    def reference_run(self, network: Network) -> Run:
        """One run of the reference's network."""


class ManyThreads(ChainBackend):
    """What several threads take.

    Args:
        settings: more than one thread.
        opener: of the networks.
    """

    name = "onnxruntime"
    element_bytes = {"fp32": 8, "int8": 8}  # noqa: RUF012  (a session also holds the model that it was made of)
    shares_activations = False

    def __init__(self, settings: Settings, opener: Opener) -> None:
        self._opener = opener
        super().__init__(settings, CPU_TIMINGS)

    @classmethod
    def probe(cls) -> str | None:
        return None

    @classmethod
    def _check_options(cls, given: Mapping[str, str]) -> None:
        """Done by whoever opens the networks."""

    @property
    def target(self) -> Target:
        return self._opener.target

    @property
    def reference_target(self) -> Target:
        return self._opener.reference_target

    def _open_device(self) -> Device:
        return Device(self._opener.clocks)

    def _reference_case(self, network: Network) -> Case:
        return self.device.case(self._opener.reference_run(network))

    def _ready(self, network: Network, seed: int) -> Run:
        return self._opener.run_of(network, seed)
