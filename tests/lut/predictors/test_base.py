"""Rows are whole and finite; no fold sees what it is scored on."""

from __future__ import annotations

from typing import Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lut.predictors.base import Estimator, Floats, Rows, column_size, random_folds


def rows(count: int = 6) -> Rows:
    column = np.arange(1.0, count + 1)[:, None]
    return Rows({"launches": column, "work": 2 * column}, column, column[:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"linear": {"work": np.ones((6, 1))}}, "need launches and work, and have work"),
        ({"general": np.ones((5, 1))}, r"differ in number: \[6, 6, 5, 6\]"),
        ({"general": np.full((6, 1), np.nan)}, "not finite"),
        ({"prior": np.zeros(6)}, "not positive"),
    ],
)
def test_rows_that_are_not_whole_are_refused(change: dict, message: str) -> None:
    whole = rows()
    with pytest.raises(ValueError, match=message):
        Rows(**{"linear": whole.linear, "general": whole.general, "prior": whole.prior, **change})


def test_rows_are_selected_together() -> None:
    some = rows()[np.array([4, 0])]
    assert len(some) == 2
    assert some.linear["work"][:, 0].tolist() == [10, 2]
    assert some.general[:, 0].tolist() == some.prior.tolist() == [5, 1]


@given(count=st.integers(5, 200), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_every_row_is_in_one_fold(count: int, folds: int, seed: int) -> None:
    parts = random_folds(count, folds, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


class Memory(Estimator):
    """Knows the latencies that it was fitted on, and says 0 to all others."""

    name = "memory"

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        self.seen = set(rows.prior.tolist())
        return self

    def predict(self, rows: Rows) -> Floats:
        return np.array([float(prior in self.seen) for prior in rows.prior])


def test_no_row_is_predicted_by_who_has_seen_it() -> None:
    assert not Memory().cross_predict(rows(), np.ones(6), random_folds(6, 3, 0)).any()


def test_columns_that_are_never_used_have_size_1() -> None:
    assert column_size(np.array([[0.0, 2.0], [0.0, 4.0]])).tolist() == [1, 4]
