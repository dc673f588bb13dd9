"""``hwbench trace``: where the modelled cycles of a network on an FPGA go, tile by tile."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwbench import cli

if TYPE_CHECKING:
    from backends.fpga.explain import LayerCost
    from backends.fpga.target import FpgaTarget
    from compofa.blocks import Block


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("trace")
    p.add_argument("--target", default="zcu102-b4096", help="a target of the fpga backend, or a .toml file")
    p.add_argument("--precision", default="int8", help="number format")
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose subnet")
    p.add_argument("--arch", help="the subnet, as r32-k3e6_k5e4-... (default: the largest)")
    p.add_argument("--trace", type=Path, metavar="FILE.json", help="every tile, for chrome://tracing")
    p.add_argument("--out", type=Path, metavar="PICTURE", help="png, svg or pdf: cycles by block, roofline")
    p.add_argument("--json", action="store_true", help="print the blocks' cycles as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


@dataclass(frozen=True)
class BlockCost:
    """A block's layers, simulated."""

    block: Block
    layers: list[LayerCost]

    def share(self, what: str) -> int:
        """Cycles of all layers for ``compute``, ``memory`` or ``overhead``."""
        return sum(getattr(layer, f"{what}_cycles") for layer in self.layers)


SHARES = ("compute", "memory", "overhead")


def execute(args: argparse.Namespace) -> int:
    """Simulate, write, draw."""
    if args.trace:
        cli.check_writable(args.trace, (".json",))
    if args.out:
        cli.check_writable(args.out, cli.PICTURE_SUFFIXES)
    from backends.fpga.explain import explain
    from backends.fpga.layers import lower
    from backends.fpga.target import load_target
    from compofa.network import arch_blocks
    from compofa.spaces.arch import Arch, extreme
    from compofa.spaces.registry import get_family

    family = get_family(args.family)
    arch = Arch.parse(args.arch) if args.arch else extreme(family, largest=True)
    target = load_target(args.target)
    costs = [
        BlockCost(block, explain(lower(block), target, args.precision)) for block in arch_blocks(family, arch)
    ]
    if args.trace:
        _write_trace(args.trace, costs, target)
    document = describe(costs, target, str(arch))
    if args.out:
        from hwbench.roofline import draw_costs

        draw_costs(
            args.out,
            costs=costs,
            target=target,
            precision=args.precision,
            title=f"{family.name} {arch}",
        )
        document["picture"] = str(args.out)
    if args.json:
        cli.emit_json(document)
    else:
        _print(document)
    return cli.OK


def describe(costs: Sequence[BlockCost], target: FpgaTarget, arch: str) -> dict[str, Any]:
    """What was found, JSON-ready; times are modelled."""
    rows = [
        {"block": str(cost.block), **{f"{share}_cycles": cost.share(share) for share in SHARES}}
        for cost in costs
    ]
    total = sum(cost.share(share) for cost in costs for share in SHARES) + target.call_cycles
    return {
        "target": target.name,
        "device": target.device,
        "arch": arch,
        "origin": "modelled",
        "cycles": total,
        "latency_ms": target.milliseconds(total),
        "blocks": rows,
    }


def _write_trace(path: Path, costs: Sequence[BlockCost], target: FpgaTarget) -> None:
    from backends.fpga.simulator import write_trace

    timelines = [
        (f"{i} {cost.block.kind} {layer.layer.name}".strip(), layer.timeline)
        for i, cost in enumerate(costs)
        for layer in cost.layers
    ]
    write_trace(path, timelines, target.clock_mhz, pause=target.layer_cycles)


def _print(document: dict[str, Any]) -> None:
    cli.print_table(
        f"modelled cycles on {document['device']}",
        ("block", *SHARES),
        [(row["block"], *(f"{row[f'{share}_cycles']:,}" for share in SHARES)) for row in document["blocks"]],
    )
    print(f"total    {document['cycles']:,} cycles, {document['latency_ms']:.3f} ms modelled")
    if document.get("picture"):
        print(f"picture  {document['picture']}")


if __name__ == "__main__":
    sys.exit(main())
