"""Networks as torch modules: static ones, and the supernet from whose weights they are cut."""

from compofa.supernet.supernet import Supernet

__all__ = ["Supernet"]
