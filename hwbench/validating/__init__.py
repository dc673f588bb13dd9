"""Holding a table against whole networks, and calibrating it by them."""
