"""``hwbench verify``: compare what compiled blocks compute with ONNX Runtime, on a target or emulated."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwbench import cli
from hwbench.backend_arguments import BackendParser, add_backend_arguments, make_backend

if TYPE_CHECKING:
    from backends.base import Verdict
    from compofa.blocks import Block


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("verify", BackendParser)
    add_backend_arguments(p)
    p.add_argument("--emulate", action="store_true", help="run the blocks on an emulated processor")
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose blocks")
    p.add_argument("--space", default="ofa", help="only blocks that this space can use")
    p.add_argument(
        "--resolutions", type=cli.resolutions, help="128,160 or 128:224:32, in pixels (default: the lowest)"
    )
    p.add_argument("--all", action="store_true", help="every block, not one of each sort")
    p.add_argument("--blocks", type=cli.positive_int, metavar="N", help="the first N of them only")
    p.add_argument("--seed", type=cli.seed, default=0, help="of the inputs")
    p.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Verify the blocks that `args` describe; a wrong one ends it."""
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space

    family = get_family(args.family)
    blocks = get_space(args.space, family).all_blocks(args.resolutions or family.resolutions[:1])
    chosen = (blocks if args.all else one_of_each_sort(blocks))[: args.blocks]
    backend = make_backend(args)
    found = []
    with cli.progress("verifying blocks", len(chosen)) as advance:
        for verdict in backend.verify(chosen, args.emulate):
            found.append(verdict)
            advance(1)
    document = {
        "target": backend.target.to_dict(),
        "emulated": args.emulate,
        "worst_error": max(verdict.error for verdict in found),
        "blocks": [{"block": str(v.block), "error": v.error, "instructions": v.instructions} for v in found],
    }
    if args.json:
        cli.emit_json(document)
    else:
        _print(found, str(backend.target), args.emulate)
    return cli.OK


def one_of_each_sort(blocks: Sequence[Block]) -> list[Block]:
    """The smallest of `blocks` of each kind, kernel, stride, activation, with and without SE, shortcut and
    expansion."""

    def sort(block: Block) -> tuple[Any, ...]:
        return block.kind, block.kernel, block.stride, block.act, block.se, block.shortcut, block.expands

    smallest: dict[tuple[Any, ...], Block] = {}
    for block in blocks:
        if sort(block) not in smallest or block.macs < smallest[sort(block)].macs:
            smallest[sort(block)] = block
    return list(smallest.values())


def _print(found: Sequence[Verdict], target: str, emulated: bool) -> None:
    counted = any(verdict.instructions is not None for verdict in found)
    rows = [
        (str(v.block), f"{v.error:.1e}", *([f"{v.instructions:,}"] if v.instructions is not None else []))
        for v in found
    ]
    columns = ("block", "error", *(["instructions"] if counted else []))
    cli.print_table("compared with ONNX Runtime, relative to the largest output", columns, rows)
    print(f"target  {target}")
    print(
        f"where   {'emulated: instructions are counts, they are not time' if emulated else 'the target itself'}"
    )
    print(f"worst   {max(verdict.error for verdict in found):.1e}, of {len(found)} blocks")


if __name__ == "__main__":
    sys.exit(main())
