"""What all commands share: finding them, their arguments, how they fail, progress and JSON.

A command is a module with ``parser()`` and ``execute(args)``; its ``main`` is :func:`run` of the two. Standard
library only, and nothing heavy when imported: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from compofa.errors import HwbenchError, InputError, Unavailable

OK, FAILED, USAGE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done; failed or infeasible; wrong usage or bad input; backend unavailable; Ctrl-C."""

COMMANDS = {
    "build_lut": "measure the blocks of a space into a lookup table",
    "validate": "compare a table's sums with whole networks, and calibrate them",
    "fit": "learn the latency of subnets from measurements of some of them",
    "predict": "give the latency of subnets by a fitted model, with intervals",
    "pareto": "draw and compare accuracy-latency frontiers",
    "search": "find the most accurate subnet within a latency, or the whole frontier",
    "specialize": "cut a subnet out of a supernet, measure it, and export it",
    "train": "train a supernet by a recipe",
    "evaluate": "measure the accuracy of subnets",
    "tables": "convert, show, fill, merge and compare lookup tables",
    "verify": "compare what compiled blocks compute with ONNX Runtime, on a target or emulated",
    "engines": "build the engines of a table for a GPU that is elsewhere, with TensorRT-RTX",
    "doctor": "say what this machine can measure with, and how noisily",
    "check": "judge the latency models by golden measurements: the gate for CI",
    "trace": "show where the modelled cycles of a network on an FPGA go",
}
"""Module of this package -> what it does."""

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")


class UsageError(InputError):
    """The command line is wrong."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises :class:`UsageError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds each default to the help, where there is one and the text does not tell it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        tells = action.default is None or action.default is False or "(default" in (action.help or "")
        return action.help if tells else super()._get_help_string(action)


def command_parser(name: str, kind: type[Parser] = Parser, **options: Any) -> Parser:
    """The parser of the command `name`, its help text from :data:`COMMANDS`."""
    return kind(
        prog=f"hwbench {name}",
        description=COMMANDS[name][0].upper() + COMMANDS[name][1:] + ".",
        formatter_class=_HelpFormatter,
        **options,
    )


# --- running a command ---


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: ``hwbench <command> ...``. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return OK if arguments else USAGE
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"hwbench {version('hwbench')}")
        return OK
    name = arguments[0].replace("-", "_")
    if name not in COMMANDS:
        return _complain(
            "hwbench", f"unknown command {arguments[0]!r}; there are {', '.join(COMMANDS)}", USAGE
        )
    code: int = importlib.import_module(f"hwbench.{name}").main(arguments[1:])
    return code


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {text}" for name, text in COMMANDS.items())
    return "\n".join(
        ("usage: hwbench <command> [options]", "", *lines, "", "hwbench <command> --help says more.")
    )


def run(
    parser: argparse.ArgumentParser,
    execute: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv`, call `execute`, and turn whatever goes wrong into one line on stderr and an exit code.

    With ``HWBENCH_DEBUG=1`` in the environment errors keep their traceback.
    """
    try:
        return execute(parser.parse_args(argv)) or OK
    except SystemExit as end:  # --help
        return end.code if isinstance(end.code, int) else FAILED
    except KeyboardInterrupt as interrupt:
        print(f"{parser.prog}: interrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough; see the docs of SIGPIPE
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("HWBENCH_DEBUG") == "1":
            raise
        return _complain(parser.prog, _describe(error), exit_code(error))


def exit_code(error: Exception) -> int:
    """The exit code that `error` stands for."""
    if isinstance(error, Unavailable):
        return UNAVAILABLE
    bad_input = (InputError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return USAGE if isinstance(error, bad_input) else FAILED


def _describe(error: Exception) -> str:
    """One line; our own errors explain themselves, a bug names its kind."""
    text = " ".join(str(error).split())
    if isinstance(error, HwbenchError) and text:
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {text} (a bug; HWBENCH_DEBUG=1 shows where)"


def _complain(prog: str, message: str, code: int) -> int:
    print(f"{prog}: error: {message}", file=sys.stderr)
    return code


# --- arguments ---


def positive_int(text: str) -> int:
    """An argparse type: a whole number above 0."""
    if not text.strip().isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def resolutions(text: str) -> tuple[int, ...]:
    """An argparse type: ``128,160`` or ``128:224:32`` (224 included), in pixels; ascending, distinct."""
    found: set[int] = set()
    for part in text.split(","):
        numbers = [positive_int(number) for number in part.split(":")]
        if len(numbers) == 1:
            found.add(numbers[0])
        elif len(numbers) == 3 and numbers[0] <= numbers[1]:
            found.update(range(numbers[0], numbers[1] + 1, numbers[2]))
        else:
            raise argparse.ArgumentTypeError(f"{part!r} is neither a resolution nor first:last:step")
    return tuple(sorted(found))


def name_and_value(text: str) -> tuple[str, str]:
    """An argparse type: ``name=value``."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def check_writable(path: Path, suffixes: Sequence[str] = ()) -> None:
    """Make sure that `path` can be written before long work begins; leaves no trace.

    Args:
        path: a file that is to be written.
        suffixes: one of which its name must end with, if there are any.

    Raises:
        ValueError: it cannot be written; says why.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{path} must end in one of {', '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


# --- output ---


def emit_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of ``--json``."""
    print(json.dumps(document, indent=2, allow_nan=False))


def note(message: str) -> None:
    """Print a line for people, on stderr."""
    print(message, file=sys.stderr, flush=True)


Advance = Callable[[int], None]


@contextmanager
def progress(label: str, total: int, clock: Callable[[], float] = time.monotonic) -> Iterator[Advance]:
    """Show how far the work is and how long it will still take; gives a function to call with each number
    of steps done. A bar on a terminal, elsewhere a line every ten seconds, on stderr."""
    if sys.stderr.isatty():
        with _bar(label, total) as advance:
            yield advance
    else:
        yield _PlainProgress(label, total, clock)


@contextmanager
def progress_lines(label: str, total: int, clock: Callable[[], float] = time.monotonic) -> Iterator[Advance]:
    """:func:`progress` in lines, also on a terminal: for work within work that has a bar already."""
    yield _PlainProgress(label, total, clock)


@contextmanager
def _bar(label: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps: bar.advance(task, steps)


class _PlainProgress:
    """Lines such as ``measuring 120/403, 35 s left``, not more often than every ten seconds."""

    def __init__(self, label: str, total: int, clock: Callable[[], float]) -> None:
        self.label, self.total, self.clock = label, total, clock
        self.done, self.start = 0, clock()
        self.last = self.start

    def __call__(self, steps: int) -> None:
        self.done += steps
        now = self.clock()
        if now - self.last >= 10:
            self.last = now
            left_s = (now - self.start) / self.done * (self.total - self.done)
            note(f"{self.label} {self.done}/{self.total}, {left_s:.0f} s left")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people on stdout; all columns but the first hold numbers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
