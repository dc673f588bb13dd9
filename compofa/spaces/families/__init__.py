"""Families that come along, one TOML file each."""
