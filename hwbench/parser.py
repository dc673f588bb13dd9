"""Arguments of commands: wrong ones raise, and what would be dropped without a word is refused."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from compofa.errors import InputError
from hwbench.argument_types import input_shape, name_and_value


class UsageError(InputError):
    """The command line is wrong."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises :class:`UsageError` instead of ending the process, also where an option is
    given twice that counts once: the first would be dropped without a word."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.given: dict[str, str] = {}
        self.exclusive: list[tuple[str, str]] = []
        self.dependent: list[tuple[str, str]] = []
        super().__init__(*args, **options)
        for name, action in (
            (None, _StoreOnce),
            ("store", _StoreOnce),
            ("append", _AppendOnce),
            ("store_true", _StoreTrue),
        ):
            self.register("action", name, action)

    def excludes(self, one: str, *others: str) -> None:
        """Options that `one` would leave without effect: giving both is refused. (A mutually exclusive group does
        the same for options of which each excludes each.)"""
        self.exclusive += [(_destination(one), _destination(other)) for other in others]

    def enables(self, one: str, *others: str) -> None:
        """Options that are without effect unless `one` is given: giving them alone is refused."""
        self.dependent += [(_destination(one), _destination(other)) for other in others]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.given.clear()
        found = super().parse_known_args(args, namespace)
        for one, other in self.exclusive:
            if one in self.given and other in self.given:
                self.error(f"{self.given[other]} has no effect beside {self.given[one]}: give one of the two")
        for one, other in self.dependent:
            if other in self.given and one not in self.given:
                self.error(
                    f"{self.given[other]} has no effect without --{one.replace('_', '-')}: give that, too"
                )
        return found

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def _destination(option: str) -> str:
    """Where the value of `option` lies in the parsed arguments."""
    return option.lstrip("-").replace("-", "_")


class _Noted(argparse.Action):
    """Notes under which name it was given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(parser, Parser)
        self.check(parser, namespace, values, option_string)
        parser.given[self.dest] = str(option_string)
        super().__call__(parser, namespace, values, option_string)

    def check(self, parser: Parser, namespace: argparse.Namespace, values: Any, option: str | None) -> None:
        """Refuse what would be dropped."""


class _StoreTrue(_Noted, argparse._StoreTrueAction):
    """A flag."""


class _StoreOnce(_Noted, argparse._StoreAction):
    """Keeps the value of an argument that may be given once."""

    def check(self, parser: Parser, namespace: argparse.Namespace, values: Any, option: str | None) -> None:
        """The first value."""
        if self.dest in parser.given:
            parser.error(f"{option} is given twice: it counts once")


class _AppendOnce(_Noted, argparse._AppendAction):
    """Collects values; of those that are NAME=VALUE, each name once."""

    def check(self, parser: Parser, namespace: argparse.Namespace, values: Any, option: str | None) -> None:
        """The first value of a name."""
        named = self.type in (name_and_value, input_shape)
        if named and values[0] in dict(getattr(namespace, self.dest) or ()):
            parser.error(f"{option} {values[0]} is given twice: it counts once")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds each default to the help, where there is one and the text does not tell it, and keeps examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Paragraphs are wrapped; lines that begin with a space stay as they are, to be copied."""
        wrapped = super()._fill_text
        return "\n".join(
            line if line.startswith(" ") else wrapped(line, width, indent) for line in text.split("\n")
        )

    def _get_help_string(self, action: argparse.Action) -> str | None:
        tells = action.default is None or action.default is False or "(default" in (action.help or "")
        return action.help if tells else super()._get_help_string(action)
