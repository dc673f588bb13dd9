"""Files and folders that are replaced at once: a reader sees the old content or the new."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from compofa.files.locking import lock, sync


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
            sync(beside)
            with _nobody_adds_to(path):
                os.replace(beside, path)
            sync(path.parent)
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
            sync(file)
        sync(beside)
        if path.exists():
            path.rename(old)
        try:
            beside.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
        sync(path.parent)
    finally:
        for left in (beside, old):
            shutil.rmtree(left, ignore_errors=True)


def whole_files(folder: Path, pattern: str) -> list[Path]:
    """The files of `folder` that match, but for those that :func:`replacing` is writing, or left when it was killed."""
    return [path for path in folder.glob(pattern) if not path.name.startswith(".")]


@contextlib.contextmanager
def _nobody_adds_to(path: Path) -> Iterator[None]:
    """Hold the lock of the file that is at `path`, if one is."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # there is none, or none that can be read: replacing it says what is wrong
        yield
        return
    try:
        lock(handle, path)
        yield
    finally:
        os.close(handle)
