"""``hwbench train``: train a supernet by a recipe. Under torchrun, on several devices."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from compofa.stopping import deferred
from hwbench import cli

if TYPE_CHECKING:
    from compofa.training.trainer import Trainer


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("train")
    p.add_argument("--recipe", required=True, help="a shipped recipe's name, or a .toml file")
    p.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="checkpoint, log, supernet; resumed"
    )
    p.add_argument(
        "--teacher",
        type=Path,
        metavar="FILE",
        help="supernet to start and distil from, ours or a published state dict of the recipe's family",
    )
    p.add_argument("--data", help="glyphs, digits or imagefolder:PATH (default: the recipe's)")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    p.add_argument("--threads", type=cli.positive_int, help="of torch on the CPU (default: all cores)")
    p.add_argument("--amp", choices=("bf16",), help="automatic mixed precision")
    p.add_argument("--epoch-scale", type=float, help="multiplies the epochs (default: the recipe's)")
    p.add_argument(
        "--checkpoint-every",
        type=cli.positive_int,
        default=60,
        metavar="S",
        help="seconds between checkpoints",
    )
    p.add_argument("--json", action="store_true", help="print the cost as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Train, or go on training, what `args` describe."""
    from dataclasses import replace

    from compofa.recipe import Recipe

    recipe = Recipe.load(args.recipe)
    if args.data:
        recipe = replace(recipe, data=args.data)
    if args.epoch_scale is not None:
        recipe = replace(recipe, epoch_scale=args.epoch_scale)
    args.out.mkdir(parents=True, exist_ok=True)
    cli.check_writable(args.out / "log.jsonl")

    import torch

    from compofa.data import load_data
    from compofa.training.trainer import Trainer
    from hwbench.torchrun import joined

    if args.threads:
        torch.set_num_threads(args.threads)
    with joined(args.device) as device:
        data = load_data(recipe.data, "train")
        options = {"device": device, "amp": args.amp, "checkpoint_every_s": args.checkpoint_every}
        trainer = Trainer(recipe, data, args.out, args.teacher, **options)
        path = _run(trainer)
        if trainer.world.rank == 0:
            _report(args, trainer, path)
    return cli.OK


def _run(trainer: Trainer) -> Path:
    """Train to the end, or until a signal says stop: then the step that is being taken is finished first."""
    shown = cli.progress if trainer.world.rank == 0 else _silent
    path = None
    try:
        with (
            deferred("stopping at the end of a step, with a checkpoint") as stop,
            shown(f"training {trainer.recipe.name}", trainer.total_steps()) as advance,
        ):
            if done := trainer.steps_done():
                advance(done)
            path = trainer.run(lambda entry: advance(1), stop)
    except KeyboardInterrupt:
        pass  # whether it came in time is said by what there is
    if path is None:
        raise KeyboardInterrupt(f"{trainer.out} holds a checkpoint; the same command goes on from there")
    return path


@contextmanager
def _silent(label: str, total: int) -> Iterator[cli.Advance]:
    yield lambda steps: None


def _report(args: argparse.Namespace, trainer: Trainer, path: Path) -> None:
    cost, steps = trainer.cost, trainer.total_steps()
    summary = {"supernet": str(path), "recipe": trainer.recipe.name, "steps": steps, **vars(cost)}
    if args.json:
        cli.emit_json(summary)
    else:
        print(f"supernet {path}")
        print(
            f"cost     {cost.images} images, {cost.subnet_passes} image-subnet passes, "
            f"{cost.teacher_passes} teacher passes, {cost.cpu_s:.0f} processor seconds"
        )


if __name__ == "__main__":
    sys.exit(main())
