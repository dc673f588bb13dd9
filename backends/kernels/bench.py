"""The times of kernels, and of the model that they are from.

Each node is run alone, in rotation with all others of its model, less the time of a call that does next to nothing: as
blocks are timed (:mod:`backends.measuring.rotation`), for the same reasons. All nodes are there with weights of their
own, so that these come from as far as they do in the network; their activations share a few buffers
(:mod:`backends.kernels.pools`), and what a kernel reads is written anew before it runs, as by the kernel before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends.base import Measurement, Progress, no_progress
from backends.kernels.costs import is_view
from backends.kernels.kernel import Kernel, Tensor
from backends.kernels.pools import Pool
from backends.kernels.runtime import Cut, Made, Run, Runtime, Values
from backends.machine.clocks import Case, Clocks, Reading
from backends.measuring.pairing import Floats, Paired
from backends.measuring.reference import Beside
from backends.measuring.rotation import NETWORK_TIMING, SMALLEST, bounded, copy_spread, mean_of_known
from backends.measuring.summary import summarise
from backends.measuring.timing import TimingSettings, time_beside
from compofa.errors import RunFailed

KERNEL_TIMING = TimingSettings(round_ms=0.15, max_warmup_ms=3.0)
"""All nodes of a model in rotation; small ones are run some times in a round."""
EMPTIES = 4
"""Calls that do next to nothing in each rotation: an error of theirs would be one of all its kernels."""
CALLS = (slice(EMPTIES), slice(-EMPTIES, None))
"""Of these, those that run as they come, and those that run once before."""
COMPANY = 80
"""Nodes that are run beside some that are to be timed, and not timed themselves: among strangers, a kernel finds its
code and its weights colder than in a network, and takes two or three microseconds longer."""
MOST_COPIES = 24
"""Of the same kernel: a network that has it more often does not get it timed better."""
PART_BYTES = 400_000_000
"""Weights of nodes that are in rotation together."""


@dataclass
class KernelTimes:
    """What was found of the kernels of a model.

    Args:
        measured: their costs inside a network, the cost of calling the runtime left out.
        failed: those that could not be run alone, and why.
        timing_s: seconds spent in the timing loop.
    """

    measured: dict[Kernel, Measurement] = field(default_factory=dict)
    failed: dict[Kernel, str] = field(default_factory=dict)
    timing_s: float = 0.0


@dataclass(frozen=True)
class KernelBench:
    """Where and how kernels are timed.

    Args:
        beside: the reference, on the same device.
        clocks: by which work is timed.
        runtime: that runs it.
        seed: of the order and the bootstrap.
        progress: told of the kernels that are done.
    """

    beside: Beside
    clocks: Clocks
    runtime: Runtime
    seed: int = 0
    progress: Progress = no_progress

    # --- whole models ---

    def networks(
        self, cases: Sequence[Case], timing: TimingSettings = NETWORK_TIMING
    ) -> tuple[list[Measurement], Paired]:
        """The latency of each of a few models."""
        timed = time_beside(self.beside.pacer, cases, timing, seed=self.seed)
        found = summarise(timed.ratios, self.beside.reference_ms, timing, paired=timed.paired, seed=self.seed)
        return found, timed.paired

    def network_case(self, run: Run) -> Case:
        """A whole model, ready to be timed."""
        return self.clocks.case(run)

    # --- kernels ---

    def kernels(
        self,
        model: Made,
        only: Collection[Kernel] | None = None,
        timing: TimingSettings = KERNEL_TIMING,
    ) -> KernelTimes:
        """What each different kernel of `model` adds to a network.

        Args:
            model: whose.
            only: kernels to time; the others then keep them company, as far as :data:`COMPANY` goes. All unless given.
            timing: how long and how carefully.
        """
        nodes = [cut for cut in model.cuts if cut.kernel]
        found = KernelTimes()
        found.measured |= {cut.kernel: VIEW for cut in nodes if cut.kernel and is_view(cut.kernel)}
        todo = _limited([cut for cut in nodes if cut.kernel and not is_view(cut.kernel)])
        if only is not None:
            todo = _with_company(todo, only, self.seed)
        with self.progress("timing kernels", len(todo)) as advance:
            for part in _parts(todo):
                self._time(model, part, timing, found)
                advance(len(part))
        if only is not None:
            found.measured = {kernel: m for kernel, m in found.measured.items() if kernel in only}
            found.failed = {kernel: why for kernel, why in found.failed.items() if kernel in only}
        return found

    def _time(self, model: Made, cuts: Sequence[Cut], timing: TimingSettings, found: KernelTimes) -> None:
        desk = Desk(model, cuts, self.seed)
        ready: dict[Kernel, list[tuple[Case, Case | None]]] = defaultdict(list)
        for cut in cuts:
            assert cut.kernel is not None
            try:
                if cut.kernel not in found.failed:
                    pair = desk.cases(cut, self.clocks)
                    ready[cut.kernel].append(pair)
            except RunFailed as error:
                found.failed[cut.kernel] = str(error)
        if not ready:
            return
        pairs = [pair for several in ready.values() for pair in several]
        empties = self._empties(model)
        cases = [*empties, *(case for case, _ in pairs), *(other for _, other in pairs if other)]
        timed = time_beside(self.beside.pacer, cases, timing, seed=self.seed)
        found.timing_s += timed.timing_s
        calls = timed.ratios[: len(empties)]
        cold, warm = (float(np.nanmedian(calls[some])) for some in CALLS)
        rest = iter(timed.ratios[len(cases) - sum(1 for _, other in pairs if other) :])
        start = len(empties)
        for kernel, several in ready.items():
            where = slice(start, start + len(several))
            start += len(several)
            call = warm if desk.first(kernel) else cold
            besides = [np.nanmedian(next(rest)) if other else call for _, other in several]
            costs = np.maximum(timed.ratios[where] - np.array(besides)[:, None], SMALLEST)
            found.measured[kernel] = self._summary(costs, timed.paired, where, timing)

    def _empties(self, model: Made) -> list[Case]:
        """Calls that do next to nothing; what is run once before it counts is held against ones that are, too."""
        found = [self.case(*empty_call()) for _ in range(EMPTIES)]
        if model.own_buffers:
            found += [_renewing(self.case(*empty_call()), (), first=True) for _ in range(EMPTIES)]
        return found

    def _summary(self, costs: Floats, paired: Paired, where: slice, timing: TimingSettings) -> Measurement:
        """Of the nodes of one kernel; `costs` has the shape (nodes, rounds)."""
        mean = mean_of_known(costs)
        some = Paired(mean[None], paired.left_out[where].mean()[None], paired.forced[:1], paired.pace)
        spread = copy_spread(costs[:, None])
        (one,) = summarise(
            mean[None], self.beside.reference_ms, timing, paired=some, spread=spread, seed=self.seed
        )
        return bounded(one, SMALLEST * self.beside.reference_ms)

    def case(self, model: bytes, feeds: Values) -> Case:
        """A small model with memory of its own, ready to be timed."""
        return self.clocks.case(self.runtime.small(model, feeds))


class Desk:
    """Where the kernels of a model are laid out to be timed together.

    Args:
        model: whose.
        cuts: the nodes.
        seed: of the activations.
    """

    def __init__(self, model: Made, cuts: Sequence[Cut], seed: int = 0) -> None:
        self.model = model
        self.reading, self.writing, self.rewriting = (Pool(seed) for _ in range(3))
        settings: set[str] = set()
        for cut in cuts:
            names = model.flowing_inputs(cut)
            flowing = [tensor for tensor in map(model.tensor, names) if _is_floating(tensor)]
            self.reading.reserve(flowing)
            self.rewriting.reserve(flowing)
            self.writing.reserve([model.tensor(name) for name in model.outputs(cut)])
            settings |= {name for name in names if not _is_floating(model.tensor(name))}
        # Whole numbers choose what is done (indices, masks): they are what they are in the network.
        self.settings = model.values(sorted(settings))

    def first(self, kernel: Kernel) -> bool:
        """Whether it runs once before it counts: it reads and writes more activations than weights, and these lie in
        memory of its own."""
        return self.model.own_buffers and kernel.input_bytes + kernel.output_bytes > kernel.weight_bytes

    def cases(self, cut: Cut, clocks: Clocks) -> tuple[Case, Case | None]:
        """The node alone, and what is run besides it, if anything.

        Raises:
            RunFailed: it cannot be run so.
        """
        feeds, takes, renewed = self._laid_out(cut)
        other = self.model.beside(cut, feeds)
        first = cut.kernel is not None and self.first(cut.kernel)
        alone = _renewing(clocks.case(self.model.alone(cut, feeds, takes)), renewed, first)
        return alone, _renewing(clocks.case(other), renewed, first) if other else None

    def _laid_out(self, cut: Cut) -> tuple[Values, Values, list[tuple[Any, Any]]]:
        """What the node reads, where it writes, and what is to be written before it runs: (array, its content)."""
        model, kernel = self.model, cut.kernel
        assert kernel is not None
        names = model.flowing_inputs(cut)
        floating = [name for name in names if _is_floating(model.tensor(name))]
        tensors = [model.tensor(name) for name in floating]
        feeds = dict(zip(floating, self.reading.take(tensors), strict=True))
        renewed = [(array, array) for array in feeds.values()]
        outputs = model.outputs(cut)
        takes = dict(zip(outputs, self.writing.take([model.tensor(name) for name in outputs]), strict=True))
        over = None if kernel.in_place is None else model.input_name(cut, kernel.in_place)
        if over in floating:
            place = floating.index(over)
            source, array = feeds[over], self.rewriting.take(tensors)[place]
            feeds[over] = array
            takes[outputs[0]] = array.reshape(model.tensor(outputs[0]).shape)
            # What was written over would grow without bound, or vanish: it is made new each time.
            renewed[place] = (array, source)
        feeds |= {name: self.settings[name] for name in names if name not in feeds}
        return feeds, takes, renewed


def _renewing(timed: Case, renewed: Sequence[tuple[Any, Any]], first: bool = False) -> Case:
    """`timed`, before which arrays are written anew: (array, its content). `first`: it runs once before it counts."""

    def case(repeats: int) -> Reading:
        if first:
            timed(1)
        for array, source in renewed:
            array[...] = source
        return timed(repeats)

    return case


def _is_floating(tensor: Tensor) -> bool:
    return "float" in tensor.dtype


def empty_call() -> tuple[bytes, dict[str, Any]]:
    """A model of one operator that does next to nothing, and its input: its time is that of the call."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), {"x": np.ones(1, np.float32)}


VIEW = Measurement("modelled", 1e-9, 1e-9, 1e-9)
"""Of what names memory anew: by itself nothing; its dispatch is counted with the number of nodes."""


def _limited(cuts: Sequence[Cut]) -> list[Cut]:
    """`cuts` without the nodes of a kernel beyond :data:`MOST_COPIES`."""
    seen: dict[Kernel | None, int] = defaultdict(int)
    found = []
    for cut in cuts:
        seen[cut.kernel] += 1
        if seen[cut.kernel] <= MOST_COPIES:
            found.append(cut)
    return found


def _with_company(cuts: Sequence[Cut], only: Collection[Kernel], seed: int) -> list[Cut]:
    """The nodes that run one of `only`, and some of the others."""
    others = [cut for cut in cuts if cut.kernel not in only]
    picks = np.random.default_rng(seed).permutation(len(others))[:COMPANY]
    return [cut for cut in cuts if cut.kernel in only] + [others[pick] for pick in sorted(picks.tolist())]


def _parts(cuts: Sequence[Cut]) -> Iterator[list[Cut]]:
    """`cuts` in runs that fit in memory together."""
    part: list[Cut] = []
    held = 0
    for cut in cuts:
        assert cut.kernel is not None
        if part and held + cut.kernel.weight_bytes > PART_BYTES:
            yield part
            part, held = [], 0
        part.append(cut)
        held += cut.kernel.weight_bytes
    if part:
        yield part
