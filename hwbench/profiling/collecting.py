"""Collecting kernels on purpose: from many networks, those that tell most about networks in general.

Networks come a few at a time. Of their kernels those are timed that are least like any that is known, the more time
their network is likely to spend in them the rather; all of them in rotation, so that weights come from as far as in a
network. The networks themselves are timed as a whole, so that sums can be calibrated.
"""

from __future__ import annotations

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
from backends.kernels.graph import Cut, OptimisedModel, optimised
from backends.kernels.kernel import Kernel
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
        yield ModelFile(network.name, model.proto, model.folder, model.unchanged, model.size_bytes)
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
        made: list[tuple[OptimisedModel, NetworkEntry]] = []
        for model in models:
            try:
                one = stack.enter_context(optimised(model, profiler.threads, profiler.seed))
                counts = network_kernels(one)
                whole = profiler.whole(model, one)
            except HwbenchError as error:
                found.left_out.append(str(error))
                continue
            kernels = {kernel.key: nodes for kernel, nodes in counts.items()}
            made.append((one, NetworkEntry(model.name, kernels, len(one.cuts), whole)))
        chosen = choose([one for one, _ in made], known, budget)
        times = profiler.bench.some(chosen)
        all_of_them = {cut.kernel for one, _ in made for cut in one.cuts if cut.kernel}
        table.writer.append(times.measured, times.failed, [entry for _, entry in made], all_of_them)
        found.networks += len(made)
    return len(times.measured)


def choose(
    models: Sequence[OptimisedModel], known: Known, budget: int
) -> list[tuple[OptimisedModel, list[Cut]]]:
    """The kernels to time: one after the other the one that is farthest from all that are known, weighed by the root of
    its likely share of a network's time.

    Args:
        models: whose nodes to choose from.
        known: what is known; the chosen ones are added.
        budget: how many.
    """
    places: dict[Kernel, tuple[int, Cut]] = {}
    weight: dict[Kernel, float] = defaultdict(float)
    for index, model in enumerate(models):
        cuts = [cut for cut in model.cuts if cut.kernel and not is_view(cut.kernel)]
        prior = rows([cut.kernel for cut in cuts if cut.kernel]).prior if cuts else np.zeros(0)
        for cut, ms in zip(cuts, prior / max(prior.sum(), 1e-12), strict=True):
            assert cut.kernel is not None
            places.setdefault(cut.kernel, (index, cut))
            weight[cut.kernel] += float(ms)
    distance = {kernel: known.distance(kernel) for kernel in places}
    picked: dict[int, list[Cut]] = defaultdict(list)
    while distance and budget > 0:
        best = max(distance, key=lambda kernel: distance[kernel] * weight[kernel] ** 0.5)
        if distance.pop(best) <= 0:
            break
        index, cut = places[best]
        picked[index].append(cut)
        known.add(best)
        budget -= 1
        point, name = _point(best), group(best)
        for kernel in distance:
            if group(kernel) == name:
                distance[kernel] = min(distance[kernel], float(np.abs(_point(kernel) - point).sum()))
    return [(models[index], cuts) for index, cuts in picked.items()]
