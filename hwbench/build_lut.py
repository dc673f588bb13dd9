"""``hwbench build_lut``: measure the blocks of a space into a lookup table."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench import cli
from hwbench.backend_arguments import BackendParser, add_backend_arguments, make_backend
from hwbench.budget import check_budget, informative_batches, predict_rest

if TYPE_CHECKING:
    from backends.base import Backend, Measurement
    from compofa.blocks import Block
    from compofa.spaces.space import Space
    from lut.store import Writer


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("build_lut", BackendParser)
    add_backend_arguments(p)
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose blocks")
    p.add_argument(
        "--classes",
        type=cli.positive_int,
        metavar="N",
        help="of the classifier, where a supernet of the family has others (default: the family's)",
    )
    p.add_argument("--space", default="ofa", help="only blocks that this space can use")
    p.add_argument(
        "--resolutions", type=cli.resolutions, help="128,160 or 128:224:32, in pixels (default: the family's)"
    )
    p.add_argument(
        "--budget",
        type=cli.positive_int,
        metavar="N",
        help="measure only the N blocks that tell most, and predict the others from them (default: measure all)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the order and the weights")
    p.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="table to begin or to go on with (default: in $HWBENCH_HOME/tables or ~/.cache/hwbench/tables, "
        "named after the family and the target)",
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace, clock: Callable[[], float] = time.monotonic) -> int:
    """Build or finish the table that `args` describe; failed if some block cannot be run."""
    from backends.machine.host import fingerprint
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space
    from lut import store
    from lut.table import Table
    from lut.trust import doubts

    start = clock()
    standard = get_family(args.family)
    family = replace(standard, classes=args.classes or standard.classes)
    classes = None if family == standard else family.classes
    resolutions = args.resolutions or family.resolutions
    space = get_space(args.space, family.with_resolutions(resolutions))
    wanted = space.all_blocks(resolutions)
    if args.budget:
        check_budget(args.budget)
    if args.out:
        cli.check_writable(args.out)
    backend = make_backend(args)
    if backend.caution:
        cli.note(f"warning: {backend.caution}")
    options = backend.chosen_options | ({} if classes is None else {"classes": str(classes)})
    path = args.out or store.default_path(backend.target, family.name, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.exists() and path.stat().st_size > 0
    reference = None if begun else backend.reference
    header = store.Header(
        target=backend.target,
        family=family.name,
        space=space.name,
        resolutions=resolutions,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        host=fingerprint().to_dict() | ({"reference": reference} if reference else {}),
        classes=classes,
    )
    with store.Writer(path, header) as writer:
        backend.use_reference(writer.header.host.get("reference"))
        batches, total = plan(args, writer, space, resolutions)
        work = measure(backend, writer, batches, total=total, wanted=wanted, clock=clock)
        predicted = predict_rest(writer, wanted, args.seed) if _leaves_some(args, wanted) else None
        summary = {
            "lut": str(path),
            "family": family.name,
            "space": space.name,
            "resolutions": list(resolutions),
            "target": writer.header.target.to_dict(),
            "classes": family.classes,
            "entries": len(writer.entries),
            "measured": work.added.get("measured", 0),
            "modelled": work.added.get("modelled", 0),
            "predicted": predicted,
            "noisy": sum(m.noisy for m in writer.entries.values()),
            "fewest_trials": fewest_trials(writer.entries.values()),
            "failed": {str(block): reason for block, reason in writer.failures.items()},
            "seconds": round(clock() - start, 3),
            "seconds_measuring": round(work.measuring_s, 3),
            "seconds_timing": None if work.timing_s is None else round(work.timing_s, 3),
        }
        against = doubts(Table(writer.header, writer.entries, writer.failures))
    if args.json:
        cli.emit_json(summary)
    else:
        print_summary(summary, str(backend.target))
    for block, reason in writer.failures.items():
        cli.note(f"failed   {block}: {reason}")
    for doubt in against:
        if doubt.kind in ("noisy", "implausible"):
            cli.note(f"warning: {path}: {doubt.text}")
    return cli.FAILED if writer.failures else cli.OK


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


def _leaves_some(args: argparse.Namespace, wanted: Sequence[Block]) -> bool:
    return args.budget is not None and args.budget < len(wanted)


def plan(
    args: argparse.Namespace, writer: Writer, space: Space, resolutions: Sequence[int]
) -> tuple[Iterator[list[Block]], int]:
    """The batches to measure, and how many blocks these are in all; what `writer` has is not measured again."""
    from backends.base import BATCH_OF_BLOCKS
    from lut.gaps import known_entries

    wanted = space.all_blocks(resolutions)
    known = known_entries(writer.entries)
    todo = [block for block in wanted if block not in known]
    done = len(wanted) - len(todo)
    if done:
        cli.note(f"{writer.path} has {done} of {len(wanted)} blocks already")
    if not _leaves_some(args, wanted):
        return iter([in_random_order(todo, args.seed)]), len(todo)
    batches = informative_batches(
        writer, space, resolutions, budget=args.budget, seed=args.seed, size=BATCH_OF_BLOCKS
    )
    return batches, max(args.budget - done, 0)


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
    with cli.progress(label, total) as advance:
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
    from lut.gaps import known_entries

    there = store.read(path)[1] if path.stat().st_size else {}
    done = len(known_entries(there).keys() & set(wanted))
    return f"{done} of {len(wanted)} blocks are in {path}; the same command goes on from there"


def fewest_trials(measurements: Iterable[Measurement]) -> int | None:
    """Of the tuning behind any of `measurements`; None where nothing is tuned or could be."""
    found = [dict(m.details).get("tuning_trials") for m in measurements]
    return min((int(trials) for trials in found if trials is not None), default=None)


def _in_backend(summary: dict[str, Any]) -> str:
    timing = summary["seconds_timing"]
    return f"the backend {summary['seconds_measuring']} s" if timing is None else f"timing {timing} s"


def _origins(summary: dict[str, Any]) -> str:
    from lut.table import in_words

    now = {origin: summary[origin] for origin in ("measured", "modelled") if summary[origin]}
    predicted = f", {summary['predicted']['blocks']} predicted" if summary["predicted"] else ""
    return f"{in_words(now)} now, {summary['noisy']} noisy{predicted}" if now else f"none new{predicted}"


def print_summary(summary: dict[str, Any], target: str) -> None:
    """Print for people what :func:`execute` did."""
    rows = [
        ("file", str(summary["lut"])),
        ("target", target),
        ("entries", f"{summary['entries']} ({_origins(summary)})"),
        ("time", f"{summary['seconds']} s, of which {_in_backend(summary)}"),
    ]
    if summary["fewest_trials"] is not None:
        trials = summary["fewest_trials"]
        rows.append(("tuning", f"{trials} trials or more for each operator" if trials else "none"))
    for name, value in rows:
        print(f"{name:8} {value}")


if __name__ == "__main__":
    sys.exit(main())
