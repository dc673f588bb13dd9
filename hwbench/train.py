"""``hwbench train``: train a supernet by a recipe. Under torchrun, on several devices."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwbench import cli


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("train")
    p.add_argument("--recipe", required=True, help="a shipped recipe's name, or a .toml file")
    p.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="checkpoint, log, supernet; resumed"
    )
    p.add_argument("--teacher", type=Path, metavar="FILE", help="supernet to start and distil from")
    p.add_argument("--data", help="glyphs, digits or imagefolder:PATH (default: the recipe's)")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    p.add_argument("--threads", type=cli.positive_int, help="of torch on the CPU (default: all cores)")
    p.add_argument("--amp", choices=("bf16",), help="automatic mixed precision")
    p.add_argument("--epoch-scale", type=float, help="multiplies the epochs (default: the recipe's)")
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
    from compofa.train import Trainer

    if args.threads:
        torch.set_num_threads(args.threads)
    device = _join_torchrun(args.device)
    trainer = Trainer(
        recipe, load_data(recipe.data, "train"), args.out, args.teacher, device=device, amp=args.amp
    )
    total, done = trainer.total_steps(), trainer.steps_done()
    try:
        with cli.progress(f"training {recipe.name}", total) as advance:
            if done:
                advance(done)
            path = trainer.run(lambda entry: advance(1))
    except KeyboardInterrupt:
        trainer.save()
        raise KeyboardInterrupt(
            f"{args.out} holds a checkpoint; the same command goes on from there"
        ) from None
    cost = trainer.cost
    summary: dict[str, Any] = {"supernet": str(path), "recipe": recipe.name, "steps": total, **vars(cost)}
    if trainer.rank:
        return cli.OK
    if args.json:
        cli.emit_json(summary)
    else:
        print(f"supernet {path}")
        print(
            f"cost     {cost.images} images, {cost.subnet_passes} image-subnet passes, "
            f"{cost.teacher_passes} teacher passes, {cost.cpu_s:.0f} processor seconds"
        )
    return cli.OK


def _join_torchrun(device: str) -> str:
    """Join the process group if torchrun started this process; the device that it should use."""
    if "RANK" not in os.environ:
        return device
    import torch.distributed as dist

    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device


if __name__ == "__main__":
    sys.exit(main())
