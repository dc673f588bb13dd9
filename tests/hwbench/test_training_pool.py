"""Several trainings at once."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import equal

from compofa.errors import RunFailed
from compofa.recipe import Recipe
from compofa.worker_pool import worker_pool
from hwbench.training_pool import training_pool
from hwbench.training_runs import train

SEEDS = (0, 1)


def recipe(seed: int) -> Recipe:
    """Of 7 steps."""
    return replace(Recipe.load("digits-teacher"), seed=seed, epoch_scale=0.002)


def nothing() -> None:
    """Nothing to prepare."""


def test_trainings_that_are_stopped_go_on_to_the_weights_of_undisturbed_ones(tmp_path):
    folders = [tmp_path / f"seed-{seed}" for seed in SEEDS]

    def train_all(before_the_end=lambda: None) -> list[Path]:
        with training_pool(2, 1) as start:
            runs = [start(recipe(seed), folder, None) for seed, folder in zip(SEEDS, folders, strict=True)]
            before_the_end()
            return [run.result() for run in runs]

    def interrupt() -> None:
        while not all((folder / "log.jsonl").exists() for folder in folders):
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all(interrupt)
    assert all((folder / "state.pt").exists() for folder in folders)
    supernets = train_all()
    for seed, supernet in zip(SEEDS, supernets, strict=True):
        undisturbed = train(recipe(seed), out=tmp_path / f"whole-{seed}").path
        found, whole = load_file(supernet), load_file(undisturbed)
        assert all(equal(found[name], whole[name]) for name in whole)


def test_a_worker_that_is_lost_ends_the_work_with_its_reason():
    with pytest.raises(RunFailed, match="a worker process ended"), worker_pool(1, nothing) as submit:
        submit(os._exit, 1).result()
