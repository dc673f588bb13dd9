"""A simple model, and what a flexible one learns of its relative errors.

Trees and networks are poor at sums, which latency mostly is, and good at what is left; so they learn the
logarithm of measured over predicted, and the sum itself is the simple model's.
"""

from __future__ import annotations

import importlib.util
import warnings
from abc import abstractmethod
from typing import Any, Self

import numpy as np

from lut.predictors.base import Estimator, Floats, Rows
from lut.predictors.roofline import Roofline

LEAST_MS = 1e-9


class Corrected(Estimator):
    """The roofline times the exponential of what a learner makes of the general columns."""

    @abstractmethod
    def learner(self, count: int) -> Any:
        """A regressor as scikit-learn has them, for `count` rows."""

    def fit(self, rows: Rows, latency_ms: Floats) -> Self:
        self.simple = Roofline(self.seed).fit(rows, latency_ms)
        wrong = np.log(latency_ms / self._simple_ms(rows))
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "lbfgs failed to converge"
            )  # a fixed number of steps is what is asked
            self.learned = self.learner(len(rows)).fit(rows.general, wrong)
        return self

    def predict(self, rows: Rows) -> Floats:
        return self._simple_ms(rows) * np.exp(np.asarray(self.learned.predict(rows.general), dtype=float))

    def _simple_ms(self, rows: Rows) -> Floats:
        return np.maximum(self.simple.predict(rows), LEAST_MS)


class Forest(Corrected):
    """A random forest corrects the roofline."""

    name = "forest"
    min_rows = 20

    def learner(self, count: int) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            n_estimators=100, min_samples_leaf=3, max_features=1 / 3, random_state=self.seed, n_jobs=1
        )


class XGBoost(Corrected):
    """Boosted trees correct the roofline."""

    name = "xgboost"
    min_rows = 20

    @classmethod
    def unavailable(cls) -> str | None:
        found = importlib.util.find_spec("xgboost")
        return None if found else "xgboost is not installed (pip install xgboost-cpu)"

    def learner(self, count: int) -> Any:
        from xgboost import XGBRegressor

        return XGBRegressor(
            n_estimators=300,
            learning_rate=0.05,
            max_depth=4,
            min_child_weight=5,
            subsample=0.8,
            colsample_bytree=0.5,
            objective="reg:pseudohubererror",
            huber_slope=0.05,
            base_score=0.0,
            random_state=self.seed,
            n_jobs=1,
        )


class Mlp(Corrected):
    """A small network corrects the roofline."""

    name = "mlp"
    min_rows = 30

    def learner(self, count: int) -> Any:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.neural_network import MLPRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        network = MLPRegressor(
            hidden_layer_sizes=(64,), alpha=count / 20, solver="lbfgs", max_iter=100, random_state=self.seed
        )
        return TransformedTargetRegressor(
            make_pipeline(StandardScaler(), network), transformer=StandardScaler()
        )
