"""Latency predictors: estimators over feature rows, their choice by cross-validation, and honest intervals."""
