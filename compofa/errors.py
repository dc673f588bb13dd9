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
    """The root of the tree; its text is one line for people.

    >>> import hwbench
    >>> try:
    ...     hwbench.get_family("nothing")
    ... except hwbench.HwbenchError as error:
    ...     print(str(error).partition(";")[0])
    unknown family 'nothing'
    """


class InputError(HwbenchError, ValueError):
    """A file, an argument or a value is not what it should be.

    >>> import hwbench
    >>> issubclass(hwbench.InputError, ValueError)
    True
    """


class RunFailed(HwbenchError, RuntimeError):
    """What was asked for was tried, and did not work, as a limit that nothing meets.

    >>> import hwbench
    >>> try:
    ...     hwbench.search(hwbench.reference_table(), space="compofa", latency_ms=1e-6)
    ... except hwbench.RunFailed as error:
    ...     print(str(error)[:47])
    no subnet of compofa was found within 1e-06 ms:
    """


class Unavailable(HwbenchError, RuntimeError):
    """A device, a library or a program that is needed is not on this machine.

    >>> import hwbench
    >>> issubclass(hwbench.Unavailable, hwbench.HwbenchError)
    True
    """
