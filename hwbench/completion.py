"""Completion of the command line by the shell: ``hwbench --print-completion bash``, by shtab (extra ``completion``)."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from compofa.errors import InputError
from hwbench.command_list import COMMANDS
from hwbench.extras import need


def script(shell: str) -> str:
    """What the shell reads, see the documentation of commands.

    Raises:
        InputError: shtab writes none for that shell.
        Unavailable: shtab is not installed.
    """
    need("shtab", "completion")
    import shtab

    if shell not in shtab.SUPPORTED_SHELLS:
        raise InputError(f"there is completion for {', '.join(shtab.SUPPORTED_SHELLS)}, not for {shell!r}")
    found: str = shtab.complete(whole_parser(shtab.FILE), shell=shell)
    return found


def whole_parser(file: object) -> argparse.ArgumentParser:
    """One parser of all commands; `file` marks arguments that are paths."""
    whole = argparse.ArgumentParser("hwbench")
    whole.add_argument("--version", action="store_true", help="which version this is")
    commands = whole.add_subparsers(parser_class=argparse.ArgumentParser)
    for name, text in COMMANDS.items():
        own = importlib.import_module(f"hwbench.{name}").parser()
        _mark_paths(own, file)
        commands.add_parser(name, parents=[own], add_help=False, help=text)
    return whole


def _mark_paths(parser: argparse.ArgumentParser, file: object) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                _mark_paths(own, file)
        elif action.type is Path or "FILE" in str(action.metavar):
            action.complete = file  # type: ignore[attr-defined]
