"""Memory that is freed and asked for again at once, as every activation of a network is.

The GNU C library gives freed blocks of that size back to the system, which has to clear them when it hands them out
anew: half of the time of a network's forward pass on a CPU. Elsewhere nothing here does anything.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameters of mallopt, in malloc.h."""
_KEPT_BYTES = 1 << 30
_LARGEST_THRESHOLD = 32 << 20
"""Of a block that the library would keep by itself, once it has seen one freed."""
_DEFAULT_MMAPS = 1 << 16
_ANOTHER_LIBRARY = (AttributeError, OSError, TypeError)
"""What ctypes raises where the GNU C library is not there."""


def keep_freed_memory() -> None:
    """Have this process keep what it frees, up to 1 GiB, until it ends."""
    _set((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES))


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """The same within; then what is free is given back, and the library goes on as it does by itself in a process that
    has once freed a large block."""
    keep_freed_memory()
    try:
        yield
    finally:
        _set(
            (_MMAP_MAX, _DEFAULT_MMAPS),
            (_MMAP_THRESHOLD, _LARGEST_THRESHOLD),
            (_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD),
        )
        with contextlib.suppress(*_ANOTHER_LIBRARY):
            ctypes.CDLL(None).malloc_trim(0)


def _set(*settings: tuple[int, int]) -> None:
    with contextlib.suppress(*_ANOTHER_LIBRARY):
        library = ctypes.CDLL(None)
        for name, value in settings:
            library.mallopt(name, value)
