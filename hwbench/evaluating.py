"""Measured accuracies of subnets as they are asked for: on the cores of this machine, or on the devices that torchrun
gave a process each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base import Progress, no_progress, nobody_hears
from compofa.errors import InputError
from hwbench.extras import need
from hwbench.torchrun import joined

if TYPE_CHECKING:
    from compofa.accuracy import Accuracies, AccuracyFile, Header
    from compofa.evaluate import Evaluator
    from compofa.opened import Opened
    from compofa.spaces.arch import Arch
    from compofa.spaces.space import Space

WORTH_SAYING_S = 20
"""Work that takes less is not announced."""

Choice = Callable[["Space"], Sequence["Arch"]]
"""Chooses subnets of a space of the supernet's family."""


@dataclass(frozen=True)
class Evaluated:
    """Measured accuracies.

    Args:
        accuracies: all that the file holds.
        archs: the distinct subnets that were asked for.
    """

    accuracies: Accuracies
    archs: tuple[Arch, ...]

    @property
    def values(self) -> list[float]:
        """Shares of the images that were classified right, of each of `archs`."""
        return [self.accuracies.accuracy(arch) for arch in self.archs]

    @property
    def summary(self) -> dict[str, Any]:
        """JSON-ready.

        Raises:
            InputError: there is no subnet.
        """
        values, header = self.values, self.accuracies.header
        if not values:
            raise InputError("no subnet was evaluated: nothing can be said of none")
        mean = sum(values) / len(values)
        return {
            "subnets": len(values),
            "images": header.images,
            "data": header.data,
            "precision": header.precision,
            "calibration_images": header.calibration_images,
            "supernet_sha256": header.supernet_sha256,
            "mean": mean,
            "lowest": min(values),
            "highest": max(values),
            "standard_error": self.accuracies.standard_error(mean),
        }


def evaluate(
    supernet: str | Path,
    subnets: Sequence[Arch] | Choice,
    *,
    space: str = "compofa",
    out: str | Path | None = None,
    data: str | None = None,
    family: str | None = None,
    device: str = "cpu",
    workers: int | None = None,
    data_workers: int | None = None,
    precision: str = "fp32",
    progress: Progress = no_progress,
    say: Callable[[str], None] = nobody_hears,
) -> Evaluated:
    """Measure the accuracy of subnets, each with BN statistics of its own, on the test split. Under torchrun each
    process calls it, and all get the same.

    >>> import hwbench, tempfile
    >>> smallest = hwbench.Arch.parse("r16-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3-k3e3_k3e3")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = hwbench.train("digits-teacher", out=f"{folder}/run", epoch_scale=0.002)
    ...     found = hwbench.evaluate(trained.path, [smallest], space="ofa", workers=1)
    >>> len(found.values), 0 <= found.values[0] <= 1
    (1, True)

    Args:
        supernet: written by :func:`hwbench.training_runs.train`, or a published state dict of `family`.
        subnets: which; or what chooses them in a space of the supernet's family, such as :func:`choose`.
        space: that space.
        out: a file to go on with: what it has is not measured again, and each subnet is kept as soon as it is measured.
        data: name of a data set (:func:`compofa.data.load_data`); that of the training unless given.
        family: of a published state dict.
        device: torch device.
        workers: processes of one thread, on the CPU; one for each core unless given.
        data_workers: processes that read images, each; unless given what the cores allow where the network leaves any.
        precision: ``int8``: each subnet is quantised with the images that it recalibrates BN with, and run by ONNX
            Runtime in this process (:mod:`hwbench.int8_accuracy`).
        progress: shows it.
        say: told what whoever waits should know.

    Raises:
        InputError: the supernet, the data or a subnet does not fit, or the file holds accuracies of something else.
        RunFailed: a process was lost, a subnet computes what is not finite, or another process adds to the file.
        Unavailable: torch cannot use the device, or a library is missing.
        KeyboardInterrupt: it was told to stop; the file keeps what was measured.
        OSError: a file cannot be read or written.
    """
    need("torch", "evaluating")
    from compofa.accuracy import Accuracies, AccuracyFile
    from compofa.evaluate import Evaluator
    from compofa.opened import open_with_data
    from compofa.parallel_evaluation import Source, correct_counts, shared_counts
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from compofa.world import World

    supernet, out = Path(supernet), Path(out) if out else None
    workers = workers or os.cpu_count() or 1
    with joined(device) as mine:
        world = World.joined()
        opened = open_with_data(supernet, data, family)
        header = make_header(opened, precision)
        choose = subnets if callable(subnets) else all_of(subnets)
        archs = tuple(dict.fromkeys(choose(get_space(space, get_family(header.family)))))
        together = world.size > 1
        in_int8 = check_precision(precision, together or device != "cpu")
        workers = 1 if in_int8 else workers
        # only the CPU is shared among several
        at_once = world.size if together else workers if device == "cpu" else 1
        if data_workers is None and device == "cpu" and not together and workers > 1:
            data_workers = 0  # processes enough are at work already
        evaluator = Evaluator(
            opened.supernet, opened.train, opened.test, device=mine, data_workers=data_workers
        )

        def counts(todo: Sequence[Arch]) -> Iterator[int]:
            if in_int8:
                return counts_in_int8(evaluator, todo)
            if together:
                return shared_counts(evaluator, world.from_first(todo), world)
            return correct_counts(evaluator, Source(supernet, opened.data, family), todo, at_once)

        if world.rank:
            deque(counts([]), maxlen=0)  # process 0 says which, and takes the results
            return Evaluated(world.from_first(Accuracies(header)), archs)
        with AccuracyFile(out, header) if out else _Unkept(header) as file:
            todo = [arch for arch in archs if arch not in file.accuracies.correct]
            todo.sort(key=lambda arch: arch.resolution)  # images of one at a time are kept
            if len(todo) < len(archs):
                say(f"{out} has {len(archs) - len(todo)} of {len(archs)} subnets already")
            if todo:
                announce(evaluator, todo, at_once, say)
            _fill(file, out, todo, counts(todo), progress)
            return Evaluated(world.from_first(file.accuracies), archs)


def check_precision(precision: str, elsewhere: bool) -> bool:
    """Whether it is int8.

    Args:
        precision: that was asked for.
        elsewhere: several processes or a GPU are to do it.

    Raises:
        InputError: there is no such precision, or not there.
    """
    if precision not in ("fp32", "int8"):
        raise InputError(f"accuracies are measured in fp32 or int8, not {precision!r}")
    if precision == "int8" and elsewhere:
        raise InputError(
            "accuracies in int8 are ONNX Runtime's on this CPU, in one process: leave out the device"
        )
    return precision == "int8"


def counts_in_int8(evaluator: Evaluator, todo: Sequence[Arch]) -> Iterator[int]:
    """Test images that each of `todo` classifies right in int8."""
    from hwbench.int8_accuracy import correct_in_int8

    return (correct_in_int8(evaluator, arch) for arch in todo)


class _Unkept:
    """Accuracies that go into no file."""

    def __init__(self, header: Header) -> None:
        from compofa.accuracy import Accuracies

        self.accuracies = Accuracies(header)

    def add(self, arch: Arch, correct: int) -> None:
        """As :meth:`compofa.accuracy.AccuracyFile.add`."""
        self.accuracies.correct[arch] = correct

    def __enter__(self) -> _Unkept:
        return self

    def __exit__(self, *error: object) -> None: ...


def _fill(
    file: AccuracyFile | _Unkept,
    out: Path | None,
    todo: Sequence[Arch],
    counts: Iterator[int],
    progress: Progress,
) -> None:
    try:
        with progress("evaluating subnets", len(todo)) as advance:
            for arch, correct in zip(todo, counts, strict=True):
                file.add(arch, correct)
                advance(1)
    except KeyboardInterrupt:
        if out is None:
            raise
        raise KeyboardInterrupt(f"{out} keeps what was measured; the same command goes on") from None


def announce(evaluator: Evaluator, todo: Sequence[Arch], at_once: int, say: Callable[[str], None]) -> None:
    """Say how long it will take, where that is long."""
    from hwbench.training_progress import duration

    seconds = evaluator.estimated_s(todo) / at_once
    if seconds > WORTH_SAYING_S:
        say(
            f"about {duration(seconds)} for {len(todo)} subnets on {len(evaluator.test)} images (measured on a batch"
            " of three of them)"
        )


def make_header(opened: Opened, precision: str = "fp32") -> Header:
    """What the accuracies that are measured are of."""
    from compofa.accuracy import Header
    from compofa.evaluate import CALIBRATION_IMAGES
    from compofa.identity import hash_names

    identity = opened.identity
    return Header(
        family=identity.family,
        supernet=identity.recipe or "published",
        supernet_sha256=identity.sha256,
        data=opened.test.name,
        images=len(opened.test),
        calibration_images=min(CALIBRATION_IMAGES, len(opened.train)),
        classes=identity.classes,
        class_names_sha256=hash_names(opened.test.class_names),
        precision=precision,
    )


def all_of(subnets: Sequence[Arch]) -> Choice:
    """A choice of these.

    Raises:
        InputError: one is not of the space (when it chooses).
    """

    def choose_these(space: Space) -> list[Arch]:
        for arch in subnets:
            space.check(arch)
        return list(subnets)

    return choose_these


def choose(space: Space, sample: int | None, seed: int) -> list[Arch]:
    """Distinct random subnets of `space`, or all.

    Raises:
        InputError: the space is too large to evaluate all, or smaller than the sample.
    """
    import numpy as np

    total = space.size() * len(space.family.resolutions)
    if sample is None:
        if total > 100_000:
            raise InputError(f"{space.name} has {total:.1e} subnets: say how many with --sample N")
        return list(space.enumerate())
    if sample > total:
        raise InputError(f"{space.name} has only {total} subnets, not {sample}")
    rng = np.random.default_rng(seed)
    found: dict[Arch, None] = {}
    while len(found) < sample:
        found[space.sample(rng)] = None
    return list(found)
