"""Collecting kernels on purpose: from many networks, those that tell most about networks in general.

Networks come a few at a time. Of their kernels those are timed that are least like any that is known, the more time
their network is likely to spend in them the rather; all of them in rotation, so that weights come from as far as in a
network. The networks themselves are timed as a whole, so that sums can be calibrated.
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from backends.kernels.costs import is_view
from backends.kernels.files import ModelFile, read_model
from backends.kernels.kernel import Kernel
from backends.kernels.runtime import Made
from compofa.errors import HwbenchError
from hwbench.profiling import families
from hwbench.profiling.measuring import Profiler, network_kernels
from hwbench.profiling.tables import ProfileTable
from lut.kernels.describe import group, rows
from lut.kernels.table import NetworkEntry

TOGETHER = 8
"""Networks that are in the making at a time."""
KERNELS_OF_A_NETWORK = 8
"""That are timed, on average."""
LEAST_NETWORKS = 16
FEW = 12
"""Kernels of a group from which on another one tells clearly less."""
HARDLY, LEAST_SHARE = 3, 0.1
"""Kernels of a group below which it is hardly known, and the share of time that they are then taken to have."""
NEW_GROUP = 12.0
"""The distance to what is known of a kernel of a group of which nothing is; about that of two random convolutions."""


@dataclass
class Collected:
    """What collecting came to.

    Args:
        kernels: timed.
        networks: timed as a whole.
        left_out: networks that could not be used, and why.
    """

    kernels: int = 0
    networks: int = 0
    left_out: list[str] = field(default_factory=list)


@dataclass
class Known:
    """Descriptors of kernels by group, to tell how far another one is from them."""

    points: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kernel: Kernel) -> None:
        """Count `kernel` among what is known."""
        self.points[group(kernel)].append(_point(kernel))

    def count(self, kernel: Kernel) -> int:
        """How many of its group are known."""
        return len(self.points.get(group(kernel), ()))

    def worth(self, kernel: Kernel, share: float) -> float:
        """Of knowing one more of its group, at its likely share of time. Of a group that is hardly known, the share may
        be any."""
        count = self.count(kernel)
        return math.sqrt(max(share, LEAST_SHARE if count < HARDLY else 0.0) / (1 + count / FEW))

    def distance(self, kernel: Kernel) -> float:
        """To the nearest that is known."""
        near = self.points.get(group(kernel))
        if not near:
            return NEW_GROUP
        return min(NEW_GROUP, float(np.abs(np.array(near) - _point(kernel)).sum(axis=1).min()))


def _point(kernel: Kernel) -> np.ndarray:
    return rows([kernel]).general[0]


def collect(
    profiler: Profiler,
    table: ProfileTable,
    budget: int,
    models: Sequence[Path] = (),
    seed: int = 0,
    advance: Callable[[int], object] = lambda steps: None,
) -> Collected:
    """Time `budget` kernels of some networks, and the networks; what is measured is in the table at once.

    Args:
        profiler: of this machine.
        table: to add to.
        budget: kernels to time.
        models: ONNX files to take them from; random networks of timm's families unless given.
        seed: of the networks.
        advance: told of the kernels that are done.

    Raises:
        Unavailable: no file is given, and timm is not installed.
    """
    found, known = Collected(), Known()
    for kernel in table.writer.table.entries:
        known.add(kernel)
    with tempfile.TemporaryDirectory(prefix="hwbench-") as folder:
        source = _files(models, found) if models else _random(Path(folder), seed, found)
        networks = len(models) or max(LEAST_NETWORKS, -(-budget // KERNELS_OF_A_NETWORK))
        for done in range(TOGETHER, networks + TOGETHER, TOGETHER):
            share = -(-budget * min(done, networks) // networks)
            # One at a time: the file of a network is there until the next is asked for.
            timed = _batch(profiler, table, known, islice(source, TOGETHER), share - found.kernels, found)
            found.kernels += timed
            advance(timed)
    return found


def _files(models: Sequence[Path], found: Collected) -> Iterator[ModelFile]:
    for path in models:
        try:
            yield read_model(path)
        except HwbenchError as error:
            found.left_out.append(str(error))


def _random(folder: Path, seed: int, found: Collected) -> Iterator[ModelFile]:
    families.check_timm()
    for number, network in enumerate(families.random_networks(seed)):
        path = folder / f"{number}.onnx"
        try:
            families.export(network, path, seed)
            model = read_model(path)
        except HwbenchError as error:
            found.left_out.append(str(error))
            continue
        yield ModelFile(network.name, model.proto, model.folder, model.size_bytes)
        path.unlink()


def _batch(
    profiler: Profiler,
    table: ProfileTable,
    known: Known,
    models: Iterable[ModelFile],
    budget: int,
    found: Collected,
) -> int:
    """Networks that are in the making together; returns how many kernels were timed."""
    with ExitStack() as stack:
        made: list[tuple[Made, NetworkEntry]] = []
        for model in models:
            try:
                one = stack.enter_context(profiler.runtime.made(model))
                counts = network_kernels(one)
                whole = profiler.whole(one)
            except HwbenchError as error:
                found.left_out.append(str(error))
                continue
            kernels = {kernel.key: nodes for kernel, nodes in counts.items()}
            made.append((one, NetworkEntry(model.name, kernels, len(one.cuts), whole)))
        chosen = choose([one for one, _ in made], known, budget)
        timed = 0
        for one, entry in made:
            times = profiler.bench.kernels(one, chosen.get(one, ()))
            table.writer.append(
                times.measured, times.failed, [entry], [c.kernel for c in one.cuts if c.kernel]
            )
            timed += len(times.measured)
        found.networks += len(made)
    return timed


def choose(models: Sequence[Made], known: Known, budget: int) -> dict[Made, list[Kernel]]:
    """The kernels to time: one after the other the one that is farthest from all that are known, weighed by the root of
    its likely share of a network's time, the less the more of its group are known.

    Args:
        models: whose kernels to choose from.
        known: what is known; the chosen ones are added.
        budget: how many.
    """
    home, weight = _candidates(models)
    distance = {kernel: known.distance(kernel) for kernel in home}
    picked: dict[Made, list[Kernel]] = defaultdict(list)
    while distance and budget > 0:
        best = max(distance, key=lambda k: distance[k] * known.worth(k, weight[k]))
        if distance.pop(best) <= 0:
            break
        picked[home[best]].append(best)
        known.add(best)
        budget -= 1
        point, name = _point(best), group(best)
        for kernel in distance:
            if group(kernel) == name:
                distance[kernel] = min(distance[kernel], float(np.abs(_point(kernel) - point).sum()))
    return picked


def _candidates(
    models: Sequence[Made],
) -> tuple[dict[Kernel, Made], dict[Kernel, float]]:
    """The first model that has each kernel, and the kernel's likely share of networks' time, summed."""
    home: dict[Kernel, Made] = {}
    weight: dict[Kernel, float] = defaultdict(float)
    for model in models:
        kernels = [cut.kernel for cut in model.cuts if cut.kernel and not is_view(cut.kernel)]
        prior = rows(kernels).prior if kernels else np.zeros(0)
        for kernel, ms in zip(kernels, prior / max(prior.sum(), 1e-12), strict=True):
            home.setdefault(kernel, model)
            weight[kernel] += float(ms)
    return home, weight
