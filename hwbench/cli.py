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
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import Any

from compofa.errors import HwbenchError, InputError, Unavailable
from compofa.stopping import interrupting
from hwbench import streams
from hwbench.argument_types import (
    family,
    fraction,
    name_and_value,
    positive_int,
    positive_number,
    resolutions,
    seed,
)
from hwbench.command_list import COMMANDS, TASKS, examples
from hwbench.extras import missing
from hwbench.parser import HelpFormatter, Parser, UsageError
from hwbench.streams import plain
from hwbench.telling import Advance, note, progress, progress_lines, showing, warn

__all__ = [
    "COMMANDS",
    "Advance",
    "Parser",
    "UsageError",
    "family",
    "fraction",
    "name_and_value",
    "note",
    "plain",
    "positive_int",
    "positive_number",
    "progress",
    "progress_lines",
    "resolutions",
    "seed",
    "showing",
    "warn",
]

OK, FAILED, USAGE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done; failed or infeasible; wrong usage or bad input; backend unavailable; Ctrl-C. SIGTERM and SIGHUP end
a command as Ctrl-C does, with 143 and 129; a reader of our output that goes away ends it with 141."""

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")


def command_parser(name: str, kind: type[Parser] = Parser, epilog: str = "", **options: Any) -> Parser:
    """The parser of the command `name`, its help text from :data:`COMMANDS`, its last words examples."""
    return kind(
        prog=f"hwbench {name}",
        description=COMMANDS[name][0].upper() + COMMANDS[name][1:] + ".",
        epilog="\n\n".join(filter(None, [epilog, examples(name)])),
        formatter_class=HelpFormatter,
        **options,
    )


# --- running a command ---


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: ``hwbench <command> ...``. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0].replace("-", "_") if arguments else ""
    if name in COMMANDS:
        code: int = importlib.import_module(f"hwbench.{name}").main(arguments[1:])
        return code
    return _orderly("hwbench", lambda: _introduce(arguments))


def _introduce(arguments: Sequence[str]) -> int:
    """What ``hwbench`` says where no command is called."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return OK if arguments else USAGE
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"hwbench {version('hwbench')}")
        return OK
    if arguments[0] == "--print-completion":
        from hwbench.completion import script

        print(script(arguments[1] if len(arguments) > 1 else "bash"))
        return OK
    raise UsageError(f"unknown command {arguments[0]!r}; there are {', '.join(COMMANDS)}")


def _overview() -> str:
    """The commands by task, in as many columns as there are."""
    indent = 4 + max(map(len, COMMANDS))
    columns = max(get_terminal_size().columns, indent + 20)

    def entry(name: str, text: str) -> str:
        return fill(text, columns, initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent)

    tasks = [
        "\n".join([f"{task}:", *(entry(name, text) for name, text in commands.items())])
        for task, commands in TASKS.items()
    ]
    more = "hwbench <command> --help says more, with examples; hwbench --version says which version this is; hwbench "
    more += "--print-completion SHELL writes what lets a shell complete commands."
    return "\n\n".join(["usage: hwbench <command> [options]", *tasks, fill(more, columns)])


def run(
    parser: argparse.ArgumentParser,
    execute: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv`, call `execute`, and turn whatever goes wrong into one line on stderr and an exit code.

    With ``HWBENCH_DEBUG=1`` in the environment errors keep their traceback.
    """
    return _orderly(parser.prog, lambda: execute(parser.parse_args(argv)))


def _orderly(prog: str, work: Callable[[], int | None]) -> int:
    if trouble := streams.trouble():
        return _complain(prog, trouble, USAGE)
    with interrupting() as stop, _warnings_in_one_line(prog), showing():
        try:
            with streams.named_stdout():
                code = _code_of(work)
                sys.stdout.flush()
            return code
        except KeyboardInterrupt as interrupt:
            stop.heeding = False
            streams.tell(f"{prog}: interrupted{f': {interrupt}' if str(interrupt) else ''}")
            return stop.exit_code
        except Exception as error:
            if isinstance(error, BrokenPipeError) and error.filename == streams.STDOUT:
                return streams.READER_GONE
            if os.environ.get("HWBENCH_DEBUG") == "1":
                raise
            if isinstance(error, ModuleNotFoundError):
                error = missing(error) or error
            return _complain(prog, _describe(error), exit_code(error))


def _code_of(work: Callable[[], int | None]) -> int:
    try:
        return work() or OK
    except SystemExit as end:  # --help
        return end.code if isinstance(end.code, int) else OK if end.code is None else FAILED


@contextmanager
def _warnings_in_one_line(prog: str) -> Iterator[None]:
    """Libraries warn with the path and the line of their own code: people get the message alone, once, and nothing of
    what is to become of a library. ``HWBENCH_DEBUG=1`` and Python's ``-W`` leave warnings as they are."""
    if os.environ.get("HWBENCH_DEBUG") == "1" or sys.warnoptions:
        yield
        return
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        line = f"{prog}: warning: {category.__name__}: {plain(' '.join(str(message).split()))}"
        if not issubclass(category, (FutureWarning, DeprecationWarning)) and line not in told:
            told.add(line)
            streams.tell(line)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def exit_code(error: Exception) -> int:
    """The exit code that `error` stands for."""
    if isinstance(error, Unavailable):
        return UNAVAILABLE
    bad_input = (InputError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return USAGE if isinstance(error, bad_input) else FAILED


def _describe(error: Exception) -> str:
    """One line; our own errors explain themselves, a bug names its kind."""
    text = plain(" ".join(str(error).split()))
    if isinstance(error, HwbenchError) and text:
        return text
    if isinstance(error, OSError) and error.strerror:
        return plain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, MemoryError):
        return f"not enough memory{f': {text}' if text else ''}"
    return f"{type(error).__name__}: {text} (a bug; HWBENCH_DEBUG=1 shows where)"


def _complain(prog: str, message: str, code: int) -> int:
    streams.tell(f"{prog}: error: {message}")
    return code


# --- arguments ---


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


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people on stdout; all columns but the first hold numbers. Text is shown as it is: what rich
    would take for markup in a name is part of the name."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(plain(title)), title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(Text(plain(column)), justify="right" if i else "left")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else 110)
    wide = console.options.update(width=10_000)
    if sys.stdout.isatty() and console.measure(table, options=wide).maximum > console.width:
        _print_records(title, columns, rows)
        return
    with console.capture() as shown:
        console.print(table)
    print(shown.get(), end="")  # rich itself would end the process when the reader of a pipe goes away


def _print_records(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The rows one below the other, for a terminal that a table does not fit into."""
    width = max(map(len, columns))
    print(fill(plain(title), get_terminal_size().columns))
    for row in rows:
        print(plain(row[0]))
        for column, cell in zip(columns[1:], row[1:], strict=True):
            print(f"  {plain(column):{width}}  {plain(cell)}")
