"""``hwbench describe``: what a network is made of, and what it costs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    from compofa.blocks import Block
    from lut.model import LatencyModel

MOST_CONFIG_BYTES = 10_000_000


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("describe")
    p.add_argument(
        "network",
        help="a subnet as search prints it (r32-k3e6_...), or a file: a net.config as OFA publishes it, alone or "
        "beside the side of its images, or a subnet as {ks, e, d, r}",
    )
    p.add_argument(
        "--family", type=cli.family, default="glyphs", help="whose subnet it is; a net.config needs none"
    )
    p.add_argument("--resolution", type=cli.positive_int, help="input side in pixels, of a net.config")
    p.add_argument("--lut", type=Path, metavar="FILE", help="a table that holds its blocks: latency of each")
    p.add_argument("--json", action="store_true", help="print all of it as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


@dataclass(frozen=True)
class Latency:
    """What a table says of a network: each block, and the whole."""

    blocks_ms: tuple[float, ...]
    network_ms: float
    model: LatencyModel


def execute(args: argparse.Namespace) -> int:
    """Read the network and print its blocks."""
    blocks = read_network(args)
    latency = predict(args.lut, blocks) if args.lut else None
    document = describe(blocks, latency)
    if args.json:
        cli.emit_json(document)
    else:
        _print(args.network, document)
    return cli.OK


def read_network(args: argparse.Namespace) -> tuple[Block, ...]:
    """The network that `args` name.

    Raises:
        InputError: it is neither a subnet of the family nor a published configuration.
    """
    from compofa.network import arch_blocks
    from compofa.spaces.arch import Arch
    from compofa.spaces.registry import get_family

    path = Path(args.network)
    if path.is_file():
        return _read_file(path, args.resolution, args.family)
    if args.resolution:
        raise InputError("a subnet says its resolution itself: leave --resolution out")
    return arch_blocks(get_family(args.family), Arch.parse(args.network))


def _read_file(path: Path, resolution: int | None, family: str) -> tuple[Block, ...]:
    """The network in a file of JSON: a net.config, alone or beside the side of its images, or a subnet of the family in
    any of the forms of :mod:`compofa.configs`."""
    from compofa.configs import SIDES, parse_config
    from compofa.files import parse_json, read_text
    from compofa.network import arch_blocks
    from compofa.published_networks import published_network
    from compofa.spaces.registry import get_family

    try:
        value = parse_json(read_text(path, MOST_CONFIG_BYTES))
        known = value if isinstance(value, dict) else {}
        if known.keys() & {"arch", "ks", "w"}:
            return arch_blocks(get_family(family), parse_config(get_family(family), value))
        side = resolution or next((known[key] for key in SIDES if key in known), None)
        if type(side) is not int:
            raise InputError("a net.config does not say its resolution: give --resolution")
        return published_network(known.get("config", value), side)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def predict(lut: Path, blocks: tuple[Block, ...]) -> Latency:
    """The latencies of `blocks` by the table at `lut`.

    Raises:
        MissingEntry: the table lacks one of them.
    """
    from lut.calibration import load_model

    model = load_model(lut)
    return Latency(
        tuple(model.table.latency_ms((block,)) for block in blocks), model.latency_ms(blocks), model
    )


def describe(blocks: tuple[Block, ...], latency: Latency | None) -> dict[str, Any]:
    """Blocks and totals, JSON-ready. `activations` are the values that a block holds at once."""
    from compofa.blocks import total_macs, total_params

    rows = [
        {
            "block": str(block),
            "in_shape": list(block.in_shape),
            "out_shape": list(block.out_shape),
            "macs": block.macs,
            "params": block.params,
            "activations": block.peak_activations,
            **({"latency_ms": latency.blocks_ms[i]} if latency else {}),
        }
        for i, block in enumerate(blocks)
    ]
    return {
        "blocks": rows,
        "macs": total_macs(blocks),
        "params": total_params(blocks),
        "peak_activations": max(block.peak_activations for block in blocks),
        "latency": latency
        and {
            "predicted_ms": latency.network_ms,
            "calibrated": latency.model.calibrated,
            "blocks": latency.model.table.origins,
            "target": latency.model.target.to_dict(),
        },
    }


def _print(name: str, document: dict[str, Any]) -> None:
    latency = document["latency"]
    columns = ["block", "output", "MACs (M)", "parameters", "activations"]
    rows = [
        [
            row["block"],
            "x".join(map(str, row["out_shape"])),
            f"{row['macs'] / 1e6:.3f}",
            f"{row['params']:,}",
            f"{row['activations']:,}",
            *([f"{row['latency_ms']:.4f}"] if latency else []),
        ]
        for row in document["blocks"]
    ]
    cli.print_table(name, [*columns, *(["latency (ms)"] if latency else [])], rows)
    print(f"MACs        {document['macs'] / 1e6:.2f} M")
    print(f"parameters  {document['params'] / 1e6:.3f} M")
    print(f"activations {document['peak_activations']:,} values at once for one image, at most")
    if latency:
        from backends.base import Target

        how = "calibrated" if latency["calibrated"] else "plain sum of blocks, not calibrated"
        print(f"latency     {latency['predicted_ms']:.4f} ms predicted ({how})")
        print(f"target      {Target.from_dict(latency['target'])}")


if __name__ == "__main__":
    sys.exit(main())
