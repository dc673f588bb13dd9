"""A process of its own that builds engines and checks them: if the library crashes, one network is lost, not the run.

``python -m backends.tensorrt.build`` reads one request a line from its standard input and writes one answer a line to
the file descriptor it is given; both are JSON. The library may print to standard output what it likes. Where there is
a GPU, an engine is run once and its output compared with the sample that was kept when it was built; where there is
none, that is left to the machine that will have one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from backends.tensorrt import library
from backends.tensorrt.engines import Engine, Engines, Identity, graph_hash
from backends.tensorrt.outputs import Memory, bind, check, ends, model_input, random_input, reference, sample
from compofa.blocks import Block
from compofa.files import write_atomically
from compofa.graph import network_to_onnx
from compofa.memory import keep_freed_memory


@dataclass(frozen=True)
class Graph:
    """What an engine is built from.

    Args:
        network: its blocks.
        precision: as in a target; ``tf32`` is a graph in fp32.
        batch: images in one run.
        seed: of the weights and of the input.
    """

    network: tuple[Block, ...]
    precision: str
    batch: int = 1
    seed: int = 0

    def model(self) -> bytes:
        """As a serialised ONNX model."""
        precision = "fp32" if self.tf32 else self.precision
        model = network_to_onnx(self.network, batch=self.batch, seed=self.seed, precision=precision)
        return model.SerializeToString(deterministic=True)

    @property
    def tf32(self) -> bool:
        return self.precision == "tf32"


@dataclass(frozen=True)
class Request:
    """One engine to build, unless it is there, and to check.

    Args:
        graph: of what.
        engines: where it is kept, and for which GPU it is.
        profile: file for milliseconds per layer, which takes a build of its own; empty for none.
    """

    graph: Graph
    engines: Engines
    profile: str = ""

    def line(self) -> str:
        """As it is sent."""
        network = [block.to_dict() for block in self.graph.network]
        graph = {**asdict(self.graph), "network": network}
        kept = {"folder": str(self.engines.folder), "identity": asdict(self.engines.identity)}
        return json.dumps({"graph": graph, "engines": kept, "profile": self.profile}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Request:
        """What :meth:`line` wrote."""
        fields = json.loads(line)
        graph, kept = fields["graph"], fields["engines"]
        network = tuple(Block.from_dict(block) for block in graph["network"])
        engines = Engines(Path(kept["folder"]), Identity(**kept["identity"]))
        return cls(Graph(**{**graph, "network": network}), engines, fields["profile"])


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Args:
        built: the engine was built now; else it was there.
        error: why there is none; empty if there is one.
        refused: the library has no way to run it, in its own words.
        unwritable: there is one, but it could not be kept.
    """

    built: bool = False
    error: str = ""
    refused: bool = False
    unwritable: bool = False


def serve(requests: Iterable[str], answers: TextIO, memory: Memory | None) -> None:
    """Answer each request, each in a line; without `memory` engines are not run."""
    for line in requests:
        answers.write(json.dumps(asdict(_answer(line, memory))) + "\n")
        answers.flush()


def _answer(line: str, memory: Memory | None) -> Answer:
    from backends.tensorrt import calls

    try:
        return Answer(built=handle(Request.from_line(line), memory))
    except calls.Refused as error:
        return Answer(error=_one_line(error), refused=True)
    except OSError as error:
        return Answer(error=_one_line(error.strerror or error), unwritable=True)
    except Exception as error:  # whatever it is, it is this request's, and the next may be fine
        return Answer(error=_one_line(error))


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def handle(request: Request, memory: Memory | None) -> bool:
    """Build, keep, check where there is a GPU, and profile if asked to; returns whether it was built now.

    Raises:
        Refused: the library has no way to run it.
        TensorRTFailed: it cannot be loaded or run.
        WrongOutput: the engine's output is wrong.
        OSError: a file cannot be written.
    """
    from backends.tensorrt import calls

    model, engines = request.graph.model(), request.engines
    key = graph_hash(model, tf32=request.graph.tf32)
    engine = None if request.profile else engines.load(key)
    built = engine is None
    if engine is None:
        engine = _build(request, model)
        engines.store(key, engine)
    if engine.refused:
        raise calls.Refused(engine.refused)
    if memory and engine.checked != memory.name:
        _check(request, key, engine, memory)
    return built


def _build(request: Request, model: bytes) -> Engine:
    from backends.tensorrt import calls

    rtx = library.used() == library.RTX
    cache = request.engines.timing_cache
    capability = request.engines.identity.capability
    try:
        built = calls.build(
            model,
            tf32=request.graph.tf32,
            timing_cache=None if rtx else cache.read_bytes() if cache.exists() else b"",
            detailed=bool(request.profile),
            progress=_tell,
            capabilities=(capability,) if rtx else (),
        )
    except calls.Refused as refused:
        if not _is_for_good(capability):
            raise
        return Engine(b"", np.zeros(0, np.float32), refused=str(refused))
    if built.timing_cache is not None:
        request.engines.keep(cache, built.timing_cache)
    x = random_input(model_input(model), request.graph.seed)
    return Engine(built.plan, sample(reference(model, ends(x)), request.graph.seed))


def _tell(phase: str, done: int, total: int) -> None:
    """In the log, whose last line the parent reads if this process dies or takes too long."""
    print(f"{phase}: step {done} of {total}", file=sys.stderr, flush=True)


def _is_for_good(capability: str) -> bool:
    """Whether a refusal will be repeated: building for a GPU that need not be there depends on nothing but the graph;
    building on one may lack memory just now."""
    if library.used() != library.RTX:
        return False
    from backends.tensorrt import rtx_calls

    return capability in rtx_calls.capabilities()


def _check(request: Request, key: str, engine: Engine, memory: Memory) -> None:
    from backends.tensorrt import calls

    ready = calls.Engine(engine.plan)
    seed = request.graph.seed
    arrays = bind(ready, memory, random_input(ready.tensors(), seed))
    ready.enqueue(memory.stream_handle)
    memory.synchronize()
    check(sample(ends(memory.host(arrays["y"])), seed), engine.expected, request.graph.precision)
    if request.profile:
        layers = ready.profile(memory.stream_handle, memory.synchronize)
        profile = Path(request.profile)
        profile.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(profile, json.dumps(layers, indent=1))
    if kernels := ready.compiled():
        request.engines.keep(request.engines.kernels(key), kernels)
    request.engines.mark_checked(key, engine, memory.name)


def main() -> None:
    """Serve the parent process until it closes our standard input: ``DESCRIPTOR RUNTIME gpu|host``."""
    descriptor, runtime, device = sys.argv[1:]
    library.use(library.LIBRARIES[runtime])
    # TensorRT-RTX takes some hundred megabytes for each build: to fetch them each time takes twice as long as the build
    # itself.
    keep_freed_memory()
    with os.fdopen(int(descriptor), "w") as answers:
        if device == "host":
            serve(sys.stdin, answers, None)
            return
        from backends.machine.gpu import Gpu

        gpu = Gpu()
        with gpu.active():
            serve(sys.stdin, answers, gpu)


if __name__ == "__main__":
    main()
