"""The scores are what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lut.scores import mape_pct, scores


def test_scores_by_hand() -> None:
    assert scores([10.0, 20.0, 40.0, 80.0], [10.4, 21.8, 30.0, 80.0]) == {
        "mape_pct": pytest.approx((4 + 9 + 25 + 0) / 4),
        "within_5_pct": 50.0,
        "within_10_pct": pytest.approx(75.0),
        "spearman": pytest.approx(1.0),
    }


def test_errors_are_relative_to_what_was_measured() -> None:
    assert mape_pct(np.array([1.0]), np.array([2.0])) == pytest.approx(100)
    assert mape_pct(np.array([2.0]), np.array([1.0])) == pytest.approx(50)


def test_without_variation_there_is_no_rank_correlation() -> None:
    assert scores([1.0, 1.0], [1.0, 2.0])["spearman"] is None


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=30, unique=True))
def test_reversing_the_order_gives_a_correlation_of_minus_one(values: list[float]) -> None:
    assert scores(values, [-v for v in values])["spearman"] == pytest.approx(-1)
