"""Cutting a subnet out of a supernet: chosen, recalibrated, tested, exported, measured."""

RECHECKED = 8
"""Networks of the calibration that are measured again before a promise is made."""
TRIES = 5
"""Subnets that are measured, at most, for the most accurate one that keeps the limit."""
