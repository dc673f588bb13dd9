"""``hwbench engines``: build the engines of a table for a GPU that is elsewhere, with TensorRT-RTX."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from backends.base import Network
    from backends.tensorrt.ahead import Report
    from backends.tensorrt.build import Graph
    from backends.tensorrt.engines import Engines
    from compofa.blocks import Block
    from compofa.spaces.space import Space


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser(
        "engines",
        epilog="Then, on the device: hwbench build_lut --backend tensorrt --runtime rtx --cache FOLDER, with the "
        "same family, space, resolutions, precision, batch and seed. exit codes: 0 all are there; 1 some graphs "
        "were refused or failed; 3 TensorRT-RTX is not installed.",
    )
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose blocks")
    p.add_argument("--space", default="ofa", help="only blocks that this space can use")
    p.add_argument(
        "--resolutions", type=cli.resolutions, help="128,160 or 128:224:32, in pixels (default: the family's)"
    )
    p.add_argument(
        "--compute-capability", required=True, metavar="X.Y", help="of the GPU, such as 8.9; nvidia-smi tells"
    )
    p.add_argument("--precision", default="fp16", help="number format")
    p.add_argument("--batch", type=cli.positive_int, default=1, help="images in one run")
    p.add_argument("--seed", type=cli.seed, default=0, help="of the weights, and of the subnets")
    p.add_argument(
        "--subnets",
        type=cli.positive_int,
        metavar="N",
        help="also those of the networks that validate --subnets N measures (default: blocks only)",
    )
    p.add_argument("--processes", type=cli.positive_int, default=2, metavar="N", help="that build")
    p.add_argument(
        "--timeout", type=cli.positive_int, default=900, metavar="SECONDS", help="that one engine may take"
    )
    p.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for the engines (default: where build_lut looks for them)"
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace, clock: Callable[[], float] = time.monotonic) -> int:
    """Build the engines that `args` describe; failed if some graph was refused or could not be built."""
    from backends.tensorrt import ahead
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space

    start = clock()
    space = get_space(args.space, get_family(args.family))
    resolutions = args.resolutions or space.family.resolutions
    blocks = space.all_blocks(resolutions)
    engines = _engines(args)
    subnets = _subnets(args, space, resolutions)
    graphs = ahead.graphs_of(
        blocks, list(subnets), precision=args.precision, batch=args.batch, seed=args.seed
    )
    report = _build(args, graphs, engines)
    refused, failed = (_named(reasons, blocks, subnets) for reasons in (report.refused, report.failed))
    summary = {
        "engines": str(engines.home),
        "library": engines.identity.library,
        "version": engines.identity.version,
        "compute_capability": engines.identity.capability,
        "family": space.family.name,
        "space": space.name,
        "resolutions": list(resolutions),
        "precision": args.precision,
        "batch": args.batch,
        "blocks": len(blocks),
        "subnets": len(subnets),
        "graphs": len(graphs),
        "built": report.built,
        "found": report.found,
        "refused": refused,
        "failed": failed,
        "checked": "on the device, before they are timed",
        "seconds": round(clock() - start, 3),
    }
    if args.json:
        cli.emit_json(summary)
    else:
        _print(summary, engines)
    for what, reasons in (("refused", refused), ("failed", failed)):
        for name, reason in reasons.items():
            cli.note(f"{what:8} {name}: {reason}")
    return cli.OK if report.ready == len(graphs) else cli.FAILED


def _engines(args: argparse.Namespace) -> Engines:
    """Where the engines are kept, and what they are for, once all that was asked is found to be possible.

    Raises:
        InputError: there is no such precision or compute capability, or the folder cannot be written.
        Unavailable: TensorRT-RTX is not installed.
    """
    from backends.tensorrt import ahead, library
    from backends.tensorrt.backend import ELEMENT_BYTES, default_folder

    if args.precision not in ELEMENT_BYTES:
        raise InputError(f"there is no precision {args.precision!r}; there are {', '.join(ELEMENT_BYTES)}")
    library.use(library.find("rtx"))
    from backends.tensorrt import rtx_calls

    rtx_calls.check_capability(args.compute_capability)
    engines = ahead.engines_for(args.compute_capability, args.out or default_folder())
    _make_folder(engines.folder)
    if damaged := engines.damaged():
        cli.warn(f"{damaged} of the engines in {engines.home} are cut or damaged: they are built anew")
    return engines


def _named(
    reasons: dict[Network, str], blocks: Sequence[Block], subnets: Mapping[Network, str]
) -> dict[str, str]:
    """The blocks that cannot be measured for one of these `reasons`, and the subnets."""
    from backends.tensorrt import ahead

    found = {str(block): reason for block, reason in ahead.by_block(reasons, blocks).items()}
    return found | {subnets[network]: reason for network, reason in reasons.items() if network in subnets}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot keep engines in {folder}: {error.strerror}") from error
    cli.check_writable(folder / "an-engine")


def _subnets(args: argparse.Namespace, space: Space, resolutions: Sequence[int]) -> dict[Network, str]:
    """The networks that ``validate`` draws with the same seed, and their names."""
    if not args.subnets:
        return {}
    import numpy as np

    from hwbench.validating.subnets import draw_at

    archs = draw_at(resolutions, space, args.subnets, np.random.default_rng(args.seed))
    return {space.blocks(arch): str(arch) for arch in archs}


def _build(args: argparse.Namespace, graphs: Sequence[Graph], engines: Engines) -> Report:
    from backends.tensorrt import ahead

    done = 0
    with cli.progress("building engines", len(graphs)) as advance:

        def count(steps: int) -> None:
            nonlocal done
            done += steps
            advance(steps)

        try:
            return ahead.build_all(
                graphs, engines, processes=args.processes, timeout_s=args.timeout, advance=count
            )
        except KeyboardInterrupt:
            kept = (
                f"{done} of {len(graphs)} engines are in {engines.home}; the same command goes on from there"
            )
            raise KeyboardInterrupt(kept) from None


def _print(summary: dict[str, Any], engines: Engines) -> None:
    """Print for people what :func:`execute` did."""
    ready = summary["built"] + summary["found"]
    rows = [
        ("folder", summary["engines"]),
        ("for", f"{engines.identity}, {summary['precision']}, batch {summary['batch']}"),
        (
            "engines",
            f"{ready} of {summary['graphs']} ({summary['built']} built now), for {summary['blocks']} blocks"
            + (f" and {summary['subnets']} subnets" if summary["subnets"] else ""),
        ),
        ("checked", summary["checked"]),
        ("time", f"{summary['seconds']} s"),
    ]
    for name, value in rows:
        print(f"{name:8} {value}")


if __name__ == "__main__":
    sys.exit(main())
