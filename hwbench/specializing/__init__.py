"""Cutting a subnet out of a supernet: chosen, recalibrated, tested, exported, measured."""
