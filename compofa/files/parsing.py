"""Reading in bounded time and memory: whatever is wrong with a file is an InputError."""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from compofa.errors import InputError

MAX_FILE_BYTES = 256 * 1024**2
"""Larger files of text are refused: the largest table of a family takes about a hundredth of it."""
MAX_JSON_BYTES, MAX_TOML_BYTES, MAX_YAML_BYTES = 16 * 1024**2, 1024**2, 512 * 1024
"""What a parser takes some seconds and half a gigabyte for at the very worst; files of ours are smaller."""
MAX_YAML_DEPTH = 32


def read_bounded(path: Path, most_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of the file at `path`.

    Raises:
        InputError: it is larger than `most_bytes`, or no regular file.
        OSError: it cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is no regular file")
    with open(path, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise InputError(f"{path} is larger than {most_bytes // 1024**2} MiB: nothing that hwbench reads is")
    return content


def read_text(path: Path, most_bytes: int = MAX_FILE_BYTES) -> str:
    """The text in the file at `path`, UTF-8 with or without a byte-order mark.

    Raises:
        InputError: it is not UTF-8, or too large.
        OSError: it cannot be read.
    """
    try:
        return read_bounded(path, most_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 (byte {error.start})") from None


def _check_size(content: bytes | str, most_bytes: int) -> None:
    if len(content) > most_bytes:
        raise InputError(f"larger than {most_bytes // 1024} KiB: nothing of this kind that hwbench reads is")


def parse_json(content: bytes | str) -> Any:
    """The value that `content` says, in JSON as RFC 8259 has it: no NaN, no infinity; and no name twice.

    Raises:
        InputError: it is not JSON.
    """
    _check_size(content, MAX_JSON_BYTES)
    try:
        return json.loads(content, parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise InputError("not JSON that can be read: nested too deep") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and integers of thousands of digits
        raise InputError(f"not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r:.80} is there twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def parse_toml(content: str) -> dict[str, Any]:
    """The document that `content` says, in TOML.

    Raises:
        InputError: it is not TOML.
    """
    _check_size(content, MAX_TOML_BYTES)
    try:
        return tomllib.loads(content)
    except RecursionError:
        raise InputError("not TOML that can be read: nested too deep") from None
    except ValueError as error:
        raise InputError(f"not TOML: {error}") from None


def parse_yaml(content: bytes | str) -> Any:
    """The value that `content` says, in YAML without anchors, aliases and tags.

    The events are looked at before anything is built: a few lines of aliases stand for gigabytes, and the C loader
    overflows its stack on deep nesting.

    Raises:
        InputError: it is not YAML, or of a kind that is refused.
    """
    import yaml

    _check_size(content, MAX_YAML_BYTES)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(content, Loader=loader))
        return yaml.load(content, Loader=loader)
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not YAML that can be read: {error}") from None


def _check_events(events: Iterable[Any]) -> None:
    """Raise InputError at an alias, a tag, deep nesting, or a key that is twice in a mapping."""
    import yaml

    keys: list[set[str] | None] = []  # of each collection that is open; None for a sequence
    is_key: list[bool] = []  # whether a key comes next in it
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise InputError("YAML with aliases or tags is not read")
        if isinstance(event, yaml.CollectionEndEvent):
            keys.pop()
            is_key.pop()
        elif isinstance(event, yaml.NodeEvent) and keys and keys[-1] is not None:
            if is_key[-1] and isinstance(event, yaml.ScalarEvent):
                if event.value in keys[-1]:
                    raise InputError(f"the key {event.value:.100} is there twice")
                keys[-1].add(event.value)
            is_key[-1] = not is_key[-1]
        if isinstance(event, yaml.CollectionStartEvent):
            keys.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
            is_key.append(True)
            if len(keys) > MAX_YAML_DEPTH:
                raise InputError("not YAML that can be read: nested too deep")


@contextlib.contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Around the code that makes something of what a file holds: a part that is missing, of another type or out of
    range is said of the file.

    Args:
        path: the file, or its name for people.
        what: it should be, such as ``a baseline``.

    Raises:
        InputError: what was wrong, after the file's name.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except KeyError as error:
        raise InputError(f"{path}: not {what}, or a damaged one: it lacks {error}") from error
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: not {what}, or a damaged one: {type(error).__name__}: {error}") from error
