"""``hwbench train``: train a supernet by a recipe. Under torchrun, on several devices."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hwbench import cli

if TYPE_CHECKING:
    from compofa.training.plan import Plan
    from hwbench.training_runs import Trained


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
    p.excludes("--dry-run", "--checkpoint-every", "--plot", "--tensorboard", "--validate-every")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Train, or go on training, what `args` describe."""
    from hwbench.torchrun import is_first
    from hwbench.training_runs import open_recipe, plan_training, train

    recipe = open_recipe(args.recipe, data=args.data, epoch_scale=args.epoch_scale, seed=args.seed)
    if args.plot:
        cli.check_writable(args.plot, cli.PICTURE_SUFFIXES)
    if not args.dry_run:
        args.out.mkdir(parents=True, exist_ok=True)
        cli.check_writable(args.out / "log.jsonl")
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    names = ("out", "teacher", "device", "amp", "micro_batch", "data_workers")
    options = {name: getattr(args, name) for name in names}
    options["checkpoint_every_s"] = args.checkpoint_every
    if args.dry_run:
        plan = plan_training(recipe, **options)
        if is_first():
            _report_plan(plan, args.json)
        return cli.OK
    from hwbench.training_progress import training_progress

    try:
        trained = train(
            recipe,
            **options,
            validate_every=args.validate_every,
            tensorboard=args.tensorboard,
            progress=training_progress,
        )
    finally:
        if args.plot and is_first():
            _plot(args.plot, args.out, recipe.name)
    if is_first():
        _report(trained, args.json)
    return cli.OK


def _plot(picture: Path, out: Path, recipe: str) -> None:
    from compofa.training.state import LOG_FILE
    from hwbench.curves import draw_curves, read_log

    log = out / LOG_FILE
    if log.exists() and log.stat().st_size:
        draw_curves(picture, read_log(log), recipe)


def _report_plan(plan: Plan, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        stages = [{**asdict(stage), "hours_left": stage.hours_left} for stage in plan.stages]
        return cli.emit_json(
            {**asdict(plan), "stages": stages, "hours_left": plan.hours_left, "origin": "predicted"}
        )
    rows = [
        (
            stage.name,
            f"{stage.steps_left} of {stage.steps}",
            f"{stage.images:,}",
            f"{stage.subnet_passes:,}",
            f"{stage.step_s:.2f}",
            f"{stage.hours_left:.2f}",
        )
        for stage in plan.stages
    ]
    columns = ("stage", "steps left", "images", "images x subnets", "s a step", "hours left")
    cli.print_table(f"{plan.recipe} on {plan.data_images} images of {plan.data}", columns, rows)
    print(
        f"hours    {plan.hours_left:.2f}, predicted by steps of {plan.probe_images} images at {plan.resolution} px that"
        " were measured just now"
    )
    print(
        f"memory   about {plan.memory_bytes / 1e9:.1f} GB a process, predicted, for {plan.images_at_once} images at"
        " once (--micro-batch)"
    )


def _report(trained: Trained, as_json: bool) -> None:
    if as_json:
        return cli.emit_json(trained.summary)
    cost = trained.cost
    print(f"supernet {trained.path}")
    print(
        f"cost     {cost.images} images, {cost.subnet_passes} image-subnet passes, "
        f"{cost.teacher_passes} teacher passes, {cost.cpu_s:.0f} processor seconds"
    )
    if cost.broken:
        print(f"broken   {cost.broken} times an image could not be read, and another took its place")


if __name__ == "__main__":
    sys.exit(main())
