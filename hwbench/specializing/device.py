"""Where a subnet is to run, and what it takes there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hwbench.telling import note

if TYPE_CHECKING:
    from backends.base import Backend, Measurement, Network
    from lut.model import LatencyModel


@dataclass(frozen=True)
class Device:
    """A device that is here.

    Args:
        backend: that measures on it.
        is_the_tables_target: whether a table is of it.
    """

    backend: Backend
    is_the_tables_target: bool

    def measure(self, network: Network) -> dict[str, Any]:
        """The latency of a network, with its target, JSON-ready."""
        found: Measurement = self.backend.network_latencies([network])[0]
        fields = {name: value for name, value in asdict(found).items() if name != "rounds_ms"}
        return {
            **fields,
            "target": self.backend.target.to_dict(),
            "is_the_tables_target": self.is_the_tables_target,
        }


def open_device(model: LatencyModel | None, seed: int, precision: str = "fp32") -> Device | None:
    """The target of a model, or without one ONNX Runtime on this machine in `precision`; None, and it is said, if it is
    not here."""
    from backends import registry
    from backends.base import BackendUnavailable, Settings
    from hwbench.validating.measuring import check_target, open_backend

    target = model.target if model else None
    try:
        default = registry.load("onnxruntime")
        backend = open_backend(target, seed) if target else default(Settings(seed=seed, precision=precision))
    except (BackendUnavailable, ValueError) as error:
        note(f"the latency is not measured: {error}")
        return None
    if model is None:
        return Device(backend, is_the_tables_target=False)
    if here := check_target(model.target, backend.target, force=True):
        backend.use_reference(model.table.header.host.get("reference"))
    return Device(backend, here)
