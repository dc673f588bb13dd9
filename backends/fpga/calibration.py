"""Fitting a target's uncertain parameters to networks measured on its board.

What the data sheets say (the array, the clock) stays; what they do not (the bandwidth that bursts reach, the
share of its peak that the array reaches, the cost of starting a layer) is fitted, within bounds, to the
logarithms of measured latencies. A parameter that the networks say nothing about is refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backends.fpga.closed_form import layer_cycles
from backends.fpga.compute import Floats, LayerArrays, place
from backends.fpga.layers import Layer
from backends.fpga.target import FpgaTarget
from compofa.errors import InputError

PARAMETERS: dict[str, tuple[float, float]] = {
    "bytes_per_cycle": (1.0, 64.0),
    "efficiency": (0.2, 1.0),
    "alu_efficiency": (0.1, 1.0),
    "layer_cycles": (0.0, 20000.0),
}
"""What can be fitted, with the bounds: two 128-bit ports carry 32 bytes in a cycle of the bus, and the bus may
run faster than the array."""

STEP = 1e-3
"""Of a parameter, relative to its size, for derivatives: the model has kinks, so not smaller."""
LEAST_EFFECT = 1e-3
"""A parameter is identified if no mixture of all parameters, each changed by its own size, changes the
logarithms of the latencies by less than this (root mean square) while that parameter takes a large part."""


@dataclass(frozen=True)
class Fit:
    """A calibrated target.

    Args:
        target: with the fitted parameters.
        values: of the fitted parameters.
        at_bound: those that ended at a bound, where the data would have them go on.
        predicted_ms: modelled latency of each network it was fitted on, shape (networks,).
    """

    target: FpgaTarget
    values: dict[str, float]
    at_bound: tuple[str, ...]
    predicted_ms: Floats


@dataclass(frozen=True)
class Board:
    """Networks measured on a board.

    Args:
        target: the board; its fitted parameters are where a fit starts.
        networks: layers of each.
        measured_ms: latency of each, shape (networks,).
        precision: number format.
    """

    target: FpgaTarget
    networks: tuple[tuple[Layer, ...], ...]
    measured_ms: Floats
    precision: str = "int8"

    def __post_init__(self) -> None:
        if len(self.networks) != len(self.measured_ms):
            raise InputError(f"{len(self.networks)} networks but {len(self.measured_ms)} latencies")
        if not (np.isfinite(self.measured_ms).all() and (self.measured_ms > 0).all()):
            raise InputError("measured latencies must be positive numbers of milliseconds")

    def without(self, i: int) -> Board:
        """The same without network `i`."""
        others = (*self.networks[:i], *self.networks[i + 1 :])
        return replace(self, networks=others, measured_ms=np.delete(self.measured_ms, i))

    def predict_ms(self, target: FpgaTarget) -> Floats:
        """Modelled latency of each network on `target`, shape (networks,)."""
        return predict_ms(self.networks, target, self.precision)


def predict_ms(networks: Sequence[Sequence[Layer]], target: FpgaTarget, precision: str = "int8") -> Floats:
    """Modelled latency of each network, the call included, shape (networks,)."""
    placed = [place(network, target) for network in networks]
    owner = np.repeat(np.arange(len(placed)), [len(layers) for layers in placed])
    arrays = LayerArrays.of([layer for layers in placed for layer in layers], target)
    cycles = np.bincount(owner, layer_cycles(arrays, target, precision), len(placed))
    return (cycles + target.call_cycles) / (target.clock_mhz * 1e3)


def with_values(target: FpgaTarget, values: dict[str, float]) -> FpgaTarget:
    """`target` with parameters of :data:`PARAMETERS` replaced."""
    rest = dict(values)
    memory = target.memory
    if "bytes_per_cycle" in rest:
        memory = replace(memory, bytes_per_cycle=rest.pop("bytes_per_cycle"))
    if "layer_cycles" in rest:
        rest["layer_cycles"] = round(rest["layer_cycles"])
    return replace(target, memory=memory, **rest)  # type: ignore[arg-type]


def fit(board: Board, names: Sequence[str] = tuple(PARAMETERS)) -> Fit:
    """The parameters `names` that bring the model nearest to the measured latencies.

    Raises:
        ValueError: an unknown parameter, or one that these networks cannot identify.
    """
    from scipy.optimize import least_squares

    names = list(names)
    _check_names(board, names)
    low, high = np.array([PARAMETERS[name] for name in names]).T
    start = np.clip([_value(board.target, name) for name in names], low + STEP * high, high - STEP * high)
    scale = np.maximum(start, 0.05 * high)
    quick = _Quick(board)

    def residuals(scaled: Floats) -> Floats:
        found = quick.predict_ms(dict(zip(names, scaled * scale, strict=True)))
        return np.asarray(np.log(found / board.measured_ms), dtype=np.float64)

    # A network that the model misunderstands should not bend the parameters of all others.
    solution = least_squares(
        residuals,
        start / scale,
        bounds=(low / scale, high / scale),
        loss="soft_l1",
        f_scale=0.05,
        diff_step=STEP,
    )
    _check_identified(residuals, solution.x, names)
    found = dict(zip(names, (solution.x * scale).tolist(), strict=True))
    near = 0.005 * (high - low)
    pairs = zip(names, found.values(), low, high, near, strict=True)
    at_bound = tuple(n for n, value, lo, hi, gap in pairs if value - lo < gap or hi - value < gap)
    target = with_values(board.target, found)
    return Fit(target, found, at_bound, board.predict_ms(target))


def leave_one_out(board: Board, names: Sequence[str] = tuple(PARAMETERS)) -> Floats:
    """What a fit on all other networks says of each, modelled milliseconds, shape (networks,)."""
    return np.array(
        [
            predict_ms([network], fit(board.without(i), names).target, board.precision)[0]
            for i, network in enumerate(board.networks)
        ]
    )


class _Quick:
    """Predictions for many parameter values: layers are made into arrays once."""

    def __init__(self, board: Board) -> None:
        placed = [place(network, board.target) for network in board.networks]
        self.board, self.count = board, len(placed)
        self.owner = np.repeat(np.arange(self.count), [len(layers) for layers in placed])
        self.arrays = LayerArrays.of([layer for layers in placed for layer in layers], board.target)

    def predict_ms(self, values: dict[str, float]) -> Floats:
        base = self.board.target
        whole = with_values(base, {**values, "layer_cycles": 0.0})
        overhead = values.get("layer_cycles", float(base.layer_cycles))
        cycles = layer_cycles(self.arrays, whole, self.board.precision) + overhead
        total = np.bincount(self.owner, cycles, self.count) + base.call_cycles
        return np.asarray(total / (base.clock_mhz * 1e3), dtype=np.float64)


def _value(target: FpgaTarget, name: str) -> float:
    owner = target.memory if name == "bytes_per_cycle" else target
    return float(getattr(owner, name))


def _check_names(board: Board, names: Sequence[str]) -> None:
    if unknown := set(names) - PARAMETERS.keys():
        raise InputError(f"cannot fit {sorted(unknown)[0]}; what can be fitted is {', '.join(PARAMETERS)}")
    if len(board.networks) < len(names):
        raise InputError(
            f"{len(board.networks)} networks cannot identify {len(names)} parameters ({', '.join(names)})"
        )


def _check_identified(residuals: Callable[[Floats], Floats], at: Floats, names: Sequence[str]) -> None:
    """Refuse parameters along which the latencies hardly change, alone or together."""
    base = residuals(at)
    columns = []
    for i in range(len(at)):
        moved = at.copy()
        step = 10 * STEP * max(at[i], 0.1)
        moved[i] -= step if at[i] > step else -step
        columns.append((base - residuals(moved)) / (at[i] - moved[i]) * max(at[i], 0.1))
    jacobian = np.array(columns).T / np.sqrt(len(base))
    _, sizes, directions = np.linalg.svd(jacobian, full_matrices=False)
    if sizes[-1] < LEAST_EFFECT:
        worst = names[int(np.argmax(np.abs(directions[-1])))]
        raise InputError(
            f"these networks cannot identify {worst}: measure some that depend on it, or fit without it"
        )


# --- from the command line ---


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m backends.fpga.calibration kv260``: fit a board of the zoo and print how well it went."""
    import argparse

    from backends.fpga.target import load_target
    from backends.fpga.zoo import NETWORKS, measurements

    parser = argparse.ArgumentParser(prog="backends.fpga.calibration", description=main.__doc__)
    parser.add_argument("board", choices=("kv260", "zcu102"))
    parser.add_argument("--zoo", type=Path, metavar="CSV", help="the zoo's throughput, for zcu102")
    parser.add_argument("--fit", nargs="*", choices=tuple(PARAMETERS), default=list(PARAMETERS))
    parser.add_argument("--skip", nargs="*", default=["efficientnet-b0"], help="parts of names to leave out")
    args = parser.parse_args(argv)
    rows = [
        row
        for row in measurements(args.board, args.zoo)
        if not any(part in row.network for part in args.skip)
    ]
    networks = tuple(NETWORKS[row.network]() for row in rows)
    board = Board(load_target(f"{args.board}-b4096"), networks, np.array([row.latency_ms for row in rows]))
    found, held_out = fit(board, args.fit), leave_one_out(board, args.fit)
    fitted_error = 100 * (found.predicted_ms / board.measured_ms - 1)
    error = 100 * (held_out / board.measured_ms - 1)
    print(f"{'network':52} measured ms   modelled, held out")
    for row, ms, percent in zip(rows, held_out, error, strict=True):
        print(f"{row.network:52} {row.latency_ms:8.2f}   {ms:8.2f} ms {percent:+6.1f} %")
    values = ", ".join(f"{name} {value:.4g}" for name, value in found.values.items())
    print(f"fitted  {values}; at a bound: {', '.join(found.at_bound) or 'none'}")
    print(
        f"MAPE    {np.abs(fitted_error).mean():.1f} % in sample, {np.abs(error).mean():.1f} % leave-one-out"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
