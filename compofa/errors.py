"""What can go wrong, as one tree.

::

    HwbenchError
    ├── InputError (ValueError)       what was given is wrong; the message says what to do. Exit code 2
    ├── RunFailed (RuntimeError)      it was tried and did not work. Exit code 1
    └── Unavailable (RuntimeError)    something that it needs is not on this machine. Exit code 3

More special errors stand where they arise and derive from one of the three: ``except HwbenchError`` catches all
that hwbench raises on purpose. Anything else that leaves it is a bug, but for ``OSError``: the operating system's
own word on a file.
"""

from __future__ import annotations


class HwbenchError(Exception):
    """The root of the tree; its text is one line for people."""


class InputError(HwbenchError, ValueError):
    """A file, an argument or a value is not what it should be."""


class RunFailed(HwbenchError, RuntimeError):
    """What was asked for was tried, and did not work."""


class Unavailable(HwbenchError, RuntimeError):
    """A device, a library or a program that is needed is not on this machine."""
