"""What this machine can measure with, and how steadily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PACKAGES = ("hwbench", "numpy", "onnx", "onnxruntime", "torch", "apache-tvm", "tensorrt", "tensorrt-rtx-cu13")


@dataclass(frozen=True)
class Examination:
    """What was found about this machine.

    Args:
        document: all of it, JSON-ready.
    """

    document: dict[str, Any]

    @property
    def fit(self) -> bool:
        """Whether latencies can be measured here."""
        return bool(self.document["fit"])

    @property
    def backends(self) -> dict[str, str | None]:
        """Each backend, and why it cannot run here; None if it can."""
        return dict(self.document["backends"])

    @property
    def drift_pct(self) -> float:
        """By how much the same work drifts beside a reference, in percent."""
        return float(self.document["repeatability"]["ratio_drift_pct"])

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return self.document

    def __repr__(self) -> str:
        words = "fit to measure on" if self.fit else "not fit to measure on"
        can = ", ".join(self.document["can_measure"]) or "no backend"
        return f"{words}: drifts by {self.drift_pct:.1f} % beside a reference; {can} can measure"


def doctor(seconds: float = 3.0) -> Examination:
    """Examine this machine for so many seconds.

    >>> import hwbench
    >>> found = hwbench.doctor(seconds=0.5)
    >>> found.backends["onnxruntime"] is None
    True

    Args:
        seconds: of the test of repeatability.
    """
    from dataclasses import asdict

    from backends import registry
    from backends.machine import conditions
    from backends.machine.host import fingerprint
    from backends.measuring import steadiness

    # Before the backends: loading their SDKs is a load of its own.
    found = conditions.conditions()
    before = conditions.stolen_ticks()
    observed = steadiness.observe(seconds)
    after = conditions.stolen_ticks()
    backends = registry.available()
    can_measure = [
        name for name, reason in backends.items() if not reason and registry.load(name).origin == "measured"
    ]
    return Examination(
        {
            "host": fingerprint(PACKAGES).to_dict(),
            "conditions": [asdict(condition) for condition in found],
            "repeatability": {
                "seconds": seconds,
                "readings": len(observed.lone_ms),
                "lone_spread_pct": round(100 * observed.lone_spread, 2),
                "lone_drift_pct": round(100 * observed.lone_drift, 2),
                "ratio_drift_pct": round(100 * observed.ratio_drift, 2),
                "ratio_limit_pct": 100 * steadiness.SPREAD_LIMIT,
                "left_out_pct": round(100 * observed.left_out, 1),
                "stolen_ticks": None if before is None or after is None else after - before,
                "steady": observed.steady,
            },
            "backends": backends,
            "can_measure": can_measure,
            "fit": observed.steady and bool(can_measure),
        }
    )
