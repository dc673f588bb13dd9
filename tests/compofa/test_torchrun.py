"""Training on several processes, for real under torchrun, against the same computed by one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compofa.checkpoint import load_supernet
from compofa.data import ArrayData, load_data
from compofa.errors import RunFailed
from compofa.recipe import Recipe
from compofa.supernet import Supernet
from compofa.training.state import LOG_FILE, STATE_FILE, State
from compofa.training.trainer import Trainer
from compofa.world import World

RECIPE = """
family = "glyphs"
data = "digits"
batch_size = {batch}
images_per_epoch = {images}
distill = 0.0
dropout = 0.5
kernel_transform = false

[[stage]]
name = "one"
epochs = 1
base_lr = 1.0
lr_images = 2048
warmup_epochs = 0
subnets_per_step = 2
depths = [2, 3]
expands = [3, 6]
kernels = [3, 5, 7]
"""
BATCH = 7
"""So that shares of two and of three processes differ in size. Few, as the steps of all processes are taken twice."""
STEPS = 45


def write_recipe(folder: Path, steps: int) -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(batch=BATCH, images=BATCH * steps))
    return path


def torchrun(processes: int, recipe: Path, out: Path, restarts: int = 0) -> list[str]:
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}",
    ]
    command = ["-m", "hwbench.train", "--recipe", str(recipe), "--out", str(out), "--threads", "1", "--json"]
    return [*launcher, *command]


def emulate(recipe: Recipe, out: Path, processes: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The steps of all processes, one after the other, with gradients added up; weights of process 0 and losses."""
    data = load_data(recipe.data, "train")
    trainers = [Trainer(recipe, data, out, world=World(rank, processes)) for rank in range(processes)]
    losses = []
    for trainer in trainers:
        trainer._begin_stage()
        trainer.stepper.sum_gradients = lambda: None  # type: ignore[method-assign]
    for step in range(trainers[0].total_steps()):
        losses.append(sum(gradients(trainer, step) for trainer in trainers))
        everyones = zip(*(trainer.supernet.parameters() for trainer in trainers), strict=True)
        for parameters in everyones:
            total = sum(parameter.grad.double() for parameter in parameters)
            for parameter in parameters:
                parameter.grad.copy_(total)
        for trainer in trainers:
            trainer._update(trainer.schedule.lr(0, step))
    return trainers[0].supernet.state_dict(), losses


def gradients(trainer: Trainer, step: int) -> float:
    """Of a step of the first stage; the process's part of the loss."""
    draw = trainer.schedule.draw(0, step)
    mine = draw.indices[trainer.world.share]
    return trainer.stepper.gradients(draw, trainer.data.pixels(mine, draw.resolution, draw.augmenter))


def losses_in(out: Path) -> dict[int, float]:
    return {entry["step"]: entry["loss"] for entry in map(json.loads, (out / LOG_FILE).open())}


@pytest.fixture
def log_all(monkeypatch) -> None:
    monkeypatch.setattr("compofa.training.trainer.LOG_EVERY", 1)


@pytest.mark.parametrize(
    ("processes", "steps"),
    [(1, 3), (2, 3), (3, 3), *(pytest.param(n, 100, marks=pytest.mark.slow) for n in (1, 2, 3))],
)
def test_processes_compute_what_one_does_of_their_shares_bit_for_bit(
    tmp_path, log_all, in_processes, processes, steps
):
    recipe = Recipe.load(str(write_recipe(tmp_path, steps)))
    data = load_data(recipe.data, "train")
    in_processes(processes, tmp_path / "run", lambda rank: Trainer(recipe, data, tmp_path / "run").run())
    expected, losses = emulate(recipe, tmp_path / "emulated", processes)
    found = load_supernet(tmp_path / "run" / "supernet.safetensors")[0].state_dict()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    logged = losses_in(tmp_path / "run")
    assert list(logged) == list(range(steps))
    assert list(logged.values()) == pytest.approx(losses, rel=1e-12)


class Doubles(ArrayData):
    """In double precision: rounding in single, magnified by channels that hardly vary, would hide what is compared."""

    def standardise(self, images: torch.Tensor) -> torch.Tensor:
        return super().standardise(images).double()


@pytest.mark.parametrize(
    ("processes", "steps"), [(3, 2), *(pytest.param(n, 100, marks=pytest.mark.slow) for n in (2, 3))]
)
def test_with_synchronised_bn_the_loss_is_that_of_one_process(
    tmp_path, log_all, in_processes, processes, steps
):
    recipe = Recipe.load(str(write_recipe(tmp_path, steps)))
    # in bolder steps a difference in the last digit grows by half each time: to 1e-5 in 45 of them, whatever computes
    stages = tuple(replace(stage, base_lr=0.1) for stage in recipe.stages)
    recipe = replace(recipe, sync_bn=True, dropout=0.0, stages=stages)
    digits = load_data(recipe.data, "train")
    data = Doubles("digits", digits.images, digits.labels, digits.class_names, digits.margin)

    def train(out: Path) -> None:
        trainer = Trainer(recipe, data, out)
        trainer.supernet.double()
        trainer.run()

    in_processes(processes, tmp_path / "run", lambda rank: train(tmp_path / "run"))
    train(tmp_path / "alone")
    together, alone = losses_in(tmp_path / "run"), losses_in(tmp_path / "alone")
    assert list(together) == list(alone) == list(range(steps))
    assert list(together.values()) == pytest.approx(list(alone.values()), rel=1e-5)


def test_processes_that_begin_from_different_checkpoints_end_at_once(tmp_path, in_processes):
    """As where the folder of the run is not one that all machines share."""
    recipe = Recipe.load(str(write_recipe(tmp_path, 2)))
    data = load_data(recipe.data, "train")

    def work(rank: int) -> None:
        trainer = Trainer(recipe, data, tmp_path / str(rank))
        trainer.progress.step = rank
        with pytest.raises(RunFailed, match="must be the same folder for all"):
            trainer.run()

    in_processes(2, tmp_path, work)


def run_to_the_end(processes: int, recipe: Path, out: Path) -> dict[str, Any]:
    done = subprocess.run(torchrun(processes, recipe, out), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a recipe, and in ``run`` what two processes made of it."""
    folder = tmp_path_factory.mktemp("whole")
    summary = run_to_the_end(2, write_recipe(folder, STEPS), folder / "run")
    assert summary["images"] == BATCH * summary["steps"] == BATCH * STEPS
    return folder


@pytest.fixture
def seven(tmp_path) -> Callable[[int, int], Trainer]:
    """Makes the trainer of a process among several, which share batches of seven images."""
    data = load_data("digits", "train")
    recipe = replace(Recipe.load("digits-teacher"), batch_size=7)
    return lambda rank, size: Trainer(recipe, data, tmp_path, world=World(rank, size))


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_of_any_size_add_up_to_the_gradients_and_the_loss_of_the_whole_batch(
    seven, monkeypatch, processes
):
    # Without batch norm's and dropout's view of the other images a share is a part, and nothing else.
    monkeypatch.setattr(Supernet, "train", lambda self, mode=True: nn.Module.train(self, False))
    alone = seven(0, 1)
    loss = gradients(alone, 3)
    trainers = [seven(rank, processes) for rank in range(processes)]
    parts = [gradients(trainer, 3) for trainer in trainers]
    assert sum(parts) == pytest.approx(loss, rel=1e-5)
    for name, parameter in alone.supernet.named_parameters():
        total = sum(trainer.supernet.get_parameter(name).grad for trainer in trainers)
        torch.testing.assert_close(total, parameter.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_processes_drop_out_differently_and_the_same_each_time(seven):
    def seed(rank: int, step: int) -> int:
        gradients(seven(rank, 2), step)
        return torch.initial_seed()

    assert seed(0, 3) == seed(0, 3)
    assert len({seed(rank, step) for rank in (0, 1) for step in (3, 4)}) == 4


@pytest.mark.slow
def test_a_lost_process_ends_the_run_and_the_same_command_goes_on(whole, tmp_path):
    command = torchrun(2, whole / "recipe.toml", tmp_path)
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for_steps(run, tmp_path)
    os.kill(workers_of(run.pid)[1], signal.SIGKILL)
    error = run.communicate(timeout=120)[1]
    assert run.returncode != 0
    assert "process 0 of 2 lost another one" in error
    assert not (tmp_path / "supernet.safetensors").exists()
    run_to_the_end(2, whole / "recipe.toml", tmp_path)
    assert_same(tmp_path, whole / "run")


@pytest.mark.slow
def test_a_lost_process_is_started_again_by_torchrun(whole, tmp_path):
    """All go on from the last checkpoint, with nobody typing anything."""
    command = torchrun(2, whole / "recipe.toml", tmp_path, restarts=1)
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for_steps(run, tmp_path)
    os.kill(workers_of(run.pid)[1], signal.SIGKILL)
    output, error = run.communicate(timeout=200)
    assert run.returncode == 0, error
    assert "lost another one" in error
    assert json.loads(output)["steps"] == STEPS
    assert_same(tmp_path, whole / "run")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_step(whole, tmp_path):
    command = torchrun(2, whole / "recipe.toml", tmp_path)
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for_steps(run, tmp_path)
    os.kill(workers_of(run.pid)[1], signal.SIGTERM)
    error = run.communicate(timeout=120)[1]
    assert error.count("the same command goes on from there") == 2, error
    state = State.load(tmp_path)
    assert state and 0 < state.progress.step < STEPS
    run_to_the_end(2, whole / "recipe.toml", tmp_path)
    assert_same(tmp_path, whole / "run")


def wait_for_steps(run: subprocess.Popen[str], out: Path) -> None:
    """Wait until the run has logged a step, and make sure that it is not done."""
    limit = time.monotonic() + 300
    while not ((out / LOG_FILE).exists() and (out / LOG_FILE).read_bytes()):
        assert run.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    assert run.poll() is None and not (out / STATE_FILE).exists()


def workers_of(launcher: int) -> list[int]:
    """Process ids by rank."""
    import psutil

    found = [p for p in psutil.Process(launcher).children() if "hwbench.train" in p.cmdline()]
    return [p.pid for p in sorted(found, key=lambda p: int(p.environ()["RANK"]))]


def assert_same(*runs: Path) -> None:
    one, other = (load_supernet(run / "supernet.safetensors")[0].state_dict() for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_processes_evaluate_what_one_does_and_go_on(whole, tmp_path):
    """Each measures its share of the subnets; process 0 writes."""

    def evaluate(*launcher: str, out: str, sample: int) -> dict[str, int]:
        command = ["-m", "hwbench.evaluate", "--supernet", str(whole / "run" / "supernet.safetensors")]
        command += [
            "--space",
            "compofa",
            "--sample",
            str(sample),
            "--workers",
            "1",
            "--out",
            str(tmp_path / out),
        ]
        done = subprocess.run(
            [sys.executable, *launcher, *command], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / out).read_text().splitlines()[1:]
        return {entry["arch"]: entry["correct"] for entry in map(json.loads, lines)}

    together = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    alone = evaluate(out="alone", sample=5)
    first = evaluate(*together, out="together", sample=3)
    assert len(first) == 3 and first.items() <= alone.items()
    assert evaluate(*together, out="together", sample=5) == alone
