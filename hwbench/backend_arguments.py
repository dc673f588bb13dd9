"""The arguments that say what measures, and how.

A backend's own options are arguments like any other (``--device``, ``--provider``). They are known once the
command line has named the backend, so listing the help of a command loads none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwbench import cli

if TYPE_CHECKING:
    from backends.base import Backend

DEFAULT_BACKEND = "onnxruntime"
PREFIX = "option_"
"""Before the names of a backend's options in the parsed arguments: they may be called like a command's own."""


class BackendParser(cli.Parser):
    """A parser with ``--backend``, the settings that all backends have, and the options of the one that is
    named on the command line it parses."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        backend = backend_named(arguments)
        options = self._add_options_of(backend) if backend else []
        known, unknown = super().parse_known_args(arguments, namespace)
        if unknown:
            there = f"its options are {', '.join(options)}" if options else "it has no options of its own"
            self.error(f"unknown to {self.prog} with backend {backend}: {' '.join(unknown)}; {there}")
        return known, unknown

    def _add_options_of(self, backend: str) -> list[str]:
        """Returns how they are written."""
        from backends import registry

        group = self.add_argument_group(f"options of backend {backend}")
        arguments = [
            group.add_argument(
                f"--{option.name.replace('_', '-')}",
                dest=PREFIX + option.name,
                choices=option.choices or None,
                metavar=None if option.choices else option.metavar,
                help=f"{option.help} (default: {option.default})" if option.default else option.help,
            )
            for option in registry.load(backend).options
        ]
        return [argument.option_strings[0] for argument in arguments]


def add_backend_arguments(parser: cli.Parser) -> None:
    """Add ``--backend`` and the settings that all backends have."""
    parser.add_argument(
        "--backend",
        default=DEFAULT_BACKEND,
        metavar="NAME",
        help="what measures; --backend NAME --help lists the options of its own",
    )
    parser.add_argument("--precision", help="number format (default: the backend's)")
    parser.add_argument("--batch", type=cli.positive_int, default=1, help="images in one run")
    parser.add_argument("--threads", type=cli.positive_int, default=1, help="of one run")


def backend_named(arguments: Sequence[str]) -> str | None:
    """The backend that a command line names, or the default; None where only help is asked for."""
    first = cli.Parser(add_help=False)
    first.add_argument("--backend")
    first.add_argument("-h", "--help", action="store_true")
    known, _ = first.parse_known_args(arguments)
    return known.backend or (None if known.help else DEFAULT_BACKEND)


def options_of(args: argparse.Namespace) -> dict[str, str]:
    """The options of its own that parsed arguments give the backend."""
    from backends import registry

    given = {
        option.name: getattr(args, PREFIX + option.name, None)
        for option in registry.load(args.backend).options
    }
    return {name: value for name, value in given.items() if value is not None}


def make_backend(args: argparse.Namespace) -> Backend:
    """The backend that parsed arguments ask for.

    Raises:
        BackendUnavailable: it cannot run here.
        InputError: there is no such backend, or it cannot do what is asked.
    """
    from hwbench.building import open_backend

    return open_backend(args.backend, args.precision, args.batch, args.threads, args.seed, options_of(args))
