"""The types of arguments: each reads a text from the command line or says what is wrong with it."""

from __future__ import annotations

import argparse
import math

LARGEST = 2**31 - 1
"""Of whole numbers: what every library below takes."""


def positive_int(text: str) -> int:
    """A whole number above 0."""
    if not (number := _whole(text)):
        raise argparse.ArgumentTypeError(f"{_short(text)} is not a positive whole number")
    return number


def seed(text: str) -> int:
    """A whole number that random generators start from; 0 is one."""
    if (number := _whole(text)) is None:
        raise argparse.ArgumentTypeError(f"{_short(text)} is not a seed: a whole number, 0 or above")
    return number


def _whole(text: str) -> int | None:
    """The number that decimal digits say; None if there is anything else."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()):
        return None
    if len(digits.lstrip("0")) > len(str(LARGEST)) or int(digits) > LARGEST:
        raise argparse.ArgumentTypeError(f"{_short(text)} is larger than {LARGEST}")
    return int(digits)


def positive_number(text: str) -> float:
    """A finite number above 0."""
    number = _finite(text)
    if number is None or number <= 0:
        raise argparse.ArgumentTypeError(f"{_short(text)} is not a positive number")
    return number


def fraction(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    number = _finite(text)
    if number is None or not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{_short(text)} is not a number between 0 and 1")
    return number


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def resolutions(text: str) -> tuple[int, ...]:
    """``128,160`` or ``128:224:32`` (224 included), in pixels; ascending, distinct."""
    from compofa.spaces.family import LARGEST_RESOLUTION  # here: most commands parse none

    found: set[int] = set()
    for part in text.split(","):
        numbers = [positive_int(number) for number in part.split(":")]
        if len(numbers) not in (1, 3) or (len(numbers) == 3 and numbers[0] > numbers[1]):
            raise argparse.ArgumentTypeError(f"{_short(part)} is neither a resolution nor first:last:step")
        if max(numbers[:2]) > LARGEST_RESOLUTION:
            raise argparse.ArgumentTypeError(f"{_short(part)}: a resolution is at most {LARGEST_RESOLUTION}")
        found.update(range(numbers[0], numbers[1] + 1, numbers[2]) if len(numbers) == 3 else numbers)
    return tuple(sorted(found))


def name_and_value(text: str) -> tuple[str, str]:
    """``name=value``."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"{_short(text)} is not NAME=VALUE")
    return name, value


def family(text: str) -> str:
    """The name of a family, which a file ``*.toml`` may describe; it is then known by that name."""
    if not text.endswith(".toml"):
        return text
    from compofa.spaces.registry import get_family

    try:
        return get_family(text).name
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_shapes(p: argparse._ActionsContainer) -> None:
    """Add what fixes the shapes that a model leaves open."""
    p.add_argument(
        "--batch", type=positive_int, metavar="N", help="first dimension of the inputs, if it is open"
    )
    p.add_argument(
        "--input",
        action="append",
        default=[],
        type=input_shape,
        metavar="NAME=SHAPE",
        help="shape of an input that is open, such as x=1x3x224x224",
    )


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """``name=1x3x224x224``."""
    name, _, shape = text.rpartition("=")
    parts = shape.replace(",", "x").split("x")
    if not name or not all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**31 for part in parts):
        raise argparse.ArgumentTypeError(f"{_short(text)} is not NAME=SHAPE, such as x=1x3x224x224")
    return name, tuple(map(int, parts))


def _short(text: str) -> str:
    """`text` as a message shows it."""
    return repr(text if len(text) <= 40 else text[:40] + "...")
