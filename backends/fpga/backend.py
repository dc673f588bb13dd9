"""The FPGA backend: cycles and modelled milliseconds of blocks and networks on a described accelerator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from backends.base import Backend, Measurement, Network, Option, Settings, Target
from backends.fpga.closed_form import layer_cycles
from backends.fpga.compute import Floats, LayerArrays, place
from backends.fpga.layers import Layer, lower
from backends.fpga.streaming import stream_cycles
from backends.fpga.target import FpgaTarget, Streaming, load_target
from compofa.blocks import Block
from compofa.errors import InputError

DEFAULT_TARGET = "zcu102-b4096"
MODEL_VERSION = "1"
"""Counts up whenever the same target gives other cycles, so that tables are not mixed."""


class FpgaBackend(Backend):
    """A cycle model of an accelerator; nothing is measured.

    Args:
        settings: precision as the target has it; `threads` cores share a batch, an image runs on one;
            option ``target``: the name of a target or the path of its TOML file.

    Raises:
        ValueError: there is no such target, or it cannot do what is asked.
    """

    name = "fpga"
    origin = "modelled"
    default_precision = "int8"
    options = (
        Option("target", "name of a target, or path of a TOML file", DEFAULT_TARGET, metavar="TARGET"),
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.accelerator: FpgaTarget = load_target(self.option("target"))
        self.accelerator.element_bytes(settings.precision)
        if not 1 <= settings.threads <= self.accelerator.cores:
            raise InputError(
                f"--threads is the number of cores in use, 1 to {self.accelerator.cores} "
                f"on {self.accelerator.name}, not {settings.threads}"
            )
        if settings.batch < 1:
            raise InputError(f"the batch must be at least 1, not {settings.batch}")

    @classmethod
    def probe(cls) -> str | None:
        return None

    @cached_property
    def target(self) -> Target:
        overlap = self.accelerator.family == "streaming" and self.settings.batch > 1
        return Target(
            backend=self.name,
            device=f"{self.accelerator.device}, modelled",
            precision=self.settings.precision,
            batch=self.settings.batch,
            threads=self.settings.threads,
            versions=(("fpga-model", MODEL_VERSION),),
            details=(
                # Version 0.1.0 charged a pipeline for each image as if the one before had left it.
                *((("images", "overlap"),) if overlap else ()),
                ("parameters", self.accelerator.digest),
                ("target", self.option("target")),
            ),
        )

    def block_latencies(self, blocks: Sequence[Block]) -> list[Measurement]:
        return self._modelled([lower(block) for block in blocks], call_cycles=0)

    def network_latencies(self, networks: Sequence[Network]) -> list[Measurement]:
        """The sum of the layers' cycles and what calling the accelerator costs; for a streaming target the
        pipeline of all layers."""
        chains = [tuple(layer for block in network for layer in lower(block)) for network in networks]
        return self._modelled(chains, call_cycles=self.accelerator.call_cycles)

    def _modelled(self, chains: Sequence[Sequence[Layer]], call_cycles: int) -> list[Measurement]:
        rounds = math.ceil(self.settings.batch / self.settings.threads)
        cycles = chain_cycles(chains, self.accelerator, self.settings.precision, rounds) + call_cycles
        return [_measurement(round(total), self.accelerator) for total in cycles.tolist()]


def _measurement(cycles: int, accelerator: FpgaTarget) -> Measurement:
    latency = accelerator.milliseconds(cycles)
    return Measurement(FpgaBackend.origin, latency, latency, latency, cycles=cycles)


def chain_cycles(
    chains: Sequence[Sequence[Layer]], target: FpgaTarget, precision: str, images: int = 1
) -> Floats:
    """Cycles of each chain of layers for `images`, one after the other, on one core, whole numbers, shape (chains,).

    Raises:
        ValueError: a buffer is too small for some layer, or the array lacks the precision.
    """
    if isinstance(target.array, Streaming):
        array = target.array
        return np.array([stream_cycles(chain, array, images) for chain in chains], dtype=np.float64)
    placed = [place(chain, target) for chain in chains]
    flat = [layer for chain in placed for layer in chain]
    cycles: Floats = np.ceil(layer_cycles(LayerArrays.of(flat, target), target, precision) - 1e-6)
    owner = np.repeat(np.arange(len(placed)), [len(chain) for chain in placed])
    return images * np.bincount(owner, weights=cycles, minlength=len(placed)).astype(np.float64)
