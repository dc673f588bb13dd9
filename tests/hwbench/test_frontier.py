from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compofa.accuracy.origin import AccuracyOrigin
from compofa.spaces.layout import layout
from compofa.spaces.registry import GLYPHS
from hwbench.frontiers.cloud import Cloud
from hwbench.frontiers.document import title
from hwbench.frontiers.spaces import SpaceResult

points = arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(1, 8).map(float))


def cloud(xy):
    genotypes = np.zeros((len(xy), 1 + layout(GLYPHS).slots), dtype=np.int16)
    return Cloud(GLYPHS, genotypes, xy[:, 0], xy[:, 1])


@given(points)
def test_frontier_is_what_brute_force_finds(xy):
    found = {tuple(p) for p in cloud(xy).frontier().points}
    dominated = {
        tuple(p)
        for p in xy
        if any((q[0] <= p[0] and q[1] >= p[1]) and (q[0] < p[0] or q[1] > p[1]) for q in xy)
    }
    assert found == {tuple(p) for p in xy} - dominated


@given(points)
def test_frontier_rises_in_both(xy):
    front = cloud(xy).frontier()
    assert (np.diff(front.cost) > 0).all()
    assert (np.diff(front.accuracy) > 0).all()


@given(points)
def test_hypervolume_is_the_area_under_the_steps(xy):
    front = cloud(xy).frontier()
    edges = np.append(front.cost, 10.0)
    assert cloud(xy).hypervolume((10.0, 0.5)) == pytest.approx(
        (np.diff(edges) * (front.accuracy - 0.5)).sum()
    )


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (AccuracyOrigin(data="flowers-test", images=1200), "measured on 1,200 images of flowers-test"),
        (AccuracyOrigin(data="flowers-test"), "measured on images of flowers-test"),
        (AccuracyOrigin(images=1200), "measured on 1,200 images that mine.csv does not name"),
        (AccuracyOrigin(), "measured on images that mine.csv does not name"),
    ],
)
def test_the_title_says_whose_images_the_accuracies_are_of(origin, words):
    some = cloud(np.ones((1, 2)))
    spaces = [SpaceResult(name, origin, Path("mine.csv"), some, None, None, True, None) for name in "ab"]
    assert title(spaces) == f"subnets of glyphs: accuracy {words}"
