"""Frontiers of accuracy against a cost: of measured and predicted subnets, of several spaces in one picture."""
