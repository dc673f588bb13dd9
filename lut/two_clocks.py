"""The latency of whole networks from a table where a network may wait for its launches: the later of two clocks.

A table's sum is what the device works. At a small batch a GPU waits for the host that launches, and works meanwhile:
no sum of blocks says that, however it is corrected (:mod:`lut.model`), so the law of :mod:`lut.later` takes its place
where cross-validation shows that latency bends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from compofa.blocks import Block
from compofa.spaces.layout import Genotypes
from lut import later, model
from lut.later import Later
from lut.lookup import Lookup
from lut.model import Floats, LatencyModel

HOST = {"launch_call": "call", "launch_blocks": "blocks", "launch_se": "se"}
"""The host's terms, and which column of :func:`lut.model.features` each prices: a constant, blocks, those with SE."""
TERMS = (*HOST, "scale", "power")
"""``scale`` multiplies the table's sum, the device's side; ``power`` says how sharp the bend is (:class:`Later`)."""
LEAST_NETWORKS = 20
"""Fewer do not tell a bend from noise."""
CLEARLY = 0.9
"""Of the sums' cross-validated error: a law that bends costs searches their exactness, so it must be worth it."""
FOLDS = 5

_HOST_COLUMNS = [model.TERMS.index(term) for term in HOST.values()]


def fit(values: Floats, measured_ms: Floats, start: Later | None = None) -> Later:
    """The law fitted to networks.

    Args:
        values: :func:`lut.model.features`, shape (n, terms).
        measured_ms: shape (n,).
        start: a law fitted to nearly the same networks, to begin from.
    """
    return later.fit(*columns(values), measured_ms, start)


def columns(values: Floats) -> tuple[Floats, Floats]:
    """What the host does and what the device does, shapes (n, 3) and (n, 1), of :func:`lut.model.features`."""
    return values[:, _HOST_COLUMNS], values[:, [model.SCALE]]


def bends(values: Floats, measured_ms: Floats, terms: tuple[str, ...], start: Later | None = None) -> bool:
    """Whether the two clocks predict unseen networks clearly better than sums with `terms` do.

    Args:
        values: :func:`lut.model.features`, shape (n, terms).
        measured_ms: shape (n,); the networks should be in random order.
        terms: of the sums, as :func:`lut.model.choose_terms` chose them.
        start: as for :func:`fit`.
    """
    if len(measured_ms) < LEAST_NETWORKS:
        return False
    part = np.arange(len(measured_ms)) % FOLDS

    def sums(kept: Any, asked: Any) -> Floats:
        return values[asked] @ model.fit(values[kept], measured_ms[kept], terms)

    def law(kept: Any, asked: Any) -> Floats:
        return fit(values[kept], measured_ms[kept], whole).predict(*columns(values[asked]))

    def error(predicted: Floats) -> float:
        return float(np.mean(np.abs(predicted / measured_ms - 1)))

    def unseen(predict: Any) -> float:
        predicted = np.empty_like(measured_ms)
        for p in range(FOLDS):
            predicted[part == p] = predict(part != p, part == p)
        return error(predicted)

    whole = fit(values, measured_ms, start)
    most = CLEARLY * unseen(sums)
    # What it says of the networks that it saw tells soon enough where it has no chance.
    return error(whole.predict(*columns(values))) < most and unseen(law) < most


@dataclass(frozen=True)
class TwoClocks(LatencyModel):
    """Latencies of networks as the later of their launches and of their table's sum; not additive over blocks.

    Args:
        table: the blocks' latencies.
        coefficients: of all of :data:`TERMS`: milliseconds a unit for the host's, numbers for the others.
        caution: as for :class:`LatencyModel`.
    """

    @property
    def provenance(self) -> str:
        how = "predicted by the calibrated table, as the later of launches and work"
        return how if self.table.origin == "measured" else f"{how}, {self.table.provenance}"

    def block_ms(self, block: Block, resolution: int | None = None) -> float:
        """What `block` adds to the device's work; how much of that a network shows depends on its launches."""
        return self._device.block_ms(block, resolution)

    def latency_ms(self, blocks: Iterable[Block]) -> float:
        blocks = tuple(blocks)
        host_ms, device_ms = (np.array([side.latency_ms(blocks)]) for side in (self._host, self._device))
        return float(later.later(host_ms, device_ms, self.coefficients["power"])[0])

    def as_lookup(self) -> Lookup | None:
        """None: there are no arrays whose sums are the latency."""
        return None

    def predict(self, genotypes: Genotypes) -> Floats:
        host_ms, device_ms = (side.predict(genotypes) for side in (self._host, self._device))
        return later.later(host_ms, device_ms, self.coefficients["power"])

    @cached_property
    def _host(self) -> LatencyModel:
        prices = {term: self.coefficients[name] for name, term in HOST.items()}
        return LatencyModel(self.table, {"scale": 0.0, **prices})

    @cached_property
    def _device(self) -> LatencyModel:
        return LatencyModel(self.table, {"scale": self.coefficients["scale"]})


def coefficients(law: Later) -> dict[str, float]:
    """Those of :data:`TERMS` that :func:`fit` found."""
    return dict(zip(TERMS, [*law.launch_ms.tolist(), *law.work_ms.tolist(), law.power], strict=True))
