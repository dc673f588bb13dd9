"""Measuring whole networks on a table's target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from compofa.errors import InputError
from hwbench.telling import Advance, note, progress, progress_lines, warn

if TYPE_CHECKING:
    import numpy as np

    from backends.base import Backend, Network, Target
    from compofa.spaces.arch import Arch
    from lut.calibration import Calibration
    from lut.table import Table

MAX_PARAMS_AT_ONCE = 50_000_000
"""Networks are measured in groups of at most so many weights: 200 MB, times the copies a runtime makes."""


def open_backend(target: Target, seed: int, options: Mapping[str, str] | None = None) -> Backend:
    """The backend that measures on `target`, as far as this machine has it; `options` go before the target's.

    Raises:
        BackendUnavailable: it cannot run here.
        ValueError: there is no such backend.
    """
    from backends import registry
    from backends.base import Settings

    backend = registry.load(target.backend)
    chosen = {**backend.options_of(target), **(options or {})}
    opened = backend(Settings(target.precision, target.batch, target.threads, seed, chosen))
    opened.progress, opened.say = progress_lines, note
    return opened


def check_target(recorded: Target, present: Target, force: bool) -> bool:
    """Whether the table's target is the present one.

    Raises:
        ValueError: it is not, and `force` is false; says what differs.
    """
    from lut.header import target_differences

    if (older := _timed_by_an_older_version(recorded, present)) is not None:
        note(
            "the table was timed by an older version of hwbench, blocks by themselves; the calibration makes up "
            "for that, building it anew (hwbench build_lut) makes it agree with others"
        )
        recorded = older
    differences = "; ".join(target_differences(recorded, present))
    if differences and not force:
        raise InputError(
            f"the table is of another target: {differences} (--force-target goes on all the same)"
        )
    if differences:
        warn(f"the table is of another target: {differences}")
    return not differences


def _timed_by_an_older_version(recorded: Target, present: Target) -> Target | None:
    """`recorded` with the method of timing of `present`, if it has none of its own."""
    of_method = {name: value for name, value in present.details if name in ("clock", "timing")}
    if not of_method or "timing" in dict(recorded.details):
        return None
    return replace(recorded, details=tuple(sorted({**dict(recorded.details), **of_method}.items())))


# --- measuring ---


def measure(backend: Backend, table: Table, archs: tuple[Arch, ...], rng: np.random.Generator) -> Calibration:
    """Measure each subnet end to end twice: all once, then all again in another order.

    Raises:
        KeyboardInterrupt: Ctrl-C; nothing is kept.
    """
    from compofa.network import arch_blocks
    from lut.calibration import Calibration

    networks = [arch_blocks(table.family, arch) for arch in archs]
    with progress("measuring networks", 2 * len(archs)) as advance:
        try:
            first, second = (_one_pass(backend, networks, rng, advance) for _ in range(2))
        except KeyboardInterrupt:
            raise KeyboardInterrupt("a validation measures everything twice or says nothing") from None
    return Calibration(table, archs, first, second)


def _one_pass(
    backend: Backend, networks: list[Network], rng: np.random.Generator, advance: Advance
) -> tuple[float, ...]:
    """Latency in ms of each network, measured in random order in groups that fit the memory."""
    latency = [0.0] * len(networks)
    for group in _groups(rng.permutation(len(networks)).tolist(), networks):
        for i, measurement in zip(
            group, backend.network_latencies([networks[i] for i in group]), strict=True
        ):
            latency[i] = measurement.latency_ms
        advance(len(group))
    return tuple(latency)


def _groups(order: list[int], networks: list[Network]) -> list[list[int]]:
    """`order` cut into runs of networks of at most :data:`MAX_PARAMS_AT_ONCE` weights together."""
    from compofa.blocks import total_params

    groups: list[list[int]] = []
    room = 0
    for i in order:
        size = total_params(networks[i])
        if size > room or not groups:
            groups.append([])
            room = MAX_PARAMS_AT_ONCE
        groups[-1].append(i)
        room -= size
    return groups
