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

from compofa.files.appending import AppendFile, ClosedAtEnd
from compofa.files.atomic import replacing, replacing_folder, whole_files, write_atomically
from compofa.files.locking import FileBusy
from compofa.files.parsing import (
    MAX_FILE_BYTES,
    parse_json,
    parse_toml,
    parse_yaml,
    read_bounded,
    read_text,
    reading,
)
from compofa.files.seals import SEAL, check_seal, file_sha256, sealed

__all__ = [
    "MAX_FILE_BYTES",
    "SEAL",
    "AppendFile",
    "ClosedAtEnd",
    "FileBusy",
    "check_seal",
    "file_sha256",
    "parse_json",
    "parse_toml",
    "parse_yaml",
    "read_bounded",
    "read_text",
    "reading",
    "replacing",
    "replacing_folder",
    "sealed",
    "whole_files",
    "write_atomically",
]
