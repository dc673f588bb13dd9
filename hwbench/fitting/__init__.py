"""What ``hwbench fit`` does, as functions of objects."""

COVERAGE = 0.9
"""Of the intervals that are scored."""
