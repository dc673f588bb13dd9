"""On the published Note10 tables the search is never below a published network at that network's own latency."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from compofa.accuracy.published import from_published
from compofa.configs import find_arch
from compofa.errors import InputError
from compofa.published_networks import published_network
from compofa.spaces.arch import Arch
from compofa.spaces.layout import encode
from compofa.spaces.registry import get_family
from compofa.spaces.space import get_space
from hwbench.searching.engine import search
from hwbench.searching.problem import Problem
from lut.formats import read_table
from lut.model import LatencyModel

FAMILY = get_family("imagenet-w1.2")


def predictor(seed: int):
    """Of the published format: random layers, accuracies about 0.77."""
    rng, state = np.random.default_rng(seed), {}
    for number, (before, after) in enumerate(pairwise((128, 400, 400, 400, 1))):
        weight = rng.standard_normal((after, before)) * (2 / before) ** 0.5
        state[f"{2 * number}.weight"] = weight.astype(np.float32)
        state[f"{2 * number}.bias"] = np.zeros(after, np.float32)
    state["6.weight"] *= 0.01
    state["6.bias"] += 0.77
    return from_published(FAMILY, state)


def archs_of(path, resolutions) -> list[Arch]:
    """The networks that are subnets of the family at a resolution that the predictor knows."""
    found = []
    for line in path.read_text().splitlines():
        net = json.loads(line)
        try:
            blocks = published_network(net["config"], net["image_size"])
            found.append(find_arch(FAMILY, net["image_size"], blocks))
        except InputError:  # of another width or family
            continue
    return [arch for arch in found if arch.resolution in resolutions]


@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_never_below_a_published_network(published, seed: int) -> None:
    latency = LatencyModel(read_table(published("note10_lut")))
    accuracy = predictor(seed)
    known = set(latency.resolutions_in(get_space("ofa", FAMILY))).intersection(accuracy.resolutions)
    archs = archs_of(published("ofa_published_nets.jsonl"), known)
    assert len(archs) >= 2
    genotypes = encode(FAMILY, archs)
    limits = latency.predict(genotypes)[:, None]
    index = tuple(i for i, side in enumerate(FAMILY.resolutions) if side in known)
    problem = Problem(get_space("ofa", FAMILY), (latency,), accuracy.predict, index)
    found = search(problem, limits, seed)
    assert (found.best.costs <= limits).all()
    assert (found.best.accuracy >= accuracy.predict(genotypes)).all()
