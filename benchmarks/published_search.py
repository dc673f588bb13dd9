"""OFA's search as its authors publish it, run from their package where that is installed:

    pip install --no-deps ofa==0.1.0.post202307202001 tqdm

Their evolutionary search, latency tables and accuracy predictor run unchanged; only what they would download is
handed to them, and the package's own imports, which want torchvision, are left out.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compofa.accuracy.predictor import AccuracyPredictor

NEEDED = ("ofa", "tqdm")


def installed() -> bool:
    """Whether the package is there."""
    return all(importlib.util.find_spec(name) for name in NEEDED)


class PublishedSearch:
    """The published search on given tables and a given predictor.

    Args:
        tables: folder of the published latency tables.
        predictor: in the published format.
    """

    def __init__(self, tables: Path, predictor: AccuracyPredictor) -> None:
        modules = _load("evolution_finder", "latency_table", "accuracy_predictor")
        modules["evolution_finder"].tqdm = lambda steps, **_: steps  # no bar
        self._finder = modules["evolution_finder"].EvolutionFinder
        self._latency = _latency_table(modules["latency_table"], tables)
        self._accuracy = _accuracy_predictor(modules["accuracy_predictor"], predictor)

    def run(self, limit_ms: float, seed: int) -> tuple[float, float]:
        """Accuracy found within a limit, and processor seconds."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the published code draws from it
        finder = self._finder("note10", limit_ms, self._latency, self._accuracy)
        start = time.process_time()
        _, best = finder.run_evolution_search()
        return best[0], time.process_time() - start


def _load(*names: str) -> dict[str, Any]:
    """Modules of ``ofa.tutorial``, one by one."""
    package = importlib.util.find_spec("ofa")
    assert package and package.origin
    utils = ModuleType("ofa.utils")
    utils.download_url = None  # type: ignore[attr-defined] # imported by name, never called here
    sys.modules["ofa.utils"] = utils
    found = {}
    for name in names:
        path = Path(package.origin).parent / "tutorial" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"published_{name}", path)
        assert spec and spec.loader
        found[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    return found


def _latency_table(module: Any, folder: Path) -> Any:
    import yaml

    table = module.LatencyTable.__new__(module.LatencyTable)
    table.latency_tables = {}
    for path in folder.glob("*_lookup_table.yaml"):
        one = module.LatencyEstimator.__new__(module.LatencyEstimator)
        one.lut = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        table.latency_tables[int(path.name.split("_")[0])] = one
    return table


def _accuracy_predictor(module: Any, predictor: AccuracyPredictor) -> Any:
    import torch

    torch.set_num_threads(1)
    published = module.AccuracyPredictor(pretrained=False, device="cpu")
    state = {}
    for number, (weight, bias) in enumerate(predictor.layers):
        state[f"{2 * number}.weight"] = torch.from_numpy(np.array(weight))
        state[f"{2 * number}.bias"] = torch.from_numpy(np.array(bias))
    published.model.load_state_dict(state)
    return published
