"""A build as it is asked for: a backend and a space in, a table out."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench.budget import check_budget, informative_batches, predict_rest
from hwbench.telling import note, progress, progress_lines, warn

if TYPE_CHECKING:
    from backends.base import Backend, Measurement
    from compofa.blocks import Block
    from compofa.spaces.space import Space
    from lut.store import Writer
    from lut.table import Table


@dataclass(frozen=True)
class Built:
    """A table that was built or finished.

    Args:
        path: its file.
        table: its blocks.
        summary: what was done, JSON-ready.
    """

    path: Path
    table: Table
    summary: dict[str, Any]

    @property
    def failures(self) -> dict[Block, str]:
        """Blocks that cannot run there, and why."""
        return dict(self.table.failures)

    def to_frame(self) -> Any:
        """Every block as a row of a pandas data frame, see :mod:`lut.formats.flat`."""
        from hwbench.subnets import to_frame
        from lut.formats.flat import rows

        return to_frame(rows(self.table))

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} cannot run" if self.failures else ""
        return f"{self.path}: {len(self.table.entries)} blocks of {self.table.family.name}{failed}, {self.table.target}"


def build_table(
    backend: str | Backend = "onnxruntime",
    *,
    family: str = "glyphs",
    space: str = "ofa",
    resolutions: Sequence[int] | None = None,
    classes: int | None = None,
    precision: str | None = None,
    batch: int = 1,
    threads: int = 1,
    options: Mapping[str, str] | None = None,
    budget: int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Built:
    """Measure the blocks of a space into a lookup table, or finish one that was begun.

    >>> import hwbench, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     built = hwbench.build_table(
    ...         "fpga", options={"target": "zcu102-b4096"}, space="compofa", out=f"{folder}/dpu.jsonl"
    ...     )
    >>> len(built.table.entries) > 50 and not built.failures
    True

    Args:
        backend: what measures: a name, or a backend that was made already; the settings below are then its own.
        family: whose blocks.
        space: only blocks that this space can use.
        resolutions: in pixels (default: the family's).
        classes: of the classifier, where a supernet of the family has others.
        precision: number format (default: the backend's).
        batch: images in one run.
        threads: of one run.
        options: the backend's own, by name.
        budget: measure only so many blocks, those that tell most, and predict the others from them.
        out: the file (default: in ``$HWBENCH_HOME/tables``, named after the family and the target); if it is there and
            of this target, only what it lacks is measured.
        seed: of the order and the weights.
        clock: in seconds.

    Raises:
        InputError: there is no such backend, family or space, or the file is of another target.
        BackendUnavailable: the backend cannot run here.
        KeyboardInterrupt: Ctrl-C; what was measured is kept, and the same call goes on from there.
    """
    from backends.machine.host import fingerprint
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from lut import store
    from lut.header import Header
    from lut.paths import default_path
    from lut.table import Table

    start = clock()
    standard = get_family(family)
    built = replace(standard, classes=classes or standard.classes)
    other_classes = None if built == standard else built.classes
    sides = tuple(resolutions or built.resolutions)
    searched = get_space(space, built.with_resolutions(sides))
    wanted = searched.all_blocks(sides)
    if budget:
        check_budget(budget)
    device = (
        open_backend(backend, precision, batch, threads, seed, options)
        if isinstance(backend, str)
        else backend
    )
    if device.caution:
        warn(device.caution)
    named = device.chosen_options | ({} if other_classes is None else {"classes": str(other_classes)})
    path = Path(out) if out else default_path(device.target, built.name, named)
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.exists() and path.stat().st_size > 0
    reference = None if begun else device.reference
    header = Header(
        target=device.target,
        family=built.name,
        space=searched.name,
        resolutions=sides,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        host=fingerprint().to_dict() | ({"reference": reference} if reference else {}),
        classes=other_classes,
    )
    with store.Writer(path, header) as writer:
        device.use_reference(writer.header.host.get("reference"))
        batches, total = plan(writer, searched, sides, budget, seed)
        work = measure(device, writer, batches, total=total, wanted=wanted, clock=clock)
        predicted = predict_rest(writer, wanted, seed) if _leaves_some(budget, wanted) else None
        table = Table(writer.header, writer.entries, writer.failures)
    return Built(
        path,
        table,
        {
            "lut": str(path),
            "family": built.name,
            "space": searched.name,
            "resolutions": list(sides),
            "target": table.target.to_dict(),
            "classes": built.classes,
            "entries": len(table.entries),
            "measured": work.added.get("measured", 0),
            "modelled": work.added.get("modelled", 0),
            "predicted": predicted,
            "noisy": sum(m.noisy for m in table.entries.values()),
            "fewest_trials": fewest_trials(table.entries.values()),
            "failed": {str(block): reason for block, reason in table.failures.items()},
            "seconds": round(clock() - start, 3),
            "seconds_measuring": round(work.measuring_s, 3),
            "seconds_timing": None if work.timing_s is None else round(work.timing_s, 3),
        },
    )


def open_backend(
    name: str,
    precision: str | None = None,
    batch: int = 1,
    threads: int = 1,
    seed: int = 0,
    options: Mapping[str, str] | None = None,
) -> Backend:
    """The backend `name` with these settings.

    Raises:
        BackendUnavailable: it cannot run here.
        InputError: there is no such backend, or it cannot do what is asked.
    """
    from backends import registry
    from backends.base import Settings

    kind = registry.load(name)
    backend = kind(Settings(precision or kind.default_precision, batch, threads, seed, dict(options or {})))
    backend.progress, backend.say = progress_lines, note
    return backend


@dataclass
class Work:
    """What a build did.

    Args:
        added: entries, by their origin.
        measuring_s: seconds inside the backend, making the models ready included.
        timing_s: seconds of these inside its timing loop; None if it does not time.
    """

    added: Counter[str] = field(default_factory=Counter)
    measuring_s: float = 0.0
    timing_s: float | None = None


def _leaves_some(budget: int | None, wanted: Sequence[Block]) -> bool:
    return budget is not None and budget < len(wanted)


def plan(
    writer: Writer, space: Space, resolutions: Sequence[int], budget: int | None, seed: int
) -> tuple[Iterator[list[Block]], int]:
    """The batches to measure, and how many blocks these are in all; what `writer` has is not measured again."""
    from backends.base import BATCH_OF_BLOCKS
    from lut.table import known_entries

    wanted = space.all_blocks(resolutions)
    known = known_entries(writer.entries)
    todo = [block for block in wanted if block not in known]
    done = len(wanted) - len(todo)
    if done:
        note(f"{writer.path} has {done} of {len(wanted)} blocks already")
    if budget is None or not _leaves_some(budget, wanted):
        return iter([in_random_order(todo, seed)]), len(todo)
    batches = informative_batches(writer, space, resolutions, budget=budget, seed=seed, size=BATCH_OF_BLOCKS)
    return batches, max(budget - done, 0)


def in_random_order(blocks: Sequence[Block], seed: int) -> list[Block]:
    """All of `blocks`."""
    shuffled = list(blocks)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def measure(
    backend: Backend,
    writer: Writer,
    batches: Iterable[list[Block]],
    *,
    total: int,
    wanted: Sequence[Block],
    clock: Callable[[], float],
) -> Work:
    """Measure `batches`, `total` blocks in all, and append each before the next one is asked for.

    Raises:
        KeyboardInterrupt: Ctrl-C; says how many of `wanted` are there.
        OSError: the disk is full; the batches before stay.
    """
    work = Work()
    label = "measuring blocks" if backend.origin == "measured" else "modelling blocks"
    with progress(label, total) as advance:
        try:
            before = clock()
            for batch in chain.from_iterable(map(backend.as_they_come, batches)):
                work.measuring_s += clock() - before
                writer.append(batch.entries)
                writer.append_failures(batch.failures)
                work.added.update(m.origin for _, m in batch.entries)
                advance(len(batch.entries) + len(batch.failures))
                before = clock()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(writer.path, wanted)) from None
    work.timing_s = backend.timing_s
    return work


def _kept(path: Path, wanted: Sequence[Block]) -> str:
    """What is in the file, which may be more than the writer knows: Ctrl-C can come while it writes."""
    from lut import store
    from lut.table import known_entries

    there = store.read(path)[1] if path.stat().st_size else {}
    done = len(known_entries(there).keys() & set(wanted))
    return f"{done} of {len(wanted)} blocks are in {path}; the same command goes on from there"


def fewest_trials(measurements: Iterable[Measurement]) -> int | None:
    """Of the tuning behind any of `measurements`; None where nothing is tuned or could be."""
    found = [dict(m.details).get("tuning_trials") for m in measurements]
    return min((int(trials) for trials in found if trials is not None), default=None)
