"""Tables of kernels that are only read, as the one that comes along, may be packed with gzip: a seventh is left."""

from __future__ import annotations

import zlib
from pathlib import Path

from compofa.errors import InputError
from compofa.files import read_bounded

GZIP = b"\x1f\x8b"
MOST_BYTES = 2**28
"""Of what a packed table holds."""


def unpacked(path: Path) -> bytes:
    """What the table at `path` says, packed or not.

    Raises:
        OSError: it cannot be read.
        InputError: it is too large, or packed and damaged.
    """
    content = read_bounded(path)
    if not content.startswith(GZIP):
        return content
    found = b""
    while content.strip(b"\0"):  # what was appended is a gzip file behind the first one
        engine = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            found += engine.decompress(content, MOST_BYTES - len(found) + 1)
        except zlib.error as error:
            raise InputError(f"{path} is a damaged gzip file: {error}") from error
        if len(found) > MOST_BYTES:
            raise InputError(f"{path} holds more than {MOST_BYTES // 2**20} MiB: no table of kernels does")
        if not engine.eof:
            raise InputError(f"{path} is a gzip file that was cut off: copy it anew")
        content = engine.unused_data
    return found
