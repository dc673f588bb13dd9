"""The bottom shelf: how files are read and written, everywhere.

*Replaced at once.* :func:`replacing` and :func:`write_atomically` write beside the file, under a name of their own,
make sure that it reached the disk, and only then put it in the file's place: a reader sees the old content or the
new, and a full disk leaves the old.

*Added to.* :class:`AppendFile` is a file of lines that only grows, by one process at a time. What
:meth:`AppendFile.append` returned from is on the disk; a process killed while it wrote leaves a torn last line, which
the next one drops.

*Read with bounds.* Files come from anywhere. The ``parse_*`` functions end in bounded time and memory, and whatever
is wrong is an :class:`~compofa.errors.InputError`, never a crash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
import tomllib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from compofa.errors import InputError, RunFailed

try:
    import fcntl
except ImportError:  # not on Windows: there, nobody is kept from writing a file that another writes
    fcntl = None  # type: ignore[assignment]

MAX_FILE_BYTES = 256 * 1024**2
"""Larger files of text are refused: the largest table of a family takes about a hundredth of it."""
MAX_JSON_BYTES, MAX_TOML_BYTES, MAX_YAML_BYTES = 16 * 1024**2, 1024**2, 512 * 1024
"""What a parser takes some seconds and half a gigabyte for at the very worst; files of ours are smaller."""
MAX_YAML_DEPTH = 32


class FileBusy(RunFailed):
    """Another process is writing the file."""


# --- replacing ---


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path`, of the same suffix, to write to; it takes the place of `path` when the block ends
    well, and is removed when it does not.

    Raises:
        FileBusy: another process is adding to `path`: what it adds from now on would be lost.
        OSError: it cannot be written.
    """
    given, path = Path(path), Path(os.path.realpath(path))  # a link stays one
    if _is_stream(given):
        with _written_through(given) as beside:
            yield beside
        return
    # Made here, not by tempfile: its mode follows the umask, as that of any file does.
    beside = path.with_name(f".{path.stem[:80]}.{uuid.uuid4().hex[:12]}{path.suffix}")
    with _of(given):
        mode = _begin(beside)
    try:
        yield beside
        with _of(given):
            os.chmod(beside, mode)  # some libraries make the file anew, for its owner alone
            _sync(beside)
            with _nobody_adds_to(path):
                os.replace(beside, path)
            _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _begin(path: Path) -> int:
    """Make the file; gives its mode, which follows the umask."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def _is_stream(path: Path) -> bool:
    """Whether `path` is a device or a pipe, ``/dev/stdout`` too: nothing may take its place."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    kept = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return not kept or path.absolute().parts[1:2] in (("dev",), ("proc",))


@contextlib.contextmanager
def _written_through(path: Path) -> Iterator[Path]:
    """A file to write to, whose content goes into the device or the pipe at `path` when the block ends well."""
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / path.name
        beside.touch()
        yield beside
        with _of(path), open(beside, "rb") as content, open(path, "wb") as stream:
            shutil.copyfileobj(content, stream)


@contextlib.contextmanager
def _of(path: Path) -> Iterator[None]:
    """What goes wrong is said of `path`: nobody knows the name of the file beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content`, text as UTF-8, to `path`; see :func:`replacing`."""
    with replacing(path) as beside, _of(path):
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to fill; it takes the place of `path` when the block ends well, and is removed
    when it does not. A reader sees the old files or the new ones, never some of both.

    Raises:
        OSError: it cannot be written; what was there is there.
    """
    path = Path(os.path.realpath(path))
    beside, old = (path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex[:12]}") for _ in range(2))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside.mkdir()
    try:
        mode = _begin(beside / old.name)
        (beside / old.name).unlink()
        yield beside
        for file in filter(Path.is_file, beside.iterdir()):
            os.chmod(file, mode)
            _sync(file)
        _sync(beside)
        if path.exists():
            path.rename(old)
        try:
            beside.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
        _sync(path.parent)
    finally:
        for left in (beside, old):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _nobody_adds_to(path: Path) -> Iterator[None]:
    """Hold the lock of the file that is at `path`, if one is."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # there is none, or none that can be read: replacing it says what is wrong
        yield
        return
    try:
        _lock(handle, path)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileBusy(
            f"{path} is being written by another process; wait for it, or choose another file"
        ) from None


def _sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- adding to ---


class ClosedAtEnd(ABC):
    """A context manager that ends by :meth:`close`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AppendFile(ClosedAtEnd):
    """A file of lines, open for adding to it; a context manager. Whoever has it open holds the lock of
    ``flock(2)``, which ends with the process.

    Args:
        path: the file, made if it is not there; its folder must exist.

    Attributes:
        content: the whole lines that it holds, each with its newline.
        torn: what stands after the last of them: the first part of a line that was being written when its writer
            was killed. It goes when something is added.

    Raises:
        FileBusy: another process is writing the file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file = self._open()
        try:
            content = self.path.read_bytes()
            end = content.rfind(b"\n") + 1
            self.content, self.torn = content[:end], content[end:]
        except BaseException:
            self.close()
            raise

    def _open(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(handle, self.path)
                # Whoever replaced the file between the two calls left us the lock of what is there no more.
                if os.path.samestat(os.fstat(handle), os.stat(self.path)):
                    return handle
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def append(self, lines: bytes) -> None:
        """Add `lines`, each with its newline; when this returns they are on the disk.

        Raises:
            OSError: they could not be written (the disk is full); the file is as it was before.
        """
        end = len(self.content)
        try:
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
            left = lines
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
            if not end:
                _sync(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.content, self.torn = self.content + lines, b""

    def close(self) -> None:
        """Close the file and with it the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove_below(self, lines: int) -> None:
        """Remove the file if it holds fewer whole lines. It is looked at anew: Ctrl-C may have come when something
        was on the disk and not yet known here."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.read_bytes().count(b"\n") < lines:
                self.path.unlink()


# --- reading with bounds ---


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


# --- seals ---

SEAL = "sha256"


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """`content` with the hash of itself, for :func:`check_seal`."""
    return {**content, SEAL: _hash(content)}


def check_seal(content: dict[str, Any]) -> None:
    """Raise InputError if `content` is not what was :func:`sealed`; what has no seal, as files of version 0.1.0, may be
    anything."""
    if SEAL in content and content[SEAL] != _hash({k: v for k, v in content.items() if k != SEAL}):
        raise InputError(
            f"damaged, or edited by hand: its {SEAL} differs (restore it; after an edit that is meant, delete the "
            f"line {SEAL})"
        )


def _hash(content: dict[str, Any]) -> str:
    """Of the canonical JSON: keys sorted, no blanks."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
