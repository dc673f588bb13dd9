"""What a file is that is no table, told by how it begins: "not a table" helps nobody who took the wrong file.

Nothing is unpacked, loaded or executed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compofa.errors import InputError
from compofa.files import parse_json

LONGEST_DOCUMENT = 16 * 1024**2
"""Bytes of JSON that are parsed to tell what they are."""

NEVER_RUN = "it could run code and is never read; have its program write the numbers as CSV"
RAW_ADDRESS = "download the file itself, not the page that shows it"

MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x1f\x8b", "a gzip archive: unpack it"),
    (0, b"BZh", "a bzip2 archive: unpack it"),
    (0, b"\xfd7zXZ", "an xz archive: unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (257, b"ustar", "a tar archive: unpack it"),
    (0, b"SQLite format 3\0", "an SQLite database: export its numbers as CSV"),
    (0, b"PAR1", "a Parquet file: its name must end in .parquet"),
    (0, b"ARROW1", "an Arrow file: write it as Parquet"),
    (0, b"\x89HDF\r\n", "an HDF5 file: export its numbers as CSV"),
    (0, b"\x93NUMPY", "a NumPy array: it does not say which block its numbers are of"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x7fELF", "a program"),
    (4, b"TFL3", "a TensorFlow Lite model: a table holds latencies, not networks"),
    (4, b"ftrt", "a TensorRT engine: a table holds latencies, not networks"),
    (0, b"version https://git-lfs", "a pointer of Git LFS: fetch the file with git lfs pull"),
    (0, b"\xff\xfe", "text in UTF-16: save it as UTF-8"),
    (0, b"\xfe\xff", "text in UTF-16: save it as UTF-8"),
)
"""(offset, what stands there, what the file is)."""


def kind_of(content: bytes) -> str | None:
    """What `content`, the beginning of a file, is, with what to do; None if it cannot be told."""
    for offset, magic, kind in MAGIC:
        if content[offset:].startswith(magic):
            return kind
    told = (tell(content) for tell in (_zip, _pickle, _model, _markup, _json))
    return next((kind for kind in told if kind), None)


def not_a_table(content: bytes) -> str:
    """What to say of a file that begins with `content` and is no table."""
    kind = kind_of(content)
    return f"not a table but {kind}" if kind else "not a hwbench table"


def _zip(content: bytes) -> str | None:
    if not content.startswith(b"PK\x03\x04"):
        return None
    if b"data.pkl" in content:
        return f"a PyTorch checkpoint, which holds a pickle: {NEVER_RUN}"
    if b"[Content_Types].xml" in content:
        return "a spreadsheet: save it as CSV"
    return "a zip archive: unpack it"


def _pickle(content: bytes) -> str | None:
    binary = content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    text = content.startswith((b"(dp", b"(lp", b"ccopy_reg", b"(i__main__", b"c__builtin__", b"cbuiltins"))
    return f"a pickle (nn-Meter keeps its predictors so): {NEVER_RUN}" if binary or text else None


def _model(content: bytes) -> str | None:
    # ONNX: field 1 (the IR's version), then the producer's name, the domain, the graph or the opsets.
    if len(content) > 2 and content[0] == 8 and content[1] < 32 and content[2] in (0x12, 0x1A, 0x3A, 0x42):
        return "an ONNX model: a table holds latencies, not networks"
    if 2 < int.from_bytes(content[:8], "little") < 1 << 27 and content[8:10] == b'{"':
        return "a safetensors file: a table holds latencies, not weights"
    return None


def _markup(content: bytes) -> str | None:
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return f"a web page: {RAW_ADDRESS}"
    return "an XML document" if start.startswith(b"<?xml") else None


# --- JSON of other programs ---


def _json(content: bytes) -> str | None:
    """Of a document, or of the first line where each is one."""
    start = content[:LONGEST_DOCUMENT].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] not in (b"{", b"["):
        return None
    for text in (start, start.split(b"\n", 1)[0]):
        try:
            value = parse_json(text)
        except InputError:
            continue
        return next((kind for is_it, kind in JSON_KINDS if is_it(value)), _own(value))
    return None


def _own(value: Any) -> str | None:
    name = value.get("format") if isinstance(value, dict) else None
    ours = isinstance(name, str) and name.startswith("hwbench-") and name != "hwbench-table"
    return f"a file of the format {name}" if ours else None


def _rows_with(*names: str) -> Callable[[Any], bool]:
    """Whether a value is a list with an object that has all of `names`."""
    return lambda value: (
        isinstance(value, list) and any(isinstance(row, dict) and row.keys() >= set(names) for row in value)
    )


def _object_with(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and value.keys() >= set(names)


JSON_KINDS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (
        _rows_with("name", "averageMs"),
        "a layer profile of trtexec (--exportProfile): its layers are fused as TensorRT pleased, and are no "
        "blocks; build a table with hwbench build_lut --backend tensorrt",
    ),
    (
        _rows_with("latencyMs"),
        "the times of one network by trtexec (--exportTimes): build a table with hwbench build_lut "
        "--backend tensorrt",
    ),
    (
        _object_with("input", "config", "result"),
        "a tuning log of AutoTVM: it holds schedules of operators, not latencies of blocks; build a table "
        "with hwbench build_lut --backend tvm",
    ),
    (
        _object_with("i", "r"),
        "a tuning log of TVM's auto-scheduler: build a table with hwbench build_lut --backend tvm",
    ),
    (
        _object_with("traceEvents"),
        "a trace for chrome://tracing: its events are operators, not blocks",
    ),
    (
        _rows_with("cat", "dur", "ts"),
        "a profile of ONNX Runtime: its events are operators, not blocks; build a table with hwbench "
        "build_lut --backend onnxruntime",
    ),
)
