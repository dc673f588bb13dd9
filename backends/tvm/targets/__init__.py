"""Targets of the tvm backend, as text."""
