"""What the readers of files make of damaged ones: ``python benchmarks/fuzz_readers.py --n 10000``.

Each case takes a valid small file of one reader, damages it, and reads it in a child process. Counted are tracebacks
(anything but the program's own errors), hangs above ten seconds, crashes, more than 1 GB of memory, and damaged files
that are read as something else than the whole one where the reader has a checksum. All should be 0; the exit code says
whether they are. A case is a reader and a seed: ``--reader NAME --seed N --keep FILE`` makes it again.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARTEFACTS = ROOT / "hwbench" / "artefacts"
GOLDEN = ROOT / "tests" / "golden"
MEMORY_BYTES = 1 << 30
HANG_S = 10.0


# --- damage ---

Mutation = Callable[[random.Random, bytes], bytes]
ODD_NUMBERS = [b"9" * 5000]
ODD_NUMBERS += (
    b'nan NaN inf -Infinity 1e400 1e-320 1e308 -1 0 -0.0 1e6 0.5 99999999999999999999999999 true null [] {} "x" '
    b"1_0 0x10 .5 1e 07"
).split()
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, 5e-324, 10**30, "", "x", "nan", [], {}, [[]], {"a": 1}, [None], "\ud800", "\0",
)  # fmt: skip


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 8, 64, 512)))


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 4))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((rng.randrange(len(data) + 1), max(0, len(data) - rng.randrange(1, 20))))]


def delete_span(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def repeat_span(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 2, 1000)) + data[end:]


def insert_odd_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    odd = (
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\x1a",
        b"\xe2\x80\xa8",
        b'"',
        b",",
        b"{",
        b"[/red]",
        b"&a [*a]",
    )
    return data[:at] + rng.choice(odd) + data[at:]


def nest(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    depth = rng.choice((20, 200, 2000, 100_000))
    return data[:at] + rng.choice((b"[", b'{"a":', b"- ", b"a: [", b"[[")) * depth + data[at:]


def lines_edited(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return delete_span(rng, data)
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(j, lines[i])
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 3:
        lines[i] = lines[i].rstrip(b"\r\n")  # joined with the next
    else:
        lines[i] = lines[i][: rng.randrange(len(lines[i]))] + b"\n"
    return b"".join(lines)


def number_edited(rng: random.Random, data: bytes) -> bytes:
    import re

    found = list(re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", data[:1_000_000]))
    if not found:
        return flip_bits(rng, data)
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(ODD_NUMBERS) + data[one.end() :]


def columns_swapped(rng: random.Random, data: bytes) -> bytes:
    rows = [line.split(b",") for line in data.split(b"\n")]
    width = len(rows[0])
    if width < 2:
        return lines_edited(rng, data)
    i, j = rng.sample(range(width), 2)
    chosen = rows if rng.random() < 0.5 else rows[:1]
    for row in chosen:
        if len(row) == width:
            row[i], row[j] = row[j], row[i]
    return b"\n".join(b",".join(row) for row in rows)


def encoded_otherwise(rng: random.Random, data: bytes) -> bytes:
    text = data.decode("latin-1")
    kind = rng.randrange(5)
    if kind == 0:
        return text.encode("utf-16")
    if kind == 1:
        return data.replace(b"\n", b"\r\n")
    if kind == 2:
        return data.replace(b"\n", b"\r")
    return (b"\xef\xbb\xbf" + data) if kind == 3 else text.encode("utf-8")


def other_kind(rng: random.Random, data: bytes) -> bytes:
    import gzip

    pickled = b"cos\nsystem\n(S'touch /tmp/fuzz-executed'\ntR."
    kinds = (b"", b"\n", b"null", b"[]", b"{}", b"0", b"\x80\x04.", pickled, b"PK\x03\x04" + data[:50], b"<html>",
             gzip.compress(data), b"SQLite format 3\0" + data, data + data)  # fmt: skip
    return rng.choice(kinds)


def json_edited(rng: random.Random, data: bytes) -> bytes:
    """A value of a JSON document, or of a line of JSON, becomes another one, goes, or is there twice."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    for whole in (True, False):
        try:
            value = json.loads(data if whole else lines[at])
        except (ValueError, RecursionError):
            continue
        text = json.dumps(_edited(rng, value)).encode()
        return text if whole else b"\n".join((*lines[:at], text, *lines[at + 1 :]))
    return number_edited(rng, data)


def _edited(rng: random.Random, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.05:
        return rng.choice(ODD_VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    kind = rng.random()
    if kind < 0.7:
        value[key] = _edited(rng, value[key])
    elif kind < 0.85:
        del value[key]
    elif isinstance(value, dict):
        value[f"{key}x"] = value[key]
    else:
        value.append(value[key])
    return value


def safetensors_edited(rng: random.Random, data: bytes) -> bytes:
    """The JSON header of a safetensors file, edited, or its length."""
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):
        return flip_bits(rng, data)
    if rng.random() < 0.2:
        return rng.choice((0, 1, size + 1, 2**40, 2**64 - 1)).to_bytes(8, "little") + data[8:]
    text = json.dumps(_edited(rng, header)).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


TEXT: tuple[Mutation, ...] = (
    flip_bits, truncate, delete_span, repeat_span, insert_odd_bytes, nest, lines_edited, number_edited,
    encoded_otherwise, other_kind,
)  # fmt: skip
BINARY: tuple[Mutation, ...] = (flip_bits, truncate, delete_span, repeat_span, insert_odd_bytes, other_kind)


# --- readers ---


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Args:
        make: writes a valid small file into a folder; returns it. Other files that reading needs go beside it.
        read: reads it; what it gives back is compared by its text if the file is `sealed`.
        mutations: that may be done to it.
        sealed: whether any damage that changes what is read must be found.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    mutations: tuple[Mutation, ...] = TEXT
    sealed: bool = False


def _copied(source: Path, lines: int | None = None, name: str = "") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / (name or source.name.removesuffix(".gz"))
        data = source.read_bytes() if source.suffix != ".gz" else gzip.decompress(source.read_bytes())
        path.write_bytes(data if lines is None else b"".join(data.splitlines(keepends=True)[:lines]))
        return path

    return make


def _genotypes(count: int, family: str = "glyphs") -> Any:
    import numpy as np

    from compofa.spaces.layout import encode
    from compofa.spaces.registry import get_family
    from compofa.spaces.space import get_space

    rng, space = np.random.default_rng(0), get_space("ofa", get_family(family))
    return encode(space.family, [space.sample(rng) for _ in range(count)])


def _glyphs() -> Any:
    from compofa.spaces.registry import get_family

    return get_family("glyphs")


def _table_as(name: str, resolution: int | None = None) -> Callable[[Path], Path]:
    """A small table in the format of the suffix of `name`."""

    def make(folder: Path) -> Path:
        from dataclasses import replace

        from compofa.spaces.space import get_space
        from lut.formats import write_table
        from lut.table import Table

        table = Table.load(ARTEFACTS / "glyphs-reference.jsonl")
        wanted = get_space("ofa", table.family).all_blocks((resolution or 16,))
        some = {block: table.entries[block] for block in wanted[: None if resolution else 12]}
        header = replace(table.header, resolutions=(resolution or 16,))
        table = replace(table, header=header, entries=some)
        return write_table(table, folder / name if resolution is None else folder)[0]

    return make


def read_table(path: Path) -> Any:
    from lut.formats import read_table

    return read_table(path)


def read_store(path: Path) -> Any:
    from lut import store

    return store.read(path), store.read_failures(path)


def make_calibration(folder: Path) -> Path:
    _copied(GOLDEN / "glyphs.jsonl")(folder)
    return _copied(GOLDEN / "glyphs.test.json")(folder)


def read_calibration(path: Path) -> Any:
    from lut.calibration import Calibration
    from lut.table import Table

    return Calibration.load(path, Table.load(path.parent / "glyphs.jsonl")).model


def make_subnet_model(folder: Path) -> Path:
    import numpy as np

    from lut.predictors.auto import AutoPredictor
    from lut.subnet_model import SubnetModel

    genotypes = _genotypes(60)
    latency = 0.1 + 0.01 * (genotypes > 0).sum(axis=1) + np.random.default_rng(0).uniform(0, 0.01, 60)
    model = SubnetModel.fit(_glyphs(), "cpu_ms", genotypes, latency, AutoPredictor(("additive",)))
    model.save(folder / "model.json")
    return folder / "model.json"


def read_subnet_model(path: Path) -> Any:
    from lut.subnet_model import SubnetModel

    model = SubnetModel.load(path)
    return [f"{ms:.9g}" for ms in model.predict(_genotypes(3))], model.about, model.column


def make_networks(folder: Path) -> Path:
    from compofa.spaces.layout import decode

    archs = decode(_glyphs(), _genotypes(4))
    rows = ({"name": f"n{i}", "arch": str(arch), "accuracy": 0.5 + 0.1 * i} for i, arch in enumerate(archs))
    (folder / "networks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "networks.jsonl"


def read_networks(path: Path) -> Any:
    from hwbench.inputs.networks import read_networks

    return read_networks(path, _glyphs())


def _subnets_as(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import numpy as np

        from compofa.spaces.layout import decode
        from lut.subnets_csv import subnet_columns, write_csv

        path, genotypes = folder / name, _genotypes(6)
        header, cells = subnet_columns(_glyphs(), genotypes)
        if name == "subnets.csv":
            write_csv(path, header, cells, {"ms": np.arange(1.0, 7)})
        elif name == "archs.csv":
            rows = [f'{i},"{arch}",{i + 0.5}' for i, arch in enumerate(decode(_glyphs(), genotypes))]
            path.write_text("n,arch,ms\n" + "\n".join(rows) + "\n")
        else:
            path.write_text("\n".join(json.dumps(_config(row)) for row in cells) + "\n")
        return path

    return make


def _config(row: list[str]) -> dict[str, Any]:
    numbers = [int(cell) for cell in row]
    return {"r": numbers[0], "d": numbers[1:6], "ks": numbers[6:26], "e": numbers[26:]}


def read_subnets(path: Path) -> Any:
    from lut.subnets_csv import read_subnets

    file = read_subnets(path, _glyphs())
    return file.genotypes.tolist(), file.latencies("ms").tolist() if "ms" in file.header else None


def read_archs(path: Path) -> Any:
    from compofa.spaces.space import get_space
    from hwbench.evaluate import read_archs

    return read_archs(path, get_space("ofa", _glyphs()))


def make_archs(folder: Path) -> Path:
    from compofa.spaces.layout import decode

    path = folder / "archs.txt"
    path.write_text("".join(f"{arch}\n" for arch in decode(_glyphs(), _genotypes(5))))
    return path


def read_accuracies(path: Path) -> Any:
    from compofa.accuracy import Accuracies

    return Accuracies.load(path)


def read_accuracy_source(path: Path) -> Any:
    from compofa.spaces.space import get_space
    from hwbench.accuracy_source import open_accuracy

    source = open_accuracy(path, get_space("ofa", _glyphs()))
    return source.predict(_genotypes(3))


def _published_predictor(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import numpy as np

        rng, path = np.random.default_rng(0), folder / name
        sizes = (20 * 6 + 8, 8, 8, 1)
        state = {}
        for n, (before, after) in enumerate(itertools.pairwise(sizes)):
            state[f"{2 * n}.weight"] = rng.normal(0, 0.1, (after, before)).astype(np.float32)
            state[f"{2 * n}.bias"] = rng.normal(0, 0.1, after).astype(np.float32)
        if name.endswith(".pth"):
            import torch

            torch.save({key: torch.from_numpy(array) for key, array in state.items()}, path)
        else:
            from safetensors.numpy import save_file

            save_file(state, path)
        return path

    return make


def read_published_predictor(path: Path) -> Any:
    from compofa.accuracy.published import load_published
    from compofa.spaces.registry import get_family

    return load_published(get_family("imagenet-w1.0"), path).predict(_published_genotypes())


def _published_genotypes() -> Any:
    genotypes = _genotypes(20, "imagenet-w1.0")
    return genotypes[genotypes[:, 0] % 4 == 0]  # 128, 144, ... px


def read_supernet(path: Path) -> Any:
    from compofa.checkpoint import load_supernet

    net, about = load_supernet(path)
    return [float(value.double().sum()) for value in net.state_dict().values()], about


def make_published_supernet(folder: Path) -> Path:
    import torch

    from compofa.published import to_published
    from compofa.supernet import Supernet

    torch.save({"state_dict": to_published(Supernet(_glyphs()))}, folder / "published.pth")
    return folder / "published.pth"


def read_published_supernet(path: Path) -> Any:
    from compofa.published import load_published

    return load_published(_glyphs(), path)


def read_recipe(path: Path) -> Any:
    from compofa.recipe import Recipe

    return Recipe.load(str(path))


def read_family(path: Path) -> Any:
    from compofa.files import parse_toml, read_text
    from compofa.spaces.registry import _document
    from compofa.spaces.toml import parse_family

    return parse_family("mine", parse_toml(read_text(path)), _document)


def read_fpga_target(path: Path) -> Any:
    from backends.fpga.target import load_target

    return load_target(str(path))


def read_tvm_target(path: Path) -> Any:
    from backends.tvm.target import load_target

    return load_target(str(path))


def make_golden(folder: Path) -> Path:
    for file in sorted(GOLDEN.glob("glyphs*")):
        shutil.copy(file, folder)
    manifest = json.loads((GOLDEN / "golden.json").read_bytes())
    from hwbench.gating import golden

    sets = golden.read_manifest(GOLDEN)
    golden.write_manifest(folder, {"glyphs": sets["glyphs"]})
    assert manifest
    return folder / "golden.json"


def read_manifest(path: Path) -> Any:
    from hwbench.gating.golden import read_manifest

    return {name: entry.to_dict() for name, entry in read_manifest(path.parent).items()}


def make_baseline(folder: Path) -> Path:
    from hwbench.gating.baseline import Baseline

    Baseline.load(GOLDEN / "baseline.json").save(folder / "baseline.json")
    return folder / "baseline.json"


def read_baseline(path: Path) -> Any:
    from hwbench.gating.baseline import Baseline

    found = Baseline.load(path)
    return {
        name: (one.digest, one.coverage, one.predicted_ms) for name, one in found.sets.items()
    }, found.environment


def make_trials(folder: Path) -> Path:
    path = folder / "trials.jsonl"
    line = {"operator": "0123456789abcdef", "name": "conv2d", "trials": 64}
    path.write_text("".join(json.dumps({**line, "trials": n}) + "\n" for n in (16, 32, 64)))
    return path


def read_trials(path: Path) -> Any:
    from backends.tvm.tuning import read_trials

    return read_trials(path.parent)


def make_address(folder: Path) -> Path:
    (folder / "address").write_text("192.168.1.20:9090")
    return folder / "address"


def read_address(path: Path) -> Any:
    from backends.tvm.address import Address

    return Address.parse(path.read_bytes().decode("latin-1"), "")


def make_image(folder: Path) -> Path:
    import numpy as np
    from PIL import Image

    for split in ("train", "val"):
        for name in ("a", "b"):
            (folder / "data" / split / name).mkdir(parents=True)
            noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / "data" / split / name / "0.png")
    return folder / "data" / "val" / "a" / "0.png"


def read_image(path: Path) -> Any:
    from compofa.data import load_data

    data = load_data(f"imagefolder:{path.parents[2]}", "test")
    return data.batch([0, 1], 32)[0].sum()


def read_kernels(path: Path) -> Any:
    from lut.kernels.table import load

    found = load(path)
    return found.header, list(found.entries.items()), found.networks, list(found.unmeasured)


def make_packed_kernels(folder: Path) -> Path:
    plain = _copied(ARTEFACTS / "kernels-reference.jsonl.gz", 14)(folder)
    path = folder / "kernels.jsonl.gz"
    path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    return path


def make_inputs(folder: Path) -> Path:
    import numpy as np

    path = folder / "inputs.npz"
    np.savez(path, x=np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1, 1))
    return path


def read_inputs(path: Path) -> Any:
    from backends.kernels.files import model_of
    from backends.measuring.rotation import EMPTY
    from compofa.graph import network_to_onnx
    from hwbench.profiling.given_data import read_feeds

    feeds = read_feeds(path, model_of(network_to_onnx([EMPTY]), "empty", path.parent))
    return [given["x"].tolist() for given in feeds]


def make_onnx(folder: Path) -> Path:
    from compofa.blocks import Block
    from compofa.graph import network_to_onnx

    network = (Block("mbconv", (8, 6, 6), 8, 16, kernel=3, se=True, act="hswish", shortcut=True),)
    path = folder / "model.onnx"
    path.write_bytes(network_to_onnx(network).SerializeToString())
    return path


def read_onnx(path: Path) -> Any:
    from backends.kernels.files import read_model

    found = read_model(path)
    return found.proto.SerializeToString(deterministic=True)


READERS: dict[str, Reader] = {
    "table.jsonl": Reader(
        _copied(ARTEFACTS / "glyphs-reference.jsonl", 12), read_store, (*TEXT, json_edited)
    ),
    "table.csv": Reader(_table_as("table.csv"), read_table, (*TEXT, columns_swapped)),
    "table.yaml": Reader(_table_as("", 16), read_table),
    "table.parquet": Reader(_table_as("table.parquet"), read_table, BINARY),
    "kernels": Reader(
        _copied(ARTEFACTS / "kernels-reference.jsonl.gz", 14), read_kernels, (*TEXT, json_edited)
    ),
    "kernels.gz": Reader(make_packed_kernels, read_kernels, BINARY),
    "onnx-model": Reader(make_onnx, read_onnx, BINARY),
    "inputs.npz": Reader(make_inputs, read_inputs, BINARY),
    "calibration": Reader(make_calibration, read_calibration, (*TEXT, json_edited)),
    "networks": Reader(make_networks, read_networks, (*TEXT, json_edited)),
    "subnet-model": Reader(make_subnet_model, read_subnet_model, (*TEXT, json_edited), sealed=True),
    "subnets.csv": Reader(_subnets_as("subnets.csv"), read_subnets, (*TEXT, columns_swapped)),
    "archs.csv": Reader(_subnets_as("archs.csv"), read_subnets, (*TEXT, columns_swapped)),
    "subnets.json": Reader(_subnets_as("subnets.json"), read_subnets, (*TEXT, json_edited)),
    "archs.txt": Reader(make_archs, read_archs),
    "accuracies": Reader(
        _copied(ARTEFACTS / "glyphs-ofa.accuracy.jsonl", 12), read_accuracies, (*TEXT, json_edited)
    ),
    "accuracy-source": Reader(
        _copied(ARTEFACTS / "glyphs-ofa.accuracy.jsonl", 400), read_accuracy_source, (*TEXT, json_edited)
    ),
    "accuracy-predictor": Reader(
        _copied(ARTEFACTS / "glyphs-ofa.predictor.safetensors"),
        read_accuracy_source,
        (*BINARY, safetensors_edited),
    ),
    "published-predictor": Reader(
        _published_predictor("acc.safetensors"), read_published_predictor, (*BINARY, safetensors_edited)
    ),
    "published-predictor.pth": Reader(_published_predictor("acc.pth"), read_published_predictor, BINARY),
    "supernet": Reader(
        _copied(ARTEFACTS / "glyphs-ofa.safetensors"), read_supernet, (*BINARY, safetensors_edited)
    ),
    "published-supernet": Reader(make_published_supernet, read_published_supernet, BINARY),
    "recipe": Reader(_copied(ROOT / "compofa/recipes/glyphs-ofa.toml"), read_recipe),
    "family": Reader(_copied(ROOT / "compofa/spaces/families/glyphs-resnet.toml"), read_family),
    "fpga-target": Reader(_copied(ROOT / "backends/fpga/targets/zcu102-b4096.toml"), read_fpga_target),
    "tvm-target": Reader(_copied(ROOT / "backends/tvm/targets/raspberry-pi4.toml"), read_tvm_target),
    "golden-sets": Reader(make_golden, read_manifest, (*TEXT, json_edited)),
    "baseline": Reader(make_baseline, read_baseline, (*TEXT, json_edited), sealed=True),
    "tuning-trials": Reader(make_trials, read_trials, (*TEXT, json_edited)),
    "address": Reader(make_address, read_address),
    "image": Reader(make_image, read_image, BINARY),
}


# --- in the child ---


@dataclass(frozen=True)
class Prepared:
    """A reader with its whole file, and what that says."""

    reader: Reader
    path: Path
    data: bytes
    said: str

    @classmethod
    def of(cls, name: str, folder: Path) -> Prepared:
        folder.mkdir(parents=True)
        path = READERS[name].make(folder)
        return cls(READERS[name], path, path.read_bytes(), _text(READERS[name].read(path)))

    def damaged(self, seed: int) -> bytes:
        """The file of a case."""
        rng = random.Random(seed)
        data = self.data
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            data = rng.choice(self.reader.mutations)(rng, data)
        return data

    def outcome(self, seed: int) -> tuple[str, str]:
        """``read``, ``refused``, ``traceback``, ``memory`` or ``accepted`` (a sealed file that says something else),
        and what there is to say of it."""
        from compofa.errors import HwbenchError

        self.path.write_bytes(self.damaged(seed))
        try:
            said = _text(self.reader.read(self.path))
        except (HwbenchError, OSError) as error:
            return "refused", str(error)[:200]
        except MemoryError:
            return "memory", traceback.format_exc(limit=-3)
        except Exception as error:
            own = [
                frame for frame in traceback.extract_tb(error.__traceback__) if str(ROOT) in frame.filename
            ][-1]
            return (
                "traceback",
                f"{type(error).__name__} at {Path(own.filename).relative_to(ROOT)}:{own.lineno}",
            )
        wrong = self.reader.sealed and said != self.said
        return ("accepted", "reads as something else") if wrong else ("read", "")


def _text(value: Any) -> str:
    import numpy as np

    with np.printoptions(threshold=1 << 20, precision=17):
        return repr(value)


def child(folder: Path) -> None:
    """Read lines ``name<TAB>seed`` from stdin; write a line of JSON for each."""
    import warnings

    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    prepared: dict[str, Prepared] = {}
    for line in sys.stdin:
        name, seed = line.rstrip("\n").split("\t")
        if name not in prepared:
            prepared[name] = Prepared.of(name, folder / name)
            _limit_memory()
        out.write(json.dumps(prepared[name].outcome(int(seed))) + "\n")


def _limit_memory() -> None:
    """From now on the process may take :data:`MEMORY_BYTES` more than it has."""
    import resource

    with open("/proc/self/statm") as file:
        data_bytes = int(file.read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes + MEMORY_BYTES, resource.RLIM_INFINITY))


# --- in the parent ---


class Child:
    """A process that reads; started again after it died."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self.errors = (folder / "stderr").open("w")

    def ask(self, name: str, seed: int) -> tuple[str, str]:
        """The outcome of a case, ``hang`` and ``crash`` among them."""
        if self.process is None:
            self.count += 1
            command = [sys.executable, __file__, "--child", str(self.folder / str(self.count))]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            if (
                self._said(f"{name}\t-1", 120)[0] == "crash"
            ):  # imports and the whole file are not the case's time
                raise SystemExit(
                    f"{name}: the whole file is not read\n{(self.folder / 'stderr').read_text()}"
                )
        kind, what = self._said(f"{name}\t{seed}", HANG_S)
        if kind in ("hang", "crash"):
            self.stop()
        return kind, what

    def _said(self, line: str, limit_s: float) -> tuple[str, str]:
        assert self.process and self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            return "crash", f"status {self.process.wait()}"
        if not select.select([self.process.stdout], [], [], limit_s)[0]:
            return "hang", f"above {limit_s:g} s"
        answer = self.process.stdout.readline()
        if not answer:
            return "crash", f"status {self.process.wait()}"
        kind, what = json.loads(answer)
        return kind, what

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


BAD = ("traceback", "hang", "crash", "memory", "accepted")


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--n", type=int, default=1000, help="cases in all")
    p.add_argument("--seconds", type=float, default=900, help="after which it stops")
    p.add_argument("--reader", action="append", choices=READERS, help="only this one; may be repeated")
    p.add_argument("--seed", type=int, default=0, help="of the first case")
    p.add_argument(
        "--keep", type=Path, metavar="FILE", help="write the damaged file of --reader and --seed there"
    )
    p.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.child:
        child(args.child)
        return 0
    names = args.reader or list(READERS)
    with tempfile.TemporaryDirectory() as folder:
        if args.keep:
            prepared = Prepared.of(names[0], Path(folder) / "one")
            args.keep.write_bytes(prepared.damaged(args.seed))
            print(*prepared.outcome(args.seed))
            return 0
        return report(names, *run(names, args, Path(folder)))


def run(
    names: list[str], args: argparse.Namespace, folder: Path
) -> tuple[Counter[tuple[str, str]], dict[Any, Any], float]:
    """Counts by reader and outcome, an example of each bad thing, and seconds."""
    start = time.monotonic()
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str, str], list[int]] = {}
    for name in names:
        reader = Child(folder / name)
        budget = (args.seconds - (time.monotonic() - start)) / (len(names) - names.index(name))
        begun = time.monotonic()
        for case in range(args.n // len(names)):
            if time.monotonic() - begun > budget:
                break
            kind, what = reader.ask(name, args.seed + case)
            counts[name, kind] += 1
            if kind in BAD:
                examples.setdefault((name, kind, what), []).append(args.seed + case)
        reader.stop()
    return counts, examples, time.monotonic() - start


def report(
    names: list[str], counts: Counter[tuple[str, str]], examples: dict[Any, Any], seconds: float
) -> int:
    out = io.StringIO()
    kinds = ("read", "refused", *BAD)
    print(f"{'reader':24}" + "".join(f"{kind:>11}" for kind in kinds), file=out)
    for name in names:
        print(f"{name:24}" + "".join(f"{counts[name, kind]:11}" for kind in kinds), file=out)
    print(f"{'all':24}" + "".join(f"{sum(counts[n, kind] for n in names):11}" for kind in kinds), file=out)
    for (name, kind, what), seeds in sorted(examples.items(), key=lambda item: -len(item[1])):
        print(f"{name}: {kind}: {what}: {len(seeds)} times, such as --seed {seeds[0]}", file=out)
    print(f"{sum(counts.values()):,} cases in {seconds:.0f} s", file=out)
    print(out.getvalue(), end="")
    return int(bool(examples))


if __name__ == "__main__":
    sys.exit(main())
