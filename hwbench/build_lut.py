"""``hwbench build_lut``: measure the blocks of a space into a lookup table."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hwbench import cli
from hwbench.backend_arguments import BackendParser, add_backend_arguments, make_backend

if TYPE_CHECKING:
    from backends.base import Backend
    from compofa.blocks import Block
    from lut.store import Writer


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("build_lut", BackendParser)
    add_backend_arguments(p)
    p.add_argument("--family", default="glyphs", help="whose blocks")
    p.add_argument("--space", default="ofa", help="only blocks that this space can use")
    p.add_argument(
        "--resolutions", type=cli.resolutions, help="128,160 or 128:224:32, in pixels (default: the family's)"
    )
    p.add_argument("--seed", type=int, default=0, help="of the order and the weights")
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
    """Build or finish the table that `args` describe."""
    from backends.host import fingerprint
    from compofa.families import get_family
    from compofa.spaces import get_space
    from lut import store

    start = clock()
    family = get_family(args.family)
    space = get_space(args.space, family)
    resolutions = args.resolutions or family.resolutions
    wanted = space.all_blocks(resolutions)
    if args.out:
        cli.check_writable(args.out)
    backend = make_backend(args)
    if backend.caution:
        cli.note(f"warning: {backend.caution}")
    path = args.out or store.default_path(backend.target, family.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = store.Header(
        target=backend.target,
        family=family.name,
        space=space.name,
        resolutions=resolutions,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        host=fingerprint().to_dict(),
    )
    with store.Writer(path, header) as writer:
        work = measure(backend, writer, wanted, seed=args.seed, clock=clock)
        summary = {
            "lut": str(path),
            "family": family.name,
            "space": space.name,
            "resolutions": list(resolutions),
            "target": writer.header.target.to_dict(),
            "entries": len(writer.entries),
            "measured": work.measured,
            "noisy": sum(m.noisy for m in writer.entries.values()),
            "fewest_trials": min(
                (m.trials for m in writer.entries.values() if m.trials is not None), default=None
            ),
            "seconds": round(clock() - start, 3),
            "seconds_measuring": round(work.measuring_s, 3),
            "seconds_timing": None if work.timing_s is None else round(work.timing_s, 3),
        }
    if args.json:
        cli.emit_json(summary)
    else:
        print_summary(summary, str(backend.target))
    return cli.OK


@dataclass
class Work:
    """What a build did.

    Args:
        measured: blocks.
        measuring_s: seconds inside the backend, making the models ready included.
        timing_s: seconds of these inside its timing loop; None if it does not time.
    """

    measured: int = 0
    measuring_s: float = 0.0
    timing_s: float | None = None


def measure(
    backend: Backend, writer: Writer, wanted: Sequence[Block], *, seed: int, clock: Callable[[], float]
) -> Work:
    """Measure those of `wanted` that `writer` has not yet, in random order, batch by batch.

    Raises:
        KeyboardInterrupt: Ctrl-C; says what was kept.
        OSError: the disk is full; the batches before stay.
    """
    todo = [block for block in wanted if block not in writer.entries]
    random.Random(seed).shuffle(todo)
    work = Work()
    if len(todo) < len(wanted):
        cli.note(f"{writer.path} has {len(wanted) - len(todo)} of {len(wanted)} blocks already")
    with cli.progress("measuring blocks", len(todo)) as advance:
        try:
            before = clock()
            for batch, measurements in backend.as_they_come(todo):
                work.measuring_s += clock() - before
                writer.append(zip(batch, measurements, strict=True))
                work.measured += len(batch)
                advance(len(batch))
                before = clock()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept(writer.path, wanted)) from None
    work.timing_s = backend.timing_s
    return work


def _kept(path: Path, wanted: Sequence[Block]) -> str:
    """What is in the file, which may be more than the writer knows: Ctrl-C can come while it writes."""
    from lut import store

    done = len(store.read(path)[1].keys() & set(wanted))
    return f"{done} of {len(wanted)} blocks are in {path}; the same command goes on from there"


def _in_backend(summary: dict[str, object]) -> str:
    timing = summary["seconds_timing"]
    return f"measuring {summary['seconds_measuring']} s" if timing is None else f"timing {timing} s"


def print_summary(summary: dict[str, object], target: str) -> None:
    """Print for people what :func:`execute` did."""
    rows = [
        ("file", str(summary["lut"])),
        ("target", target),
        ("entries", f"{summary['entries']} ({summary['measured']} measured now, {summary['noisy']} noisy)"),
        ("time", f"{summary['seconds']} s, of which {_in_backend(summary)}"),
    ]
    if summary["fewest_trials"] is not None:
        rows.append(("tuning", f"{summary['fewest_trials']} trials or more for each operator"))
    for name, value in rows:
        print(f"{name:8} {value}")


if __name__ == "__main__":
    sys.exit(main())
