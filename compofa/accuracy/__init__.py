"""Accuracies of subnets: measured ones and what they are of (here), predicted ones (:mod:`compofa.accuracy.predictor`),
and how a predictor is fitted to measured ones (:mod:`compofa.accuracy.fitting`)."""

from compofa.accuracy.measured import Accuracies, AccuracyFile, Header, append
from compofa.accuracy.origin import AccuracyOrigin

__all__ = ["Accuracies", "AccuracyFile", "AccuracyOrigin", "Header", "append"]
