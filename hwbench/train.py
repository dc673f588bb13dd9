"""``hwbench train``: train a supernet by a recipe. Under torchrun, on several devices."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.stopping import deferred
from hwbench import cli

if TYPE_CHECKING:
    from compofa.recipe import Recipe
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
    p.add_argument(
        "--data", help="glyphs, digits, imagefolder:PATH or webdataset:PATTERN (default: the recipe's)"
    )
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    p.add_argument("--threads", type=cli.positive_int, help="of torch on the CPU (default: all cores)")
    p.add_argument("--amp", choices=("bf16", "fp16"), help="automatic mixed precision")
    p.add_argument(
        "--micro-batch",
        type=cli.positive_int,
        metavar="N",
        help="images that go through a network at once, to save memory (default: a process's share of the batch)",
    )
    p.add_argument(
        "--data-workers",
        type=cli.positive_int,
        metavar="N",
        help="processes that read images, for each process that trains (default: all cores but one)",
    )
    p.add_argument(
        "--epoch-scale", type=cli.positive_number, help="multiplies the epochs (default: the recipe's)"
    )
    p.add_argument("--seed", type=cli.seed, help="of everything random (default: the recipe's)")
    p.add_argument(
        "--checkpoint-every",
        type=cli.positive_int,
        default=60,
        metavar="S",
        help="seconds between checkpoints",
    )
    p.add_argument(
        "--validate-every",
        type=cli.positive_int,
        default=0,
        metavar="STEPS",
        help="measure a small and a large subnet on 1,000 test images so often, for the curves (default: never)",
    )
    p.add_argument("--plot", type=Path, metavar="PICTURE", help="draw the curves of the log: png, svg or pdf")
    p.add_argument("--tensorboard", action="store_true", help="log for TensorBoard, too, in DIR/tensorboard")
    p.add_argument(
        "--dry-run",
        action="store_true",
        help="measure a few steps, print what the run will take, train nothing",
    )
    p.add_argument("--json", action="store_true", help="print the cost, or the plan, as JSON")
    p.excludes("--dry-run", "--plot", "--tensorboard", "--validate-every")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Train, or go on training, what `args` describe."""
    recipe = read_recipe(args)
    if args.plot:
        cli.check_writable(args.plot, cli.PICTURE_SUFFIXES)
    if not args.dry_run:
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
        options |= {"micro_batch": args.micro_batch, "data_workers": args.data_workers}
        trainer = Trainer(recipe, data, args.out, args.teacher, **options)
        if args.dry_run:
            _report_plan(args, trainer)
            return cli.OK
        try:
            with _tensorboard(args, trainer) as on_log:
                path = train_to_the_end(trainer, _validator(args, trainer), args.validate_every, on_log)
        finally:
            if args.plot and trainer.world.rank == 0:
                _plot(args, trainer)
        if trainer.world.rank == 0:
            _report(args, trainer, path)
    return cli.OK


def read_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that `args` name, with what they change of it."""
    from dataclasses import replace

    from compofa.recipe import Recipe

    changes = {"data": args.data, "epoch_scale": args.epoch_scale, "seed": args.seed}
    changes = {name: value for name, value in changes.items() if value is not None}
    return replace(Recipe.load(args.recipe), **changes)


def train_to_the_end(
    trainer: Trainer,
    validate: Callable[[Trainer], dict[str, Any]] = lambda trainer: {},
    validate_every: int = 0,
    on_log: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> Path:
    """Train, or until a signal says stop: then the step that is being taken is finished first. See
    :meth:`compofa.training.trainer.Trainer.run`.

    Raises:
        KeyboardInterrupt: it was told to stop; there is a checkpoint.
    """
    from hwbench.training_progress import training_progress

    shown = training_progress if trainer.world.rank == 0 else _silent
    path = None
    try:
        with (
            deferred("stopping at the end of a step, with a checkpoint") as stop,
            shown(f"training {trainer.recipe.name}", trainer.total_steps(), trainer.steps_done()) as advance,
        ):
            path = trainer.run(advance, stop, validate, validate_every, on_log)
    except KeyboardInterrupt:
        pass  # whether it came in time is said by what there is
    if path is None:
        raise KeyboardInterrupt(f"{trainer.out} holds a checkpoint; the same command goes on from there")
    return path


@contextmanager
def _silent(label: str, total: int, done: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    yield lambda entry: None


@contextmanager
def _tensorboard(args: argparse.Namespace, trainer: Trainer) -> Iterator[Callable[[dict[str, Any]], None]]:
    if not args.tensorboard or trainer.world.rank:
        yield lambda entry: None
        return
    from hwbench.curves import TensorBoard

    with TensorBoard(args.out / "tensorboard") as board:
        yield board.write


def _validator(args: argparse.Namespace, trainer: Trainer) -> Callable[[Trainer], dict[str, Any]]:
    if not args.validate_every or trainer.world.rank:
        return lambda trainer: {}
    from compofa.data import load_data
    from compofa.training.validation import Validator

    data = trainer.data
    return Validator(load_data(trainer.recipe.data, "test", data.class_names, data.normalisation))


def _plot(args: argparse.Namespace, trainer: Trainer) -> None:
    from compofa.training.state import LOG_FILE
    from hwbench.curves import draw_curves, read_log

    log = args.out / LOG_FILE
    if log.exists() and log.stat().st_size:
        draw_curves(args.plot, read_log(log), f"{trainer.recipe.name} on {trainer.data.name}")


def _report_plan(args: argparse.Namespace, trainer: Trainer) -> None:
    from dataclasses import asdict

    from compofa.training.plan import plan

    found = plan(trainer)
    hours = sum(stage.hours_left for stage in found.stages)
    if trainer.world.rank:
        return
    if args.json:
        stages = [{**asdict(stage), "hours_left": stage.hours_left} for stage in found.stages]
        return cli.emit_json({**asdict(found), "stages": stages, "hours_left": hours, "origin": "predicted"})
    rows = [
        (
            stage.name,
            f"{stage.steps_left} of {stage.steps}",
            f"{stage.images:,}",
            f"{stage.subnet_passes:,}",
            f"{stage.step_s:.2f}",
            f"{stage.hours_left:.2f}",
        )
        for stage in found.stages
    ]
    columns = ("stage", "steps left", "images", "images x subnets", "s a step", "hours left")
    cli.print_table(
        f"{trainer.recipe.name} on {len(trainer.data)} images of {trainer.data.name}", columns, rows
    )
    print(
        f"hours    {hours:.2f}, predicted by steps of {found.probe_images} images at {found.resolution} px that were"
        " measured just now"
    )
    print(
        f"memory   about {found.memory_bytes / 1e9:.1f} GB a process, predicted, for {found.images_at_once} images at"
        " once (--micro-batch)"
    )


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
        if cost.broken:
            print(f"broken   {cost.broken} times an image could not be read, and another took its place")


if __name__ == "__main__":
    sys.exit(main())
