"""How fast a device is now, by networks that were measured when its table was validated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compofa.errors import InputError
from hwbench.inputs.promises import calibration_of
from hwbench.inputs.trust import insist
from hwbench.telling import progress
from hwbench.validating.measuring import check_target, open_backend
from lut.calibration import MOST_REPEATABILITY_PCT
from lut.model import LatencyModel

if TYPE_CHECKING:
    from backends.base import Backend
    from hwbench.inputs.costs import Source
    from lut.calibration import Calibration

FEWEST = 2
"""Of one alone nobody knows how much it scatters."""


def pace_now(source: Source, count: int, seed: int, force: bool = False) -> tuple[float, ...]:
    """Measure networks of a source's calibration again: now over then of each.

    Args:
        source: a table that was validated.
        count: of networks, spread evenly over the latencies of the calibration.
        seed: of weights and order.
        force: use a calibration that is not to be trusted, too.

    Raises:
        InputError: it is no such table, `count` is below :data:`FEWEST` or above the calibration's, or the networks
            scatter too much for a promise.
        BackendUnavailable: the target is not here.
    """
    if not isinstance(source.cost, LatencyModel):
        raise InputError(f"{source} keeps no networks that could be measured again: leave --recheck out")
    calibration = calibration_of(source.cost, source, force)
    most = len(calibration.archs)
    if not FEWEST <= count <= most:
        raise InputError(
            f"--recheck must be {FEWEST} to {most}, the networks of the calibration, not {count}"
        )
    table = calibration.table
    backend = open_backend(table.target, seed)
    check_target(table.target, backend.target, force=False)
    backend.use_reference(table.header.host.get("reference"))
    found = measure_again(backend, calibration, count, seed)
    scatter_pct = 100 * float(np.std(found, ddof=1) / np.mean(found))
    if scatter_pct > MOST_REPEATABILITY_PCT:
        insist(
            f"the networks of the calibration, measured again, scatter by {scatter_pct:.0f} % around their pace, more "
            f"than {MOST_REPEATABILITY_PCT:g} %: the machine is too busy for a promise (hwbench doctor says why)",
            force,
        )
    return found


def measure_again(backend: Backend, calibration: Calibration, count: int, seed: int) -> tuple[float, ...]:
    """Now over then of `count` networks of a calibration, spread evenly over its latencies, in random order."""
    then = calibration.measured_ms
    spread = np.argsort(then)[np.linspace(0, len(then) - 1, count).round().astype(int)]
    order = np.random.default_rng(seed).permutation(spread)
    found = []
    with progress("measuring networks again", count) as advance:
        for i in order.tolist():
            (measured,) = backend.network_latencies([calibration.networks[i]])
            found.append(measured.latency_ms / float(then[i]))
            advance(1)
    return tuple(found)
