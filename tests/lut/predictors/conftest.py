"""A made-up device: the host launches, the device works, the later of the two counts; some noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from compofa.spaces.layout import Genotypes, encode
from compofa.spaces.registry import GLYPHS
from compofa.spaces.space import get_space
from lut.predictors.base import Floats, Rows
from lut.predictors.subnets import subnet_rows

NOISE = 0.01


class Device(NamedTuple):
    """Subnets of glyphs and how long they take."""

    genotypes: Genotypes
    rows: Rows
    true_ms: Floats
    measured_ms: Floats


@pytest.fixture(scope="session")
def device() -> Device:
    """400 subnets, half of which wait for the host."""
    rng, space = np.random.default_rng(0), get_space("ofa", GLYPHS)
    genotypes = encode(GLYPHS, [space.sample(rng) for _ in range(400)])
    rows = subnet_rows(GLYPHS, genotypes)
    launch = rows.linear["launches"] @ np.array([0.1, 0.02, 0.03])
    work = 0.05 + rows.linear["work"] @ np.array([0.1, 0.02, 0.3, 0.01])
    true = np.maximum(launch * np.median(work / launch), work)
    return Device(genotypes, rows, true, true * np.exp(NOISE * rng.normal(size=len(true))))
